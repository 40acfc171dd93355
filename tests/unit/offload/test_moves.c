// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Persistent sessions that change worker, with what their clients are owed; and whatever
// else a client leaves behind with the worker it comes from.

#include "offload_tests.h"

#include <stdlib.h>
#include <string.h>

#include "pair.h"

#define PUBLISHER 5

// The session "s" at worker 0 with a subscription to a at QoS 1; a publisher at each worker.
static void begin(struct pair *pair)
{
	joins(pair, 0, PUBLISHER);
	joins(pair, 1, PUBLISHER);
	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a", 1);
	pair_turn(pair);
}

#define HELLO(text)        \
	"\x32\x06\x00\x01" \
	"a\x00\x09" text
#define PUBACK_9 "\x40\x02\x00\x09"
#define FIRST(id, text)    \
	"\x32\x06\x00\x01" \
	"a\x80" id text
#define AGAIN(id, text)    \
	"\x3a\x06\x00\x01" \
	"a\x80" id text
#define PUBACK(id) "\x40\x02\x80" id
#define RESUMED	   "\x20\x02\x01\x00"

// Captured by this worker, and queued wherever it is to go.
static void publish(struct pair *pair, unsigned worker, const char *text)
{
	uint8_t packet[] = HELLO(" ");

	packet[7] = (uint8_t)*text;
	client_sends(&pair->beds[worker], PUBLISHER, packet, sizeof(packet) - 1);
	pair_turn(pair);
	broker_gets(&pair->beds[worker], PUBLISHER, BYTES(""));
	client_gets(&pair->beds[worker], PUBLISHER, BYTES(PUBACK_9));
}

static void what_is_owed_comes_along(void **state)
{
	struct pair *pair = *state;

	begin(pair);
	publish(pair, 0, "1");
	publish(pair, 1, "2");
	publish(pair, 1, "3");
	client_gets(
		&pair->beds[0], 0, BYTES(FIRST("\x00", "1") FIRST("\x01", "2") FIRST("\x02", "3")));
	client_sends(&pair->beds[0], 0, BYTES(PUBACK("\x00")));
	bed_close(&pair->beds[0], 0);
	pair_turn(pair);
	comes_kept(pair, 1, 0, true);
	client_gets(&pair->beds[1], 0, BYTES(RESUMED AGAIN("\x01", "2") AGAIN("\x02", "3")));
	assert_int_equal(pair->beds[0].offload->owed_count, 0);
	assert_int_equal(slab_used(pair->beds[0].offload->brokers[0].map->sessions), 1);
	client_sends(&pair->beds[1], 0, BYTES(PUBACK("\x01") PUBACK("\x02")));
	assert_int_equal(pair->beds[1].offload->owed_count, 0);
	// Identifiers go on where they were.
	broker_gets(&pair->beds[1], 0, BYTES("\xc0\x00"));
	broker_sends(&pair->beds[1], 0, BYTES("\xd0\x00"));
	pair_turn(pair);
	publish(pair, 0, "4");
	client_gets(&pair->beds[1], 0, BYTES(FIRST("\x03", "4")));
}

static void a_takeover_from_another_worker_takes_along_what_is_owed(void **state)
{
	struct pair *pair = *state;

	begin(pair);
	publish(pair, 1, "1");
	client_gets(&pair->beds[0], 0, BYTES(FIRST("\x00", "1")));
	comes_kept(pair, 1, 0, true);
	assert_null(pair->beds[0].clients[0]->session);
	client_gets(&pair->beds[1], 0, BYTES(RESUMED AGAIN("\x00", "1")));
	// The old connection is as good as gone.
	client_sends(&pair->beds[0], 0, BYTES(PUBACK("\x00")));
	assert_int_equal(pair->beds[1].offload->owed_count, 1);
}

static void a_message_on_its_way_to_who_leaves_is_owed(void **state)
{
	struct pair *pair = *state;

	begin(pair);
	client_sends(&pair->beds[1], PUBLISHER, BYTES(HELLO("1")));
	broker_gets(&pair->beds[1], PUBLISHER, BYTES(""));
	bed_close(&pair->beds[0], 0); // it has not been taken yet
	pair_turn(pair);
	client_gets(&pair->beds[1], PUBLISHER, BYTES(PUBACK_9));
	assert_int_equal(pair->beds[0].offload->owed_count, 1);
	comes_kept(pair, 0, 1, true);
	// It had not been sent before: no DUP.
	client_gets(&pair->beds[0], 1, BYTES(RESUMED FIRST("\x00", "1")));
}

static void a_message_on_its_way_to_who_moves_goes_along(void **state)
{
	struct pair *pair = *state;

	begin(pair);
	client_sends(&pair->beds[1], PUBLISHER, BYTES(HELLO("1")));
	bed_open(&pair->beds[1], 0);
	client_sends(&pair->beds[1], 0, BYTES(CONNECT_KEPT));
	broker_sends(&pair->beds[1], 0, BYTES(RESUMED));
	// The question is there before the message.
	offload_learn(pair->beds[0].offload);
	for (unsigned n = 0; n < 8; n++)
		pair_turn(pair);
	client_gets(&pair->beds[1], PUBLISHER, BYTES(PUBACK_9));
	client_gets(&pair->beds[1], 0, BYTES(RESUMED FIRST("\x00", "1")));
}

static void a_large_message_is_copied_whole(void **state)
{
	struct pair *pair = *state;
	static uint8_t packet[60000], text[59000];
	const uint8_t *got;
	size_t length;

	begin(pair);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + (i >> 8));
	length = publish_v4(packet, "a", 2, text, sizeof(text));
	for (size_t at = 0; at < length; at += 1000)
		client_sends(&pair->beds[1], PUBLISHER, packet + at,
			length - at < 1000 ? length - at : 1000);
	pair_turn(pair);
	assert_int_equal(got_take(&pair->beds[0].down[0], &got), length);
	bed_close(&pair->beds[0], 0);
	comes_kept(pair, 1, 0, true);
	assert_int_equal(got_take(&pair->beds[1].down[0], &got), 4 + length);
	assert_int_equal(got[4], 0x3a);
	assert_memory_equal(got + 4 + length - sizeof(text), text, sizeof(text));
}

static void who_leaves_while_it_moves_leaves_what_is_owed_where_it_was(void **state)
{
	struct pair *pair = *state;

	begin(pair);
	publish(pair, 1, "1");
	client_gets(&pair->beds[0], 0, BYTES(FIRST("\x00", "1")));
	bed_close(&pair->beds[0], 0);
	for (unsigned turns = 0; turns < 12; turns++) {
		bed_open(&pair->beds[1], 0);
		client_sends(&pair->beds[1], 0, BYTES(CONNECT_KEPT));
		broker_sends(&pair->beds[1], 0, BYTES(RESUMED));
		for (unsigned n = 0; n < turns; n++)
			bed_turn(&pair->beds[n % 2]);
		bed_close(&pair->beds[1], 0);
		for (unsigned n = 0; n < 4; n++)
			pair_turn(pair);
		assert_int_equal(
			pair->beds[0].offload->owed_count + pair->beds[1].offload->owed_count, 1);
		assert_int_equal(pair->beds[0].offload->brokers[0].map->offline +
					 pair->beds[1].offload->brokers[0].map->offline,
			1);
	}
	comes_kept(pair, 0, 0, true);
	client_gets(&pair->beds[0], 0, BYTES(RESUMED AGAIN("\x00", "1")));
}

static void connects(struct bed *bed, unsigned i, char id)
{
	uint8_t connect[] = CONNECT_KEPT;

	connect[14] = (uint8_t)id;
	bed_open(bed, i);
	client_sends(bed, i, connect, sizeof(connect) - 1);
}

// Each worker asks the other for what that one is just about to ask for.
static void two_that_change_places_do_not_wait_for_each_other(void **state)
{
	struct pair *pair = *state;
	struct bed *beds = pair->beds;

	for (unsigned w = 0; w < 2; w++)
		beds[w].tcp.now_us += US_IN_MS;
	connects(&beds[0], 0, 'p');
	connects(&beds[1], 0, 'q');
	for (unsigned w = 0; w < 2; w++)
		beds[w].tcp.now_us += US_IN_MS;
	connects(&beds[1], 1, 'p');
	connects(&beds[0], 1, 'q');
	// The later ones are accepted first, and ask first.
	for (unsigned n = 2; n-- > 0;)
		for (unsigned w = 0; w < 2; w++) {
			tcp_double_arrive(&beds[w].down[n], "", 0);
			tcp_double_arrive(&beds[w].up[n], BYTES("\x20\x02\x00\x00"));
			offload_client_run(beds[w].clients[n]);
		}
	for (unsigned n = 0; n < 8; n++)
		pair_turn(pair);
	for (unsigned w = 0; w < 2; w++) {
		client_gets(&beds[w], 1, BYTES("\x20\x02\x00\x00"));
		assert_non_null(beds[w].clients[1]->session);
		assert_null(beds[w].clients[0]->session);
		assert_int_equal(beds[w].offload->brokers[0].map->online, 1);
	}
}

// --- what else is left behind --------------------------------------------------------------------

#define WILL_TOPIC "\x30\x04\x00\x01w1"

static void a_will_that_set_off_elsewhere_comes_first(void **state)
{
	static const char connect[] = "\x10\x13\x00\x04MQTT\x04\x06\x00\x00\x00\x01x\x00\x01"
				      "w\x00\x01!";
	struct pair *pair = *state;

	joins(pair, 0, PUBLISHER);
	subscribes(pair, 0, PUBLISHER, "w", 0);
	for (unsigned w = 0; w < 2; w++) {
		bed_open(&pair->beds[w], 0);
		client_sends(&pair->beds[w], 0, BYTES(connect));
		broker_gets(&pair->beds[w], 0, BYTES(connect));
		broker_sends(&pair->beds[w], 0, BYTES("\x20\x02\x00\x00"));
		pair_turn(pair);
		client_gets(&pair->beds[w], 0, BYTES("\x20\x02\x00\x00"));
		client_sends(&pair->beds[w], 0, BYTES(WILL_TOPIC));
		pair_turn(pair);
		// The first time nothing is on its way; the second time it may be.
		broker_gets(&pair->beds[w], 0, WILL_TOPIC, w == 0 ? 0 : sizeof(WILL_TOPIC) - 1);
		bed_close(&pair->beds[w], 0);
	}
}

// What another worker had received before the connection was made is with the broker first.
static void first_bytes_wait_for_the_other_worker(void **state)
{
	struct pair *pair = *state;
	struct bed *first = &pair->beds[0], *later = &pair->beds[1];

	pair_turn(pair);
	later->tcp.now_us += US_IN_MS;
	bed_turn(later);
	bed_open(later, 0);
	client_sends(later, 0, BYTES(CONNECT_KEPT));
	bed_turn(later);
	broker_gets(later, 0, BYTES(""));
	first->tcp.now_us += US_IN_MS;
	bed_turn(first);
	later->tcp.now_us += US_IN_MS;
	bed_turn(later);
	broker_gets(later, 0, BYTES("")); // and what it received for others
	first->tcp.now_us += US_IN_MS;
	bed_turn(first);
	bed_turn(later);
	broker_gets(later, 0, BYTES(CONNECT_KEPT));
}

// A CONNECT that came in parts and waits is one already: what follows it does not begin anything.
static void what_follows_a_connect_that_waits_is_mqtt(void **state)
{
	struct pair *pair = *state;
	struct bed *first = &pair->beds[0], *later = &pair->beds[1];

	pair_turn(pair);
	later->tcp.now_us += US_IN_MS;
	bed_turn(later);
	bed_open(later, 0);
	client_dribbles(later, 0, BYTES(CONNECT_KEPT "\xc0\x00"));
	broker_gets(later, 0, BYTES(""));
	for (unsigned n = 0; n < 4; n++) {
		first->tcp.now_us += US_IN_MS;
		bed_turn(first);
		later->tcp.now_us += US_IN_MS;
		bed_turn(later);
	}
	broker_gets(later, 0, BYTES(CONNECT_KEPT));
	assert_int_equal(later->clients[0]->state, CLIENT_CONNECT);
	broker_sends(later, 0, BYTES("\x20\x02\x00\x00"));
	pair_turn(pair);
	broker_gets(later, 0, BYTES("\xc0\x00"));
}

static void a_pubcomp_waits_until_the_message_is_queued(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, PUBLISHER);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "a", 2);
	client_sends(&pair->beds[0], PUBLISHER,
		BYTES("\x34\x06\x00\x01"
		      "a\x00\x09!"));
	client_gets(&pair->beds[0], PUBLISHER, BYTES("\x50\x02\x00\x09"));
	client_sends(&pair->beds[0], PUBLISHER, BYTES("\x62\x02\x00\x09"));
	client_gets(&pair->beds[0], PUBLISHER, BYTES(""));
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0,
		BYTES("\x34\x06\x00\x01"
		      "a\x80\x00!"));
	bed_turn(&pair->beds[0]);
	client_gets(&pair->beds[0], PUBLISHER, BYTES("\x70\x02\x00\x09"));
	broker_gets(&pair->beds[0], PUBLISHER, BYTES(""));
}

// --- a twin --------------------------------------------------------------------------------------

// A broker with one queue for the session "s", a client that comes to either worker and
// acknowledges when it likes, a publisher at each worker, turns in any order: every message
// arrives, for the first time in the order of its publisher.
struct twin {
	struct pair *pair;
	struct random rng;
	unsigned worker, at; // the session's connection: 0 or 1 of that worker
	bool online, accepted;
	unsigned published[2], next[2]; // by publisher: how many, and the number to come
	uint16_t queue[4096];		// of the broker: publisher and number
	unsigned queue_head, queue_tail;
	unsigned broker_id; // of its message under way; 0: none
	uint16_t acks[256];
	unsigned acks_count; // what the client has not acknowledged yet
};

static struct bed *twin_bed(struct twin *twin)
{
	return &twin->pair->beds[twin->worker];
}

static void twin_broker_sends(struct twin *twin)
{
	uint8_t packet[] = {0x32, 7, 0, 1, 'a', 0, 0, 0, 0};
	uint16_t message = twin->queue[twin->queue_head % 4096];

	if (!twin->online || !twin->accepted || twin->broker_id != 0 ||
		twin->queue_head == twin->queue_tail)
		return;
	twin->broker_id = 1 + random_below(&twin->rng, 1000);
	packet[5] = (uint8_t)(twin->broker_id >> 8);
	packet[6] = (uint8_t)twin->broker_id;
	packet[7] = (uint8_t)(message >> 8);
	packet[8] = (uint8_t)message;
	broker_sends(twin_bed(twin), twin->at, packet, sizeof(packet));
}

static void twin_client_reads(struct twin *twin)
{
	const uint8_t *got;
	size_t length = got_take(&twin_bed(twin)->down[twin->at], &got);

	for (size_t i = 0; i < length; i += 2u + got[i + 1]) {
		unsigned from = got[i + 7] >> 7, number;

		if (got[i] >> 4 != MQTT_PUBLISH)
			continue;
		number = (got[i + 7] & 0x7fu) << 8 | got[i + 8];
		assert_in_range(number, 0, twin->next[from]);
		// Ours without DUP has not been sent before.
		if ((got[i] & 8) == 0 && got[i + 5] & 0x80)
			assert_int_equal(number, twin->next[from]);
		twin->next[from] += number == twin->next[from];
		assert_in_range(twin->acks_count, 0, 255);
		twin->acks[twin->acks_count++] = (uint16_t)(got[i + 5] << 8 | got[i + 6]);
	}
}

static void twin_broker_reads(struct twin *twin, unsigned worker, unsigned i)
{
	struct bed *bed = &twin->pair->beds[worker];
	bool session = worker == twin->worker && i == twin->at;
	const uint8_t *got;
	size_t length = got_take(&bed->up[i], &got);
	unsigned pings = 0;

	for (size_t at = 0; at < length; at += 2u + got[at + 1]) {
		switch (got[at] >> 4) {
		case MQTT_CONNECT:
			twin->accepted = true;
			broker_sends(bed, i, BYTES(RESUMED));
			break;
		case MQTT_PUBLISH:
			twin->queue[twin->queue_tail++ % 4096] =
				(uint16_t)(got[at + 7] << 8 | got[at + 8]);
			broker_sends(bed, i, BYTES(PUBACK_9));
			break;
		case MQTT_PUBACK:
			if (!session ||
				(unsigned)(got[at + 2] << 8 | got[at + 3]) != twin->broker_id)
				break;
			twin->broker_id = 0;
			twin->queue_head++;
			break;
		case MQTT_PINGREQ:
			pings++;
			break;
		default:
			break;
		}
	}
	twin_broker_sends(twin);
	while (pings-- > 0)
		broker_sends(bed, i, BYTES("\xd0\x00"));
}

static void twin_publish(struct twin *twin, unsigned worker)
{
	unsigned number = twin->published[worker];
	uint8_t packet[] = {
		0x32, 7, 0, 1, 'a', 0, 9, (uint8_t)(worker << 7 | number >> 8), (uint8_t)number};

	if (number - twin->next[worker] >= 30)
		return;
	twin->published[worker]++;
	client_sends(&twin->pair->beds[worker], PUBLISHER, packet, sizeof(packet));
}

static void twin_acknowledge(struct twin *twin)
{
	uint8_t packet[] = {0x40, 2, 0, 0};

	if (!twin->online || twin->acks_count == 0)
		return;
	packet[2] = (uint8_t)(twin->acks[0] >> 8);
	packet[3] = (uint8_t)twin->acks[0];
	memmove(twin->acks, twin->acks + 1, --twin->acks_count * sizeof(twin->acks[0]));
	client_sends(twin_bed(twin), twin->at, packet, 4);
}

static void twin_leave_or_come(struct twin *twin)
{
	bool takeover = twin->online && random_below(&twin->rng, 2) == 0;
	struct bed *old = twin_bed(twin);
	unsigned old_at = twin->at;

	twin->acks_count = 0;
	twin->broker_id = 0; // it sends it again
	twin->accepted = false;
	if (twin->online && !takeover) {
		bed_close(old, old_at);
		twin->online = false;
		return;
	}
	for (unsigned w = 0; w < 2; w++) // later than any before
		twin->pair->beds[w].tcp.now_us++;
	twin->worker = random_below(&twin->rng, 2);
	twin->at = 1 - twin->at;
	twin->online = true;
	bed_turn(twin_bed(twin));
	bed_open(twin_bed(twin), twin->at);
	client_sends(twin_bed(twin), twin->at, BYTES(CONNECT_KEPT));
	if (takeover && random_below(&twin->rng, 2) == 0)
		pair_turn(twin->pair);
	if (takeover)
		bed_close(old, old_at);
}

static void twin_reads(struct twin *twin)
{
	for (unsigned n = 0; n < 3; n++) {
		for (unsigned w = 0; w < 2; w++)
			twin_broker_reads(twin, w, PUBLISHER);
		if (!twin->online)
			continue;
		twin_client_reads(twin);
		twin_broker_reads(twin, twin->worker, twin->at);
	}
}

static void twin_step(struct twin *twin)
{
	unsigned what = random_below(&twin->rng, 1000);

	if (what < 150)
		twin_publish(twin, what % 2);
	else if (what < 600)
		twin_acknowledge(twin);
	else if (what < 605)
		twin_leave_or_come(twin);
	else if (what < 960)
		bed_turn_once(&twin->pair->beds[what % 2]);
	else
		pair_wait(twin->pair, random_below(&twin->rng, 20) * US_IN_MS);
	twin_reads(twin);
}

static void every_message_arrives_in_order_wherever_the_client_goes(void **state)
{
	struct pair *pair = *state;
	struct twin twin = {.pair = pair, .online = true, .accepted = true};
	const struct offload_counters *counters[2];

	for (unsigned w = 0; w < 2; w++)
		pair->beds[w].broker.capture.hold_us = 20 * US_IN_MS;
	begin(pair);
	random_init(&twin.rng, 11);
	for (unsigned step = 0; step < 30000; step++)
		twin_step(&twin);
	if (!twin.online)
		twin_leave_or_come(&twin);
	for (unsigned i = 0;
		i < 3000 && (twin.next[0] < twin.published[0] || twin.next[1] < twin.published[1]);
		i++) {
		twin_acknowledge(&twin);
		pair_wait(pair, 5 * US_IN_MS);
		twin_reads(&twin);
	}
	for (unsigned w = 0; w < 2; w++) {
		counters[w] = bed_counters(&pair->beds[w]);
		assert_int_equal(twin.next[w], twin.published[w]);
		// Both ways were gone.
		assert_true(counters[w]->captured[1] > 300);
		assert_true(counters[w]->passed[PROOF_OFFLINE] > 100);
		assert_int_equal(counters[w]->dropped[OFFLOAD_DROP_SESSION], 0);
		assert_int_equal(counters[w]->dropped[OFFLOAD_DROP_QUEUE_FULL], 0);
	}
	assert_true(counters[0]->crossed + counters[1]->crossed > 300);
	assert_true(counters[0]->resent + counters[1]->resent > 30);
}

int test_moves(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(what_is_owed_comes_along),
		pair_test(a_takeover_from_another_worker_takes_along_what_is_owed),
		pair_test(a_message_on_its_way_to_who_leaves_is_owed),
		pair_test(a_message_on_its_way_to_who_moves_goes_along),
		pair_test(a_large_message_is_copied_whole),
		pair_test(who_leaves_while_it_moves_leaves_what_is_owed_where_it_was),
		pair_test(two_that_change_places_do_not_wait_for_each_other),
		pair_test(a_will_that_set_off_elsewhere_comes_first),
		pair_test(first_bytes_wait_for_the_other_worker),
		pair_test(what_follows_a_connect_that_waits_is_mqtt),
		pair_test(a_pubcomp_waits_until_the_message_is_queued),
		pair_test(every_message_arrives_in_order_wherever_the_client_goes),
	};

	return cmocka_run_group_tests_name("moves", tests, NULL, NULL);
}
