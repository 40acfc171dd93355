// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Order between what passes and what is captured: the table of fences, and fences on the wire.

#include "offload_tests.h"

#include <string.h>

#include "proof/fence.h"

#define HOLD US_IN_S

// --- the table -----------------------------------------------------------------------------------

static void clear_held_blocked(void **state)
{
	struct fences fences;

	fences_init(&fences);
	assert_int_equal(fences_state(&fences, 7, 100), FENCE_CLEAR);
	fences_passed(&fences, 7, 100, HOLD);
	assert_int_equal(fences_state(&fences, 7, 100 + HOLD - 1), FENCE_HELD);
	assert_int_equal(fences_state(&fences, 7, 100 + HOLD), FENCE_BLOCKED);
	assert_int_equal(fences_state(&fences, 8, 100), FENCE_CLEAR);
	assert_true(fences_known(&fences, 7) && !fences_known(&fences, 8));
	fences_cleared(&fences, 8); // harmless
	fences_cleared(&fences, 7);
	assert_true(fences_empty(&fences));
}

static void failures_double_the_hold(void **state)
{
	struct fences fences;
	uint64_t now = 1;

	fences_init(&fences);
	fences_passed(&fences, 7, now, HOLD);
	for (unsigned n = 1; n < 10; n++) {
		uint64_t hold = HOLD << (n < 6 ? n : 6);

		fences_failed(&fences, 7, now, HOLD);
		assert_int_equal(fences_state(&fences, 7, now + hold - 1), FENCE_HELD);
		assert_int_equal(fences_state(&fences, 7, now + hold), FENCE_BLOCKED);
		now += hold;
	}
}

static void more_than_fit_block_everything(void **state)
{
	struct fences fences;

	fences_init(&fences);
	for (uint64_t key = 1; key <= FENCES_MAX; key++)
		fences_passed(&fences, key, 1, HOLD);
	assert_int_equal(fences_state(&fences, 1000, 1), FENCE_CLEAR);
	fences_passed(&fences, FENCES_MAX + 1, 1, HOLD);
	assert_int_equal(fences_state(&fences, 1000, 1), FENCE_BLOCKED);
	assert_int_equal(fences_state(&fences, 1, 1), FENCE_BLOCKED);
	assert_int_equal(fences_state(&fences, FENCES_MAX + 1, 1), FENCE_HELD);
	// Now it remembers what is clear, as far as there is room.
	for (uint64_t key = 1; key <= 2 * FENCES_MAX; key++) {
		fences_cleared(&fences, key);
		assert_int_equal(fences_state(&fences, key, 1), FENCE_CLEAR);
	}
	assert_int_equal(fences_state(&fences, 1, 1), FENCE_BLOCKED);
	assert_int_equal(fences_state(&fences, 2 * FENCES_MAX, 1), FENCE_CLEAR);
	fences_passed(&fences, 2 * FENCES_MAX, 1, HOLD);
	assert_int_equal(fences_state(&fences, 2 * FENCES_MAX, 1), FENCE_HELD);
	assert_false(fences_empty(&fences));
	fences_passed_unknown(&fences);
	assert_int_equal(fences_state(&fences, 2 * FENCES_MAX, 1), FENCE_BLOCKED);
}

// --- on the wire ---------------------------------------------------------------------------------

#define RETAINED           \
	"\x31\x04\x00\x01" \
	"aR"
#define DOT                \
	"\x30\x06\x00\x03" \
	"a.b1"
#define SLASH              \
	"\x30\x06\x00\x03" \
	"a/b2"
#define ORDINARY           \
	"\x30\x04\x00\x01" \
	"a1"

static void two_clients(struct bed *bed)
{
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 0);
}

// A retained message passes, and with it its topic for a while.
static void pass_one(struct bed *bed)
{
	client_sends(bed, 1, BYTES(RETAINED ORDINARY));
	broker_gets(bed, 1, BYTES(RETAINED ORDINARY));
	assert_int_equal(bed_counters(bed)->passed[PROOF_FENCE], 1);
	bed_wait(bed, US_IN_S);
	// Nothing more passes: the publisher is held behind a PINGREQ of its leg.
	client_sends(bed, 1, BYTES(ORDINARY "\xc0\x00"));
	broker_gets(bed, 1, BYTES("\xc0\x00")); // one, ours: the client's waits too
	broker_gets(bed, 0, BYTES(""));
	client_gets(bed, 0, BYTES(""));
}

static void publisher_first_then_subscribers(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	pass_one(bed);
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	client_gets(bed, 1, BYTES(""));
	bed_turn(bed);
	broker_gets(bed, 0, BYTES("\xc0\x00"));
	client_gets(bed, 0, BYTES(""));
	// What the broker routed comes before its answer; what was captured after.
	broker_sends(bed, 0,
		BYTES("\x30\x04\x00\x01"
		      "aR\x30\x04\x00\x01"
		      "a1\xd0\x00"));
	bed_turn(bed);
	client_gets(bed, 0,
		BYTES("\x30\x04\x00\x01"
		      "aR" ORDINARY ORDINARY));
	// The client's own PINGREQ went on behind, and its answer is its own.
	broker_gets(bed, 1, BYTES("\xc0\x00"));
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	client_gets(bed, 1, BYTES("\xd0\x00"));
	assert_int_equal(bed_counters(bed)->fences[OFFLOAD_FENCE_CLEARED], 1);
	assert_null(bed->clients[1]->fences);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
}

static void another_qos_is_not_fenced(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	client_sends(bed, 1,
		BYTES(RETAINED "\x32\x05\x00\x01"
			       "a\x00\x09"));
	broker_gets(bed, 1, BYTES(RETAINED));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
}

static void without_an_answer_the_topic_stays_with_the_broker(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	pass_one(bed);
	bed_wait(bed, 250 * US_IN_MS);
	broker_gets(bed, 1, BYTES(ORDINARY "\xc0\x00"));
	assert_int_equal(bed_counters(bed)->fences[OFFLOAD_FENCE_TIMED_OUT], 1);
	bed_wait(bed, 1900 * US_IN_MS); // twice the hold time
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(ORDINARY));
	// The answer comes late: swallowed; the client's passes.
	broker_sends(bed, 1, BYTES("\xd0\x00\xd0\x00"));
	client_gets(bed, 1, BYTES("\xd0\x00"));
	bed_wait(bed, 200 * US_IN_MS);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES("\xc0\x00"));
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	bed_turn(bed);
	broker_gets(bed, 0, BYTES("\xc0\x00"));
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	bed_turn(bed);
	client_gets(bed, 0, BYTES(ORDINARY));
}

// The broker has an unacknowledged message to the subscriber: its answer proves nothing yet.
static void a_subscriber_is_asked_when_it_has_acknowledged(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	broker_sends(bed, 0,
		BYTES("\x32\x05\x00\x01"
		      "b\x00\x03"));
	client_gets(bed, 0,
		BYTES("\x32\x05\x00\x01"
		      "b\x00\x03"));
	pass_one(bed);
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	bed_wait(bed, 5 * US_IN_MS);
	broker_gets(bed, 0, BYTES(""));
	client_sends(bed, 0, BYTES("\x40\x02\x00\x03"));
	bed_wait(bed, 5 * US_IN_MS);
	broker_gets(bed, 0, BYTES("\x40\x02\x00\x03\xc0\x00"));
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	bed_turn(bed);
	client_gets(bed, 0, BYTES(ORDINARY));
}

static void who_leaves_or_comes_does_not_stop_a_fence(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	connect_v4(bed, 2);
	subscribe_v4(bed, 2, "#", 0);
	pass_one(bed);
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	bed_turn(bed);
	broker_gets(bed, 0, BYTES("\xc0\x00"));
	broker_gets(bed, 2, BYTES("\xc0\x00"));
	bed_close(bed, 2);
	connect_v4(bed, 3);
	client_sends(bed, 3, BYTES("\x82\x06\x00\x01\x00\x01+\x00"));
	bed_turn(bed);
	// Who comes while a fence asks is asked too.
	broker_gets(bed, 3, BYTES("\x82\x06\x00\x01\x00\x01+\x00\xc0\x00"));
	broker_sends(bed, 3, BYTES("\x90\x03\x00\x01\x00"));
	client_gets(bed, 3, BYTES("\x90\x03\x00\x01\x00"));
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	bed_turn(bed);
	client_gets(bed, 0, BYTES(""));
	broker_sends(bed, 3, BYTES("\xd0\x00"));
	bed_turn(bed);
	client_gets(bed, 0, BYTES(ORDINARY));
	client_gets(bed, 3, BYTES(ORDINARY));
}

// What can no longer be captured need not be waited for.
static void a_publisher_is_not_held_for_nothing(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	connect_v4(bed, 2);
	pass_one(bed);
	client_sends(bed, 2, BYTES("\x82\x0f\x00\x02\x00\x0a$share/g/a\x00"));
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	bed_wait(bed, 2 * US_IN_MS);
	broker_gets(bed, 1, BYTES(ORDINARY "\xc0\x00"));
	assert_int_equal(bed_counters(bed)->passed[PROOF_SHARE], 1);
}

static void a_publisher_that_goes_ends_its_fence(void **state)
{
	struct bed *bed = bed_new(state);

	two_clients(bed);
	pass_one(bed);
	bed_close(bed, 1);
	bed_wait(bed, US_IN_S);
	assert_int_equal(bed_counters(bed)->fences[OFFLOAD_FENCE_TIMED_OUT], 0);
}

// Where a PINGRESP proves nothing the hold time has to do.
static void without_pings_the_hold_time_does(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.fence = OFFLOAD_FENCE_NONE;
	two_clients(bed);
	client_sends(bed, 1, BYTES(RETAINED ORDINARY));
	broker_gets(bed, 1, BYTES(RETAINED ORDINARY));
	bed_wait(bed, 600 * US_IN_MS);
	client_sends(bed, 1, BYTES(ORDINARY)); // holds it for another second
	broker_gets(bed, 1, BYTES(ORDINARY));
	bed_wait(bed, 600 * US_IN_MS);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(ORDINARY));
	bed_wait(bed, 1100 * US_IN_MS);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(ORDINARY));
}

// A topic that the broker takes for another one's: one order for both.
static void topics_of_amqp_are_in_order_with_those_they_are_read_as(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.fence = OFFLOAD_FENCE_NONE;
	bed->broker.topics = OFFLOAD_TOPICS_AMQP;
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a/b", 0);
	client_sends(bed, 1, BYTES(SLASH));
	client_gets(bed, 0, BYTES(SLASH));
	client_sends(bed, 1, BYTES(DOT SLASH));
	broker_gets(bed, 1, BYTES(DOT SLASH));
	assert_int_equal(bed_counters(bed)->passed[PROOF_AMQP], 1);
	assert_int_equal(bed_counters(bed)->passed[PROOF_FENCE], 1);
	bed_wait(bed, 1100 * US_IN_MS);
	client_sends(bed, 1, BYTES(SLASH));
	client_gets(bed, 0, BYTES(SLASH));
}

// Back before its will has come out of the broker: what it publishes then is behind the will.
static void a_will_comes_before_what_its_client_publishes_next(void **state)
{
	static const char connect[] = "\x10\x13\x00\x04MQTT\x04\x06\x00\x3c\x00\x01w\x00\x01"
				      "a\x00\x01W";
	const uint8_t *got;

	for (unsigned how = 0; how < 3; how++) {
		struct bed *bed = bed_new(state);

		bed_start(bed);
		connect_v4(bed, 0);
		subscribe_v4(bed, 0, "a", 0);
		for (unsigned i = 1; i <= 2; i++) {
			bed_open(bed, i);
			client_sends(bed, i, BYTES(connect));
			broker_sends(bed, i, BYTES("\x20\x02\x00\x00"));
			got_take(&bed->up[i], &got);
			got_take(&bed->down[i], &got);
			if (i == 1 && how == 0)
				bed_close(bed, i);
			if (i == 1 && how == 1)
				client_sends(bed, i, BYTES("\xe0\x00"));
		}
		client_sends(bed, 2, BYTES(ORDINARY));
		if (how == 1)
			client_gets(bed, 0, BYTES(ORDINARY)); // it said goodbye
		else
			broker_gets(bed, 2, BYTES(ORDINARY)); // gone, or taken over
		bed_end(state);
	}
	bed_start(bed_new(state));
}

int test_fences(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			a_will_comes_before_what_its_client_publishes_next, bed_end),
		cmocka_unit_test(clear_held_blocked),
		cmocka_unit_test(failures_double_the_hold),
		cmocka_unit_test(more_than_fit_block_everything),
		cmocka_unit_test_teardown(publisher_first_then_subscribers, bed_end),
		cmocka_unit_test_teardown(another_qos_is_not_fenced, bed_end),
		cmocka_unit_test_teardown(
			without_an_answer_the_topic_stays_with_the_broker, bed_end),
		cmocka_unit_test_teardown(a_subscriber_is_asked_when_it_has_acknowledged, bed_end),
		cmocka_unit_test_teardown(who_leaves_or_comes_does_not_stop_a_fence, bed_end),
		cmocka_unit_test_teardown(a_publisher_is_not_held_for_nothing, bed_end),
		cmocka_unit_test_teardown(a_publisher_that_goes_ends_its_fence, bed_end),
		cmocka_unit_test_teardown(without_pings_the_hold_time_does, bed_end),
		cmocka_unit_test_teardown(
			topics_of_amqp_are_in_order_with_those_they_are_read_as, bed_end),
	};

	return cmocka_run_group_tests_name("fences", tests, NULL, NULL);
}
