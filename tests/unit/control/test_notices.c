// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The ring of notices between one sender and workers of their own pace.

#include "base/mailbox.h"
#include "control/notices.h"

#include <rte_eal.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 3
#define MANY	20000

struct offload { // what a worker has seen
	uint64_t next;
	bool disorder;
};

struct worker {
	struct offload offload;
	struct mailbox *mailbox;
	pthread_t thread;
	atomic_bool stop;
};

struct numbered {
	struct notice notice;
	uint64_t number;
	unsigned *freed;
};

static struct worker workers[WORKERS];
static struct control_worker control_workers[WORKERS];
static struct notices *notices;
static unsigned freed;

static void numbered_run(const struct notice *notice, struct offload *offload, unsigned worker)
{
	const struct numbered *numbered = (const struct numbered *)notice;

	offload->disorder |= numbered->number != offload->next++;
	offload->disorder |= offload != &workers[worker].offload;
}

static void numbered_free(struct notice *notice)
{
	(*((struct numbered *)notice)->freed)++;
	free(notice);
}

static bool post(uint64_t number, size_t size)
{
	struct numbered *numbered = malloc(sizeof(*numbered));

	*numbered = (struct numbered){{numbered_run, numbered_free, size}, number, &freed};
	if (notices_post(notices, &numbered->notice))
		return true;
	free(numbered);
	return false;
}

static int setup(void **state)
{
	struct control_source source = {.workers = control_workers, .workers_count = WORKERS};
	static unsigned round;
	char name[16];

	(void)state;
	freed = 0;
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){0};
		snprintf(name, sizeof(name), "notices%u.%u", round, i);
		assert_int_equal(mailbox_create(name, 4, NULL, &workers[i].mailbox), 0);
		control_workers[i] = (struct control_worker){
			.mailbox = workers[i].mailbox,
			.offload = &workers[i].offload,
		};
	}
	round++;
	return notices_create(&source, &notices);
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++)
		mailbox_destroy(workers[i].mailbox);
	return 0;
}

static void run(unsigned worker)
{
	while (mailbox_run(workers[worker].mailbox, 1))
		;
}

static void a_worker_runs_what_was_posted_in_order_and_the_rest_is_freed_in_the_end(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_true(post(i, 1));
	for (unsigned i = 0; i < WORKERS; i++)
		run(i);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(workers[i].offload.next, 100);
		assert_false(workers[i].offload.disorder);
	}
	assert_int_equal(freed, 0);
	assert_true(post(100, 1));
	assert_int_equal(freed, 100);
	notices_destroy(notices);
	assert_int_equal(freed, 101);
}

static void the_slowest_worker_bounds_how_many_wait(void **state)
{
	uint64_t posted = 0;

	(void)state;
	while (post(posted, 1))
		posted++;
	assert_in_range(posted, 256, 4096);
	run(0);
	run(1);
	assert_false(post(posted, 1));
	run(2);
	assert_true(post(posted, 1));
	notices_destroy(notices);
	assert_int_equal(freed, posted + 1);
}

static void bytes_are_bounded_and_one_alone_has_room_however_large(void **state)
{
	uint64_t posted = 0;

	(void)state;
	while (post(posted, 1 << 20))
		posted++;
	assert_in_range(posted, 4, 16);
	for (unsigned i = 0; i < WORKERS; i++)
		run(i);
	assert_true(post(posted++, 64 << 20));
	assert_false(post(posted, 1));
	notices_destroy(notices);
	assert_int_equal(freed, posted);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&worker->stop))
		mailbox_run(worker->mailbox, 8);
	return NULL;
}

static void workers_on_threads_miss_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	for (uint64_t number = 0; freed < MANY;)
		if (post(number, 1))
			number++;
		else
			usleep(50);
	for (unsigned i = 0; i < WORKERS; i++) {
		atomic_store(&workers[i].stop, true);
		pthread_join(workers[i].thread, NULL);
		assert_true(workers[i].offload.next >= MANY);
		assert_false(workers[i].offload.disorder);
	}
	notices_destroy(notices);
}

int main(void)
{
	char *eal[] = {"notices", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_worker_runs_what_was_posted_in_order_and_the_rest_is_freed_in_the_end),
		TEST(the_slowest_worker_bounds_how_many_wait),
		TEST(bytes_are_bounded_and_one_alone_has_room_however_large),
		TEST(workers_on_threads_miss_nothing),
	};

	if (rte_eal_init(9, eal) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
