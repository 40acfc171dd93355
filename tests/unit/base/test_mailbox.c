// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Mailboxes between threads: messages run in order, calls return after them, and what timed out
// never runs.

#include "base_tests.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct worker {
	struct mailbox *mailbox;
	_Atomic bool stop;
	unsigned pause_us; // between two looks into the mailbox
	unsigned runs;
	int last;
};

struct note {
	struct mailbox_message message;
	int value;
	_Atomic unsigned runs;
};

static void note_run(struct mailbox_message *message, void *arg)
{
	struct note *note = container_of(message, struct note, message);
	struct worker *worker = arg;

	worker->runs++;
	worker->last = note->value;
	atomic_fetch_add(&note->runs, 1);
}

static void *worker_loop(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&worker->stop)) {
		mailbox_run(worker->mailbox, 4);
		usleep(worker->pause_us);
	}
	return NULL;
}

static void worker_init(struct worker *worker, const char *name, uint32_t size)
{
	*worker = (struct worker){.last = -1};
	assert_int_equal(mailbox_create(name, size, worker, &worker->mailbox), 0);
}

static void test_posts_run_in_order_and_within_the_budget(void **state)
{
	struct worker worker;
	struct note notes[5];

	worker_init(&worker, "order", 5);
	assert_int_equal(mailbox_run(worker.mailbox, 8), 0);
	for (int i = 0; i < 5; i++) {
		notes[i] = (struct note){.message.run = note_run, .value = i};
		assert_int_equal(mailbox_post(worker.mailbox, &notes[i].message), 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mailbox_run(worker.mailbox, 1), 1);
		assert_int_equal(worker.last, i);
	}
	assert_int_equal(mailbox_run(worker.mailbox, 8), 2);
	assert_int_equal(worker.last, 4);
	mailbox_destroy(worker.mailbox);
}

static void test_a_full_mailbox_says_so(void **state)
{
	struct worker worker;
	struct note note = {.message.run = note_run};

	worker_init(&worker, "full", 3);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(mailbox_post(worker.mailbox, &note.message), 0);
		assert_int_equal(mailbox_post(worker.mailbox, &note.message), -EAGAIN);
		assert_int_equal(mailbox_call(worker.mailbox, &note.message, 1), -EAGAIN);
		assert_int_equal(mailbox_run(worker.mailbox, 8), 3);
	}
	mailbox_destroy(worker.mailbox);
}

static void test_what_timed_out_never_runs(void **state)
{
	struct worker worker;
	struct note note = {.message.run = note_run};

	worker_init(&worker, "late", 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mailbox_call(worker.mailbox, &note.message, 2), -ETIMEDOUT);
	// Withdrawn messages still take their places until the worker passes.
	assert_int_equal(mailbox_call(worker.mailbox, &note.message, 2), -EAGAIN);
	mailbox_run(worker.mailbox, 8);
	assert_int_equal(worker.runs, 0);
	assert_int_equal(mailbox_post(worker.mailbox, &note.message), 0);
	assert_int_equal(mailbox_run(worker.mailbox, 8), 1);
	mailbox_destroy(worker.mailbox);
}

struct caller {
	struct worker *worker;
	unsigned ran, timed_out, busy;
};

// Every call's message lives on the stack, as control threads have it.
static void *caller_loop(void *arg)
{
	struct caller *caller = arg;

	for (int i = 0; i < 400; i++) {
		struct note note = {.message.run = note_run, .value = i};
		int r = mailbox_call(caller->worker->mailbox, &note.message, i % 3);

		ASSERT(r == 0 || r == -ETIMEDOUT || r == -EAGAIN);
		ASSERT(atomic_load(&note.runs) == (r == 0));
		caller->ran += r == 0;
		caller->timed_out += r == -ETIMEDOUT;
		caller->busy += r == -EAGAIN;
	}
	return NULL;
}

static void test_calls_race_with_timeouts_and_run_once_or_never(void **state)
{
	enum { CALLERS = 4 };
	struct caller callers[CALLERS];
	pthread_t threads[CALLERS], worker_thread;
	struct worker worker;
	unsigned ran = 0;

	worker_init(&worker, "race", 16);
	worker.pause_us = 300;
	assert_int_equal(pthread_create(&worker_thread, NULL, worker_loop, &worker), 0);
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.worker = &worker};
		assert_int_equal(pthread_create(&threads[i], NULL, caller_loop, &callers[i]), 0);
	}
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(threads[i], NULL);
		ran += callers[i].ran;
	}
	atomic_store(&worker.stop, true);
	pthread_join(worker_thread, NULL);
	assert_int_equal(worker.runs, ran);
	assert_true(ran > 0);
	while (mailbox_run(worker.mailbox, 8) > 0)
		continue;
	assert_int_equal(worker.runs, ran);
	mailbox_destroy(worker.mailbox);
}

int test_base_mailbox(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_posts_run_in_order_and_within_the_budget),
		cmocka_unit_test(test_a_full_mailbox_says_so),
		cmocka_unit_test(test_what_timed_out_never_runs),
		cmocka_unit_test(test_calls_race_with_timeouts_and_run_once_or_never),
	};

	return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
