// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// SUBSCRIBE and UNSUBSCRIBE with several filters, and filters given anew (3.8.4, 3.10.4).

#include "offload_tests.h"

#define PUBLISH_1(topic)       "\x32\x05\x00\x01" topic "\x00\x09"
#define DELIVERED_1(topic, id) "\x32\x06\x00\x01" topic "\x80" id "\x00"
#define DELIVERED_0(topic)     "\x30\x04\x00\x01" topic "\x00"

static void two_clients(struct bed *bed)
{
	bed_start(bed);
	connect_v5(bed, 0);
	connect_v4(bed, 1);
}

// Each as the SUBACK says in its place, and only by its own name. Properties pass as they came.
static void each_filter_has_its_own_answer(void **state)
{
	static const char subscribe[] = "\x82\x0f\x00\x05\x00"
					"\x00\x01"
					"a\x01\x00\x01"
					"b\x02\x00\x01"
					"c\x02";
	static const char unsubscribe[] = "\xa2\x0c\x00\x06\x00"
					  "\x00\x01"
					  "c\x00\x01"
					  "+\x00\x01"
					  "a";
	struct bed *bed = bed_new(state);

	two_clients(bed);
	client_sends(bed, 0, BYTES(subscribe));
	broker_gets(bed, 0, BYTES(subscribe));
	broker_sends(bed, 0, BYTES("\x90\x0a\x00\x05\x04\x1f\x00\x01r\x01\x87\x00"));
	client_gets(bed, 0, BYTES("\x90\x0a\x00\x05\x04\x1f\x00\x01r\x01\x87\x00"));
	client_sends(bed, 1, BYTES(PUBLISH_1("a") PUBLISH_1("b") PUBLISH_1("c")));
	client_gets(bed, 0, BYTES(DELIVERED_1("a", "\x00") DELIVERED_0("c")));
	// c is gone, "+" was not there, a stays.
	client_sends(bed, 0, BYTES(unsubscribe));
	broker_gets(bed, 0, BYTES(unsubscribe));
	broker_sends(bed, 0, BYTES("\xb0\x0d\x00\x06\x07\x26\x00\x01k\x00\x01v\x00\x11\x87"));
	client_gets(bed, 0, BYTES("\xb0\x0d\x00\x06\x07\x26\x00\x01k\x00\x01v\x00\x11\x87"));
	client_sends(bed, 1, BYTES(PUBLISH_1("a") PUBLISH_1("b") PUBLISH_1("c")));
	client_gets(bed, 0, BYTES(DELIVERED_1("a", "\x01")));
	broker_gets(bed, 1, BYTES(""));
}

// Filters that match the same are not the same: the other stays.
static void unsubscribing_takes_filters_by_the_letter(void **state)
{
	static const char unsubscribe[] = "\xa2\x05\x00\x02\x00\x01"
					  "a";
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 0);
	subscribe_v4(bed, 0, "+", 1);
	client_sends(bed, 0, BYTES(unsubscribe));
	broker_gets(bed, 0, BYTES(unsubscribe));
	broker_sends(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_gets(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_sends(bed, 1, BYTES(PUBLISH_1("a")));
	client_gets(bed, 0,
		BYTES("\x32\x05\x00\x01"
		      "a\x80\x00"));
}

// Nothing is composed, stripped or folded: the other name is another topic.
static void names_are_compared_byte_by_byte(void **state)
{
	static const struct {
		const char *filter, *other;
	} cases[] = {
		{"\xc3\xa9", "e\xcc\x81"}, // é, in one code point and in two
		{"\xef\xbb\xbf"
		 "a",
			"a"}, // U+FEFF before it
		{"a", "A"},
		{"a", "a/"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed = bed_new(state);
		uint8_t publish[32];
		size_t length;

		bed_start(bed);
		connect_v4(bed, 0);
		connect_v4(bed, 1);
		subscribe_v4(bed, 0, cases[i].filter, 0);
		length = publish_v4(publish, cases[i].other, 0, "x", 1);
		client_sends(bed, 1, publish, length);
		client_gets(bed, 0, BYTES(""));
		length = publish_v4(publish, cases[i].filter, 0, "x", 1);
		client_sends(bed, 1, publish, length);
		client_gets(bed, 0, publish, length);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// The same filter again, at another QoS and under another identifier: what is published between
// SUBSCRIBE and SUBACK comes once, as the new subscription has it.
static void a_filter_given_anew_loses_nothing(void **state)
{
	static const char again[] = "\x82\x09\x00\x02\x02\x0b\x07\x00\x01"
				    "a\x01";
	struct bed *bed = bed_new(state);

	two_clients(bed);
	subscribe_v5(bed, 0, "a", 0, 5);
	client_sends(bed, 0, BYTES(again));
	broker_gets(bed, 0, BYTES(again));
	client_sends(bed, 1, BYTES(PUBLISH_1("a")));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09"));
	broker_sends(bed, 0, BYTES("\x90\x04\x00\x02\x00\x01"));
	client_gets(bed, 0,
		BYTES("\x90\x04\x00\x02\x00\x01\x32\x08\x00\x01"
		      "a\x80\x00\x02\x0b\x07"));
	client_sends(bed, 1, BYTES(PUBLISH_1("a")));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x01"
		      "a\x80\x01\x02\x0b\x07"));
}

int test_filters(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_filter_has_its_own_answer, bed_end),
		cmocka_unit_test_teardown(unsubscribing_takes_filters_by_the_letter, bed_end),
		cmocka_unit_test_teardown(names_are_compared_byte_by_byte, bed_end),
		cmocka_unit_test_teardown(a_filter_given_anew_loses_nothing, bed_end),
	};

	return cmocka_run_group_tests_name("filters", tests, NULL, NULL);
}
