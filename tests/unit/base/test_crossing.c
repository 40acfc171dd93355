// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Crossings: order of each pair, answers, waiting, room; and two real threads.

#include "base_tests.h"

#include "base/crossing.h"
#include "base/random.h"

#include <pthread.h>
#include <string.h>

#define WORKERS 3
#define SLOTS	8

struct note {
	struct crossing_message message;
	unsigned number;
	unsigned answer; // by the receiver
	bool returned;
};

struct station {
	unsigned seen[WORKERS][256], count[WORKERS]; // numbers, by sender
	unsigned back;
	enum crossing_run how;
	struct crossing_message *kept;
};

static enum crossing_run note_run(struct crossing_message *message, void *receiver)
{
	struct note *note = (struct note *)message;
	struct station *station = receiver;

	if (station->how == CROSSING_LATER)
		return CROSSING_LATER;
	station->seen[message->from][station->count[message->from]++] = note->number;
	note->answer = note->number * 2;
	if (station->how == CROSSING_KEPT) {
		assert_null(station->kept);
		station->kept = message;
	}
	return station->how;
}

static void note_back(struct crossing_message *message, void *sender)
{
	struct note *note = (struct note *)message;
	struct station *station = sender;

	assert_false(note->returned);
	assert_int_equal(note->answer, note->number * 2);
	note->returned = true;
	station->back++;
}

static struct note *note_make(struct note *note, unsigned number)
{
	*note = (struct note){.message = {note_run, note_back, 0, 0}, .number = number};
	return note;
}

static void test_messages_run_in_order_and_come_back(void **state)
{
	struct station stations[WORKERS] = {0};
	struct note notes[SLOTS];
	struct crossing *crossing;

	assert_int_equal(crossing_create("order", WORKERS, SLOTS, &crossing), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		assert_true(crossing_has_room(crossing, 0, 2));
		crossing_post(crossing, 0, 2, &note_make(&notes[i], i)->message);
	}
	assert_false(crossing_has_room(crossing, 0, 2));
	assert_true(crossing_has_room(crossing, 0, 1));
	assert_true(crossing_has_room(crossing, 2, 0));
	assert_int_equal(crossing_waiting(crossing, 2), SLOTS);
	assert_int_equal(crossing_waiting(crossing, 1), 0);
	assert_int_equal(crossing_run(crossing, 1, &stations[1], 99), 0);
	assert_int_equal(crossing_run(crossing, 2, &stations[2], 3), 3);
	assert_false(crossing_has_room(crossing, 0, 2)); // returned, but not taken back
	assert_int_equal(crossing_run(crossing, 0, &stations[0], 99), 3);
	assert_int_equal(stations[0].back, 3);
	assert_true(crossing_has_room(crossing, 0, 2));
	assert_int_equal(crossing_run(crossing, 2, &stations[2], 99), SLOTS - 3);
	for (unsigned i = 0; i < SLOTS; i++)
		assert_int_equal(stations[2].seen[0][i], i);
	crossing_run(crossing, 0, &stations[0], 99);
	assert_int_equal(stations[0].back, SLOTS);
	crossing_destroy(crossing);
	crossing_destroy(NULL);
}

static void test_what_must_wait_holds_up_what_follows(void **state)
{
	struct station stations[WORKERS] = {0};
	struct note notes[3], other;
	struct crossing *crossing;

	assert_int_equal(crossing_create("later", WORKERS, SLOTS, &crossing), 0);
	for (unsigned i = 0; i < 3; i++)
		crossing_post(crossing, 0, 1, &note_make(&notes[i], i)->message);
	stations[1].how = CROSSING_LATER;
	assert_int_equal(crossing_run(crossing, 1, &stations[1], 99), 0);
	assert_int_equal(crossing_waiting(crossing, 1), 3);
	crossing_post(crossing, 2, 1, &note_make(&other, 7)->message);
	stations[1].how = CROSSING_DONE;
	assert_int_equal(crossing_run(crossing, 1, &stations[1], 99), 4);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(stations[1].seen[0][i], i);
	assert_int_equal(stations[1].seen[2][0], 7);
	crossing_destroy(crossing);
}

static void test_what_is_kept_returns_when_it_is_given_back(void **state)
{
	struct station stations[WORKERS] = {0};
	struct note notes[2];
	struct crossing *crossing;

	assert_int_equal(crossing_create("kept", WORKERS, SLOTS, &crossing), 0);
	crossing_post(crossing, 0, 1, &note_make(&notes[0], 0)->message);
	stations[1].how = CROSSING_KEPT;
	assert_int_equal(crossing_run(crossing, 1, &stations[1], 99), 1);
	stations[1].how = CROSSING_DONE;
	crossing_post(crossing, 0, 1, &note_make(&notes[1], 1)->message);
	crossing_run(crossing, 1, &stations[1], 99);
	crossing_run(crossing, 0, &stations[0], 99);
	assert_true(notes[1].returned && !notes[0].returned);
	crossing_return(crossing, stations[1].kept);
	crossing_run(crossing, 0, &stations[0], 99);
	assert_true(notes[0].returned);
	crossing_destroy(crossing);
}

static void test_a_point_is_passed_when_all_before_it_has_run(void **state)
{
	struct station stations[WORKERS] = {0};
	struct note notes[3];
	struct crossing *crossing;
	struct crossing_point point;

	assert_int_equal(crossing_create("point", WORKERS, SLOTS, &crossing), 0);
	crossing_point(crossing, 1, &point);
	assert_true(crossing_passed(crossing, 1, &point));
	crossing_post(crossing, 0, 1, &note_make(&notes[0], 0)->message);
	stations[1].how = CROSSING_LATER;
	crossing_run(crossing, 1, &stations[1], 99);
	crossing_post(crossing, 2, 1, &note_make(&notes[1], 1)->message);
	crossing_point(crossing, 1, &point);
	crossing_post(crossing, 0, 1, &note_make(&notes[2], 2)->message);
	assert_false(crossing_passed(crossing, 1, &point));
	stations[1].how = CROSSING_DONE;
	crossing_run(crossing, 1, &stations[1], 1); // one of each
	assert_true(crossing_passed(crossing, 1, &point));
	assert_int_equal(crossing_waiting(crossing, 1), 1);
	crossing_destroy(crossing);
}

static void test_all_have_turned_when_the_last_one_has(void **state)
{
	struct crossing *crossing;

	assert_int_equal(crossing_create("turns", WORKERS, SLOTS, &crossing), 0);
	crossing_turned(crossing, 1, 10);
	assert_false(crossing_all_turned(crossing, 0, 10));
	crossing_turned(crossing, 2, 11);
	assert_true(crossing_all_turned(crossing, 0, 10));
	assert_false(crossing_all_turned(crossing, 0, 11));
	assert_true(crossing_all_turned(crossing, 1, 0));
	crossing_destroy(crossing);
}

// --- two threads ---------------------------------------------------------------------------------

#define ROUNDS 20000u

struct traveller {
	struct crossing_message message;
	struct traveller *next; // free list of the sender's
	uint64_t number;
	uint64_t text[4]; // written by the sender, read by the receiver
	uint64_t answer;
};

struct side {
	struct crossing *crossing;
	unsigned self;
	struct traveller travellers[SLOTS];
	struct traveller *free;
	uint64_t sent, returned, received, wrong;
};

static enum crossing_run traveller_run(struct crossing_message *message, void *receiver)
{
	struct traveller *t = (struct traveller *)message;
	struct side *side = receiver;

	for (unsigned i = 0; i < 4; i++)
		side->wrong += t->text[i] != t->number + i;
	side->wrong += t->number != side->received;
	side->received++;
	t->answer = t->number + 1;
	return CROSSING_DONE;
}

static void traveller_back(struct crossing_message *message, void *sender)
{
	struct traveller *t = (struct traveller *)message;
	struct side *side = sender;

	side->wrong += t->answer != t->number + 1;
	side->returned++;
	memset(t->text, 0xee, sizeof(t->text)); // its own again
	t->next = side->free;
	side->free = t;
}

static void side_send(struct side *side)
{
	while (side->free != NULL && side->sent < ROUNDS &&
		crossing_has_room(side->crossing, side->self, !side->self)) {
		struct traveller *t = side->free;

		side->free = t->next;
		t->message = (struct crossing_message){traveller_run, traveller_back, 0, 0};
		t->number = side->sent++;
		for (unsigned i = 0; i < 4; i++)
			t->text[i] = t->number + i;
		crossing_post(side->crossing, side->self, !side->self, &t->message);
	}
}

static void *side_live(void *arg)
{
	struct side *side = arg;

	while (side->returned < ROUNDS || side->received < ROUNDS) {
		side_send(side);
		if (crossing_run(side->crossing, side->self, side, 5) == 0)
			sched_yield();
	}
	return NULL;
}

static void test_two_threads_exchange_messages(void **state)
{
	struct side sides[2] = {{.self = 0}, {.self = 1}};
	struct crossing *crossing;
	pthread_t thread;

	assert_int_equal(crossing_create("threads", 2, SLOTS / 2, &crossing), 0);
	for (unsigned s = 0; s < 2; s++) {
		sides[s].crossing = crossing;
		for (unsigned i = 0; i < SLOTS; i++) {
			sides[s].travellers[i].next = sides[s].free;
			sides[s].free = &sides[s].travellers[i];
		}
	}
	assert_int_equal(pthread_create(&thread, NULL, side_live, &sides[1]), 0);
	side_live(&sides[0]);
	pthread_join(thread, NULL);
	for (unsigned s = 0; s < 2; s++) {
		assert_int_equal(sides[s].wrong, 0);
		assert_int_equal(sides[s].received, ROUNDS);
		assert_int_equal(sides[s].returned, ROUNDS);
	}
	crossing_destroy(crossing);
}

int test_base_crossing(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_run_in_order_and_come_back),
		cmocka_unit_test(test_what_must_wait_holds_up_what_follows),
		cmocka_unit_test(test_what_is_kept_returns_when_it_is_given_back),
		cmocka_unit_test(test_a_point_is_passed_when_all_before_it_has_run),
		cmocka_unit_test(test_all_have_turned_when_the_last_one_has),
		cmocka_unit_test(test_two_threads_exchange_messages),
	};

	return cmocka_run_group_tests_name("crossing", tests, NULL, NULL);
}
