// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Persistent sessions: what their clients are owed over the ends of connections.

#include "offload_tests.h"

#include <stdlib.h>
#include <string.h>

#define PUBLISHER 1

// A session that stays, with a subscription to a; and a publisher.
static void begin_v4(struct bed *bed)
{
	bed_start(bed);
	connect_session(bed, 0, MQTT_VERSION_3_1_1, false, false, mqtt_bytes(NULL, 0));
	subscribe_v4(bed, 0, "a", 1);
	connect_v4(bed, PUBLISHER);
}

static void begin_v5(struct bed *bed)
{
	bed_start(bed);
	connect_session(bed, 0, MQTT_VERSION_5, false, false, mqtt_bytes(EXPIRY, 5));
	subscribe_v5(bed, 0, "a", 1, 0);
	connect_v5(bed, PUBLISHER);
}

// Captured: acknowledged without the broker. The message is one character.
static void publish(struct bed *bed, char text)
{
	uint8_t v4[] = "\x32\x06\x00\x01"
		       "a\x00\x09 ",
		v5[] = "\x32\x07\x00\x01"
		       "a\x00\x09\x00 ";

	v4[7] = v5[8] = (uint8_t)text;
	if (bed->clients[PUBLISHER]->version == MQTT_VERSION_5)
		client_sends(bed, PUBLISHER, v5, 9);
	else
		client_sends(bed, PUBLISHER, v4, 8);
	broker_gets(bed, PUBLISHER, BYTES(""));
	client_gets(bed, PUBLISHER, BYTES("\x40\x02\x00\x09"));
}

#define FIRST(id, text)    \
	"\x32\x06\x00\x01" \
	"a\x80" id text
#define AGAIN(id, text)    \
	"\x3a\x06\x00\x01" \
	"a\x80" id text
#define PUBACK(id) "\x40\x02\x80" id

static void unacknowledged_are_sent_again_with_dup_under_their_identifiers(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v4(bed);
	publish(bed, '1');
	publish(bed, '2');
	publish(bed, '3');
	client_gets(bed, 0, BYTES(FIRST("\x00", "1") FIRST("\x01", "2") FIRST("\x02", "3")));
	client_sends(bed, 0, BYTES(PUBACK("\x01")));
	assert_int_equal(bed->offload->owed_count, 2);
	bed_close(bed, 0);
	assert_int_equal(bed->offload->owed_count, 2);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(AGAIN("\x00", "1") AGAIN("\x02", "3")));
	client_sends(bed, 0, BYTES(PUBACK("\x00")));
	bed_close(bed, 0);
	resume_v4(bed, 2); // and once more
	client_gets(bed, 2, BYTES(AGAIN("\x02", "3")));
	client_sends(bed, 2, BYTES(PUBACK("\x02")));
	broker_gets(bed, 2, BYTES("")); // they are ours
	assert_int_equal(bed->offload->owed_count, 0);
	assert_null(bed->clients[2]->identifiers);
	assert_int_equal(bed_counters(bed)->resent, 3);
	assert_int_equal(bed_counters(bed)->deliveries[1], 3);
}

// Receive Maximum 1 before, 2 after: what was sent, then what waited, then the broker's.
static void order_of_sending_again(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_session(bed, 0, MQTT_VERSION_5, false, false, mqtt_bytes(EXPIRY "\x21\x00\x01", 8));
	subscribe_v5(bed, 0, "a", 1, 0);
	connect_v4(bed, PUBLISHER);
	publish(bed, '1');
	publish(bed, '2');
	publish(bed, '3');
	client_gets(bed, 0,
		BYTES("\x32\x07\x00\x01"
		      "a\x80\x00\x00"
		      "1"));
	bed_close(bed, 0);
	resume_v5(bed, 0, BYTES(EXPIRY "\x21\x00\x02"));
	client_gets(bed, 0,
		BYTES("\x3a\x07\x00\x01"
		      "a\x80\x00\x00"
		      "1\x32\x07\x00\x01"
		      "a\x80\x01\x00"
		      "2"));
	broker_sends(bed, 0,
		BYTES("\x32\x07\x00\x01"
		      "a\x00\x01\x00"
		      "B"));
	client_gets(bed, 0, BYTES(""));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x07\x00\x01"
		      "a\x80\x02\x00"
		      "3"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x01"));
	client_gets(bed, 0,
		BYTES("\x32\x07\x00\x01"
		      "a\x00\x01\x00"
		      "B"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x02\x40\x02\x00\x01"));
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x01"));
}

static void one_at_a_time_when_the_client_says_so(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v4(bed);
	publish(bed, '1');
	publish(bed, '2');
	client_gets(bed, 0, BYTES(FIRST("\x00", "1") FIRST("\x01", "2")));
	bed_close(bed, 0);
	resume_v5(bed, 0, BYTES(EXPIRY "\x21\x00\x01"));
	// In the form of the version it speaks now.
	client_gets(bed, 0,
		BYTES("\x3a\x07\x00\x01"
		      "a\x80\x00\x00"
		      "1"));
	client_sends(bed, 0, BYTES(PUBACK("\x00")));
	client_gets(bed, 0,
		BYTES("\x3a\x07\x00\x01"
		      "a\x80\x01\x00"
		      "2"));
	bed_close(bed, 0);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(AGAIN("\x01", "2")));
}

static void a_session_that_is_not_present_owes_nothing(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v4(bed);
	publish(bed, '1');
	client_gets(bed, 0, BYTES(FIRST("\x00", "1")));
	bed_close(bed, 0);
	connect_session(bed, 0, MQTT_VERSION_3_1_1, true, false, mqtt_bytes(NULL, 0));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed->offload->owed_count, 0);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_SESSION], 1);
}

static void a_disconnect_may_end_the_session(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v5(bed);
	publish(bed, '1');
	client_sends(bed, 0, BYTES("\xe0\x07\x00\x05\x11\x00\x00\x00\x00"));
	assert_int_equal(bed->offload->owed_count, 0);
	assert_int_equal(bed->offload->brokers[0].map->offline, 0);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_SESSION], 1);
}

static void a_session_expires_with_what_it_is_owed(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v5(bed);
	publish(bed, '1');
	client_sends(bed, 0, BYTES("\xe0\x00"));
	bed_close(bed, 0);
	bed_wait(bed, 300 * US_IN_S);
	assert_int_equal(bed->offload->owed_count, 1);
	bed_wait(bed, 400 * US_IN_S);
	assert_int_equal(bed->offload->owed_count, 0);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_SESSION], 1);
}

// What the old connection was sent or still waited for goes to the new one; the old one gets and
// acknowledges nothing any more.
static void a_takeover_takes_along_what_is_owed(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.inflight = 1;
	begin_v4(bed);
	publish(bed, '1');
	publish(bed, '2');
	client_gets(bed, 0, BYTES(FIRST("\x00", "1")));
	resume_v4(bed, 2);
	client_gets(bed, 2, BYTES(AGAIN("\x00", "1")));
	client_sends(bed, 0, BYTES(PUBACK("\x00"))); // too late
	broker_gets(bed, 0, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed->offload->owed_count, 1);
	client_sends(bed, 2, BYTES(PUBACK("\x00")));
	client_gets(bed, 2, BYTES(FIRST("\x01", "2")));
	bed_close(bed, 0);
	client_sends(bed, 2, BYTES(PUBACK("\x01")));
	assert_int_equal(bed->offload->owed_count, 0);
}

// The expiry goes on while the client is away, in either form.
static void expiry_counts_while_the_client_is_away(void **state)
{
	struct bed *bed = bed_new(state);
	static const char expiring[] = "\x32\x0c\x00\x01"
				       "a\x00\x09\x05\x02\x00\x00\x00\x64"
				       "E"; // 100 s

	begin_v5(bed);
	bed->broker.client.inflight = 1;
	client_sends(bed, PUBLISHER, BYTES(expiring));
	client_sends(bed, PUBLISHER, BYTES(expiring));
	client_gets(bed, 0,
		BYTES("\x32\x0c\x00\x01"
		      "a\x80\x00\x05\x02\x00\x00\x00\x64"
		      "E"));
	bed_close(bed, 0);
	bed_wait(bed, 30 * US_IN_S);
	resume_v5(bed, 0, BYTES(EXPIRY));
	client_gets(bed, 0,
		BYTES("\x3a\x0c\x00\x01"
		      "a\x80\x00\x05\x02\x00\x00\x00\x46"
		      "E")); // 70
	bed_close(bed, 0);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(AGAIN("\x00", "E")));
	bed_close(bed, 0);
	bed_wait(bed, 10 * US_IN_S);
	resume_v5(bed, 0, BYTES(EXPIRY));
	client_gets(bed, 0,
		BYTES("\x3a\x0c\x00\x01"
		      "a\x80\x00\x05\x02\x00\x00\x00\x3c"
		      "E")); // 60
	bed_close(bed, 0);
	bed_wait(bed, 60 * US_IN_S);
	resume_v5(bed, 0, BYTES(EXPIRY));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 2);
	assert_null(bed->clients[0]->identifiers);
}

static void maximum_packet_size_is_the_new_connections(void **state)
{
	struct bed *bed = bed_new(state);

	begin_v5(bed);
	publish(bed, '1');
	client_sends(bed, PUBLISHER,
		BYTES("\x32\x0a\x00\x01"
		      "a\x00\x09\x00long"));
	client_gets(bed, PUBLISHER, BYTES("\x40\x02\x00\x09"));
	publish(bed, '3');
	bed_close(bed, 0);
	resume_v5(bed, 0, BYTES(EXPIRY "\x27\x00\x00\x00\x0a"));
	client_gets(bed, 0,
		BYTES("\x3a\x07\x00\x01"
		      "a\x80\x00\x00"
		      "1\x3a\x07\x00\x01"
		      "a\x80\x02\x00"
		      "3"));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_PACKET_SIZE], 1);
	assert_int_equal(bed->offload->owed_count, 2);
}

// The broker resumes too: its identifiers and ours stay apart.
static void the_brokers_identifiers_are_kept_clear_of(void **state)
{
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	begin_v4(bed);
	publish(bed, '1');
	bed_close(bed, 0);
	got_take(&bed->down[0], &got);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(AGAIN("\x00", "1")));
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x80\x00"
		      "B\x32\x06\x00\x01"
		      "b\x80\x01"
		      "C"));
	client_gets(bed, 0, BYTES("")); // until ours is acknowledged
	client_sends(bed, 0, BYTES(PUBACK("\x00")));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x80\x00"
		      "B\x32\x06\x00\x01"
		      "b\x80\x01"
		      "C"));
	// Where ours go on outlives the connection.
	assert_int_equal(bed->clients[0]->identifier_broker, 0x8001);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	assert_int_equal(bed->clients[0]->identifier_broker, 0x8001);
}

// The broker's queue comes first: what is published meanwhile passes, and joins it.
static void messages_pass_until_the_broker_has_caught_up(void **state)
{
	struct bed *bed = bed_new(state);
	static const char message[] = "\x32\x06\x00\x01"
				      "a\x00\x09"
				      "n";

	begin_v4(bed);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	assert_true(bed->clients[0]->session->behind);
	client_sends(bed, PUBLISHER, BYTES(message));
	broker_gets(bed, PUBLISHER, BYTES(message));
	assert_int_equal(bed_counters(bed)->passed[PROOF_OFFLINE], 1);
	// A PUBLISH came before the answer: there may be more.
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x00\x01"
		      "q\xd0\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x00\x01"
		      "q"));
	broker_gets(bed, 0, BYTES(""));
	assert_true(bed->clients[0]->session->behind);
	client_sends(bed, 0, BYTES("\x40\x02\x00\x01"));
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x01\xc0\x00")); // asked again, behind the PUBACK
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	client_gets(bed, 0, BYTES(""));
	assert_false(bed->clients[0]->session->behind);
	// Another publisher is captured at once, this one after its fence.
	connect_v4(bed, 2);
	client_sends(bed, 2, BYTES(message));
	broker_gets(bed, 2, BYTES(""));
	client_gets(bed, 0, BYTES(FIRST("\x00", "n")));
}

#define FROM_BROKER(id)    \
	"\x32\x06\x00\x01" \
	"a\x00" id "q"

// Others publish through the broker without end: fewer under way than there were at once is enough.
static void a_broker_with_room_to_spare_has_caught_up(void **state)
{
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	begin_v4(bed);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	broker_sends(bed, 0, BYTES(FROM_BROKER("\x01") FROM_BROKER("\x02") FROM_BROKER("\x03")));
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	assert_true(bed->clients[0]->session->behind);
	broker_gets(bed, 0, BYTES("")); // its window may be full: no use in asking
	client_sends(bed, 0, BYTES("\x40\x02\x00\x01"));
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x01\xc0\x00"));
	broker_sends(bed, 0, BYTES(FROM_BROKER("\x04") "\xd0\x00")); // it was full
	assert_true(bed->clients[0]->session->behind);
	client_sends(bed, 0, BYTES("\x40\x02\x00\x02\x40\x02\x00\x03"));
	got_take(&bed->up[0], &got);
	broker_sends(bed, 0, BYTES(FROM_BROKER("\x05")));
	assert_true(bed->clients[0]->session->behind);
	broker_sends(bed, 0, BYTES("\xd0\x00")); // not this time
	assert_false(bed->clients[0]->session->behind);
}

static void without_fences_silence_says_that_it_has_caught_up(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.fence = OFFLOAD_FENCE_NONE;
	begin_v4(bed);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	broker_gets(bed, 0, BYTES(""));
	bed_wait(bed, 600 * US_IN_MS);
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x00\x01"
		      "q"));
	client_sends(bed, 0, BYTES("\x40\x02\x00\x01"));
	bed_wait(bed, 600 * US_IN_MS);
	client_sends(bed, 0, BYTES("\xc0\x00"));
	assert_true(bed->clients[0]->session->behind);
	bed_wait(bed, 600 * US_IN_MS);
	client_sends(bed, 0, BYTES("\xc0\x00"));
	assert_false(bed->clients[0]->session->behind);
}

// A client that acknowledges nothing holds so much; the others' messages are not kept from them.
static void what_is_kept_is_bounded(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t big[1200], *tail;
	size_t length;

	bed->broker.client.inflight = 4;
	bed->broker.client.queued_qos1 = 3;
	begin_v4(bed);
	for (unsigned i = 0; i < 10; i++) {
		client_sends(bed, PUBLISHER,
			BYTES("\x32\x05\x00\x01"
			      "a\x00\x09"));
		bed_wait(bed, US_IN_S);
		client_gets(bed, PUBLISHER, BYTES("\x40\x02\x00\x09"));
	}
	assert_int_equal(bed->offload->owed_count, 4);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_QUEUE_FULL], 3);
	bed_close(bed, 0);
	assert_int_equal(bed->offload->owed_count, 7);
	resume_v4(bed, 0);
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	// As if half of all deliveries were kept: nothing more is, it passes.
	tail = calloc(1, 1000);
	length = publish_v4(big, "a", 2, tail, 1000);
	bed->offload->owed_count += slab_count(bed->offload->deliveries);
	bed->unchecked = true;
	client_sends(bed, PUBLISHER, big, length);
	bed->offload->owed_count -= slab_count(bed->offload->deliveries);
	bed->unchecked = false;
	assert_int_equal(bed_counters(bed)->passed[PROOF_NO_MEMORY], 1);
	free(tail);
}

static void a_large_message_is_kept_in_parts(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *big = calloc(1, 100100), *text = malloc(100000);
	const uint8_t *got;
	size_t length;

	for (unsigned i = 0; i < 100000; i++)
		text[i] = (uint8_t)i;
	begin_v4(bed);
	length = publish_v4(big, "a", 2, text, 100000);
	for (size_t at = 0; at < length; at += 10000) // as segments come
		client_sends(bed, PUBLISHER, big + at, length - at < 10000 ? length - at : 10000);
	assert_int_equal(got_take(&bed->down[0], &got), length);
	bed_close(bed, 0);
	resume_v5(bed, 0, BYTES(EXPIRY));
	assert_int_equal(got_take(&bed->down[0], &got), length + 1);
	assert_memory_equal(got,
		"\x3a\xa6\x8d\x06\x00\x01"
		"a\x80\x00\x00",
		10);
	assert_memory_equal(got + 10, text, 100000);
	free(text);
	free(big);
}

// --- a twin --------------------------------------------------------------------------------------

// A broker with one queue for the session, a client that acknowledges when it likes, connections
// that end at any time: every message arrives, for the first time in the order of publishing.
struct twin {
	struct bed *bed;
	struct random rng;
	unsigned at; // index of the session's connection
	bool online;
	unsigned published;   // how many messages there have been
	unsigned queue[4096]; // of the broker: numbers of messages
	unsigned queue_head, queue_tail;
	unsigned broker_id;	       // of its message under way; 0: none
	unsigned acks[64], acks_count; // identifiers that the client has not acknowledged yet
	unsigned next;		       // the number that the client expects
	unsigned pings;		       // PINGREQs that the broker has not answered
};

static void twin_broker_sends(struct twin *twin)
{
	uint8_t packet[] = "\x32\x08\x00\x01"
			   "a\x00\x00   ";

	if (!twin->online || twin->broker_id != 0 || twin->queue_head == twin->queue_tail)
		return;
	twin->broker_id = 1 + random_below(&twin->rng, 1000);
	packet[5] = (uint8_t)(twin->broker_id >> 8);
	packet[6] = (uint8_t)twin->broker_id;
	packet[7] = (uint8_t)(twin->queue[twin->queue_head % 4096] >> 16);
	packet[8] = (uint8_t)(twin->queue[twin->queue_head % 4096] >> 8);
	packet[9] = (uint8_t)twin->queue[twin->queue_head % 4096];
	broker_sends(twin->bed, twin->at, packet, 10);
}

static void twin_client_reads(struct twin *twin)
{
	const uint8_t *got;
	size_t length = got_take(&twin->bed->down[twin->at], &got);

	for (size_t i = 0; i < length; i += 2u + got[i + 1]) {
		unsigned number = (unsigned)(got[i + 7] << 16 | got[i + 8] << 8 | got[i + 9]);

		assert_int_equal(got[i] & 0xf0, 0x30);
		if (got[i] & 8) {
			assert_in_range(number, 0, twin->next);
		} else {
			// The broker of this twin never marks what it sends again.
			assert_in_range(number, got[i + 5] & 0x80 ? twin->next : 0, twin->next);
		}
		twin->next += number == twin->next;
		assert_in_range(twin->acks_count, 0, 63);
		twin->acks[twin->acks_count++] = (unsigned)(got[i + 5] << 8 | got[i + 6]);
	}
}

static void twin_broker_reads(struct twin *twin, unsigned i)
{
	const uint8_t *got;
	size_t length = got_take(&twin->bed->up[i], &got);
	unsigned pings = 0;

	for (size_t at = 0; at < length; at += 2u + got[at + 1]) {
		switch (got[at] >> 4) {
		case MQTT_PUBLISH:
			twin->queue[twin->queue_tail++ % 4096] =
				(unsigned)(got[at + 7] << 16 | got[at + 8] << 8 | got[at + 9]);
			broker_sends(twin->bed, i, BYTES("\x40\x02\x00\x09"));
			break;
		case MQTT_PUBACK:
			assert_int_equal(got[at + 2] << 8 | got[at + 3], twin->broker_id);
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
		broker_sends(twin->bed, i, BYTES("\xd0\x00"));
}

static void twin_publish(struct twin *twin)
{
	uint8_t packet[] = "\x32\x08\x00\x01"
			   "a\x00\x09   ";

	packet[7] = (uint8_t)(twin->published >> 16);
	packet[8] = (uint8_t)(twin->published >> 8);
	packet[9] = (uint8_t)twin->published;
	twin->published++;
	client_sends(twin->bed, PUBLISHER, packet, 10);
}

static void twin_acknowledge(struct twin *twin)
{
	uint8_t packet[] = {0x40, 2, 0, 0};

	if (!twin->online || twin->acks_count == 0)
		return;
	packet[2] = (uint8_t)(twin->acks[0] >> 8);
	packet[3] = (uint8_t)twin->acks[0];
	memmove(twin->acks, twin->acks + 1, --twin->acks_count * sizeof(twin->acks[0]));
	client_sends(twin->bed, twin->at, packet, 4);
}

static void twin_leave_or_come(struct twin *twin)
{
	bool takeover = twin->online && random_below(&twin->rng, 3) == 0;
	unsigned old = twin->at;

	if (twin->online && !takeover) {
		bed_close(twin->bed, twin->at);
		twin->online = false;
	} else {
		twin->at = takeover ? 5 - twin->at : 2; // 2 or 3
		resume_v4(twin->bed, twin->at);
		twin->online = true;
		twin->pings = 0;
		if (takeover)
			bed_close(twin->bed, old);
	}
	twin->acks_count = 0;
	twin->broker_id = 0; // it sends it again
	if (!twin->online)
		return;
	// The question whether it has caught up was read by connect_session().
	twin_client_reads(twin);
	twin_broker_sends(twin);
	broker_sends(twin->bed, twin->at, BYTES("\xd0\x00"));
}

static void twin_step(struct twin *twin)
{
	unsigned what = random_below(&twin->rng, 100);

	if (what < 25 && twin->published - twin->next < 30)
		twin_publish(twin);
	else if (what < 85)
		twin_acknowledge(twin);
	else if (what < 86)
		twin_leave_or_come(twin);
	else
		bed_wait(twin->bed, random_below(&twin->rng, 300) * US_IN_MS);
	for (unsigned i = 0; i < 3; i++) {
		if (twin->online)
			twin_client_reads(twin);
		twin_broker_reads(twin, PUBLISHER);
		if (twin->online)
			twin_broker_reads(twin, twin->at);
	}
}

static void every_message_arrives_in_order_whatever_happens(void **state)
{
	struct bed *bed = bed_new(state);
	struct twin *twin = calloc(1, sizeof(*twin));
	const struct offload_counters *counters;

	twin->bed = bed;
	twin->at = 2;
	bed->broker.client.inflight = 8;
	bed->broker.capture.hold_us = 100 * US_IN_MS;
	bed_start(bed);
	counters = bed_counters(bed);
	random_init(&twin->rng, 5);
	connect_session(bed, 2, MQTT_VERSION_3_1_1, false, false, mqtt_bytes(NULL, 0));
	subscribe_v4(bed, 2, "a", 1);
	connect_v4(bed, PUBLISHER);
	twin->online = true;
	for (unsigned step = 0; step < 20000; step++)
		twin_step(twin);
	if (!twin->online)
		twin_leave_or_come(twin);
	for (unsigned i = 0; i < 200 && twin->next < twin->published; i++) {
		twin_acknowledge(twin);
		twin_client_reads(twin);
		twin_broker_reads(twin, PUBLISHER);
		twin_broker_reads(twin, twin->at);
		bed_wait(bed, 100 * US_IN_MS);
	}
	assert_int_equal(twin->next, twin->published);
	// Both ways were gone.
	assert_true(counters->captured[1] > 500 && counters->passed[PROOF_OFFLINE] > 500);
	assert_true(counters->resent > 30 && counters->fences[OFFLOAD_FENCE_CLEARED] > 20);
	free(twin);
}

#define OWED_TEST(name) cmocka_unit_test_teardown(name, bed_end)

int test_owed(void)
{
	const struct CMUnitTest tests[] = {
		OWED_TEST(unacknowledged_are_sent_again_with_dup_under_their_identifiers),
		OWED_TEST(order_of_sending_again),
		OWED_TEST(one_at_a_time_when_the_client_says_so),
		OWED_TEST(a_session_that_is_not_present_owes_nothing),
		OWED_TEST(a_disconnect_may_end_the_session),
		OWED_TEST(a_session_expires_with_what_it_is_owed),
		OWED_TEST(a_takeover_takes_along_what_is_owed),
		OWED_TEST(expiry_counts_while_the_client_is_away),
		OWED_TEST(maximum_packet_size_is_the_new_connections),
		OWED_TEST(the_brokers_identifiers_are_kept_clear_of),
		OWED_TEST(messages_pass_until_the_broker_has_caught_up),
		OWED_TEST(a_broker_with_room_to_spare_has_caught_up),
		OWED_TEST(without_fences_silence_says_that_it_has_caught_up),
		OWED_TEST(what_is_kept_is_bounded),
		OWED_TEST(a_large_message_is_kept_in_parts),
		OWED_TEST(every_message_arrives_in_order_whatever_happens),
	};

	return cmocka_run_group_tests_name("owed", tests, NULL, NULL);
}
