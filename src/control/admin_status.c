// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Admin/Status and Admin/Drain: what runs, what it is joined to, and why publishes
// are captured or not.

#include "control/admin.h"

#include "base/clock.h"
#include "base/mailbox.h"
#include "control/config.h"
#include "offload/inspect.h"
#include "offramp/v1/admin.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct broker_row {
	Offramp__V1__BrokerStatus message;
	Offramp__V1__BrokerStream stream;
	char listen[NET_ENDPOINT_STRLEN], address[NET_ENDPOINT_STRLEN];
};

struct port_row {
	Offramp__V1__Port message;
	char mac[18];
	char **addresses;
};

// --- brokers -------------------------------------------------------------------------------------

struct brokers_slice {
	struct mailbox_message message;
	const struct offload *offload;
	struct offload_broker_status *statuses;
	unsigned max, count;
};

static void brokers_run(struct mailbox_message *message, void *worker)
{
	struct brokers_slice *s = (struct brokers_slice *)message;

	(void)worker;
	s->count = offload_brokers_list(s->offload, s->statuses, s->max);
}

static void broker_fill(struct broker_row *row, const struct offload_broker_status *status)
{
	Offramp__V1__BrokerStatus *m = &row->message;

	offramp__v1__broker_status__init(m);
	m->name = (char *)status->name;
	m->listen = (char *)net_endpoint_format(&status->listen, row->listen);
	m->address = (char *)net_endpoint_format(&status->address, row->address);
	m->knowledge = (char *)status->knowledge;
	m->authorization = (char *)status->authorization;
	m->map_complete = true;
	m->reachable = true;
}

// A broker is what all workers say of it together.
static void broker_merge(struct broker_row *row, const struct offload_broker_status *status)
{
	Offramp__V1__BrokerStatus *m = &row->message;

	if (!status->map_complete && m->map_complete) {
		m->map_complete = false;
		m->map_reason = (char *)(status->map_reason ? status->map_reason : "");
	}
	m->reachable = m->reachable && status->reachable;
	m->connections += status->connections;
	m->subscriptions += status->subscriptions;
	m->sessions += status->sessions;
}

static void stream_fill(struct broker_row *row, const struct feeds *feeds, const struct feed *feed)
{
	uint64_t now_us = clock_now_us(), until_us = feed_lease_until_us(feeds, feed);
	Offramp__V1__BrokerStream *m = &row->stream;

	offramp__v1__broker_stream__init(m);
	m->connected = feed->stream != NULL;
	m->software = (char *)feed->software;
	if (m->connected)
		m->for_us = now_us - feed->stream->begun_us;
	else if (feed->ended_us)
		m->for_us = now_us - feed->ended_us;
	if (!m->connected && feed->why)
		m->ended = (char *)feed->why;
	m->sequence = feed->sequence;
	m->lease_us = m->connected && until_us > now_us ? until_us - now_us : 0;
	row->message.stream = m;
}

// All workers know the same brokers in the same order: the configuration's.
static int brokers_collect(
	const struct control *control, struct broker_row *rows, unsigned max, unsigned *ret_count)
{
	struct offload_broker_status *statuses = calloc(max, sizeof(*statuses));
	int err = statuses ? 0 : -ENOMEM;

	*ret_count = 0;
	for (unsigned w = 0; !err && w < control->source.workers_count; w++) {
		const struct control_worker *worker = &control->source.workers[w];
		struct brokers_slice slice = {
			.message.run = brokers_run,
			.offload = worker->offload,
			.statuses = statuses,
			.max = max,
		};

		err = mailbox_call(worker->mailbox, &slice.message, ADMIN_WORKER_TIMEOUT_MS);
		for (unsigned i = 0; !err && i < slice.count; i++) {
			if (i >= *ret_count) {
				broker_fill(&rows[(*ret_count)++], &statuses[i]);
				stream_fill(&rows[i], &control->feeds, &control->feeds.feeds[i]);
			}
			broker_merge(&rows[i], &statuses[i]);
		}
	}
	free(statuses);
	return err;
}

// --- ports ---------------------------------------------------------------------------------------

static void port_unfill(struct port_row *row)
{
	for (size_t i = 0; i < row->message.n_addresses; i++)
		free(row->addresses[i]);
	free(row->addresses);
}

static int port_fill(struct port_row *row, struct port *port, const struct config_port *config_port)
{
	Offramp__V1__Port *m = &row->message;
	char text[NET_ADDRESS_STRLEN];
	uint8_t mac[6];

	offramp__v1__port__init(m);
	port_mac(port, mac);
	snprintf(row->mac, sizeof(row->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		mac[2], mac[3], mac[4], mac[5]);
	m->name = (char *)port_name(port);
	m->device = (char *)config_port->port.device;
	m->mac = row->mac;
	m->mtu = port_mtu(port);
	m->link_up = port_link_up(port);
	row->addresses = calloc(config_port->addresses_count + 1, sizeof(*row->addresses));
	if (!row->addresses)
		return -ENOMEM;
	m->addresses = row->addresses;
	for (unsigned i = 0; i < config_port->addresses_count; i++) {
		const struct net_interface_address *a = &config_port->addresses[i];

		if (asprintf(&row->addresses[i], "%s/%u", net_address_format(&a->address, text),
			    a->prefix) < 0)
			return -ENOMEM;
		m->n_addresses++;
	}
	return 0;
}

// --- methods -------------------------------------------------------------------------------------

static int status_fill(const struct control *control, Offramp__V1__StatusResponse *response,
	struct port_row *ports, struct broker_row *brokers, Offramp__V1__WorkerStatus *workers)
{
	const struct control_source *source = &control->source;
	unsigned brokers_count;
	int err;

	for (unsigned i = 0; i < source->workers_count; i++) {
		response->worker_status[i] = &workers[i];
		response->n_worker_status++;
		admin_worker_fill(control, i, &workers[i]);
	}
	response->version = (char *)OFFRAMP_VERSION;
	response->process_id = getpid();
	response->uptime_us = clock_now_us() - source->started_us;
	response->mode = (char *)config_mode_name(source->config->mode);
	response->config_file = (char *)source->config->file;
	response->workers = source->workers_count;
	for (unsigned i = 0; i < source->ports_count; i++) {
		response->ports[i] = &ports[i].message;
		response->n_ports++;
		err = port_fill(&ports[i], source->ports[i], &source->config->ports[i]);
		if (err)
			return err;
	}
	err = brokers_collect(control, brokers, source->config->brokers_count, &brokers_count);
	if (err)
		return err;
	for (unsigned i = 0; i < brokers_count; i++)
		response->brokers[i] = &brokers[i].message;
	response->n_brokers = brokers_count;
	return 0;
}

void admin_status_next(void *ctx, void *state, struct rpc_reply *reply)
{
	const struct control *control = ctx;
	unsigned ports_count = control->source.ports_count;
	unsigned brokers_count = control->source.config->brokers_count;
	struct port_row *ports = calloc(ports_count + 1, sizeof(*ports));
	struct broker_row *brokers = calloc(brokers_count + 1, sizeof(*brokers));
	unsigned workers_count = control->source.workers_count;
	Offramp__V1__WorkerStatus *workers = calloc(workers_count + 1, sizeof(*workers));
	Offramp__V1__StatusResponse response = OFFRAMP__V1__STATUS_RESPONSE__INIT;
	int err = -ENOMEM;

	(void)state;
	response.ports = calloc(ports_count + 1, sizeof(*response.ports));
	response.brokers = calloc(brokers_count + 1, sizeof(*response.brokers));
	response.worker_status = calloc(workers_count + 1, sizeof(*response.worker_status));
	if (ports && brokers && workers && response.ports && response.brokers &&
		response.worker_status)
		err = status_fill(control, &response, ports, brokers, workers);
	if (err)
		rpc_reply_fail(reply, GRPC_STATUS_UNAVAILABLE,
			err == -ENOMEM ? "out of memory" : "a worker does not answer");
	else
		rpc_reply_message(reply, &response.base);
	reply->last = true;
	for (size_t i = 0; i < response.n_ports; i++)
		port_unfill(&ports[i]);
	free(response.ports);
	free(response.brokers);
	free(response.worker_status);
	free(workers);
	free(ports);
	free(brokers);
}

void admin_drain_next(void *ctx, void *state, struct rpc_reply *reply)
{
	const struct control *control = ctx;
	Offramp__V1__DrainResponse response = OFFRAMP__V1__DRAIN_RESPONSE__INIT;

	(void)state;
	control->source.drain(control->source.ctx);
	rpc_reply_message(reply, &response.base);
	rpc_reply_end(reply);
}
