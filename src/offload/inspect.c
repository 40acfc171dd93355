// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Rows for the CLI. Cursors are slab indices: for subscriptions, the session's index
// in the upper half and the position in its list in the lower; the broker is the top byte.

#include "offload/inspect.h"

#include <stdio.h>
#include <string.h>

#include "offload/judge.h"
#include "offload/output.h"
#include "offload/state.h"

static const char *const knowledge_names[] = {
	[OFFLOAD_KNOWLEDGE_BROKER] = "broker",
	[OFFLOAD_KNOWLEDGE_WIRE] = "wire",
	[OFFLOAD_KNOWLEDGE_NONE] = "none",
};
static const char *const authorization_names[] = {
	[OFFLOAD_AUTHORIZATION_BROKER] = "broker",
	[OFFLOAD_AUTHORIZATION_OPEN] = "open",
	[OFFLOAD_AUTHORIZATION_NONE] = "none",
};

// Copies text, with "…" where it is cut (never inside a character).
static void text_copy(char *out, size_t size, struct mqtt_bytes text)
{
	static const char more[] = "…";
	size_t n = text.length;

	if (n >= size) {
		n = size - sizeof(more);
		while (n > 0 && (text.data[n] & 0xc0) == 0x80)
			n--;
		memcpy(out + n, more, sizeof(more));
	} else {
		out[n] = '\0';
	}
	if (n > 0)
		memcpy(out, text.data, n);
}

static struct mqtt_bytes payload_text(const struct payload *payload)
{
	return payload == NULL ? mqtt_bytes(NULL, 0) : mqtt_bytes(payload->data, payload->length);
}

static void connection_row(const struct client *client, struct offload_connection_row *row)
{
	const struct session *session = client->session;
	struct tcp_info info;

	*row = (struct offload_connection_row){
		.version = client->version,
		.accepted = client->state == CLIENT_ACCEPTED,
		.persistent = session != NULL && session->expiry_s != 0,
		.keep_alive = client->keep_alive,
		.subscriptions = session == NULL ? 0 : session->subscriptions_count,
		.queued_messages = output_waiting(client),
		.inflight = output_inflight(client),
		.captured = client->captured,
		.passed = client->passed,
		.delivered = client->delivered,
		.broker_queued = client->link->queued(client),
	};
	snprintf(row->broker, sizeof(row->broker), "%s", client->broker->config->name);
	text_copy(row->client_id, sizeof(row->client_id),
		payload_text(session != NULL && session->client_id != NULL ? session->client_id
									   : client->client_id));
	tcp_pcb_info(client->pcb, &info);
	row->client = info.remote;
	row->client_state = tcp_state_name(info.state);
	row->client_queued = info.queued;
	row->retransmits = info.retransmits;
	client->link->describe(client, &row->broker_local, &row->broker_state);
}

unsigned offload_connections_list(const struct offload *offload, uint64_t *cursor,
	struct offload_connection_row *ret_rows, unsigned max)
{
	unsigned n = 0;

	while (n < max && *cursor < slab_count(offload->clients)) {
		const struct client *client = slab_at(offload->clients, (uint32_t)(*cursor)++);

		if (client != NULL)
			connection_row(client, &ret_rows[n++]);
	}
	return n;
}

// --- subscriptions -------------------------------------------------------------------------------

static void subscription_row(const struct broker *broker, const struct subscription *sub,
	struct offload_subscription_row *row)
{
	static const char share[] = "$share/…/";
	uint8_t filter[OFFLOAD_ROW_FILTER * 2] = {0};
	struct mqtt_bytes text = mqtt_bytes(filter, 0);

	*row = (struct offload_subscription_row){
		.qos = sub->qos,
		.no_local = sub->no_local,
		.online = sub->session->owner != NULL,
		.pending = sub->state == SUBSCRIPTION_PENDING,
		.persistent = sub->session->expiry_s != 0,
		.subscription_id = sub->id,
	};
	if (sub->share) {
		memcpy(filter, share, sizeof(share) - 1);
		text.length = sizeof(share) - 1;
	}
	text.length += subscription_filter(
		sub, filter + text.length, (uint32_t)(sizeof(filter) - text.length));
	snprintf(row->broker, sizeof(row->broker), "%s", broker->config->name);
	text_copy(row->client_id, sizeof(row->client_id), payload_text(sub->session->client_id));
	text_copy(row->filter, sizeof(row->filter), text);
}

// A session's subscriptions from position `skip` on; returns how many rows were filled.
static unsigned session_rows(const struct broker *broker, const struct session *session,
	uint32_t skip, struct offload_subscription_row *rows, unsigned max)
{
	uint32_t position = 0;
	unsigned n = 0;

	list_for_each (link, &session->subscriptions) {
		if (position++ < skip)
			continue;
		if (n == max)
			break;
		subscription_row(broker, container_of(link, struct subscription, link), &rows[n++]);
	}
	return n;
}

unsigned offload_subscriptions_list(const struct offload *offload, uint64_t *cursor,
	struct offload_subscription_row *ret_rows, unsigned max)
{
	unsigned b = *cursor >> 56, n = 0;
	uint32_t index = (*cursor >> 24) & UINT32_MAX, skip = *cursor & 0xffffff;

	while (n < max && b < offload->config.brokers_count) {
		const struct broker *broker = &offload->brokers[b];
		const struct session *session;
		unsigned rows;

		if (index == slab_count(broker->map->sessions)) {
			b++;
			index = skip = 0;
			continue;
		}
		session = slab_at(broker->map->sessions, index);
		rows = session == NULL ? 0
				       : session_rows(broker, session, skip, ret_rows + n, max - n);
		n += rows;
		skip += rows;
		if (n < max) {
			index++;
			skip = 0;
		}
	}
	*cursor = (uint64_t)b << 56 | (uint64_t)index << 24 | skip;
	return n;
}

// --- topics --------------------------------------------------------------------------------------

static uint64_t left_us(const struct offload *offload, uint64_t until_us)
{
	if (until_us == UINT64_MAX)
		return UINT64_MAX;
	return until_us > offload->now_us ? until_us - offload->now_us : 0;
}

// Of every message of the topic, as far as its publisher has no part in it.
static enum proof_reason topic_verdict(
	const struct offload *offload, const struct broker *broker, const struct proof_route *route)
{
	const struct proof_standing *standing = &route->standing;
	enum proof_reason reason = judge_broker(offload, broker);

	if (reason != PROOF_CAPTURE)
		return reason;
	if (route->reason != PROOF_CAPTURE)
		return route->reason;
	if (!stream_wanted(broker) || (standing->shown && standing->epoch == broker->stream.epoch &&
					      offload->now_us < standing->until_us))
		return PROOF_CAPTURE;
	return standing->reason != 0 ? standing->reason : PROOF_UNPROVEN;
}

static void topic_row(const struct offload *offload, const struct broker *broker,
	const struct proof_route *route, struct offload_topic_row *row)
{
	const struct proof_standing *standing = &route->standing;
	enum proof_reason verdict = topic_verdict(offload, broker, route);
	enum proof_reason qos1 = verdict != PROOF_CAPTURE ? verdict : route->reason_qos1;
	enum proof_reason qos2 = qos1 != PROOF_CAPTURE ? qos1 : route->reason_qos2;
	bool current = standing->epoch == broker->stream.epoch;

	*row = (struct offload_topic_row){
		.verdict = proof_reason_names[verdict],
		.verdict_qos1 = proof_reason_names[qos1],
		.verdict_qos2 = proof_reason_names[qos2],
		.targets = route->targets,
		.pending = route->pending,
		.workers = route->workers,
		.known = current && standing->known,
		.shown = current && standing->shown,
		.shown_us = current && standing->shown ? left_us(offload, standing->until_us) : 0,
		.asks_us = current ? left_us(offload, standing->ask_us) : 0,
	};
	for (uint32_t i = 0; i < route->targets; i++)
		row->denied += (proof_route_target(route, i)->flags & ROUTE_DENIED) != 0;
	snprintf(row->broker, sizeof(row->broker), "%s", broker->config->name);
	text_copy(row->topic, sizeof(row->topic), payload_text(route->topic));
}

unsigned offload_topics_list(const struct offload *offload, uint64_t *cursor,
	struct offload_topic_row *ret_rows, unsigned max)
{
	unsigned b = *cursor >> 32, n = 0;
	uint32_t place = *cursor & UINT32_MAX;

	while (n < max && b < offload->config.brokers_count) {
		const struct broker *broker = &offload->brokers[b];
		const struct proof_route *route;

		if (place == proof_routes_places(broker->routes)) {
			b++;
			place = 0;
			continue;
		}
		route = proof_route_at(broker->routes, place++);
		if (route != NULL)
			topic_row(offload, broker, route, &ret_rows[n++]);
	}
	*cursor = (uint64_t)b << 32 | place;
	return n;
}

// --- brokers -------------------------------------------------------------------------------------

static const char *map_reason(const struct offload *offload, const struct broker *broker)
{
	if (!broker->capture)
		return broker->config->capture.enabled
			       ? "capture was turned off: offramp filters --capture on"
			       : "capture.enabled is false";
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_NONE)
		return "knowledge: none: set knowledge: wire if every client comes through "
		       "Offramp";
	if (broker->config->authorization == OFFLOAD_AUTHORIZATION_NONE)
		return "authorization: none: set authorization: open if the broker has "
		       "no ACLs";
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_WIRE && broker->distrust != NULL)
		return broker->distrust;
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_WIRE &&
		!session_map_complete(broker->map))
		return "the broker serves clients whose subscriptions Offramp has not followed";
	if (!stream_wanted(broker))
		return NULL;
	if (offload->peers != NULL && !replica_whole(broker->map->replica))
		return "memory.subscriptions is too small for the filters of all workers";
	return stream_reason(broker);
}

bool broker_map_complete(const struct offload *offload, const struct broker *broker)
{
	return map_reason(offload, broker) == NULL;
}

unsigned offload_brokers_list(
	const struct offload *offload, struct offload_broker_status *ret_statuses, unsigned max)
{
	unsigned n = 0;

	for (; n < max && n < offload->config.brokers_count; n++) {
		const struct broker *broker = &offload->brokers[n];

		ret_statuses[n] = (struct offload_broker_status){
			.name = broker->config->name,
			.listen = broker->config->listen,
			.address = broker->config->address,
			.knowledge = knowledge_names[broker->config->knowledge],
			.authorization = authorization_names[broker->config->authorization],
			.map_complete = broker_map_complete(offload, broker),
			.map_reason = map_reason(offload, broker),
			.reachable = broker->reachable,
			.connections = broker->connections,
			.subscriptions = slab_used(broker->map->subscriptions),
			.sessions = broker->map->online + broker->map->offline,
		};
	}
	return n;
}
