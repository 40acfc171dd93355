// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// QoS 2, both halves: what is taken and released, what passes after all, what subscribers get.

#include "offload_tests.h"

#include <string.h>

#define PUBLISH_2          \
	"\x34\x07\x00\x01" \
	"a\x00\x09hi"
#define PUBLISH_2_DUP      \
	"\x3c\x07\x00\x01" \
	"a\x00\x09hi"
#define PUBREC_9  "\x50\x02\x00\x09"
#define PUBREL_9  "\x62\x02\x00\x09"
#define PUBCOMP_9 "\x70\x02\x00\x09"

// 0 subscribes to a at QoS 2; 1 publishes.
static struct bed *two_clients(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 2);
	return bed;
}

static void once_on_both_legs(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(PUBLISH_2));
	client_gets(bed, 1, BYTES(PUBREC_9));
	client_gets(bed, 0, BYTES("")); // not before it is released
	client_sends(bed, 1, BYTES(PUBLISH_2_DUP));
	client_gets(bed, 1, BYTES(PUBREC_9));
	client_sends(bed, 1, BYTES(PUBREL_9));
	client_gets(bed, 1, BYTES(PUBCOMP_9));
	client_gets(bed, 0,
		BYTES("\x34\x07\x00\x01"
		      "a\x80\x00hi"));
	client_sends(bed, 0, BYTES("\x50\x02\x80\x00"));
	client_gets(bed, 0, BYTES("\x62\x02\x80\x00"));
	client_sends(bed, 0, BYTES("\x50\x02\x80\x00")); // again
	client_gets(bed, 0, BYTES("\x62\x02\x80\x00"));
	assert_non_null(bed->clients[0]->identifiers);
	client_sends(bed, 0, BYTES("\x70\x02\x80\x00"));
	assert_null(bed->clients[0]->identifiers);
	// Unknown now: the broker answers, as it would.
	client_sends(bed, 1, BYTES(PUBREL_9));
	broker_gets(bed, 1, BYTES(PUBREL_9));
	broker_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->captured[2], 1);
	assert_int_equal(bed_counters(bed)->deliveries[2], 1);
}

static void delivered_at_what_each_was_granted(void **state)
{
	struct bed *bed = two_clients(state);

	connect_v5(bed, 2);
	subscribe_v5(bed, 2, "a", 1, 0);
	connect_v4(bed, 3);
	subscribe_v4(bed, 3, "a", 0);
	client_sends(bed, 1, BYTES(PUBLISH_2 PUBREL_9));
	client_gets(bed, 1, BYTES(PUBREC_9 PUBCOMP_9));
	client_gets(bed, 2,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	client_gets(bed, 3,
		BYTES("\x30\x05\x00\x01"
		      "ahi"));
}

// v5: a PUBREC that refuses ends the delivery; an acknowledgement of the wrong kind is the
// broker's.
static void refused_by_the_subscriber(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v5(bed, 0);
	connect_v4(bed, 1);
	subscribe_v5(bed, 0, "a", 2, 0);
	client_sends(bed, 1, BYTES(PUBLISH_2 PUBREL_9));
	client_gets(bed, 0,
		BYTES("\x34\x08\x00\x01"
		      "a\x80\x00\x00hi"));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	broker_gets(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_sends(bed, 0, BYTES("\x50\x03\x80\x00\x97"));
	broker_gets(bed, 0, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	assert_null(bed->clients[0]->identifiers);
}

// [MQTT-4.6.0-3]: PUBRECs in the order of the PUBLISHes, whoever answers.
static void pubrecs_keep_the_order(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1,
		BYTES("\x35\x05\x00\x01"
		      "b\x00\x08" PUBLISH_2));
	broker_gets(bed, 1,
		BYTES("\x35\x05\x00\x01"
		      "b\x00\x08"));
	client_gets(bed, 1, BYTES(""));
	broker_sends(bed, 1, BYTES("\x50\x02\x00\x08"));
	client_gets(bed, 1, BYTES("\x50\x02\x00\x08" PUBREC_9));
}

static void the_publisher_goes_before_it_releases(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(PUBLISH_2));
	bed_close(bed, 1);
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->abandoned, 1);
}

// What cannot be captured any more when it is released goes to the broker, once, in its place.
static void released_to_the_broker_after_all(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(PUBLISH_2));
	client_gets(bed, 1, BYTES(PUBREC_9));
	bed->offload->brokers[0].distrust = "a test";
	client_sends(bed, 1, BYTES(PUBREL_9 "\xc0\x00"));
	broker_gets(bed, 1, BYTES(PUBLISH_2)); // what follows waits
	client_gets(bed, 1, BYTES(""));
	broker_sends(bed, 1, BYTES(PUBREC_9));
	broker_gets(bed, 1, BYTES(PUBREL_9 "\xc0\x00"));
	client_gets(bed, 1, BYTES(""));
	broker_sends(bed, 1, BYTES(PUBCOMP_9));
	client_gets(bed, 1, BYTES(PUBCOMP_9));
	assert_int_equal(bed_counters(bed)->passed_late, 1);
	assert_int_equal(bed_counters(bed)->captured[2], 0);
	assert_null(bed->clients[1]->exchanges);
}

// What was taken behind such a message is behind it still.
static void what_follows_a_late_one_does_not_overtake_it(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1,
		BYTES(PUBLISH_2 "\x34\x05\x00\x01"
				"a\x00\x0a"));
	client_gets(bed, 1, BYTES(PUBREC_9 "\x50\x02\x00\x0a"));
	bed->offload->brokers[0].distrust = "a test";
	client_sends(bed, 1, BYTES(PUBREL_9));
	broker_gets(bed, 1, BYTES(PUBLISH_2));
	bed->offload->brokers[0].distrust = NULL;
	broker_sends(bed, 1, BYTES(PUBREC_9));
	broker_gets(bed, 1, BYTES(PUBREL_9));
	client_sends(bed, 1, BYTES("\x62\x02\x00\x0a"));
	broker_gets(bed, 1, BYTES("\xc0\x00")); // a fence, not a delivery
	client_gets(bed, 0, BYTES(""));
}

// A broker that refuses it, or does no QoS 2, ends the exchange; the publisher gets its PUBCOMP.
static void refused_by_the_broker_after_all(void **state)
{
	static const struct {
		const char *answer;
		size_t length;
	} cases[] = {{BYTES("\x50\x03\x00\x09\x87")}, {BYTES("\x40\x02\x00\x09")}};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed = bed_new(state);

		bed_start(bed);
		connect_v5(bed, 1);
		client_sends(bed, 1,
			BYTES("\x34\x06\x00\x01"
			      "a\x00\x09\x00"));
		client_gets(bed, 1, BYTES(PUBREC_9));
		bed->offload->brokers[0].distrust = "a test";
		client_sends(bed, 1, BYTES(PUBREL_9));
		broker_sends(bed, 1, cases[i].answer, cases[i].length);
		client_gets(bed, 1, BYTES(PUBCOMP_9));
		assert_null(bed->clients[1]->exchanges);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

#define RETAINED_2         \
	"\x35\x05\x00\x01" \
	"a\x00\x08"

// A message that passed is routed when its exchange has ended: until then no fence clears its
// topic, but one that was released after it may go.
static void a_fence_waits_for_the_release(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(RETAINED_2));
	broker_gets(bed, 1, BYTES(RETAINED_2));
	broker_sends(bed, 1, BYTES("\x50\x02\x00\x08"));
	client_gets(bed, 1, BYTES("\x50\x02\x00\x08"));
	bed_wait(bed, 2 * US_IN_S); // the hold
	client_sends(bed, 1, BYTES(PUBLISH_2));
	client_gets(bed, 1, BYTES(PUBREC_9));
	client_sends(bed, 1, BYTES("\x62\x02\x00\x08" PUBREL_9));
	broker_gets(bed, 1, BYTES("\x62\x02\x00\x08\xc0\x00")); // the fence, behind the release
	broker_sends(bed, 1, BYTES("\x70\x02\x00\x08\xd0\x00"));
	client_gets(bed, 1, BYTES("\x70\x02\x00\x08"));
	broker_gets(bed, 0, BYTES("\xc0\x00"));
	client_gets(bed, 0, BYTES(""));
	broker_sends(bed, 0,
		BYTES("\x34\x05\x00\x01"
		      "a\x00\x01\xd0\x00"));
	client_gets(bed, 0,
		BYTES("\x34\x05\x00\x01"
		      "a\x00\x01"));
	// There may be more behind it: asked again when it is dealt with.
	client_sends(bed, 0, BYTES("\x50\x02\x00\x01"));
	broker_sends(bed, 0, BYTES("\x62\x02\x00\x01"));
	client_gets(bed, 0, BYTES("\x62\x02\x00\x01"));
	client_sends(bed, 0, BYTES("\x70\x02\x00\x01"));
	bed_turn(bed);
	broker_gets(bed, 0, BYTES("\x50\x02\x00\x01\x70\x02\x00\x01\xc0\x00"));
	broker_sends(bed, 0, BYTES("\xd0\x00"));
	client_gets(bed, 0,
		BYTES("\x34\x07\x00\x01"
		      "a\x80\x00hi"));
	client_gets(bed, 1, BYTES(PUBCOMP_9));
}

// While the topic is held, and when a publisher sends again what is not known, the broker has it.
static void passes_while_the_topic_is_held(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(PUBLISH_2_DUP));
	broker_gets(bed, 1, BYTES(PUBLISH_2_DUP));
	assert_int_equal(bed_counters(bed)->passed[PROOF_DUPLICATE], 1);
	client_sends(bed, 1,
		BYTES("\x34\x05\x00\x01"
		      "a\x00\x0a"));
	broker_gets(bed, 1,
		BYTES("\x34\x05\x00\x01"
		      "a\x00\x0a"));
	assert_int_equal(bed_counters(bed)->passed[PROOF_FENCE], 1);
	broker_sends(bed, 1, BYTES("\x50\x02\x00\x0a\x50\x02\x00\x09"));
	client_gets(bed, 1, BYTES("\x50\x02\x00\x0a\x50\x02\x00\x09"));
}

static void no_more_are_kept_than_the_bound(void **state)
{
	struct bed *bed = two_clients(state);
	char publish[] = PUBLISH_2;

	for (unsigned id = 1; id <= 256; id++) {
		publish[5] = (char)(id >> 8);
		publish[6] = (char)id;
		client_sends(bed, 1, publish, sizeof(publish) - 1);
	}
	broker_gets(bed, 1, BYTES(""));
	publish[5] = publish[6] = 1;
	client_sends(bed, 1, publish, sizeof(publish) - 1);
	broker_gets(bed, 1, publish, sizeof(publish) - 1);
	assert_int_equal(bed_counters(bed)->passed[PROOF_QOS2_FULL], 1);
}

int test_exact(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(once_on_both_legs, bed_end),
		cmocka_unit_test_teardown(delivered_at_what_each_was_granted, bed_end),
		cmocka_unit_test_teardown(refused_by_the_subscriber, bed_end),
		cmocka_unit_test_teardown(pubrecs_keep_the_order, bed_end),
		cmocka_unit_test_teardown(the_publisher_goes_before_it_releases, bed_end),
		cmocka_unit_test_teardown(released_to_the_broker_after_all, bed_end),
		cmocka_unit_test_teardown(what_follows_a_late_one_does_not_overtake_it, bed_end),
		cmocka_unit_test_teardown(refused_by_the_broker_after_all, bed_end),
		cmocka_unit_test_teardown(a_fence_waits_for_the_release, bed_end),
		cmocka_unit_test_teardown(passes_while_the_topic_is_held, bed_end),
		cmocka_unit_test_teardown(no_more_are_kept_than_the_bound, bed_end),
	};

	return cmocka_run_group_tests_name("exact", tests, NULL, NULL);
}
