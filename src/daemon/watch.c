// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Links, brokers, maps, address conflicts.

#include "daemon/watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/config.h"
#include "daemon/worker.h"
#include "offload/inspect.h"
#include "port/port.h"

struct watch {
	const struct config *config;
	struct port *const *ports;
	struct worker *const *workers;
	bool *links;
	struct offload_broker_status *before, *now, *one; // one a broker
};

int watch_create(const struct config *config, struct port *const *ports,
	struct worker *const *workers, struct watch **ret_watch)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return -ENOMEM;
	watch->config = config;
	watch->ports = ports;
	watch->workers = workers;
	watch->links = calloc(config->ports_count, sizeof(*watch->links));
	watch->before = calloc(config->brokers_count, sizeof(*watch->before));
	watch->now = calloc(config->brokers_count, sizeof(*watch->now));
	watch->one = calloc(config->brokers_count, sizeof(*watch->one));
	if (watch->links == NULL || watch->before == NULL || watch->now == NULL ||
		watch->one == NULL) {
		watch_destroy(watch);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < config->ports_count; i++)
		watch->links[i] = true;
	for (unsigned i = 0; i < config->brokers_count; i++)
		watch->before[i] =
			(struct offload_broker_status){.reachable = true, .map_complete = true};
	*ret_watch = watch;
	return 0;
}

void watch_destroy(struct watch *watch)
{
	if (watch == NULL)
		return;
	free(watch->links);
	free(watch->before);
	free(watch->now);
	free(watch->one);
	free(watch);
}

static void look_at_links(struct watch *watch)
{
	for (unsigned i = 0; i < watch->config->ports_count; i++) {
		bool up = port_link_up(watch->ports[i]);

		if (up == watch->links[i])
			continue;
		watch->links[i] = up;
		if (up)
			log_info("port", "%s: link up", port_name(watch->ports[i]));
		else
			log_warning("port", "%s: link down", port_name(watch->ports[i]));
	}
}

static void look_at_shortcuts(struct watch *watch)
{
	for (unsigned i = 0; i < watch->config->ports_count; i++)
		port_shortcut_look(watch->ports[i]);
}

static void look_at_broker(
	const struct offload_broker_status *now, const struct offload_broker_status *before)
{
	char address[NET_ENDPOINT_STRLEN];

	if (!now->reachable && before->reachable)
		log_warning("broker",
			"%s: %s refuses connections or does not answer: clients are refused",
			now->name, net_endpoint_format(&now->address, address));
	else if (now->reachable && !before->reachable)
		log_info("broker", "%s: %s accepts connections again", now->name,
			net_endpoint_format(&now->address, address));
	if (!now->map_complete && before->map_complete)
		log_warning("broker", "%s: every PUBLISH passes: %s", now->name, now->map_reason);
	else if (now->map_complete && !before->map_complete)
		log_info("broker", "%s: the map is complete: PUBLISHes are captured", now->name);
}

// A broker is what all workers say of it together.
static void merge(struct offload_broker_status *all, const struct offload_broker_status *one)
{
	if (!one->map_complete && all->map_complete)
		all->map_reason = one->map_reason;
	all->map_complete &= one->map_complete;
	all->reachable &= one->reachable;
}

static int look_at_worker(struct watch *watch, unsigned index)
{
	struct worker_report report = {.brokers = index == 0 ? watch->now : watch->one};
	int rc = worker_report(watch->workers[index], &report);

	if (rc < 0) {
		log_warning("daemon", "worker %u does not answer", index);
		return rc;
	}
	if (report.conflict)
		log_warning("net", "%s", report.conflict_text);
	for (unsigned i = 0; index > 0 && i < report.brokers_count; i++)
		merge(&watch->now[i], &watch->one[i]);
	return 0;
}

void watch_look(struct watch *watch)
{
	look_at_links(watch);
	look_at_shortcuts(watch);
	for (unsigned i = 0; i < watch->config->workers; i++)
		if (look_at_worker(watch, i) < 0)
			return;
	for (unsigned i = 0; i < watch->config->brokers_count; i++) {
		look_at_broker(&watch->now[i], &watch->before[i]);
		watch->before[i] = watch->now[i];
	}
}
