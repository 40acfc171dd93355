// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What callbacks become. How they come is mosquitto's; with a real one: tests/plugin.

#include "plugin_tests.h"
#include "told.h"

#include "base/marker.h"
#include "plugin/events.h"
#include "plugin/probes.h"

#include <string.h>

static char places[4];
static const struct witness_client publisher = {&places[0], "p", "user"};
static const struct witness_client reader = {&places[1], "r", NULL};
static const struct witness_client other = {&places[2], "o", NULL};

static int set_up(void **state)
{
	static struct told told;

	told_init(&told);
	*state = &told;
	return 0;
}

static int tear_down(void **state)
{
	told_fini(*state);
	return 0;
}

static void message(
	struct told *told, const struct witness_client *client, const char *topic, uint8_t qos)
{
	witness_write(told->witness, client, topic);
	assert_true(witness_message(
		told->witness, client, &(struct probes_message){topic, topic + 1, qos}));
}

static void mark(struct told *told, enum marker_kind kind, uint64_t token)
{
	told_marker(told, &publisher, &(struct marker){.kind = kind, .token = token});
}

static void expect_published(
	struct told *told, uint64_t token, bool written, bool cut, size_t readers)
{
	Offramp__V1__BrokerMessage *event = told_next(told);

	assert_non_null(event);
	assert_int_equal(event->kind_case, OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED);
	assert_int_equal(event->published->token, token);
	assert_int_equal(event->published->written, written);
	assert_int_equal(event->published->cut, cut);
	assert_int_equal(event->published->n_readers, readers);
	told_free(event);
}

static void expect_nothing(struct told *told)
{
	assert_null(told_next(told));
}

static void test_an_event_wakes_who_sends(void **state)
{
	struct told *told = *state;

	witness_revoke(told->witness, "because");
	assert_int_equal(told->wakes, 1);
	witness_tick(told->witness);
	message(told, &reader, "a", 0);
	assert_false(witness_read(told->witness, &reader, "a", NULL));
	witness_disconnect(told->witness, &reader);
	assert_int_equal(told->wakes, 1); // nothing else was worth telling
}

static void test_a_window_ends_with_any_other_callback(void **state)
{
	struct told *told = *state;

	told_join(told, &publisher, NULL);
	for (unsigned how = 0; how < 4; how++) {
		mark(told, MARKER_ASK, how);
		message(told, &publisher, "topic", 0);
		witness_read(told->witness, &reader, "topic", (char *)"topic" + 1);
		expect_nothing(told);
		if (how == 0)
			witness_tick(told->witness);
		else if (how == 1)
			witness_write(told->witness, &other, "topic");
		else if (how == 2)
			witness_disconnect(told->witness, &other);
		else
			witness_read(told->witness, &reader, "elsewhere", NULL);
		// The same pointers again: by now they are another message's.
		witness_read(told->witness, &reader, "topic", (char *)"topic" + 1);
		expect_published(told, how, true, false, 1);
		mark(told, MARKER_END, how);
		expect_nothing(told);
	}
}

static void test_a_refusal_is_not_taken_for_the_next_message(void **state)
{
	struct told *told = *state;
	uint64_t known;

	told_join(told, &reader, &known);
	told_join(told, &publisher, &known);
	mark(told, MARKER_ASK, 1);
	mark(told, MARKER_SKIP, known);
	witness_write(told->witness, &publisher, "refused");
	message(told, &publisher, "topic", 0);
	expect_published(told, 1, false, false, 0);
	assert_false(witness_read(told->witness, &reader, "topic", (char *)"topic" + 1));
	mark(told, MARKER_END, 1);
	expect_nothing(told);
}

static void test_whose_rights_another_source_judges_is_noticed(void **state)
{
	struct told *told = *state;
	const struct probes_message what = {"a", NULL, 0};
	uint8_t bytes[MARKER_SIZE_MAX];
	size_t length =
		marker_encode(told->key, &(struct marker){.kind = MARKER_JOIN, .token = 1}, bytes);

	assert_true(witness_message(told->witness, &publisher, &what)); // a bridge, perhaps
	assert_false(witness_marker(told->witness, &publisher, bytes, length));
	told_free(told_next(told));
	assert_false(witness_message(told->witness, &publisher, &what));
	witness_write(told->witness, &publisher, "a");
	assert_true(witness_message(told->witness, &publisher, &what));
	witness_write(told->witness, &other, "a");
	assert_false(witness_message(told->witness, &publisher, &what));
}

static void test_commands_revoke_and_markers_do_not(void **state)
{
	struct told *told = *state;
	Offramp__V1__BrokerMessage *event;

	witness_write(told->witness, &other, MARKER_TOPIC);
	witness_write(told->witness, &other, "$CONTROL");
	witness_write(told->witness, &other, "$SYS/x");
	expect_nothing(told);
	witness_write(told->witness, &other, MARKER_TOPIC "/x");
	event = told_next(told);
	assert_int_equal(event->kind_case, OFFRAMP__V1__BROKER_MESSAGE__KIND_REVOKED);
	told_free(event);
}

static void test_subscriptions_are_told_with_their_options(void **state)
{
	struct told *told = *state;
	Offramp__V1__BrokerMessage *event;

	witness_subscribe(told->witness, &reader,
		&(struct events_subscription){.filter = "a/#",
			.qos = 2,
			.no_local = true,
			.retain_as_published = true,
			.retain_handling = 2});
	event = told_next(told);
	assert_int_equal(event->kind_case, OFFRAMP__V1__BROKER_MESSAGE__KIND_SUBSCRIBED);
	assert_string_equal(event->subscribed->filter, "a/#");
	assert_string_equal(event->subscribed->client_id, "r");
	assert_int_equal(event->subscribed->qos, 2);
	assert_true(event->subscribed->no_local && event->subscribed->retain_as_published);
	assert_int_equal(event->subscribed->retain_handling, 2);
	told_free(event);
}

static void test_the_longest_names_are_told(void **state)
{
	struct told *told = *state;
	static char name[EVENTS_NAME_MAX + 1];
	const struct witness_client client = {&places[3], name, name};
	Offramp__V1__BrokerMessage *event;

	memset(name, 'x', EVENTS_NAME_MAX);
	told_join(told, &client, NULL);
	told_marker(told, &client, &(struct marker){.kind = MARKER_ASK, .token = 1});
	witness_write(told->witness, &client, name);
	witness_message(told->witness, &client, &(struct probes_message){name, NULL, 0});
	for (unsigned i = 0; i < TOLD_READERS_MAX; i++)
		witness_read(told->witness, &reader, name, NULL);
	witness_tick(told->witness);
	event = told_next(told);
	assert_int_equal(event->published->n_readers, TOLD_READERS_MAX);
	assert_int_equal(strlen(event->published->topic), EVENTS_NAME_MAX);
	assert_true(offramp__v1__broker_message__get_packed_size(event) <=
		    events_size_max(TOLD_READERS_MAX));
	told_free(event);
}

static void test_there_are_only_so_many_probes(void **state)
{
	struct told *told = *state;

	told_join(told, &publisher, NULL);
	for (uint64_t token = 1; token <= PROBES_MAX + 10; token++)
		mark(told, MARKER_ASK, token);
	mark(told, MARKER_END, PROBES_MAX + 1); // not taken on
	expect_nothing(told);
	mark(told, MARKER_END, PROBES_MAX);
	expect_published(told, PROBES_MAX, false, false, 0);
	witness_disconnect(told->witness, &publisher);
	told_free(told_next(told));
	told_join(told, &publisher, NULL); // there is room again
	mark(told, MARKER_ASK, 1);
	mark(told, MARKER_END, 1);
	expect_published(told, 1, false, false, 0);
}

static void test_what_hangs_on_a_place_does_not_pass_to_the_next(void **state)
{
	struct told *told = *state;
	const struct witness_client next = {publisher.context, "next", NULL};

	told_join(told, &publisher, NULL);
	mark(told, MARKER_ASK, 1);
	mark(told, MARKER_SKIP, 1000);
	told_join(told, &next, NULL);
	message(told, &next, "a", 0);
	witness_tick(told->witness);
	told_marker(told, &next, &(struct marker){.kind = MARKER_END, .token = 1});
	expect_nothing(told);
}

int test_plugin_witness(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_event_wakes_who_sends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_window_ends_with_any_other_callback, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_refusal_is_not_taken_for_the_next_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_whose_rights_another_source_judges_is_noticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_commands_revoke_and_markers_do_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_subscriptions_are_told_with_their_options, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_longest_names_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_there_are_only_so_many_probes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_hangs_on_a_place_does_not_pass_to_the_next, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("witness", tests, NULL, NULL);
}
