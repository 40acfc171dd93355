// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The merged output of a subscriber: order, identifiers, windows, long packets, ends.

#include "offload_tests.h"

#include <stdlib.h>
#include <string.h>

#define CAPTURED           \
	"\x32\x07\x00\x01" \
	"a\x00\x09"        \
	"hi"
#define DELIVERED(high, low) \
	"\x32\x07\x00\x01"   \
	"a" high low "hi"

// Client 0 (v3.1.1) subscribes to a at QoS 1, client 1 publishes.
static void two_clients(struct bed *bed)
{
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 1);
}

// A CONNECT of v5 with Receive Maximum.
static void connect_receive_maximum(struct bed *bed, unsigned i, uint8_t maximum)
{
	uint8_t connect[] = "\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x00\x00\x01r";
	const uint8_t *got;

	connect[15] = maximum;
	bed_open(bed, i);
	client_sends(bed, i, connect, sizeof(connect) - 1);
	broker_sends(bed, i, BYTES("\x20\x03\x00\x00\x00"));
	got_take(&bed->up[i], &got);
	got_take(&bed->down[i], &got);
}

static void receive_maximum_counts_both_senders(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_receive_maximum(bed, 0, 2);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x05\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x05\x00"));
	client_sends(bed, 1, BYTES(CAPTURED));
	client_sends(bed, 1, BYTES(CAPTURED));
	// Half the space ahead of the broker's.
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	// The broker's next PUBLISH waits too, what is no QoS 1 does not.
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x06\x00\xd0\x00"));
	client_gets(bed, 0, BYTES("\xd0\x00"));
	client_sends(bed, 0, BYTES("\x40\x02\x00\x05"));
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x05"));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x01\x00hi"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	broker_gets(bed, 0, BYTES(""));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x06\x00"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x01\x40\x02\x00\x06"));
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x06"));
	assert_null(bed->clients[0]->identifiers);
}

// The broker's PUBLISH waits behind ours; when the client leaves, or has no way left to
// acknowledge, it still does not fit.
static void receive_maximum_holds(void **state, bool with_disconnect)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x05\x00"
		      "\x30\x04\x00\x01"
		      "b\x00"));
	if (with_disconnect)
		client_sends(bed, 0, BYTES("\xe0\x00"));
	else
		client_ends(bed, 0);
	broker_ends(bed, 0);
	client_gets(bed, 0,
		BYTES("\x30\x04\x00\x01"
		      "b\x00"));
}

static void receive_maximum_holds_for_who_leaves(void **state)
{
	receive_maximum_holds(state, true);
}

static void receive_maximum_holds_for_who_has_ended(void **state)
{
	receive_maximum_holds(state, false);
}

static void brokers_identifier_that_is_taken_waits(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0, BYTES(DELIVERED("\x80", "\x00")));
	broker_sends(bed, 0,
		BYTES("\x32\x05\x00\x01"
		      "b\x80\x00"));
	client_gets(bed, 0, BYTES(""));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	broker_gets(bed, 0, BYTES(""));
	client_gets(bed, 0,
		BYTES("\x32\x05\x00\x01"
		      "b\x80\x00"));
	// Now it is the broker's.
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	broker_gets(bed, 0, BYTES("\x40\x02\x80\x00"));
}

// mosquitto goes beyond the window, and says PUBREL behind a long packet: two messages at QoS 2
// fill the window, and nothing of what waits for it may hold up that packet.
static void a_long_packet_does_not_wait_for_what_is_behind_it(void **state)
{
	static const char released[] = "\x62\x02\x00\x0c\x62\x02\x00\x0e";
	static const char small[] = "\x32\x06\x00\x01"
				    "b\x00\x0f\x00";
	static uint8_t text[100000], packet[sizeof(text) + 32];
	struct bed *bed = bed_new(state);
	const uint8_t *got;
	size_t length;

	bed->broker.capture.max_size = 1000;
	bed->broker.client.queue_bytes = 50000; // no room to gather it
	bed_start(bed);
	connect_receive_maximum(bed, 0, 2);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	broker_sends(bed, 0,
		BYTES("\x34\x06\x00\x01"
		      "b\x00\x0c\x00"
		      "\x34\x06\x00\x01"
		      "b\x00\x0e\x00"));
	assert_int_equal(got_take(&bed->down[0], &got), 16);
	client_sends(bed, 0, BYTES("\x50\x02\x00\x0c\x50\x02\x00\x0e"));
	broker_gets(bed, 0, BYTES("\x50\x02\x00\x0c\x50\x02\x00\x0e"));
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
	client_gets(bed, 0, BYTES("")); // it waits
	broker_sends(bed, 0, BYTES(small));
	length = publish_v4(packet, "b", 2, text, sizeof(text)); // text: no properties
	broker_sends(bed, 0, packet, 40000);			 // too long to wait for its end
	broker_sends(bed, 0, packet + 40000, length - 40000);
	broker_sends(bed, 0, BYTES(released));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	assert_int_equal(
		got_take(&bed->down[0], &got), sizeof(small) - 1 + length + sizeof(released) - 1);
	assert_memory_equal(got, small, sizeof(small) - 1);
	assert_memory_equal(got + sizeof(small) - 1 + length, released, sizeof(released) - 1);
}

// A long packet at QoS 0 waits only for what the broker sent before it; when that has gone, nothing
// of ours need go beyond the Receive Maximum for its sake.
static void a_long_packet_makes_no_room_it_does_not_need(void **state)
{
	static const char before[] = "\x32\x06\x00\x01"
				     "b\x00\x0f\x00";
	static uint8_t text[100000], packet[sizeof(text) + 32];
	struct bed *bed = bed_new(state);
	const uint8_t *got;
	size_t length;

	bed->broker.capture.max_size = 1000;
	bed->broker.client.queue_bytes = 50000; // no room to gather it
	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	broker_sends(bed, 0, BYTES(before));
	client_sends(bed, 1, BYTES(CAPTURED));
	length = publish_v4(packet, "b", 0, text, sizeof(text)); // text: no properties
	broker_sends(bed, 0, packet, 40000);			 // too long to wait for its end
	broker_sends(bed, 0, packet + 40000, length - 40000);
	client_gets(bed, 0, BYTES("")); // they wait
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	assert_int_equal(got_take(&bed->down[0], &got), sizeof(before) - 1 + length);
	assert_memory_equal(got, before, sizeof(before) - 1);
	client_sends(bed, 0, BYTES("\x40\x02\x00\x0f"));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x01\x00hi"));
}

// What a legal broker sent at QoS 0 before a long packet goes out before it, though ours wait for
// the PUBREL that comes behind.
static void qos_0_before_a_long_packet_waits_for_none_of_ours(void **state)
{
	static const char before[] = "\x34\x06\x00\x01"
				     "b\x00\x0f\x00";
	static const char small[] = "\x30\x04\x00\x01"
				    "c\x00";
	static const char released[] = "\x62\x02\x00\x0f";
	static uint8_t text[100000], packet[sizeof(text) + 32];
	struct bed *bed = bed_new(state);
	const uint8_t *got;
	size_t length;

	bed->broker.capture.max_size = 1000;
	bed->broker.client.queue_bytes = 50000; // no room to gather it
	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	client_sends(bed, 1, BYTES(CAPTURED));
	assert_int_equal(got_take(&bed->down[0], &got), 10);
	broker_sends(bed, 0, BYTES(before));
	client_sends(bed, 1, BYTES(CAPTURED));
	broker_sends(bed, 0, BYTES(small));
	length = publish_v4(packet, "b", 0, text, sizeof(text)); // text: no properties
	broker_sends(bed, 0, packet, 40000);			 // too long to wait for its end
	broker_sends(bed, 0, packet + 40000, length - 40000);
	broker_sends(bed, 0, BYTES(released));
	client_gets(bed, 0, BYTES("")); // they wait
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	assert_int_equal(got_take(&bed->down[0], &got),
		sizeof(before) - 1 + sizeof(small) - 1 + length + sizeof(released) - 1);
	assert_memory_equal(got, before, sizeof(before) - 1);
	assert_memory_equal(got + sizeof(before) - 1, small, sizeof(small) - 1);
	client_sends(bed, 0, BYTES("\x50\x02\x00\x0f\x70\x02\x00\x0f"));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x01\x00hi"));
}

// Who acknowledges nothing before its own message is acknowledged gets that acknowledgement, though
// a long packet that must wait is before it ([MQTT-3.3.4-10]).
static void what_is_no_publish_does_not_wait_behind_a_long_packet(void **state)
{
	static uint8_t text[100000], packet[sizeof(text) + 32];
	struct bed *bed = bed_new(state);
	const uint8_t *got;
	size_t length;

	bed->broker.capture.max_size = 1000;
	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	client_sends(bed, 1, BYTES(CAPTURED));
	assert_int_equal(got_take(&bed->down[0], &got), 10);
	length = publish_v4(packet, "b", 2, text, sizeof(text)); // text: no properties
	broker_sends(bed, 0, packet, 40000);
	broker_sends(bed, 0, packet + 40000, length - 40000);
	broker_sends(bed, 0, BYTES("\x40\x02\x00\x07"));
	client_gets(bed, 0, BYTES("\x40\x02\x00\x07"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	assert_int_equal(got_take(&bed->down[0], &got), length);
	assert_memory_equal(got, packet, length);
}

// mosquitto says more than the window holds, and PUBREL behind more of it than may wait.
static void a_broker_far_beyond_the_window_is_heard_on(void **state)
{
	enum { BEYOND = 100, LENGTH = 8 };

	static uint8_t beyond[BEYOND * LENGTH];
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	broker_sends(bed, 0,
		BYTES("\x34\x06\x00\x01"
		      "b\x00\x0c\x00"));
	assert_int_equal(got_take(&bed->down[0], &got), LENGTH);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0, BYTES("")); // it waits
	for (unsigned i = 0; i < BEYOND; i++)
		memcpy(beyond + i * LENGTH,
			(const uint8_t[]){0x32, 6, 0, 1, 'b', 0, (uint8_t)(i + 13), 0}, LENGTH);
	broker_sends(bed, 0, beyond, sizeof(beyond));
	client_sends(bed, 0, BYTES("\x50\x02\x00\x0c"));
	broker_sends(bed, 0, BYTES("\x62\x02\x00\x0c"));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	assert_int_equal(got_take(&bed->down[0], &got), sizeof(beyond) + 4);
	assert_memory_equal(got, beyond, sizeof(beyond));
	assert_memory_equal(got + sizeof(beyond), "\x62\x02\x00\x0c", 4);
}

// A retained message of 100,000 bytes for the subscriber, streamed in pieces.
static void long_packets_are_never_interrupted(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *publish = calloc(1, 300000);
	const uint8_t *got;
	size_t length, cut = 40000;

	bed->broker.capture.max_size = 1000;
	two_clients(bed);
	length = publish_v4(publish, "big", 0, publish + 150000, 100000);
	broker_sends(bed, 0, publish, cut);
	client_gets(bed, 0, publish, cut);
	client_sends(bed, 1,
		BYTES("\x30\x05\x00\x01"
		      "ahi" CAPTURED));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
	client_sends(bed, 0,
		BYTES("\x32\x07\x00\x01"
		      "x\x00\x03hi")); // its own PUBACK waits too
	client_gets(bed, 0, BYTES(""));
	broker_sends(bed, 0, publish + cut, length - cut);
	assert_int_equal(got_take(&bed->down[0], &got), length - cut + 7 + 4 + 9);
	assert_memory_equal(got, publish + cut, length - cut);
	assert_memory_equal(got + length - cut,
		"\x30\x05\x00\x01"
		"ahi\x40\x02\x00\x03" DELIVERED("\x80", "\x00"),
		20);
	// And towards the broker: a PINGREQ of ours never comes between.
	length = publish_v4(publish, "big", 0, publish + 150000, 100000);
	client_sends(bed, 1, publish, cut);
	broker_gets(bed, 1, publish, cut);
	bed_wait(bed, 20 * US_IN_S);
	client_sends(bed, 1, publish + cut, length - cut);
	broker_gets(bed, 1, publish + cut, length - cut);
	assert_int_equal(bed_counters(bed)->passed[PROOF_TOO_LARGE], 1);
	free(publish);
}

// The broker dies within a long packet: nothing of ours may complete it.
static void a_packet_that_breaks_off_stays_broken(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *publish = calloc(1, 300000);
	size_t length;

	bed->broker.capture.max_size = 1000;
	two_clients(bed);
	length = publish_v4(publish, "big", 0, publish + 150000, 100000);
	broker_sends(bed, 0, publish, length - 5);
	client_gets(bed, 0, publish, length - 5);
	client_sends(bed, 1,
		BYTES("\x30\x05\x00\x01"
		      "ahi" CAPTURED));
	broker_ends(bed, 0);
	client_gets(bed, 0, BYTES(""));
	assert_true(bed->down[0].shut);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_CLOSED], 2);
	assert_int_equal(bed_counters(bed)->deliveries[0], 0);
	free(publish);
}

// Who waits behind a packet that does not end is bounded.
static void a_packet_that_never_ends_holds_no_more_than_its_share(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *publish = calloc(1, 300000);

	bed->broker.capture.max_size = 1000;
	bed->broker.client.queue_messages = 1000;
	two_clients(bed);
	publish_v4(publish, "big", 0, publish + 150000, 100000);
	broker_sends(bed, 0, publish, 50000);
	for (unsigned i = 0; i < 3000; i++)
		client_sends(bed, 1,
			BYTES("\x30\x05\x00\x01"
			      "ahi"));
	assert_in_range(slab_used(bed->offload->deliveries), 500, 1000);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_QUEUE_FULL] +
				 slab_used(bed->offload->deliveries),
		3000);
	free(publish);
}

// A DISCONNECT of the broker overtakes none of its PUBLISHes.
static void the_brokers_last_word_comes_last(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_receive_maximum(bed, 0, 1);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 1, 0);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	broker_sends(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x06\x00\xe0\x01\x8e"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "b\x00\x06\x00\xe0\x01\x8e"));
}

// The broker ends behind more PUBLISHes than may wait: they go out all the same.
static void what_the_broker_sent_before_its_end_goes_out(void **state)
{
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	two_clients(bed);
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 0, BYTES(DELIVERED("\x80", "\x00")));
	for (unsigned i = 0; i < 100; i++) {
		uint8_t publish[] = {0x32, 5, 0, 1, 'b', 0x80, 0};

		tcp_double_arrive(&bed->up[0], publish, sizeof(publish));
	}
	broker_ends(bed, 0);
	bed_wait(bed, US_IN_S);
	assert_true(bed->down[0].shut);
	assert_int_equal(got_take(&bed->down[0], &got), 700);
	// Its session is over: nothing is promised to it any more.
	client_sends(bed, 1,
		BYTES("\x30\x05\x00\x01"
		      "ahi"));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_CLOSED], 0);
}

// Less than a fixed header, in two segments, and then the end: it is carried on all the same.
static void a_stump_of_a_packet_does_not_hold_back_the_end(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	tcp_double_arrive(&bed->up[0], "\x30", 1);
	tcp_double_arrive(&bed->up[0], "\xff", 1);
	broker_ends(bed, 0);
	assert_true(bed->down[0].shut);
	tcp_double_arrive(&bed->down[1], "\x30", 1);
	tcp_double_arrive(&bed->down[1], "\xff", 1);
	client_ends(bed, 1);
	assert_true(bed->up[1].shut);
}

// Memory for pieces ends and comes back: who waits is not forgotten, though nobody acknowledges.
static void deliveries_that_waited_for_memory_go_on(void **state)
{
	struct bed *bed = bed_new(state);

	bed->tcp.pieces_max = 1000;
	two_clients(bed);
	subscribe_v4(bed, 0, "z", 0);
	bed->deaf[0] = true;
	for (unsigned i = 0; i < 70; i++)
		client_sends(bed, 1,
			BYTES("\x30\x05\x00\x01"
			      "zhi"));
	bed->tcp.pieces += 500; // somebody else's
	client_sends(bed, 1, BYTES(CAPTURED));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
	bed->tcp.pieces -= 500;
	bed_wait(bed, 10 * US_IN_MS);
	assert_int_equal(bed_counters(bed)->deliveries[1], 1);
	assert_int_equal(bed->down[0].pieces_count, 73);
}

// QoS 1 beyond queued_qos1 is dropped and counted, in its order what is kept.
static void a_slow_subscriber_loses_what_its_bounds_say(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.inflight = 1;
	bed->broker.client.queued_qos1 = 8;
	two_clients(bed);
	for (char n = '0'; n < '0' + 12; n++) {
		uint8_t publish[] = {0x32, 6, 0, 1, 'a', 0, 9, n};

		client_sends(bed, 1, publish, sizeof(publish));
		bed_wait(bed, 300 * US_IN_MS); // nobody waits longer for who does not move
		client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
	}
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_QUEUE_FULL], 3);
	for (uint8_t n = 0; n < 9; n++) {
		const uint8_t delivery[] = {0x32, 6, 0, 1, 'a', 0x80, n, '0' + n};

		client_gets(bed, 0, delivery, sizeof(delivery));
		client_sends(bed, 0, (const uint8_t[]){0x40, 2, 0x80, n}, 4);
	}
	client_gets(bed, 0, BYTES(""));
	broker_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->deliveries[1], 9);
}

// A client that never reads its PUBACKs gets a bounded number of them.
static void a_publisher_that_does_not_read_is_not_read(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.queue_messages = 500;
	two_clients(bed);
	bed->deaf[1] = true;
	for (unsigned i = 0; i < 2000; i++)
		client_sends(bed, 1,
			BYTES("\x32\x05\x00\x01"
			      "y\x00\x09"));
	assert_in_range(bed->down[1].pieces_count, 400, 500);
	bed->deaf[1] = false;
	bed_wait(bed, 50 * US_IN_MS);
	assert_int_equal(bed_counters(bed)->captured[1], 2000);
}

int test_output(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(receive_maximum_counts_both_senders, bed_end),
		cmocka_unit_test_teardown(receive_maximum_holds_for_who_leaves, bed_end),
		cmocka_unit_test_teardown(receive_maximum_holds_for_who_has_ended, bed_end),
		cmocka_unit_test_teardown(brokers_identifier_that_is_taken_waits, bed_end),
		cmocka_unit_test_teardown(
			a_long_packet_does_not_wait_for_what_is_behind_it, bed_end),
		cmocka_unit_test_teardown(a_long_packet_makes_no_room_it_does_not_need, bed_end),
		cmocka_unit_test_teardown(
			qos_0_before_a_long_packet_waits_for_none_of_ours, bed_end),
		cmocka_unit_test_teardown(
			what_is_no_publish_does_not_wait_behind_a_long_packet, bed_end),
		cmocka_unit_test_teardown(a_broker_far_beyond_the_window_is_heard_on, bed_end),
		cmocka_unit_test_teardown(long_packets_are_never_interrupted, bed_end),
		cmocka_unit_test_teardown(a_packet_that_breaks_off_stays_broken, bed_end),
		cmocka_unit_test_teardown(
			a_packet_that_never_ends_holds_no_more_than_its_share, bed_end),
		cmocka_unit_test_teardown(the_brokers_last_word_comes_last, bed_end),
		cmocka_unit_test_teardown(what_the_broker_sent_before_its_end_goes_out, bed_end),
		cmocka_unit_test_teardown(a_stump_of_a_packet_does_not_hold_back_the_end, bed_end),
		cmocka_unit_test_teardown(deliveries_that_waited_for_memory_go_on, bed_end),
		cmocka_unit_test_teardown(a_slow_subscriber_loses_what_its_bounds_say, bed_end),
		cmocka_unit_test_teardown(a_publisher_that_does_not_read_is_not_read, bed_end),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
