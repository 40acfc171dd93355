// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The queue: what is put in comes out, once or again; what has no room is missed.

#include "plugin_tests.h"

#include "base/random.h"
#include "plugin/queue.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define BYTES  4096
#define EVENTS 32

static void put(struct queue *queue, uint8_t byte, size_t length)
{
	uint8_t event[BYTES];

	memset(event, byte, length);
	assert_true(queue_put(queue, event, length));
}

static void expect(struct queue *queue, uint64_t sequence, uint8_t byte, size_t length)
{
	uint8_t event[BYTES];
	uint64_t number = 0;

	assert_int_equal(queue_peek(queue, event, sizeof(event), &number), length);
	assert_int_equal(number, sequence);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(event[i], byte);
	queue_advance(queue);
}

static void test_events_are_numbered_and_kept(void **state)
{
	struct queue *queue;
	uint64_t number;

	assert_int_equal(queue_create(BYTES, EVENTS, &queue), 0);
	assert_int_equal(queue_oldest(queue), 0);
	assert_int_equal(queue_latest(queue), 0);
	assert_int_equal(queue_peek(queue, NULL, 0, &number), 0);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(queue_next_sequence(queue), i);
		put(queue, (uint8_t)i, i * 10);
	}
	assert_int_equal(queue_latest(queue), 3);
	assert_int_equal(queue_oldest(queue), 1);
	for (unsigned i = 1; i <= 3; i++)
		expect(queue, i, (uint8_t)i, i * 10);
	assert_int_equal(queue_peek(queue, NULL, 0, &number), 0);
	queue_acknowledge(queue, 1);
	assert_int_equal(queue_oldest(queue), 2);
	queue_rewind(queue, 3);
	expect(queue, 3, 3, 30);
	queue_rewind(queue, 0);
	expect(queue, 2, 2, 20);
	queue_acknowledge(queue, 3); // the cursor comes along
	assert_int_equal(queue_peek(queue, NULL, 0, &number), 0);
	assert_int_equal(queue_oldest(queue), 0);
	put(queue, 4, 1);
	expect(queue, 4, 4, 1);
	queue_destroy(queue);
}

static void test_what_has_no_room_is_missed_and_said(void **state)
{
	struct queue *queue;
	uint8_t event[BYTES] = {0};
	uint64_t number;

	assert_int_equal(queue_create(BYTES, EVENTS, &queue), 0);
	for (unsigned i = 1; i <= EVENTS; i++)
		put(queue, (uint8_t)i, 8);
	assert_false(queue_drop_lost(queue));
	assert_false(queue_put(queue, event, 8)); // by number
	assert_int_equal(queue_latest(queue), EVENTS + 1);
	assert_true(queue_drop_lost(queue));
	assert_false(queue_drop_lost(queue));
	assert_int_equal(queue_peek(queue, NULL, 0, &number), 0);
	assert_int_equal(queue_oldest(queue), EVENTS + 2);
	put(queue, 1, BYTES - 16);		  // all of it: 16 are the record's own
	assert_false(queue_put(queue, event, 1)); // by bytes
	assert_true(queue_drop_lost(queue));
	assert_int_equal(queue_oldest(queue), EVENTS + 4);
	assert_false(queue_put(queue, event, BYTES - 15)); // it never fits
	assert_true(queue_drop_lost(queue));
	queue_acknowledge(queue, queue_latest(queue)); // given up: a snapshot begins here
	assert_int_equal(queue_oldest(queue), 0);
	put(queue, 9, 100);
	expect(queue, EVENTS + 5, 9, 100);
	queue_destroy(queue);
}

#define MANY 200000

struct race {
	struct queue *queue;
	_Atomic bool done;
};

static void *write_many(void *arg)
{
	struct race *race = arg;
	struct random random;
	uint8_t event[200];

	random_init(&random, 5);
	for (unsigned i = 0; i < MANY; i++) {
		memset(event, (int)queue_next_sequence(race->queue), sizeof(event));
		if (!queue_put(race->queue, event, 1 + random_below(&random, sizeof(event))))
			sched_yield(); // so that it is not only about losses
	}
	atomic_store(&race->done, true);
	return NULL;
}

// Whatever the two threads do, an event that comes out is whole, and a gap was announced.
static void test_two_threads_agree(void **state)
{
	struct race race = {0};
	uint64_t last = 0, number = 0;
	unsigned seen = 0;
	uint8_t event[200];
	pthread_t thread;
	bool done, gap = false;

	assert_int_equal(queue_create(BYTES, EVENTS, &race.queue), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_many, &race), 0);
	do {
		size_t length;

		done = atomic_load(&race.done);
		gap = queue_drop_lost(race.queue) || gap;
		while ((length = queue_peek(race.queue, event, sizeof(event), &number))) {
			bool lost;

			queue_advance(race.queue);
			queue_acknowledge(race.queue, number);
			for (size_t i = 0; i < length; i++)
				assert_int_equal(event[i], (uint8_t)number);
			lost = queue_drop_lost(race.queue);
			assert_true(number == last + 1 || (number > last && (gap || lost)));
			gap = lost; // of this gap, or of the next one
			last = number;
			seen++;
		}
	} while (!done);
	pthread_join(thread, NULL);
	assert_true(seen > 0);
	assert_int_equal(queue_latest(race.queue), MANY);
	queue_destroy(race.queue);
}

int test_plugin_queue(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_are_numbered_and_kept),
		cmocka_unit_test(test_what_has_no_room_is_missed_and_said),
		cmocka_unit_test(test_two_threads_agree),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
