// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The subscription trie against a naive twin (a table of filters, each tried with
// mqtt_filter_matches), both directions: nothing is missed, nothing is invented.

#include "mqtt_tests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt/topic.h"
#include "mqtt/trie.h"

#define FILTER_MAX 256

// Takes more than one chunk.
#define LONG_NAME "a-name-of-more-than-fifty-six-bytes-which-is-what-a-chunk-of-the-text-holds"

struct subscription {
	struct mqtt_trie_entry entry;
	char filter[FILTER_MAX];
	unsigned visits;
};

static struct mqtt_trie *trie_make(uint32_t nodes, uint32_t levels, uint64_t text)
{
	struct mqtt_trie_config config = {
		.nodes_max = nodes, .levels_max = levels, .text_bytes = text, .seed = 7};
	struct mqtt_trie *trie = NULL;

	assert_int_equal(mqtt_trie_create(&config, &trie), 0);
	return trie;
}

static int subscribe(struct mqtt_trie *trie, struct subscription *s, const char *filter)
{
	assert_true(strlen(filter) < sizeof(s->filter));
	strcpy(s->filter, filter);
	s->visits = 0;
	mqtt_trie_entry_init(&s->entry);
	return mqtt_trie_insert(trie, bytes_of(s->filter), &s->entry);
}

static void count_visit(void *ctx, struct mqtt_trie_entry *entry)
{
	container_of(entry, struct subscription, entry)->visits++;
	++*(int *)ctx;
}

// Every subscription that is in the trie is visited once if its filter matches, else never.
static void match_check(
	struct mqtt_trie *trie, struct subscription *all, size_t count, struct mqtt_bytes topic)
{
	int visits = 0, expected = 0, result;

	for (size_t i = 0; i < count; i++)
		all[i].visits = 0;
	result = mqtt_trie_match(trie, topic, count_visit, &visits);
	assert_int_equal(result, visits);
	for (size_t i = 0; i < count; i++) {
		bool matches = all[i].entry.node != NULL &&
			       mqtt_filter_matches(bytes_of(all[i].filter), topic);

		if (all[i].visits != matches)
			fail_msg("%s, topic %.*s: %u visits", all[i].filter, (int)topic.length,
				(const char *)topic.data, all[i].visits);
		expected += matches;
	}
	assert_int_equal(visits, expected);
}

static void filter_check(const struct subscription *s)
{
	uint8_t out[FILTER_MAX];
	uint32_t length = (uint32_t)strlen(s->filter);

	for (uint32_t size = 0; size <= length; size++) {
		memset(out, 0xee, sizeof(out));
		assert_int_equal(mqtt_trie_entry_filter(&s->entry, out, size), length);
		assert_memory_equal(out, s->filter, size);
		assert_int_equal(out[size], 0xee);
	}
}

static void test_matches_are_those_of_the_naive_twin(void **state)
{
	static const char *const filters[] = {"a", "a/b", "a/+", "a/#", "+", "#", "+/+", "+/b",
		"+/#", "/", "/+", "/#", "a//b", "a/+/b", "+/+/b", "$SYS/#", "$SYS/+", "$SYS", "a/",
		"a/b/c/d/e/f", "a/b/#", "a/b/+/d/#", "a-name-of-more-than-sixteen-bytes/b",
		"a-name-of-more-than-sixteen-bytez/b", LONG_NAME "/+"};
	static const char *const topics[] = {"a", "b", "a/b", "a/c", "a/", "/", "/a", "//", "a//b",
		"a/x/b", "$SYS", "$SYS/a", "$SYS/a/b", "a/$SYS", "a/b/c/d/e/f", "a/b/c/d",
		"a-name-of-more-than-sixteen-bytes/b", "a-name-of-more-than-sixteen-bytes",
		LONG_NAME "/x"};
	struct subscription all[COUNT_OF(filters)];
	struct mqtt_trie *trie = trie_make(100, 0, 4096);

	for (size_t i = 0; i < COUNT_OF(filters); i++)
		assert_int_equal(subscribe(trie, &all[i], filters[i]), 0);
	mqtt_trie_check(trie);
	for (size_t i = 0; i < COUNT_OF(topics); i++)
		match_check(trie, all, COUNT_OF(all), bytes_of(topics[i]));
	for (size_t i = 0; i < COUNT_OF(all); i++)
		filter_check(&all[i]);
	mqtt_trie_destroy(trie);
}

static void test_one_filter_may_have_many_entries(void **state)
{
	struct mqtt_trie *trie = trie_make(10, 0, 0);
	struct mqtt_trie_usage usage;
	struct subscription all[50];

	for (size_t i = 0; i < COUNT_OF(all); i++)
		assert_int_equal(subscribe(trie, &all[i], i % 2 ? "a/+" : "a/b"), 0);
	mqtt_trie_usage(trie, &usage);
	assert_int_equal(usage.nodes, 3);
	match_check(trie, all, COUNT_OF(all), bytes_of("a/b"));
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		mqtt_trie_remove(trie, &all[i].entry);
		mqtt_trie_remove(trie, &all[i].entry); // harmless
		match_check(trie, all, COUNT_OF(all), bytes_of("a/b"));
		mqtt_trie_check(trie);
	}
	mqtt_trie_usage(trie, &usage);
	assert_int_equal(usage.nodes, 0);
	mqtt_trie_destroy(trie);
}

static void test_a_refused_filter_leaves_no_trace(void **state)
{
	struct mqtt_trie *trie = trie_make(4, 4, 128);
	struct subscription kept, refused;
	struct mqtt_trie_usage before, after;

	assert_int_equal(subscribe(trie, &kept, "a/b"), 0);
	mqtt_trie_usage(trie, &before);
	// Too many nodes, too many levels, too long a name at the end.
	assert_int_equal(subscribe(trie, &refused, "a/c/d/e"), -ENOSPC);
	assert_int_equal(subscribe(trie, &refused, "a/b/c/d/e"), -ENOSPC);
	assert_int_equal(subscribe(trie, &refused, "x/y/z"), -ENOSPC);
	assert_int_equal(
		subscribe(trie, &refused,
			"x/a-name-of-more-than-112-bytes-which-is-what-two-chunks-can-hold-and-no-"
			"more-is-there-to-be-had-in-this-small-trie-of-ours"),
		-ENOSPC);
	assert_null(refused.entry.node);
	mqtt_trie_usage(trie, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	mqtt_trie_check(trie);
	assert_int_equal(subscribe(trie, &refused, "a/b/c/d"), 0);
	mqtt_trie_check(trie);
	mqtt_trie_destroy(trie);
}

static void test_topics_of_too_many_levels_are_told(void **state)
{
	struct mqtt_trie *trie = trie_make(4, 3, 0);
	struct subscription s;
	int visits = 0;

	assert_int_equal(subscribe(trie, &s, "#"), 0);
	assert_int_equal(mqtt_trie_match(trie, bytes_of("a/b/c"), count_visit, &visits), 1);
	assert_int_equal(mqtt_trie_match(trie, bytes_of("a/b/c/d"), count_visit, &visits), -E2BIG);
	assert_int_equal(visits, 1);
	mqtt_trie_destroy(trie);
}

static void test_a_level_of_65535_bytes_has_a_place(void **state)
{
	struct mqtt_trie *trie = trie_make(2, 1, 65536 * 2);
	struct mqtt_trie_entry entry;
	uint8_t *name = malloc(65535), *out = malloc(65535);
	int visits = 0;

	assert_non_null(name);
	assert_non_null(out);
	for (size_t i = 0; i < 65535; i++)
		name[i] = (uint8_t)('a' + i % 23);
	mqtt_trie_entry_init(&entry);
	assert_int_equal(mqtt_trie_insert(trie, mqtt_bytes(name, 65535), &entry), 0);
	assert_int_equal(mqtt_trie_entry_filter(&entry, out, 65535), 65535);
	assert_memory_equal(name, out, 65535);
	mqtt_trie_check(trie);
	name[65534] ^= 1;
	assert_int_equal(mqtt_trie_match(trie, mqtt_bytes(name, 65535), count_visit, &visits), 0);
	mqtt_trie_remove(trie, &entry);
	mqtt_trie_check(trie);
	mqtt_trie_destroy(trie);
	free(name);
	free(out);
}

static void test_illegal_configurations_are_refused(void **state)
{
	struct mqtt_trie *trie = NULL;

	assert_int_equal(
		mqtt_trie_create(&(struct mqtt_trie_config){.nodes_max = 0}, &trie), -EINVAL);
	assert_int_equal(
		mqtt_trie_create(
			&(struct mqtt_trie_config){.nodes_max = 1, .levels_max = 65537}, &trie),
		-EINVAL);
	assert_null(trie);
	mqtt_trie_destroy(NULL);
}

// --- churn ---------------------------------------------------------------------------------------

// A level out of few, some empty, some long, so that paths are shared and chunks are used.
static void random_level(struct random *r, char *out, bool wildcards, bool last)
{
	static const char *const names[] = {
		"a", "b", "c", "", "$d", "a-name-of-33-bytes-in-its-own-node", LONG_NAME};
	uint32_t pick = random_below(r, 20);

	if (wildcards && pick < 4)
		strcpy(out, "+");
	else if (wildcards && last && pick < 8)
		strcpy(out, "#");
	else
		strcpy(out, names[random_below(r, pick == 9 ? COUNT_OF(names) : 4)]);
}

static void random_text(struct random *r, char out[FILTER_MAX], bool wildcards)
{
	uint32_t levels = 1 + random_below(r, 5);
	char level[80];

	do {
		out[0] = '\0';
		for (uint32_t i = 0; i < levels; i++) {
			random_level(r, level, wildcards, i + 1 == levels);
			if (strlen(out) + strlen(level) + 2 > FILTER_MAX)
				break;
			if (i)
				strcat(out, "/");
			strcat(out, level);
		}
	} while (out[0] == '\0' || !mqtt_filter_valid(bytes_of(out)));
}

// `small`: pools that run out now and then.
static void churn(uint64_t seed, bool small, unsigned steps)
{
	static struct subscription all[200];
	struct mqtt_trie *trie = small ? trie_make(60, 4, 8 * 64) : trie_make(5000, 0, 1 << 16);
	struct mqtt_trie_usage usage;
	struct random r;
	char text[FILTER_MAX];
	unsigned refused = 0;

	random_init(&r, seed);
	for (size_t i = 0; i < COUNT_OF(all); i++)
		mqtt_trie_entry_init(&all[i].entry);
	for (unsigned step = 0; step < steps; step++) {
		struct subscription *s = &all[random_below(&r, COUNT_OF(all))];

		if (s->entry.node) {
			mqtt_trie_remove(trie, &s->entry);
		} else {
			random_text(&r, text, true);
			refused += subscribe(trie, s, text) != 0;
		}
		mqtt_trie_check(trie);
		random_text(&r, text, false);
		if (mqtt_topic_levels(bytes_of(text)) <= 4 || !small)
			match_check(trie, all, COUNT_OF(all), bytes_of(text));
		if (s->entry.node)
			filter_check(s);
	}
	assert_int_equal(refused > 0, small);
	for (size_t i = 0; i < COUNT_OF(all); i++)
		mqtt_trie_remove(trie, &all[i].entry);
	mqtt_trie_check(trie);
	mqtt_trie_usage(trie, &usage);
	assert_int_equal(usage.nodes, 0);
	assert_int_equal(usage.text, 0);
	mqtt_trie_destroy(trie);
}

static void test_churn_never_leaves_the_twin(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		churn(seed, false, 1500);
}

static void test_churn_at_the_limits_never_leaves_the_twin(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		churn(seed, true, 1500);
}

int test_mqtt_trie(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches_are_those_of_the_naive_twin),
		cmocka_unit_test(test_one_filter_may_have_many_entries),
		cmocka_unit_test(test_a_refused_filter_leaves_no_trace),
		cmocka_unit_test(test_topics_of_too_many_levels_are_told),
		cmocka_unit_test(test_a_level_of_65535_bytes_has_a_place),
		cmocka_unit_test(test_illegal_configurations_are_refused),
		cmocka_unit_test(test_churn_never_leaves_the_twin),
		cmocka_unit_test(test_churn_at_the_limits_never_leaves_the_twin),
	};

	return cmocka_run_group_tests_name("trie", tests, NULL, NULL);
}
