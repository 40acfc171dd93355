// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The same with two workers: what is captured by one was shown of the clients of both. Legs of
// even numbers are worker 0's, odd ones worker 1's.

#include "offload_tests.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "pair.h"
#include "play.h"

static uint64_t passed(const struct twin *twin, enum proof_reason reason)
{
	return bed_counters(twin->bed)->passed[reason] + bed_counters(twin->other)->passed[reason];
}

static uint64_t crossed(const struct twin *twin)
{
	return bed_counters(twin->bed)->crossed + bed_counters(twin->other)->crossed;
}

static void one_message_asks_all_workers(void **state)
{
	struct twin *twin = twin_new_pair(*state);

	for (uint8_t qos = 0; qos < 3; qos++) {
		uint32_t number = 1000u * qos + 1, from;
		char filter[] = {'t', (char)('1' + qos), 0};

		twin_connect(twin, 0, false, "p");
		twin_connect(twin, 1, false, "s");
		twin_connect(twin, 2, true, "r");
		twin_connect(twin, 3, true, "q");
		for (unsigned i = 1; i < 4; i++)
			twin_subscribe(twin, i, filter, qos);
		assert_true(twin_until_captured(twin, 0, filter[1], qos, &number) <= 2);
		from = number;
		for (unsigned i = 0; i < 100; i++)
			twin_publish(twin, 0, filter[1], qos, number++);
		twin_wait(twin, US_IN_MS);
		for (unsigned i = 1; i < 4; i++)
			for (uint32_t n = 1000u * qos + 1; n < number; n++)
				assert_int_equal(twin_got(twin, i, n), 1);
		assert_true(twin->legs[0].published < from - 1000u * qos);
		assert_true(crossed(twin) >= 100);
		for (unsigned i = 0; i < 4; i++)
			bed_close(twin_bed(twin, i), i);
	}
	twin_free(twin);
}

static void who_may_not_read_elsewhere_is_left_out(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_connect(twin, 3, true, "r");
	twin_subscribe(twin, 1, "t1", 0);
	twin_subscribe(twin, 3, "#", 1);
	twin->legs[3].may_read[1] = false;
	assert_true(twin_until_captured(twin, 0, '1', 1, &number) <= 5);
	for (unsigned i = 0; i < 100; i++)
		twin_publish(twin, 0, '1', i % 3, number++);
	twin_wait(twin, US_IN_MS);
	for (uint32_t i = 1; i < number; i++) {
		assert_int_equal(twin_got(twin, 1, i), 1);
		assert_int_equal(twin_got(twin, 3, i), 0);
	}
	assert_true(twin_captured(twin) >= 100);
	// Only from there.
	assert_true(twin_until_captured(twin, 0, '2', 1, &number) <= 3);
	assert_int_equal(twin_got(twin, 3, number - 1), 1);
	twin_free(twin);
}

// One more subscriber of a filter means nothing new to the other worker, but for rights.
static void who_comes_to_a_filter_elsewhere(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_subscribe(twin, 1, "t1", 1);
	for (unsigned n = 0; n < 10; n++) {
		bool may = n % 2 == 0;
		uint32_t from;

		twin_until_captured(twin, 0, '1', 1, &number);
		twin_connect(twin, 3, false, "r");
		twin->legs[3].may_read[1] = may;
		twin_subscribe(twin, 3, "t1", 1);
		from = number;
		for (unsigned i = 0; i < 20; i++) {
			twin_publish(twin, 0, '1', i % 3, number++);
			twin_wait(twin, 5 * US_IN_MS);
		}
		for (uint32_t i = from; i < number; i++) {
			assert_int_equal(twin_got(twin, 1, i), 1);
			assert_int_equal(twin_got(twin, 3, i), may);
		}
		bed_close(twin_bed(twin, 3), 3);
		twin->legs[3].subscriptions_count = 0;
		twin_wait(twin, US_IN_S);
	}
	twin_free(twin);
}

static void a_revoked_right_serves_no_longer_elsewhere(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_connect(twin, 3, false, "r");
	twin_subscribe(twin, 1, "t1", 0);
	twin_subscribe(twin, 3, "t1", 1);
	for (unsigned n = 0; n < 6; n++) {
		bool may = n % 2 == 1;
		uint32_t from;

		twin_until_captured(twin, 0, '1', 1, &number);
		twin->legs[3].may_read[1] = may;
		twin_revoke(twin);
		from = number;
		for (unsigned i = 0; i < 30; i++) {
			twin_publish(twin, 0, '1', 1, number++);
			twin_wait(twin, 10 * US_IN_MS);
		}
		for (uint32_t i = from; i < number; i++) {
			assert_int_equal(twin_got(twin, 1, i), 1);
			assert_int_equal(twin_got(twin, 3, i), may);
		}
	}
	twin_free(twin);
}

// A worker that has not heard of a revocation says nothing of its clients.
static void a_worker_that_is_behind(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;
	uint64_t captured;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_subscribe(twin, 1, "t1", 1);
	twin_until_captured(twin, 0, '1', 1, &number);
	twin->other_held = true;
	twin->legs[1].may_read[1] = false;
	twin_revoke(twin);
	captured = twin_captured(twin);
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 0, '1', 1, number);
		twin_wait(twin, 50 * US_IN_MS);
		assert_int_equal(twin_got(twin, 1, number++), 0);
	}
	assert_int_equal(twin_captured(twin), captured);
	twin->other_held = false;
	twin_wait(twin, 7 * US_IN_S);
	twin_until_captured(twin, 0, '1', 1, &number);
	assert_int_equal(twin_got(twin, 1, number - 1), 0);
	twin_free(twin);
}

// Readers of whom neither worker knows anything, with subscribers at both or at one.
static void strangers_pass_where_both_have_subscribers(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin->strangers[twin->strangers_count++] = 999;
	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_connect(twin, 2, false, "r");
	twin_subscribe(twin, 1, "t1", 1);
	twin_subscribe(twin, 2, "t2", 1);
	for (unsigned i = 0; i < 50; i++) {
		twin_publish(twin, 0, '1', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_int_equal(twin_captured(twin), 0);
	assert_true(passed(twin, PROOF_WORKERS) > 30);
	for (unsigned i = 0; i < 50; i++) {
		twin_publish(twin, 0, '2', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_true(bed_counters(twin->bed)->split > 40);
	assert_int_equal(twin->strangers_got, 100);
	for (uint32_t i = 1; i < number; i++) {
		assert_int_equal(twin_got(twin, 1, i), i <= 50);
		assert_int_equal(twin_got(twin, 2, i), i > 50);
	}
	twin_free(twin);
}

// A client that comes back as another user, at the other worker or at this one.
static void rights_elsewhere_are_of_a_connection(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "p");
	for (unsigned n = 0; n < 6; n++) {
		unsigned leg = 1 + n % 2, last = 2 - n % 2;

		twin_connect(twin, leg, false, "s");
		twin_subscribe(twin, leg, "t1", 1);
		twin_until_captured(twin, 0, '1', 1, &number);
		bed_close(twin_bed(twin, leg), leg);
		twin->legs[leg].subscriptions_count = 0;
		twin_connect(twin, last, false, "s");
		twin->legs[last].may_read[1] = false;
		twin_subscribe(twin, last, "t1", 1);
		for (unsigned i = 0; i < 20; i++) {
			twin_publish(twin, 0, '1', 1, number);
			twin_wait(twin, 10 * US_IN_MS);
			assert_int_equal(
				twin_got(twin, leg, number) + twin_got(twin, last, number), 0);
			number++;
		}
		bed_close(twin_bed(twin, last), last);
		twin->legs[last].subscriptions_count = 0;
		twin_wait(twin, 7 * US_IN_S);
	}
	twin_free(twin);
}

static void rights_are_shown_again_in_time(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, false, "s");
	twin_subscribe(twin, 1, "t1", 1);
	twin_until_captured(twin, 0, '1', 1, &number);
	for (unsigned i = 0; i < 120; i++) {
		twin_publish(twin, 0, '1', 1, number++);
		twin_wait(twin, US_IN_S);
	}
	assert_true(twin->legs[0].published < 20);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 1, i), 1);
	twin_free(twin);
}

// What of it the broker confirms makes the same difference to it and to the map, at whichever
// worker; who comes has to be seen, who goes has not.
static void what_is_known_outlives_what_happens_elsewhere(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	uint32_t number = 1, before, from;

	twin_connect(twin, 0, true, "p");
	for (unsigned i = 1; i < 6; i += 2)
		twin_connect(twin, i, i < 5, (char[]){'s', (char)('0' + i), 0});
	twin_subscribe(twin, 1, "t1", 1);
	twin_subscribe(twin, 3, "t1", 1);
	twin_subscribe(twin, 5, "+", 0);
	twin_until_captured(twin, 0, '1', 1, &number);
	// More changes of other topics than anybody remembers.
	before = twin->legs[0].published;
	for (unsigned i = 0; i < 2 * SESSION_CHANGES; i++) {
		twin_subscribe(twin, 1, "t2", 1);
		twin_unsubscribe(twin, 1, "t2");
	}
	twin_publish(twin, 0, '1', 1, number++);
	twin_unsubscribe(twin, 3, "t1");
	from = number;
	twin_publish(twin, 0, '1', 1, number++);
	bed_close(twin_bed(twin, 3), 3);
	twin_publish(twin, 0, '1', 1, number++);
	assert_int_equal(twin->legs[0].published, before);
	assert_int_equal(twin_got(twin, 3, from - 1), 1);
	assert_int_equal(twin_got(twin, 3, from), 0);
	// Who comes may not be allowed to read.
	twin->legs[3].subscriptions_count = 0;
	twin_connect(twin, 3, true, "r");
	twin->legs[3].may_read[1] = false;
	twin_subscribe(twin, 3, "t1", 1);
	from = number;
	assert_true(twin_until_captured(twin, 0, '1', 1, &number) > 0);
	twin_publish(twin, 0, '1', 1, number++);
	for (uint32_t i = from; i < number; i++)
		assert_int_equal(twin_got(twin, 3, i), 0);
	// An UNSUBACK without a code may mean anything.
	twin_unsubscribe(twin, 5, "+");
	assert_true(twin_until_captured(twin, 0, '1', 1, &number) > 0);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 1, i), 1);
	twin_free(twin);
}

static void rights_hold_whatever_happens_at_two_workers(void **state)
{
	uint64_t all = 0, captured = 0;

	for (unsigned seed = 1; seed <= 4; seed++) {
		struct twin *twin;

		pair_teardown(state);
		pair_setup_told(state);
		twin = twin_new_pair(*state);
		all += play(twin, seed, 120);
		captured += twin_captured(twin);
		twin_free(twin);
	}
	print_message("%lu of %lu captured\n", (unsigned long)captured, (unsigned long)all);
	assert_true(captured > all / 6);
}

// --- on threads ----------------------------------------------------------------------------------

// Each worker turns on a thread of its own, as in the daemon; the broker serves one at a time.
// Publishers are legs 0 and 1; 2 and 3 have subscribed, and 5, which may not read "t1", has, too;
// 4 comes to it and goes. The order in which it happens is chance.
struct turning {
	struct twin *twin;
	pthread_mutex_t *lock;
	struct random rng;
	unsigned worker;
	uint64_t began_us;
	uint32_t sent;
};

#define THREAD_STEPS	8000u
#define THREAD_MESSAGES 600u
#define COMES_AND_GOES	4u

static void turning_acts(struct turning *t)
{
	unsigned what = random_below(&t->rng, 1000);
	struct twin *twin = t->twin;

	if (what < 150 && t->sent < THREAD_MESSAGES)
		twin_send(twin, t->worker, (char)('1' + what % 3), 1, t->worker * 1000 + t->sent++);
	else if (what < 152 && t->worker == 0)
		twin_ask(twin, COMES_AND_GOES, "t1", MQTT_SUBSCRIBE);
	else if (what < 154 && t->worker == 0)
		twin_ask(twin, COMES_AND_GOES, "t1", MQTT_UNSUBSCRIBE);
}

static void turning_step(struct turning *t, bool acts)
{
	struct bed *bed = twin_bed(t->twin, t->worker);

	bed->tcp.now_us = 1000 * US_IN_S + clock_now_us() - t->began_us;
	pthread_mutex_lock(t->lock);
	__atomic_store_n(&t->twin->lease_us, bed->tcp.now_us + US_IN_S, __ATOMIC_RELEASE);
	if (acts)
		turning_acts(t);
	twin_serve(t->twin, t->worker);
	pthread_mutex_unlock(t->lock);
	bed_turn_once(bed);
}

static void *turning_run(void *arg)
{
	for (unsigned i = 0; i < THREAD_STEPS; i++) {
		turning_step(arg, i < THREAD_STEPS - 1000);
		if (i % 4 == 0)
			usleep(20); // the other one's turn, where there is one core
	}
	return NULL;
}

static void threads_ran(struct twin *twin, const struct turning *threads)
{
	uint64_t captured = twin_captured(twin), lost = 0, forbidden = 0;

	for (unsigned w = 0; w < 2; w++)
		for (uint32_t n = 0; n < threads[w].sent; n++) {
			lost += twin_got(twin, 2, w * 1000 + n) != 1;
			lost += twin_got(twin, 3, w * 1000 + n) != 1;
		}
	for (unsigned n = 0; n < twin->legs[5].got_count; n++)
		forbidden += twin->legs[5].got[n].topic == '1';
	print_message("%u and %u published, %lu captured, %lu crossed\n", threads[0].sent,
		threads[1].sent, (unsigned long)captured, (unsigned long)crossed(twin));
	assert_int_equal(lost, 0);
	assert_int_equal(forbidden, 0);
	assert_true(captured > 0 && crossed(twin) > 0);
}

static void rights_hold_whatever_the_threads_do(void **state)
{
	struct twin *twin = twin_new_pair(*state);
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct turning threads[2];
	pthread_t ids[2];

	for (unsigned i = 0; i < 6; i++) {
		char id[] = {'c', (char)('0' + i), 0};

		twin_connect(twin, i, i % 2, id);
	}
	twin->legs[5].may_read[1] = false;
	for (unsigned i = 2; i < 6; i++)
		if (i != COMES_AND_GOES)
			twin_subscribe(twin, i, "#", 1);
	twin_wait(twin, 10 * US_IN_MS);
	for (unsigned i = 0; i < 2; i++) {
		threads[i] = (struct turning){
			.twin = twin, .lock = &lock, .worker = i, .began_us = clock_now_us()};
		random_init(&threads[i].rng, 70 + i);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, turning_run, &threads[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(ids[i], NULL);
	twin->bed->tcp.now_us = twin->other->tcp.now_us =
		twin->bed->tcp.now_us > twin->other->tcp.now_us ? twin->bed->tcp.now_us
								: twin->other->tcp.now_us;
	twin_wait(twin, US_IN_S);
	threads_ran(twin, threads);
	twin_free(twin);
}

int test_proofs_workers(void)
{
	const struct CMUnitTest tests[] = {
		pair_test_told(one_message_asks_all_workers),
		pair_test_told(who_may_not_read_elsewhere_is_left_out),
		pair_test_told(who_comes_to_a_filter_elsewhere),
		pair_test_told(a_revoked_right_serves_no_longer_elsewhere),
		pair_test_told(a_worker_that_is_behind),
		pair_test_told(strangers_pass_where_both_have_subscribers),
		pair_test_told(rights_elsewhere_are_of_a_connection),
		pair_test_told(rights_are_shown_again_in_time),
		pair_test_told(what_is_known_outlives_what_happens_elsewhere),
		pair_test_told(rights_hold_whatever_happens_at_two_workers),
		pair_test_told(rights_hold_whatever_the_threads_do),
	};

	return cmocka_run_group_tests_name("proofs_workers", tests, NULL, NULL);
}
