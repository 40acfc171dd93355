// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Admin/Connections, Admin/Subscriptions and Admin/Topics: streams of slices. A slice is fetched
// by one short message that runs on a worker, and only when the one before has been
// sent: however long a list is and however slow its reader, a worker is disturbed for
// one slice at a time, and nothing is kept but that.

#include "control/admin.h"

#include "base/mailbox.h"
#include "mqtt/topic.h"
#include "offload/inspect.h"
#include "offramp/v1/admin.pb-c.h"

#include <assert.h>
#include <string.h>

#define SLICE_ROWS 64

struct slice {
	struct mailbox_message message; // first: it is also the slice
	const struct offload *offload;
	unsigned worker; // whose rows come next
	uint64_t cursor;
	unsigned count;
};

// True with rows; false at the end or after a failure, which `reply` then says.
static bool slice_fetch(const struct control *control, struct slice *slice,
	void (*run)(struct mailbox_message *message, void *worker), struct rpc_reply *reply)
{
	const struct control_source *source = &control->source;

	slice->message.run = run;
	for (; slice->worker < source->workers_count; slice->worker++, slice->cursor = 0) {
		const struct control_worker *worker = &source->workers[slice->worker];
		int err;

		slice->offload = worker->offload;
		err = mailbox_call(worker->mailbox, &slice->message, ADMIN_WORKER_TIMEOUT_MS);
		if (err) {
			rpc_reply_fail(reply, GRPC_STATUS_UNAVAILABLE,
				"worker %u does not answer: %s", slice->worker, strerror(-err));
			return false;
		}
		if (slice->count > 0)
			return true;
	}
	rpc_reply_end(reply);
	return false;
}

// What came over the wire is shown as text; protobuf strings are UTF-8.
static char *text_clean(char *text)
{
	struct mqtt_bytes bytes = {(const uint8_t *)text, strlen(text)};

	if (!mqtt_utf8_valid(bytes))
		for (char *p = text; *p; p++)
			if (*p & 0x80)
				*p = '?';
	return text;
}

// --- connections ---------------------------------------------------------------------------------

struct connections {
	struct slice slice;
	struct offload_connection_row rows[SLICE_ROWS];
	Offramp__V1__Connection messages[SLICE_ROWS], *pointers[SLICE_ROWS];
	char client[SLICE_ROWS][NET_ENDPOINT_STRLEN], broker_local[SLICE_ROWS][NET_ENDPOINT_STRLEN];
};

static_assert(sizeof(struct connections) <= ADMIN_CONNECTIONS_STATE_SIZE, "fits");

static void connections_run(struct mailbox_message *message, void *worker)
{
	struct connections *c = (struct connections *)message;

	(void)worker;
	c->slice.count =
		offload_connections_list(c->slice.offload, &c->slice.cursor, c->rows, SLICE_ROWS);
}

static void connection_fill(struct connections *c, unsigned i)
{
	struct offload_connection_row *row = &c->rows[i];
	Offramp__V1__Connection *m = &c->messages[i];

	offramp__v1__connection__init(m);
	m->broker = text_clean(row->broker);
	m->client_id = text_clean(row->client_id);
	m->client = (char *)net_endpoint_format(&row->client, c->client[i]);
	m->broker_local = (char *)net_endpoint_format(&row->broker_local, c->broker_local[i]);
	m->version = row->version;
	m->accepted = row->accepted;
	m->persistent = row->persistent;
	m->keep_alive_s = row->keep_alive;
	m->subscriptions = row->subscriptions;
	m->client_state = (char *)(row->client_state ? row->client_state : "");
	m->broker_state = (char *)(row->broker_state ? row->broker_state : "");
	m->client_queued = row->client_queued;
	m->broker_queued = row->broker_queued;
	m->queued_messages = row->queued_messages;
	m->inflight = row->inflight;
	m->retransmits = row->retransmits;
	m->captured = row->captured;
	m->passed = row->passed;
	m->delivered = row->delivered;
}

void admin_connections_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct connections *c = state;
	Offramp__V1__ConnectionsResponse response = OFFRAMP__V1__CONNECTIONS_RESPONSE__INIT;

	if (!slice_fetch(ctx, &c->slice, connections_run, reply))
		return;
	for (unsigned i = 0; i < c->slice.count; i++) {
		connection_fill(c, i);
		c->pointers[i] = &c->messages[i];
	}
	response.connections = c->pointers;
	response.n_connections = c->slice.count;
	rpc_reply_message(reply, &response.base);
}

// --- subscriptions -------------------------------------------------------------------------------

struct subscriptions {
	struct slice slice;
	struct offload_subscription_row rows[SLICE_ROWS];
	Offramp__V1__Subscription messages[SLICE_ROWS], *pointers[SLICE_ROWS];
};

static_assert(sizeof(struct subscriptions) <= ADMIN_SUBSCRIPTIONS_STATE_SIZE, "fits");

static void subscriptions_run(struct mailbox_message *message, void *worker)
{
	struct subscriptions *s = (struct subscriptions *)message;

	(void)worker;
	s->slice.count =
		offload_subscriptions_list(s->slice.offload, &s->slice.cursor, s->rows, SLICE_ROWS);
}

static void subscription_fill(struct subscriptions *s, unsigned i)
{
	struct offload_subscription_row *row = &s->rows[i];
	Offramp__V1__Subscription *m = &s->messages[i];

	offramp__v1__subscription__init(m);
	m->broker = text_clean(row->broker);
	m->client_id = text_clean(row->client_id);
	m->filter = text_clean(row->filter);
	m->qos = row->qos;
	m->no_local = row->no_local;
	m->online = row->online;
	m->pending = row->pending;
	m->persistent = row->persistent;
	m->subscription_id = row->subscription_id;
}

void admin_subscriptions_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct subscriptions *s = state;
	Offramp__V1__SubscriptionsResponse response = OFFRAMP__V1__SUBSCRIPTIONS_RESPONSE__INIT;

	if (!slice_fetch(ctx, &s->slice, subscriptions_run, reply))
		return;
	for (unsigned i = 0; i < s->slice.count; i++) {
		subscription_fill(s, i);
		s->pointers[i] = &s->messages[i];
	}
	response.subscriptions = s->pointers;
	response.n_subscriptions = s->slice.count;
	rpc_reply_message(reply, &response.base);
}

// --- topics --------------------------------------------------------------------------------------

struct topics {
	struct slice slice;
	struct offload_topic_row rows[SLICE_ROWS];
	Offramp__V1__Topic messages[SLICE_ROWS], *pointers[SLICE_ROWS];
};

static_assert(sizeof(struct topics) <= ADMIN_TOPICS_STATE_SIZE, "fits");

static void topics_run(struct mailbox_message *message, void *worker)
{
	struct topics *t = (struct topics *)message;

	(void)worker;
	t->slice.count =
		offload_topics_list(t->slice.offload, &t->slice.cursor, t->rows, SLICE_ROWS);
}

static void topic_fill(struct topics *t, unsigned i)
{
	struct offload_topic_row *row = &t->rows[i];
	Offramp__V1__Topic *m = &t->messages[i];

	offramp__v1__topic__init(m);
	m->broker = text_clean(row->broker);
	m->topic = text_clean(row->topic);
	m->worker = t->slice.worker;
	m->verdict = (char *)row->verdict;
	m->verdict_qos1 = (char *)row->verdict_qos1;
	m->verdict_qos2 = (char *)row->verdict_qos2;
	m->targets = row->targets;
	m->denied = row->denied;
	m->pending = row->pending;
	m->elsewhere = row->workers != 0;
	m->known = row->known;
	m->shown = row->shown;
	m->shown_us = row->shown_us;
	m->asks_us = row->asks_us;
}

void admin_topics_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct topics *t = state;
	Offramp__V1__TopicsResponse response = OFFRAMP__V1__TOPICS_RESPONSE__INIT;

	if (!slice_fetch(ctx, &t->slice, topics_run, reply))
		return;
	for (unsigned i = 0; i < t->slice.count; i++) {
		topic_fill(t, i);
		t->pointers[i] = &t->messages[i];
	}
	response.topics = t->pointers;
	response.n_topics = t->slice.count;
	rpc_reply_message(reply, &response.base);
}
