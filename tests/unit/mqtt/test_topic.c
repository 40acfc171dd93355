// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Topic names and filters (4.7), shared subscriptions (4.8.2).

#include "mqtt_tests.h"

#include "mqtt/topic.h"

static void test_topics_are_names_without_wildcards(void **state)
{
	static const char *const good[] = {
		"a", "/", "//", "a/b", "/a", "a/", "$SYS/x", "a b", "caf\xc3\xa9"};
	static const char *const bad[] = {"", "+", "#", "a/+", "a+", "a/#", "\xff", "a/\xc0\x80"};

	for (size_t i = 0; i < COUNT_OF(good); i++)
		assert_true(mqtt_topic_valid(bytes_of(good[i])));
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_false(mqtt_topic_valid(bytes_of(bad[i])));
	assert_false(mqtt_topic_valid(mqtt_bytes("a\0b", 3)));
}

static void test_filters_hold_wildcards_only_alone_in_a_level(void **state)
{
	static const char *const good[] = {"a", "/", "+", "#", "+/+", "+/#", "a/+/b", "a/#", "/+",
		"/#", "+/", "a//+", "$SYS/#", "$share", "$sharex/+/a", "$share/g/a", "$share/g/#",
		"$share/g/+/b", "$share/g//", "$share/g//a", "$share/g/$share/h/a"};
	static const char *const bad[] = {"", "a+", "+a", "a/b+/c", "a#", "#/a", "a/#/b", "a/b#",
		"##", "++", "#+", "\xff", "$share/", "$share//a", "$share/g", "$share/g/",
		"$share/g+/a", "$share/+/a", "$share/#", "$share/g/a#", "$share/#/a"};

	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (!mqtt_filter_valid(bytes_of(good[i])))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (mqtt_filter_valid(bytes_of(bad[i])))
			fail_msg("%s", bad[i]);
}

static void test_filters_match_as_the_specification_shows(void **state)
{
	static const struct {
		const char *filter, *topic;
		bool matches;
	} rows[] = {
		// 4.7.1.2
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player10", false},
		{"sport/#", "sport", true},
		{"#", "a", true},
		{"#", "/", true},
		{"#", "a/b/c", true},
		// 4.7.1.3
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		// 4.7.2
		{"#", "$SYS/a", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"+/#", "$SYS", false},
		{"$SYS/#", "$SYS/a", true},
		{"$SYS/#", "$SYS", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a/+", "a/$x", true},
		{"a/#", "a/$x/y", true},
		// 4.7.3
		{"ACCOUNTS", "Accounts", false},
		{"/a", "a", false},
		{"a", "a/", false},
		{"a/", "a", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"a/b", "a//b", false},
		{"+", "a", true},
		{"a/b", "a/b", true},
		{"a/b", "a/bc", false},
		{"a/bc", "a/b", false},
		{"a/b/#", "a/bc", false},
		{"+/#", "a", true},
		{"+/#", "a/b/c", true},
		{"+/b/#", "a/c/b", false},
		{"a/#", "a/", true},
		{"/#", "/", true},
		{"/#", "a", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (mqtt_filter_matches(bytes_of(rows[i].filter), bytes_of(rows[i].topic)) !=
			rows[i].matches)
			fail_msg("%s with %s", rows[i].filter, rows[i].topic);
}

static void test_shares_fall_into_name_and_filter(void **state)
{
	struct mqtt_bytes name = {0}, filter = {0};

	assert_true(mqtt_filter_share(bytes_of("$share/group/a/+"), &name, &filter));
	assert_true(mqtt_bytes_equal(name, bytes_of("group")));
	assert_true(mqtt_bytes_equal(filter, bytes_of("a/+")));
	assert_false(mqtt_filter_share(bytes_of("$share"), &name, &filter));
	assert_false(mqtt_filter_share(bytes_of("share/group/a"), &name, &filter));
	assert_false(mqtt_filter_share(bytes_of(""), &name, &filter));
}

static void test_amqp_topics_are_read_as_their_broker_does(void **state)
{
	static const struct {
		const char *text, *read; // NULL: as it is
	} rows[] = {
		{"a", NULL},
		{"a/+/#", NULL},
		{"a.b", "a/b"},
		{".a.", "/a/"},
		{"a/b.c/d", "a/b/c/d"},
		{"*", "+"},
		{"*.*", "+/+"},
		{"a/*", "a/+"},
		{"*/a", "+/a"},
		{"a.*.#", "a/+/#"},
		{"a*", "a*"},
		{"*a.**", "*a/**"},
	};
	uint8_t out[16];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes text = bytes_of(rows[i].text);

		assert_int_equal(mqtt_topic_from_amqp(text, out), rows[i].read != NULL);
		if (rows[i].read != NULL)
			assert_memory_equal(out, rows[i].read, text.length);
	}
}

static void test_levels_are_counted_with_the_empty_ones(void **state)
{
	assert_int_equal(mqtt_topic_levels(bytes_of("a")), 1);
	assert_int_equal(mqtt_topic_levels(bytes_of("a//b")), 3);
	assert_int_equal(mqtt_topic_levels(bytes_of("/")), 2);
}

int test_mqtt_topic(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topics_are_names_without_wildcards),
		cmocka_unit_test(test_filters_hold_wildcards_only_alone_in_a_level),
		cmocka_unit_test(test_filters_match_as_the_specification_shows),
		cmocka_unit_test(test_shares_fall_into_name_and_filter),
		cmocka_unit_test(test_amqp_topics_are_read_as_their_broker_does),
		cmocka_unit_test(test_levels_are_counted_with_the_empty_ones),
	};

	return cmocka_run_group_tests_name("topic", tests, NULL, NULL);
}
