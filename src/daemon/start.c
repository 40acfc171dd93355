// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a daemon is made of, in the order in which one part needs the other.

#include "daemon/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "port/port.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What the operator vouches for is said aloud.
static void announce(const struct config *config)
{
	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct offload_broker_config *broker = &config->brokers[i];
		char listen[NET_ENDPOINT_STRLEN], address[NET_ENDPOINT_STRLEN];

		if (config->mode == CONFIG_MODE_SOCKET)
			log_info("broker",
				"%s: clients connect to %s, once a process listens there",
				broker->name, net_endpoint_format(&broker->listen, listen));
		else if (config->mode == CONFIG_MODE_MONITOR)
			log_info("broker", "%s: connections to %s are adopted", broker->name,
				net_endpoint_format(&broker->address, address));
		else
			log_info("broker", "%s: clients connect to %s, the broker is %s",
				broker->name, net_endpoint_format(&broker->listen, listen),
				net_endpoint_format(&broker->address, address));
		if (broker->knowledge == OFFLOAD_KNOWLEDGE_WIRE)
			log_warning("broker",
				"%s: knowledge: wire: you declare that every client comes through "
				"Offramp and that the broker started without sessions",
				broker->name);
		if (broker->authorization == OFFLOAD_AUTHORIZATION_OPEN)
			log_warning("broker",
				"%s: authorization: open: you declare that the broker has no ACLs",
				broker->name);
	}
}

static int start_eal(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct port_eal_device *devices = calloc(config->ports_count, sizeof(*devices));
	struct port_eal_config eal;
	int rc;

	if (devices == NULL)
		return -ENOMEM;
	config_to_eal(config, devices, &eal);
	rc = port_eal_init(&eal);
	free(devices);
	daemon->eal = rc == 0;
	return rc;
}

static int start_pools(struct daemon *daemon)
{
	unsigned workers = daemon->config->workers;
	int rc = 0;

	daemon->pools = calloc(workers, sizeof(*daemon->pools));
	daemon->workers = calloc(workers, sizeof(*daemon->workers));
	daemon->control_workers = calloc(workers, sizeof(*daemon->control_workers));
	if (daemon->pools == NULL || daemon->workers == NULL || daemon->control_workers == NULL)
		return -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < workers; i++)
		rc = worker_pools_create(daemon->config, i, &daemon->pools[i]);
	return rc;
}

// What need not come to Offramp crosses in the kernel or the card, where that is possible and asked
// for.
static int start_shortcut(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct port_station *stations = calloc(config->stations_count + 1, sizeof(*stations));
	struct port_endpoint *brokers = calloc(config->brokers_count, sizeof(*brokers));
	struct port_shortcut_config shortcut;
	int rc = -ENOMEM;

	if (stations != NULL && brokers != NULL) {
		config_to_shortcut(config, stations, brokers, &shortcut);
		rc = port_shortcut_open(daemon->ports, &shortcut);
	}
	free(brokers);
	free(stations);
	return rc;
}

static int start_filters(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	if (config_wants_shortcut(config))
		return start_shortcut(daemon);
	for (unsigned i = 0; i < config->ports_count; i++)
		if (config->ports[i].port.filter == PORT_FILTER_BRIDGE)
			log_warning("port",
				"%s: nothing can cross without Offramp, that takes two ports, both "
				"of af_xdp or both cards, with 'filter: auto': everything comes",
				config->ports[i].port.name);
	return 0;
}

static int start_ports(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct rte_mempool **rx = calloc(config->workers, sizeof(*rx));
	int rc = 0;

	daemon->ports = calloc(config->ports_count, sizeof(*daemon->ports));
	if (daemon->ports == NULL || rx == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < config->workers; i++)
		rx[i] = daemon->pools[i].rx;
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_open(&config->ports[i].port, config->workers, rx, &daemon->ports[i]);
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_start(daemon->ports[i]);
	if (rc == 0)
		rc = start_filters(daemon);
	free(rx);
	return rc;
}

static void ask_to_stop(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGTERM);
}

// Threads of control are to stay off the workers' cores: they inherit this thread's affinity.
static int start_control(struct daemon *daemon)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(daemon->config->control_core, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		log_warning("daemon", "cannot stay on core %u: %s", daemon->config->control_core,
			strerror(errno));
	for (unsigned i = 0; i < daemon->config->workers; i++)
		worker_control(daemon->workers[i], &daemon->control_workers[i]);
	daemon->source = (struct control_source){
		.config = daemon->config,
		.started_us = clock_now_us(),
		.ports = daemon->ports,
		.ports_count = daemon->config->ports_count,
		.workers = daemon->control_workers,
		.workers_count = daemon->config->workers,
		.drain = ask_to_stop,
	};
	return control_start(&daemon->source, &daemon->control);
}

int daemon_start(struct daemon *daemon)
{
	int rc;

	if ((rc = start_eal(daemon)) < 0)
		return rc;
	if ((rc = memory_open(daemon->config, &daemon->memory)) < 0)
		return rc;
	if ((rc = flows_file_open(daemon->config, &daemon->flows)) < 0)
		return rc;
	if ((rc = start_pools(daemon)) < 0)
		return rc;
	if ((rc = start_ports(daemon)) < 0)
		return rc;
	announce(daemon->config);
	if ((rc = crew_start(daemon)) < 0)
		return rc;
	if ((rc = start_control(daemon)) < 0)
		return rc;
	if (daemon->config->mode == CONFIG_MODE_SOCKET &&
		(rc = door_open(daemon->config, daemon->workers, &daemon->door)) < 0)
		return rc;
	return watch_create(daemon->config, daemon->ports, daemon->workers, &daemon->watch);
}
