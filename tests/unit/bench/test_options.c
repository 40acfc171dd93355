// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The command line: what is accepted, what is refused, what follows from it.

#include "bench_tests.h"

#include "bench/address.h"
#include "bench/options.h"
#include "bench/values.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 16

static int parse(const char *line, struct bench_options *options)
{
	static char copy[512]; // options point into it until the next line
	char *argv[ARGUMENTS_MAX + 1] = {"offramp-bench"}, *rest = copy, *word;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")) && argc < ARGUMENTS_MAX)
		if (*word)
			argv[argc++] = word;
	return bench_options_parse(argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS, options);
}

static void test_right_lines_are_accepted_and_wrong_ones_refused(void **state)
{
	static const struct {
		const char *line;
		int rc;
	} table[] = {
		{"", 0},
		{"-h 198.18.0.1 -p 1883 -S 1000 -d 5 --json", 0},
		{"--host ::1 -P 100 -S 100 -t all-to-all --wildcard", 0},
		{"-t pairs -P 5 -S 5", 0},
		{"-t pairs -P 5 -S 4", -EINVAL},
		{"-t many-to-one -P 5 -S 1 --wildcard", 0},
		{"-t many-to-one -P 5 -S 2 --wildcard", -EINVAL},
		{"-t many-to-one -P 1 -S 2", -EINVAL},
		{"-t many-to-one -P 1 -S 0", -EINVAL},
		{"-t star", -EINVAL},
		{"-P 0 -S 0", -EINVAL},
		{"-P 0 -S 10", 0},
		{"-P 10 -S 0 -t all-to-all --flood", 0},
		{"-P 10 -S 0 -t all-to-all --closed", -EINVAL},
		{"-P -1", -EINVAL},
		{"-P 1x", -EINVAL},
		{"--rate 5 --flood", -EINVAL},
		{"--closed=4 --flood", -EINVAL},
		{"--closed --rate 3", -EINVAL},
		{"--closed=0", -EINVAL},
		{"--rate 0", -EINVAL},
		{"--rate nan", -EINVAL},
		{"--rate 0.5", 0},
		{"-s 0", 0},
		{"-s 0..1M -n 50", 0},
		{"-s 1M..0", -EINVAL},
		{"-s 64,", -EINVAL},
		{"-s 65M", -EINVAL},
		{"-s 31 -P 2", -EINVAL}, // two publishers on one topic, and no room to say who
		{"-s 31 -P 2 -t all-to-all", 0},
		{"-q 3", -EINVAL},
		{"-q 2 -V 5 --inflight 100", 0},
		{"-V 4", -EINVAL},
		{"-p 0", -EINVAL},
		{"-p 65536", -EINVAL},
		{"--source 198.18.0.1", 0},
		{"--source 198.18.0.1-198.18.3.255,198.19.0.1", 0},
		{"--source 198.18.0.2-198.18.0.1", -EINVAL},
		{"--source 198.18.0.1,fd00::1", -EINVAL},
		{"--source fd00::1-fd00::ff", 0},
		{"--source localhost", -EINVAL},
		{"--cpu-of broker=1 --cpu-of offrampd=2", 0},
		{"--cpu-of broker", -EINVAL},
		{"--cpu-of =1", -EINVAL},
		{"--cpu-of broker=x", -EINVAL},
		{"--topic-prefix a/b", 0},
		{"--topic-prefix a/#", -EINVAL},
		{"--password x", -EINVAL},
		{"--password x -V 5", 0},
		{"--threads 0", -EINVAL},
		{"further", -EINVAL},
	};
	struct bench_options options;

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (parse(table[i].line, &options) != table[i].rc)
			fail_msg(
				"'%s' was %s", table[i].line, table[i].rc ? "accepted" : "refused");
}

static void test_defaults_are_what_help_says(void **state)
{
	struct bench_options o;

	assert_int_equal(parse("", &o), 0);
	assert_string_equal(o.host, "localhost");
	assert_string_equal(o.port, "1883");
	assert_int_equal(o.publishers, 1);
	assert_int_equal(o.subscribers, 1);
	assert_int_equal(o.pace, BENCH_PACE_RATE);
	assert_true(o.rate == 10 && o.duration_s == 10 && o.warmup_s == 1 && o.drain_s == 5);
	assert_int_equal(o.sizes[0], 64);
	assert_int_equal(o.version, MQTT_VERSION_3_1_1);
	assert_false(o.nagle);
}

static void test_counted_messages_have_no_warmup_unless_asked_for(void **state)
{
	struct bench_options o;

	assert_int_equal(parse("-n 100", &o), 0);
	assert_true(o.warmup_s == 0);
	assert_int_equal(parse("-n 100 --warmup 2", &o), 0);
	assert_true(o.warmup_s == 2);
}

static void test_sizes_are_numbers_and_doubling_ranges(void **state)
{
	static const struct {
		const char *text;
		uint32_t sizes[8];
		unsigned count;
	} table[] = {
		{"0", {0}, 1},
		{"1K", {1024}, 1},
		{"5,0,1M", {5, 0, 1 << 20}, 3},
		{"0..4", {0, 1, 2, 4}, 4},
		{"3..13", {3, 6, 12}, 3},
		{"7..7,1", {7, 1}, 2},
	};
	uint32_t sizes[8];
	unsigned count;

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_true(bench_value_sizes(table[i].text, 1 << 20, sizes, 8, &count));
		assert_int_equal(count, table[i].count);
		assert_memory_equal(sizes, table[i].sizes, count * sizeof(sizes[0]));
	}
	assert_false(
		bench_value_sizes("0..1M", 1 << 20, sizes, 8, &count)); // more than there is room
}

static void test_sources_are_taken_in_turn(void **state)
{
	static const char *const expected[] = {
		"10.0.0.254", "10.0.0.255", "10.0.1.0", "10.9.9.9", "10.0.0.254"};
	struct bench_source sources[4];
	unsigned count = 0;

	assert_int_equal(
		bench_sources_parse("10.0.0.254-10.0.1.0,10.9.9.9", sources, 4, &count), 0);
	assert_int_equal(count, 2);
	for (unsigned n = 0; n < sizeof(expected) / sizeof(expected[0]); n++) {
		struct bench_address address;
		const struct sockaddr_in *in = (struct sockaddr_in *)&address.storage;
		uint32_t ip, octets[4];

		bench_sources_pick(sources, count, n, &address);
		ip = ntohl(in->sin_addr.s_addr);
		assert_int_equal(sscanf(expected[n], "%u.%u.%u.%u", &octets[0], &octets[1],
					 &octets[2], &octets[3]),
			4);
		assert_int_equal(
			ip, octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]);
	}
}

int test_bench_options(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right_lines_are_accepted_and_wrong_ones_refused),
		cmocka_unit_test(test_defaults_are_what_help_says),
		cmocka_unit_test(test_counted_messages_have_no_warmup_unless_asked_for),
		cmocka_unit_test(test_sizes_are_numbers_and_doubling_ranges),
		cmocka_unit_test(test_sources_are_taken_in_turn),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
