// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who hears whom: the sums agree, whichever side one counts from.

#include "bench_tests.h"

#include "bench/plan.h"

#include <string.h>

static const struct {
	enum bench_topics topics;
	uint32_t publishers, subscribers, fanout;
} cases[] = {
	{BENCH_TOPICS_ONE_TO_MANY, 1, 1000, 1000},
	{BENCH_TOPICS_ONE_TO_MANY, 3, 5, 5},
	{BENCH_TOPICS_MANY_TO_ONE, 100, 1, 1},
	{BENCH_TOPICS_MANY_TO_ONE, 100, 7, 1},
	{BENCH_TOPICS_PAIRS, 12, 12, 1},
	{BENCH_TOPICS_ALL_TO_ALL, 11, 13, 13},
	{BENCH_TOPICS_ALL_TO_ALL, 5, 0, 0},
};

static void plan_of(struct bench_plan *plan, unsigned i, struct bench_options *options)
{
	*options = (struct bench_options){
		.publishers = cases[i].publishers,
		.subscribers = cases[i].subscribers,
		.topics = cases[i].topics,
		.sizes = {64},
		.sizes_count = 1,
	};
	bench_plan_init(plan, options, 0xabcdef);
}

static void test_every_publisher_is_heard_by_its_fanout(void **state)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench_options options;
		struct bench_plan plan;

		plan_of(&plan, i, &options);
		assert_int_equal(bench_plan_fanout(&plan), cases[i].fanout);
		for (uint32_t p = 0; p < plan.publishers; p++) {
			uint32_t heard = 0;

			for (uint32_t s = 0; s < plan.subscribers; s++) {
				uint32_t n = bench_plan_heard_index(&plan, s, p);

				if (n == BENCH_PLAN_NOBODY)
					continue;
				assert_true(n < bench_plan_heard(&plan, s));
				assert_int_equal(bench_plan_heard_publisher(&plan, s, n), p);
				heard++;
			}
			assert_int_equal(heard, cases[i].fanout);
		}
	}
}

static void test_filters_ask_for_what_is_heard(void **state)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench_options options;
		struct bench_plan plan;

		plan_of(&plan, i, &options);
		for (uint32_t s = 0; s < plan.subscribers; s++)
			for (uint32_t n = 0; n < bench_plan_filters(&plan, s); n++) {
				char name[BENCH_TOPIC_MAX];
				uint32_t length = bench_plan_filter_write(&plan, s, n, name), topic;

				assert_true(bench_plan_topic_read(
					&plan, mqtt_bytes(name, length), &topic));
				assert_int_equal(
					topic, bench_plan_topic(&plan,
						       bench_plan_heard_publisher(&plan, s, n)));
			}
	}
}

static void test_foreign_topics_are_not_read(void **state)
{
	static const char *const names[] = {"bench/00abcdef/", "bench/00abcdef/11",
		"bench/00abcdef/01", "bench/00abcdef/1x", "bench/00abcdee/1", "bench/00abcdef",
		"bench/00abcdef/99999999999", "", "x"};
	struct bench_options options;
	struct bench_plan plan;
	uint32_t topic;

	plan_of(&plan, 5, &options);
	assert_true(bench_plan_topic_read(
		&plan, mqtt_bytes("bench/00abcdef/10", strlen("bench/00abcdef/10")), &topic));
	assert_int_equal(topic, 10);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(bench_plan_topic_read(
			&plan, mqtt_bytes(names[i], strlen(names[i])), &topic));
}

static void test_wildcard_is_one_filter(void **state)
{
	struct bench_options options = {.publishers = 9,
		.subscribers = 2,
		.topics = BENCH_TOPICS_ALL_TO_ALL,
		.topic_prefix = "a/b",
		.wildcard = true};
	struct bench_plan plan;
	char name[BENCH_TOPIC_MAX];

	bench_plan_init(&plan, &options, 1);
	assert_int_equal(bench_plan_filters(&plan, 1), 1);
	assert_int_equal(bench_plan_filter_write(&plan, 1, 0, name), 5);
	assert_memory_equal(name, "a/b/+", 5);
}

static void test_sizes_go_round(void **state)
{
	struct bench_options options = {
		.publishers = 1, .subscribers = 1, .sizes = {10, 0, 300}, .sizes_count = 3};
	struct bench_plan plan;

	bench_plan_init(&plan, &options, 1);
	assert_int_equal(bench_plan_size(&plan, 0), 10);
	assert_int_equal(bench_plan_size(&plan, 4), 0);
	assert_int_equal(bench_plan_size(&plan, 5), 300);
	assert_int_equal(bench_plan_size_max(&plan), 300);
	assert_int_equal(bench_plan_next_of_size(&plan, 4, 0), 4);
	assert_int_equal(bench_plan_next_of_size(&plan, 5, 0), 7);
	assert_int_equal(bench_plan_next_of_size(&plan, 5, 77), 5);
}

int test_bench_plan(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_publisher_is_heard_by_its_fanout),
		cmocka_unit_test(test_filters_ask_for_what_is_heard),
		cmocka_unit_test(test_foreign_topics_are_not_read),
		cmocka_unit_test(test_wildcard_is_one_filter),
		cmocka_unit_test(test_sizes_go_round),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
