// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A client's connection as attach sees it: opened, run on every event, closed.

#include "base/assert.h"
#include "offload/alias.h"
#include "offload/client.h"
#include "offload/downstream.h"
#include "offload/exact.h"
#include "offload/fencing.h"
#include "offload/hooks.h"
#include "offload/output.h"
#include "offload/pass.h"
#include "offload/pending.h"
#include "offload/probes.h"
#include "offload/upstream.h"

struct client *offload_client_open(struct offload *offload, unsigned broker, struct tcp_pcb *pcb,
	const struct broker_link_ops *link, void *link_ctx)
{
	struct client *client = slab_take(offload->clients);

	if (client == NULL)
		return NULL;
	client->offload = offload;
	client->broker = &offload->brokers[broker];
	client->pcb = pcb;
	client->link = link;
	client->link_ctx = link_ctx;
	client->serial = client->identity = ++offload->serial;
	client->receive_maximum = UINT16_MAX;
	client->broker_qos = 2;
	client->maximum_packet_size = client->broker_packet_size = UINT32_MAX;
	client->up_last_us = client->connect_us = offload->now_us;
	list_init(&client->run_link);
	list_init(&client->fence.link);
	list_init(&client->waiting);
	list_init(&client->windowed);
	list_init(&client->pending);
	list_init(&client->unreleased);
	list_init(&client->probes);
	reader_init(&client->up, offload->payloads);
	reader_init(&client->down, offload->payloads);
	tcp_set_low_water(pcb, OFFLOAD_CLIENT_LOW_WATER);
	client->broker->connections++;
	return client;
}

void *offload_client_link(const struct client *client)
{
	return client->link_ctx;
}

struct tcp_pcb *offload_client_pcb(const struct client *client)
{
	return client->pcb;
}

void offload_client_run(struct client *client)
{
	enum client_state before;

	upstream_run(client);
	before = client->state;
	downstream_run(client);
	if (before != client->state)
		upstream_run(client); // what waited for the CONNACK
	output_pump(client);
	fencing_catch_up(client);
	if (client->down.has_stuck)
		downstream_run(client); // what waited for acknowledgements
	client->link->moved(client);
}

void offload_client_gone(struct client *client)
{
	if (client->gone)
		return;
	client->gone = true;
	client_end_session(client);
}

void offload_client_broker_gone(struct client *client)
{
	client_end_session(client);
	output_finish(client);
}

bool offload_client_read(const struct client *client)
{
	return !client->up.has_stuck && client->crossings == 0 &&
	       tcp_recv_readable(client->pcb) == 0;
}

bool offload_client_broker_read(const struct client *client)
{
	struct tcp_span span;

	return !client->down.has_stuck &&
	       client->link->peek((struct client *)client, &span, 1) == 0;
}

int32_t offload_client_beyond(const struct client *client, bool of_client)
{
	// What was refused is the client's, and what follows it cannot be acknowledged without it.
	if (of_client && client->refused)
		return INT32_MIN / 2;
	return reader_beyond(of_client ? &client->up : &client->down);
}

bool offload_client_failed(const struct client *client)
{
	return client->failed;
}

bool offload_client_crossing(const struct client *client)
{
	return client->crossings > 0;
}

bool offload_client_drained(const struct client *client)
{
	return list_empty(&client->waiting) && list_empty(&client->windowed) &&
	       list_empty(&client->pending) && list_empty(&client->unreleased) &&
	       client->crossings == 0 && tcp_send_queued(client->pcb) == 0;
}

void offload_client_close(struct client *client)
{
	struct offload *offload = client->offload;

	offload_client_gone(client);
	if (client->failed)
		counter_inc(&offload->counters.aborted);
	fencing_end(client);
	probes_end_client(client);
	hooks_leave(client);
	pending_clear(client);
	exact_clear(client);
	output_clear(client);
	reader_fini(&client->up);
	reader_fini(&client->down);
	if (client->client_id != NULL)
		payload_put(client->client_id);
	alias_clear(client);
	if (client->acks != NULL)
		payload_put(client->acks);
	if (client->fences != NULL)
		payload_put(client->fences);
	list_remove(&client->run_link);
	client->broker->connections--;
	slab_give(offload->clients, client);
}

// What is kept is kept for sessions that live on; what has been sent comes first.
static void check_owed(const struct offload *offload)
{
	uint32_t total = 0;

	for (unsigned i = 0; i < offload->config.brokers_count; i++) {
		const struct session_map *map = offload->brokers[i].map;

		for (uint32_t n = 0; n < slab_count(map->sessions); n++) {
			const struct session *session = slab_at(map->sessions, n);
			uint32_t count = 0;
			uint64_t bytes = 0;
			bool sent = true;

			if (session == NULL)
				continue;
			list_for_each (link, &session->owed) {
				const struct delivery *delivery =
					container_of(link, struct delivery, link);

				ASSERT(delivery->kind == DELIVERY_OURS && delivery->qos == 1);
				ASSERT(sent || delivery->id == 0);
				sent = delivery->id != 0;
				count++;
				bytes += delivery->length;
			}
			ASSERT(count == session->owed_count && bytes == session->owed_bytes);
			total += count;
		}
	}
	ASSERT(total == offload->owed_count);
}

void offload_check(const struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->clients); i++) {
		const struct client *client = slab_at(offload->clients, i);
		uint32_t waiting = 0, windowed = 0, pending = 0, unreleased = 0;

		if (client == NULL)
			continue;
		list_for_each (link, &client->waiting) {
			waiting++;
		}
		list_for_each (link, &client->windowed) {
			windowed++;
		}
		list_for_each (link, &client->pending) {
			pending++;
		}
		list_for_each (link, &client->unreleased) {
			unreleased++;
		}
		ASSERT(waiting == client->waiting_count && unreleased == client->unreleased_count);
		ASSERT(windowed == client->windowed_count && pending == client->pending_count);
		ASSERT(client->windowed_broker <= windowed);
		ASSERT(client->windowed_numbered <= client->windowed_broker);
		ASSERT(client->resends <= output_inflight(client));
		ASSERT(client->session == NULL || client->session->owner == client);
		if (client->identifiers != NULL)
			identifiers_check(client_identifiers(client));
		mqtt_framer_check(&client->up.framer);
		mqtt_framer_check(&client->down.framer);
	}
	check_owed(offload);
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		session_map_check(offload->brokers[i].map);
}
