// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the ring of changes says of a topic.

#include "session_tests.h"

#include <string.h>

#include "session/changes.h"

struct fixture {
	struct mqtt_trie *trie;
	struct session_changes changes;
};

static int setup(void **state)
{
	static const struct mqtt_trie_config config = {.nodes_max = 200, .text_bytes = 1 << 16};
	static struct fixture f;

	assert_int_equal(mqtt_trie_create(&config, &f.trie), 0);
	session_changes_init(&f.changes);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mqtt_trie_destroy(f->trie);
	return 0;
}

static void add(struct fixture *f, const char *filter)
{
	struct mqtt_trie_entry entry;

	mqtt_trie_entry_init(&entry);
	assert_int_equal(mqtt_trie_insert(f->trie, mqtt_bytes(filter, strlen(filter)), &entry), 0);
	session_changes_add(&f->changes, &entry);
	mqtt_trie_remove(f->trie, &entry);
}

static bool touched(const struct fixture *f, uint64_t version, const char *topic)
{
	return session_changes_touch(&f->changes, version, mqtt_bytes(topic, strlen(topic)));
}

static void only_filters_that_match_touch_a_topic(void **state)
{
	struct fixture *f = *state;
	uint64_t version = f->changes.version;

	assert_false(touched(f, version, "a/b"));
	add(f, "b");
	add(f, "a/c");
	add(f, "a");
	assert_false(touched(f, version, "a/b"));
	assert_true(touched(f, version, "b"));
	assert_false(touched(f, version + 1, "b"));
	add(f, "+/b");
	assert_true(touched(f, version, "a/b"));
	assert_true(touched(f, f->changes.version - 1, "a/b"));
	assert_false(touched(f, f->changes.version, "a/b"));
}

static void a_change_of_everything_touches_all(void **state)
{
	struct fixture *f = *state;
	uint64_t version = f->changes.version;

	session_changes_add_all(&f->changes);
	assert_true(touched(f, version, "a"));
	assert_false(touched(f, version + 1, "a"));
}

static void who_is_lapped_is_touched(void **state)
{
	struct fixture *f = *state;
	uint64_t version = f->changes.version;

	for (unsigned i = 0; i < SESSION_CHANGES; i++)
		add(f, "b");
	assert_false(touched(f, version, "a"));
	add(f, "b");
	assert_true(touched(f, version, "a"));
	assert_false(touched(f, version + 1, "a"));
}

// 63 characters fit; of more, the whole levels are kept.
static void long_filters_touch_what_they_begin_like(void **state)
{
	struct fixture *f = *state;
	char filter[71] = "way/to/";
	uint64_t version = f->changes.version;

	memset(filter + 7, 'x', 56);
	add(f, filter); // 63
	filter[62] = 'y';
	assert_false(touched(f, version, filter));
	filter[62] = 'x';
	assert_true(touched(f, version, filter));
	filter[63] = 'x';
	version = f->changes.version;
	add(f, filter); // 64
	assert_true(touched(f, version, filter));
	assert_true(touched(f, version, "way/to/elsewhere"));
	assert_false(touched(f, version, "way/back"));
	memset(filter, 'x', 70);
	version = f->changes.version;
	add(f, filter);
	assert_true(touched(f, version, "anything"));
}

#define CHANGES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int test_changes(void)
{
	const struct CMUnitTest tests[] = {
		CHANGES_TEST(only_filters_that_match_touch_a_topic),
		CHANGES_TEST(a_change_of_everything_touches_all),
		CHANGES_TEST(who_is_lapped_is_touched),
		CHANGES_TEST(long_filters_touch_what_they_begin_like),
	};

	return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
