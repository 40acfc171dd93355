// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A broker that tells all that it has of its own accord and understands no markers (EMQX): what
// is captured, and what is not. The broker here is a small one, which asks for rights and tells
// of clients as EMQX does. Packets are at most 127 bytes long, clients speak 3.1.1. Everything is
// tested with one worker, and with two: then clients of odd numbers are the second one's.

#include "offload_tests.h"

#include <stdio.h>
#include <string.h>

#include "mqtt/topic.h"
#include "offload/inspect.h"
#include "offload/notice.h"
#include "pair.h"

#define LEGS	   8
#define FIRST_PORT 40000

struct leg {
	char id[16]; // as the broker has it
	char filters[4][16];
	bool may_write[3][2]; // by QoS and retain
	uint32_t published;   // came to the broker
	uint32_t got;	      // PUBLISHes that the client got
	bool held;	      // the broker does not read it
};

struct emqx {
	struct bed *beds[2];
	unsigned workers;
	struct leg legs[LEGS];
	uint64_t lease_us;
	bool portless;	     // it does not say ports
	const char *rewrite; // the filter that it makes of those it is asked for; NULL: as they are
};

static struct net_endpoint end_of(unsigned i)
{
	return (struct net_endpoint){net_address_from_ipv4(0x010013c6), (uint16_t)(FIRST_PORT + i)};
}

// The worker that has the client.
static struct bed *bed_of(const struct emqx *e, unsigned i)
{
	return e->beds[i % e->workers];
}

// --- what it tells -------------------------------------------------------------------------------

static void tell_session(
	struct emqx *e, const char *id, struct net_endpoint peer, enum offload_session_state state)
{
	const struct offload_session session = {
		.client_id = mqtt_bytes(id, strlen(id)),
		.peer = {peer.address, e->portless ? 0 : peer.port},
		.state = state,
	};

	for (unsigned w = 0; w < e->workers; w++)
		offload_notice_session(e->beds[w]->offload, 0, &session);
}

static void tell_subscribed(struct emqx *e, const char *id, const char *text)
{
	const struct offload_filter filter = {.text = mqtt_bytes(text, strlen(text))};

	for (unsigned w = 0; w < e->workers; w++)
		offload_notice_subscribed(
			e->beds[w]->offload, 0, 0, mqtt_bytes(id, strlen(id)), &filter);
}

static void tell_unsubscribed(struct emqx *e, const char *id, const char *filter)
{
	for (unsigned w = 0; w < e->workers; w++)
		offload_notice_unsubscribed(e->beds[w]->offload, 0, 0, mqtt_bytes(id, strlen(id)),
			mqtt_bytes(filter, strlen(filter)));
}

// --- the broker ----------------------------------------------------------------------------------

static bool matches(const char *filter, struct mqtt_bytes topic)
{
	return *filter && mqtt_filter_matches(mqtt_bytes(filter, strlen(filter)), topic);
}

static void route(struct emqx *e, const uint8_t *packet, size_t length, struct mqtt_bytes topic)
{
	uint8_t copy[128] = {0x30};
	size_t head = 2 + 2 + topic.length, skip = head + (packet[0] & 6 ? 2 : 0);

	memcpy(copy + 1, packet + 1, head - 1);
	memcpy(copy + head, packet + skip, length - skip);
	copy[1] = (uint8_t)(head + length - skip - 2);
	for (unsigned i = 0; i < LEGS; i++)
		for (unsigned n = 0; n < 4; n++)
			if (bed_of(e, i)->clients[i] != NULL &&
				matches(e->legs[i].filters[n], topic))
				broker_sends(bed_of(e, i), i, copy, 2u + copy[1]);
}

static void published(struct emqx *e, unsigned i, const uint8_t *packet, size_t length)
{
	struct mqtt_bytes topic = mqtt_bytes(packet + 4, packet[3]);
	uint8_t qos = packet[0] >> 1 & 3;
	const struct offload_published told = {
		.client_id = mqtt_bytes(e->legs[i].id, strlen(e->legs[i].id)),
		.topic = topic,
		.qos = qos,
		.told_us = bed_of(e, i)->tcp.now_us,
		.written = true,
	};

	e->legs[i].published++;
	if (e->legs[i].may_write[qos][packet[0] & 1]) {
		for (unsigned w = 0; w < e->workers; w++)
			offload_notice_published(e->beds[w]->offload, 0, &told);
		route(e, packet, length, topic);
	}
	if (qos == 1)
		broker_sends(bed_of(e, i), i,
			(uint8_t[]){
				0x40, 2, topic.data[topic.length], topic.data[topic.length + 1]},
			4);
}

static void subscribed(struct emqx *e, unsigned i, const uint8_t *packet)
{
	struct leg *leg = &e->legs[i];
	char filter[16] = {0};

	memcpy(filter, packet + 6, packet[5]);
	for (unsigned n = 0; n < 4; n++)
		if (!*leg->filters[n]) {
			strcpy(leg->filters[n], e->rewrite != NULL ? e->rewrite : filter);
			tell_subscribed(e, leg->id, leg->filters[n]);
			break;
		}
	broker_sends(bed_of(e, i), i, (uint8_t[]){0x90, 3, packet[2], packet[3], 0}, 5);
}

static void unsubscribed(struct emqx *e, unsigned i, const uint8_t *packet)
{
	struct leg *leg = &e->legs[i];
	char filter[16] = {0};

	memcpy(filter, packet + 6, packet[5]);
	for (unsigned n = 0; n < 4; n++)
		if (strcmp(leg->filters[n], filter) == 0)
			*leg->filters[n] = '\0';
	tell_unsubscribed(e, leg->id, filter);
	broker_sends(bed_of(e, i), i, (uint8_t[]){0xb0, 2, packet[2], packet[3]}, 4);
}

static void handle(struct emqx *e, unsigned i, const uint8_t *packet, size_t length)
{
	switch (packet[0] >> 4) {
	case MQTT_CONNECT:
		tell_session(e, e->legs[i].id, end_of(i), OFFLOAD_SESSION_CREATED);
		broker_sends(bed_of(e, i), i, BYTES("\x20\x02\x00\x00"));
		break;
	case MQTT_PUBLISH:
		published(e, i, packet, length);
		break;
	case MQTT_SUBSCRIBE:
		subscribed(e, i, packet);
		break;
	case MQTT_UNSUBSCRIBE:
		unsubscribed(e, i, packet);
		break;
	case MQTT_PINGREQ:
		broker_sends(bed_of(e, i), i, BYTES("\xd0\x00"));
		break;
	default:
		break;
	}
}

static bool leg_run(struct emqx *e, unsigned i)
{
	const uint8_t *data;
	uint8_t bytes[4096];
	size_t length, at = 0;

	if (bed_of(e, i)->clients[i] == NULL || e->legs[i].held)
		return false;
	length = got_take(&bed_of(e, i)->up[i], &data);
	assert_true(length <= sizeof(bytes));
	if (length == 0)
		return false;
	memcpy(bytes, data, length);
	for (; at < length; at += 2u + bytes[at + 1])
		handle(e, i, bytes + at, 2u + bytes[at + 1]);
	return true;
}

static void client_run(struct emqx *e, unsigned i)
{
	const uint8_t *data;
	size_t length;

	if (bed_of(e, i)->clients[i] == NULL)
		return;
	length = got_take(&bed_of(e, i)->down[i], &data);
	for (size_t at = 0; at < length; at += 2u + data[at + 1])
		e->legs[i].got += data[at] >> 4 == MQTT_PUBLISH;
}

// What crosses from one to the other is answered.
static void turn(struct emqx *e)
{
	for (unsigned n = 0; n < (e->workers == 1 ? 1 : 6); n++)
		bed_turn(bed_of(e, n));
}

static void run(struct emqx *e)
{
	bool busy = true;

	while (busy) {
		busy = false;
		for (unsigned i = 0; i < LEGS; i++)
			busy |= leg_run(e, i);
		turn(e);
	}
	for (unsigned i = 0; i < LEGS; i++)
		client_run(e, i);
}

static void wait_ms(struct emqx *e, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		e->lease_us = e->beds[0]->tcp.now_us + US_IN_S;
		for (unsigned w = 0; w < e->workers; w++)
			bed_wait(e->beds[w], US_IN_MS);
		run(e);
	}
}

// --- the clients ---------------------------------------------------------------------------------

// Whom the broker knows as `as`.
static void connect_as(struct emqx *e, unsigned i, const char *id, const char *as)
{
	uint8_t packet[64] = "\x10\x00\x00\x04MQTT\x04\x02\x00\x00\x00";

	e->legs[i] = (struct leg){.may_write = {{true, true}, {true, true}, {true, true}}};
	strcpy(e->legs[i].id, as);
	packet[13] = (uint8_t)strlen(id);
	memcpy(packet + 14, id, strlen(id));
	packet[1] = (uint8_t)(12 + strlen(id));
	bed_open(bed_of(e, i), i);
	bed_of(e, i)->up[i].remote = end_of(i);
	client_sends(bed_of(e, i), i, packet, 2u + packet[1]);
	run(e);
}

static void connect(struct emqx *e, unsigned i, const char *id)
{
	connect_as(e, i, id, id);
}

static void filter_sends(struct emqx *e, unsigned i, uint8_t type, const char *filter)
{
	uint8_t packet[32] = {type, 0, 0, 9, 0};
	size_t length = strlen(filter);

	packet[5] = (uint8_t)length;
	memcpy(packet + 6, filter, length);
	packet[1] = (uint8_t)(4 + length + (type == 0x82));
	client_sends(bed_of(e, i), i, packet, 2u + packet[1]);
	run(e);
}

static void subscribe(struct emqx *e, unsigned i, const char *filter)
{
	filter_sends(e, i, 0x82, filter);
}

static void publish(struct emqx *e, unsigned i, const char *topic, uint8_t flags)
{
	uint8_t packet[64];

	client_sends(bed_of(e, i), i, packet, publish_v4(packet, topic, flags, "x", 1));
	run(e);
}

// The client publishes, and each time that one gets it once. Returns how many came to the broker.
static unsigned flow(struct emqx *e, unsigned from, unsigned to, const char *topic, unsigned count)
{
	uint32_t before = e->legs[from].published;

	for (unsigned i = 0; i < count; i++) {
		uint32_t got = e->legs[to].got;

		publish(e, from, topic, 0);
		wait_ms(e, 5);
		assert_int_equal(e->legs[to].got, got + 1);
	}
	return e->legs[from].published - before;
}

static uint64_t passed(const struct emqx *e, enum proof_reason reason)
{
	uint64_t count = 0;

	for (unsigned w = 0; w < e->workers; w++)
		count += bed_counters(e->beds[w])->passed[reason];
	return count;
}

static void up(struct emqx *e)
{
	const struct offload_stream stream = {
		.lease_until_us = &e->lease_us, .instance = 7, .complete = true};

	e->lease_us = e->beds[0]->tcp.now_us + US_IN_S;
	for (unsigned w = 0; w < e->workers; w++) {
		offload_stream_up(e->beds[w]->offload, 0, &stream);
		offload_notice_snapshot_end(e->beds[w]->offload, 0);
	}
}

static struct emqx emqx;

static struct emqx *start_with(void **state, enum offload_authorization authorization)
{
	if (*state != NULL) {
		struct pair *pair;

		pair_setup_hooks(state, authorization);
		pair = *state;
		emqx = (struct emqx){{&pair->beds[0], &pair->beds[1]}, .workers = 2};
	} else {
		struct bed *bed = bed_new(state);

		emqx = (struct emqx){{bed}, .workers = 1};
		bed->broker.knowledge = OFFLOAD_KNOWLEDGE_BROKER;
		bed->broker.authorization = authorization;
		bed->broker.hooks = true;
		bed->broker.overlap = PROOF_OVERLAP_EACH;
		bed_start(bed);
	}
	up(&emqx);
	return &emqx;
}

// For another start().
static void over(void **state)
{
	if (emqx.workers == 1) {
		bed_end(state);
		*state = NULL;
	} else {
		pair_teardown(state);
		*state = &emqx;
	}
}

static struct emqx *start(void **state)
{
	return start_with(state, OFFLOAD_AUTHORIZATION_BROKER);
}

// A subscriber and a publisher, whose messages are captured.
static struct emqx *start_captured(void **state)
{
	struct emqx *e = start(state);

	connect(e, 0, "s");
	connect(e, 1, "p");
	subscribe(e, 0, "t/#");
	assert_in_range(flow(e, 1, 0, "t/1", 10), 1, 2);
	return e;
}

static void never_captured(struct emqx *e, unsigned from, unsigned to, const char *topic)
{
	assert_int_equal(flow(e, from, to, topic, 20), 20);
}

// --- readers -------------------------------------------------------------------------------------

static void one_message_asks(void **state)
{
	struct emqx *e = start_captured(state);

	assert_int_equal(passed(e, PROOF_UNPROVEN), 1);
	assert_int_equal(flow(e, 1, 0, "t/1", 50), 0);
	assert_in_range(flow(e, 1, 0, "t/2", 50), 1, 2);
}

static void where_all_may_write_none_asks(void **state)
{
	struct emqx *e = start_with(state, OFFLOAD_AUTHORIZATION_OPEN);

	connect(e, 0, "s");
	connect(e, 1, "p");
	subscribe(e, 0, "t/#");
	assert_int_equal(flow(e, 1, 0, "t/1", 10), 0);
}

static void what_is_shown_is_shown_again(void **state)
{
	struct emqx *e = start_captured(state);
	uint32_t before = e->legs[1].published;

	for (unsigned i = 0; i < 60; i++) {
		wait_ms(e, 1000);
		flow(e, 1, 0, "t/1", 1);
	}
	assert_in_range(e->legs[1].published - before, 2, 4);
	assert_in_range(passed(e, PROOF_REFRESH), 2, 3);
}

static void a_client_that_comes_another_way_makes_its_topics_pass(void **state)
{
	struct emqx *e = start_captured(state);
	struct net_endpoint elsewhere = end_of(1000);

	tell_session(e, "x", elsewhere, OFFLOAD_SESSION_CREATED);
	assert_int_equal(flow(e, 1, 0, "t/1", 5), 0);
	tell_subscribed(e, "x", "+/1");
	never_captured(e, 1, 0, "t/1");
	assert_int_equal(passed(e, PROOF_UNKNOWN_READER), 20);
	assert_in_range(flow(e, 1, 0, "t/2", 10), 1, 2);
	tell_unsubscribed(e, "x", "+/1");
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
	// It goes without a word of its subscriptions.
	tell_subscribed(e, "x", "$share/g/t/1");
	never_captured(e, 1, 0, "t/1");
	tell_session(e, "x", elsewhere, OFFLOAD_SESSION_ENDED);
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
	// A queue is a share.
	tell_session(e, "x", elsewhere, OFFLOAD_SESSION_CREATED);
	tell_subscribed(e, "x", "$queue/t/1");
	never_captured(e, 1, 0, "t/1");
	// Its next session does not have it.
	tell_session(e, "x", elsewhere, OFFLOAD_SESSION_CREATED);
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
}

static void a_session_that_waits_for_its_client_is_a_stranger(void **state)
{
	struct emqx *e = start_captured(state);

	connect(e, 2, "r");
	subscribe(e, 2, "t/1");
	assert_true(flow(e, 1, 0, "t/1", 100) < 90);
	bed_close(bed_of(e, 2), 2); // and the broker keeps its session
	turn(e);
	never_captured(e, 1, 0, "t/1");
}

static void what_a_client_unsubscribes_from_it_does_not_get(void **state)
{
	struct emqx *e = start_captured(state);
	uint32_t got;

	connect(e, 2, "r");
	subscribe(e, 2, "t/1");
	flow(e, 1, 0, "t/1", 20);
	filter_sends(e, 2, 0xa2, "t/1");
	got = e->legs[2].got;
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
	assert_int_equal(e->legs[2].got, got);
}

// The broker makes another subscription of the one that it was asked for.
// More changes than anybody remembers, and then one who comes and goes.
static void who_comes_and_goes_elsewhere(void **state)
{
	struct emqx *e = start_captured(state);

	connect(e, 2, "r");
	connect(e, 3, "q");
	for (unsigned i = 0; i < 2 * SESSION_CHANGES; i++) {
		subscribe(e, 2, "u/1");
		filter_sends(e, 2, 0xa2, "u/1");
	}
	assert_int_equal(flow(e, 1, 0, "t/1", 20), 0);
	for (unsigned i = 2; i < 4; i++) {
		subscribe(e, i, "t/1");
		assert_in_range(flow(e, 1, i, "t/1", 20), 0, 2);
		filter_sends(e, i, 0xa2, "t/1");
		assert_in_range(flow(e, 1, 0, "t/1", 20), 0, 2);
		assert_int_equal(e->legs[i].got, 20);
	}
	assert_int_equal(e->legs[0].got, 10 + 20 + 4 * 20);
}

static void a_rewritten_filter_is_not_the_clients(void **state)
{
	struct emqx *e = start_captured(state);
	uint32_t got;

	connect(e, 2, "r");
	e->rewrite = "t/3";
	subscribe(e, 2, "t/2");
	got = e->legs[2].got;
	never_captured(e, 1, 0, "t/2");
	assert_int_equal(e->legs[2].got, got);
	never_captured(e, 1, 0, "t/3");
	assert_int_equal(e->legs[2].got, got + 20);
	assert_true(passed(e, PROOF_UNREAD) > 0);
}

// --- writers -------------------------------------------------------------------------------------

static void not_written(struct emqx *e, unsigned from, uint8_t flags, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t got = e->legs[0].got, published = e->legs[from].published;

		publish(e, from, "t/1", flags);
		wait_ms(e, 20);
		assert_int_equal(e->legs[0].got, got);
		assert_int_equal(e->legs[from].published, published + 1);
	}
}

static void who_may_not_write_is_never_captured(void **state)
{
	struct emqx *e = start_captured(state);

	connect(e, 2, "q");
	e->legs[2].may_write[0][0] = false;
	not_written(e, 2, 0, 100);
	assert_true(passed(e, PROOF_UNWRITTEN) > 0);
	assert_int_equal(flow(e, 1, 0, "t/1", 5), 0);
	e->legs[2].may_write[0][0] = true;
	assert_true(flow(e, 2, 0, "t/1", 2000) < 1990);
}

// EMQX's rules know QoS and retain.
static void a_right_is_one_of_a_kind_of_message(void **state)
{
	struct emqx *e = start_captured(state);

	e->legs[1].may_write[1][0] = false;
	not_written(e, 1, 2, 50);
	assert_int_equal(flow(e, 1, 0, "t/1", 5), 0);
	connect(e, 2, "q");
	e->legs[2].may_write[0][0] = false;
	for (unsigned i = 0; i < 50; i++) {
		uint32_t got = e->legs[0].got;

		publish(e, 2, "t/1", 1);
		publish(e, 2, "t/1", 0);
		publish(e, 2, "t/1", 1);
		wait_ms(e, 100);
		assert_int_equal(e->legs[0].got, got + 2);
	}
	assert_int_equal(e->legs[2].published, 150);
}

// What was on its way when it asked is told of late.
static void an_older_message_does_not_answer(void **state)
{
	struct emqx *e = start_captured(state);

	connect(e, 2, "q");
	e->legs[2].may_write[0][0] = false;
	e->legs[2].held = true;
	publish(e, 2, "t/1", 1); // retained: that it may
	publish(e, 2, "t/1", 0);
	e->legs[2].held = false;
	run(e);
	wait_ms(e, 5);
	not_written(e, 2, 0, 50);
}

// --- whose connection ----------------------------------------------------------------------------

static void connections_are_known_by_their_ports(void **state)
{
	struct emqx *e = start(state);

	connect(e, 0, "s");
	subscribe(e, 0, "t/#");
	// Each under the other's name.
	connect_as(e, 1, "a", "b");
	connect_as(e, 2, "b", "a");
	e->legs[2].may_write[0][0] = false;
	assert_in_range(flow(e, 1, 0, "t/1", 20), 1, 2);
	not_written(e, 2, 0, 50);
	// And who has not brought any.
	connect_as(e, 3, "", "auto-1");
	assert_in_range(flow(e, 3, 0, "t/1", 20), 1, 2);
	subscribe(e, 3, "t/2");
	assert_in_range(flow(e, 1, 3, "t/2", 20), 1, 2);
}

static void without_ports_identifiers_have_to_do(void **state)
{
	struct emqx *e = start(state);

	e->portless = true;
	connect(e, 0, "s");
	connect(e, 1, "p");
	subscribe(e, 0, "t/#");
	assert_in_range(flow(e, 1, 0, "t/1", 20), 1, 2);
	connect_as(e, 2, "", "auto-1");
	assert_int_equal(flow(e, 1, 0, "t/1", 5), 0);
	never_captured(e, 2, 0, "t/1");
	// The broker gives others than clients bring: nobody is who it says.
	connect_as(e, 3, "a", "b");
	never_captured(e, 1, 0, "t/1");
	assert_true(passed(e, PROOF_UNJOINED) > 0);
	bed_close(bed_of(e, 3), 3);
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
}

// Whose is the session that was told of? One of them has it.
static void two_at_once_without_ports(void **state)
{
	for (unsigned portless = 0; portless < 2; portless++) {
		struct emqx *e = start(state);

		e->portless = portless;
		connect(e, 0, "s");
		subscribe(e, 0, "t/#");
		e->legs[1].held = e->legs[2].held = true;
		for (unsigned i = 1; i < 3; i++) {
			bed_open(bed_of(e, i), i);
			bed_of(e, i)->up[i].remote = end_of(i);
			client_sends(bed_of(e, i), i,
				BYTES("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p"));
			strcpy(e->legs[i].id, "p");
		}
		for (unsigned i = 1; i < 3; i++) {
			tell_session(e, "p", end_of(i), OFFLOAD_SESSION_CREATED);
			got_take(&bed_of(e, i)->up[i], &(const uint8_t *){NULL});
			e->legs[i].may_write[0][0] = true;
		}
		broker_sends(bed_of(e, 2), 2, BYTES("\x20\x02\x00\x00"));
		e->legs[2].held = false;
		if (portless)
			never_captured(e, 2, 0, "t/1");
		else
			assert_in_range(flow(e, 2, 0, "t/1", 20), 1, 2);
		over(state);
	}
	start(state);
}

// Its session goes to a client that comes another way; its own connection has not ended yet.
static void taken_over_from_elsewhere(void **state)
{
	for (unsigned portless = 0; portless < 2; portless++) {
		struct emqx *e = start(state);

		e->portless = portless;
		connect(e, 0, "s");
		connect(e, 1, "p");
		subscribe(e, 0, "t/#");
		flow(e, 1, 0, "t/1", 10);
		tell_session(e, "s", end_of(1000), OFFLOAD_SESSION_RESUMED);
		never_captured(e, 1, 0, "t/1");
		bed_close(bed_of(e, 0), 0);
		connect(e, 2, "r");
		subscribe(e, 2, "t/1");
		never_captured(e, 1, 2, "t/1");
		tell_session(e, "s", end_of(1000), OFFLOAD_SESSION_ENDED);
		assert_true(flow(e, 1, 2, "t/1", 300) < 290);
		// And the publisher's: what is told is the other one's.
		tell_session(e, "p", end_of(1001), OFFLOAD_SESSION_CREATED);
		connect(e, 3, "q");
		e->legs[3].may_write[0][0] = false;
		strcpy(e->legs[3].id, "p");
		not_written(e, 3, 0, 20);
		over(state);
	}
	start(state);
}

// The address is used again while the broker still deals with who had it before.
static void a_port_that_is_used_again(void **state)
{
	struct emqx *e = start(state);

	connect(e, 0, "s");
	subscribe(e, 0, "t/#");
	e->legs[1].held = true;
	bed_open(bed_of(e, 1), 1);
	bed_of(e, 1)->up[1].remote = end_of(1);
	client_sends(bed_of(e, 1), 1, BYTES("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p"));
	tell_session(e, "old", end_of(1), OFFLOAD_SESSION_CREATED);
	tell_session(e, "p", end_of(1), OFFLOAD_SESSION_CREATED);
	got_take(&bed_of(e, 1)->up[1], &(const uint8_t *){NULL});
	broker_sends(bed_of(e, 1), 1, BYTES("\x20\x02\x00\x00"));
	e->legs[1] = (struct leg){.id = "p", .may_write = {{true}}};
	never_captured(e, 1, 0, "t/1");
	assert_int_equal(passed(e, PROOF_UNJOINED), 20);
}

// --- the stream ----------------------------------------------------------------------------------

static void without_a_lease_nothing_is_captured(void **state)
{
	struct emqx *e = start_captured(state);

	e->lease_us = 0;
	turn(e);
	publish(e, 1, "t/1", 0);
	assert_int_equal(passed(e, PROOF_STREAM), 1);
	wait_ms(e, 10);
	assert_true(flow(e, 1, 0, "t/1", 300) < 290);
	for (unsigned w = 0; w < e->workers; w++)
		offload_stream_down(e->beds[w]->offload, 0, "a connection of its hooks has ended");
	never_captured(e, 1, 0, "t/1");
	// The broker has started again; whoever is still there is not its client.
	up(e);
	never_captured(e, 1, 0, "t/1");
	bed_close(bed_of(e, 0), 0);
	bed_close(bed_of(e, 1), 1);
	connect(e, 0, "s");
	connect(e, 1, "p");
	subscribe(e, 0, "t/#");
	assert_in_range(flow(e, 1, 0, "t/1", 20), 1, 2);
}

static const char *reason(const struct emqx *e)
{
	struct offload_broker_status status;

	assert_int_equal(offload_brokers_list(e->beds[0]->offload, &status, 1), 1);
	return status.map_reason;
}

static void what_does_not_fit_is_not_forgotten(void **state)
{
	struct emqx *e = start_captured(state);
	char filter[16];

	assert_null(reason(e));
	tell_session(e, "x", end_of(1000), OFFLOAD_SESSION_CREATED);
	for (unsigned i = 0; i < 4096 * e->workers; i++) {
		snprintf(filter, sizeof(filter), "f/%u", i);
		tell_subscribed(e, "x", filter);
	}
	never_captured(e, 1, 0, "t/1");
	assert_non_null(strstr(reason(e), "memory.subscriptions"));
	up(e);
	turn(e);
	assert_null(reason(e));
}

static int two_workers(void **state)
{
	*state = &emqx; // start() makes two
	return 0;
}

// What is about one client only, and long, is tested with one.
#define hooks_test(name)                                                        \
	cmocka_unit_test_teardown(name, bed_end),                               \
	{                                                                       \
#name "_at_two_workers", name, two_workers, pair_teardown, NULL \
	}

int test_hooks(void)
{
	const struct CMUnitTest tests[] = {
		hooks_test(one_message_asks),
		hooks_test(where_all_may_write_none_asks),
		cmocka_unit_test_teardown(what_is_shown_is_shown_again, bed_end),
		hooks_test(a_client_that_comes_another_way_makes_its_topics_pass),
		hooks_test(a_session_that_waits_for_its_client_is_a_stranger),
		hooks_test(what_a_client_unsubscribes_from_it_does_not_get),
		hooks_test(who_comes_and_goes_elsewhere),
		hooks_test(a_rewritten_filter_is_not_the_clients),
		cmocka_unit_test_teardown(who_may_not_write_is_never_captured, bed_end),
		cmocka_unit_test_teardown(a_right_is_one_of_a_kind_of_message, bed_end),
		hooks_test(an_older_message_does_not_answer),
		hooks_test(connections_are_known_by_their_ports),
		hooks_test(without_ports_identifiers_have_to_do),
		hooks_test(two_at_once_without_ports),
		hooks_test(taken_over_from_elsewhere),
		hooks_test(a_port_that_is_used_again),
		hooks_test(without_a_lease_nothing_is_captured),
		hooks_test(what_does_not_fit_is_not_forgotten),
	};

	return cmocka_run_group_tests_name("hooks", tests, NULL, NULL);
}
