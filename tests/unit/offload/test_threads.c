// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two workers on threads of their own: what crosses between them, crosses as it does in
// the daemon. Each has a publisher; a client with a persistent session connects to one or the
// other, or to both at once. What has not passed is delivered. The order in which it happens is
// chance; ThreadSanitizer finds what only goes well by chance.

#include "offload_tests.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "pair.h"

#define PUBLISHER 5
#define STEPS	  12000u
#define NUMBERS	  4096u
#define RESUMED	  "\x20\x02\x01\x00"

struct worker {
	struct bed *bed;
	struct random rng;
	uint64_t began_us;
	unsigned self;
	unsigned published;
	bool online;
	unsigned at;
	// What has been seen of both publishers: with the session's client, with the broker.
	bool arrived[2][NUMBERS], passed[2][NUMBERS];
};

static void note_publish(bool seen[2][NUMBERS], const uint8_t *packet)
{
	unsigned number = (packet[7] & 0x7fu) << 8 | packet[8];

	if (number < NUMBERS)
		seen[packet[7] >> 7][number] = true;
}

static void client_reads(struct worker *w)
{
	const uint8_t *got;
	size_t length = got_take(&w->bed->down[w->at], &got);
	uint8_t acks[16384];
	size_t acks_length = 0;

	for (size_t i = 0; i < length; i += 2u + got[i + 1]) {
		if (got[i] >> 4 != MQTT_PUBLISH)
			continue;
		ASSERT(acks_length + 4 <= sizeof(acks));
		note_publish(w->arrived, got + i);
		memcpy(acks + acks_length, (uint8_t[]){0x40, 2, got[i + 5], got[i + 6]}, 4);
		acks_length += 4;
	}
	if (random_below(&w->rng, 2) == 0)
		client_sends(w->bed, w->at, acks, acks_length);
}

static void broker_reads(struct worker *w, unsigned i)
{
	const uint8_t *got;
	size_t length = got_take(&w->bed->up[i], &got);

	for (size_t at = 0; at < length; at += 2u + got[at + 1]) {
		switch (got[at] >> 4) {
		case MQTT_CONNECT:
			broker_sends(w->bed, i, BYTES(RESUMED));
			break;
		case MQTT_PUBLISH:
			note_publish(w->passed, got + at);
			broker_sends(w->bed, i, BYTES("\x40\x02\x00\x09"));
			break;
		case MQTT_PINGREQ:
			broker_sends(w->bed, i, BYTES("\xd0\x00"));
			break;
		default:
			break;
		}
	}
}

static void publish(struct worker *w)
{
	uint8_t packet[] = {0x32, 7, 0, 1, 'a', 0, 9, (uint8_t)(w->self << 7 | w->published >> 8),
		(uint8_t)w->published};

	if (w->published == NUMBERS)
		return;
	w->published++;
	client_sends(w->bed, PUBLISHER, packet, sizeof(packet));
}

static void comes_or_goes(struct worker *w)
{
	if (w->online)
		bed_close(w->bed, w->at);
	w->online = !w->online;
	if (!w->online)
		return;
	bed_open(w->bed, w->at);
	client_sends(w->bed, w->at, BYTES(CONNECT_KEPT));
}

static void step(struct worker *w)
{
	unsigned what = random_below(&w->rng, 1000);

	w->bed->tcp.now_us = 1000 * US_IN_S + clock_now_us() - w->began_us;
	bed_turn_once(w->bed);
	if (what < 200)
		publish(w);
	else if (what < 204)
		comes_or_goes(w);
	broker_reads(w, PUBLISHER);
	if (!w->online)
		return;
	broker_reads(w, w->at);
	client_reads(w);
}

static void *live(void *arg)
{
	for (unsigned i = 0; i < STEPS; i++) {
		step(arg);
		if (i % 4 == 0)
			usleep(20); // the other one's turn, where there is one core
	}
	return NULL;
}

static void what_is_captured_arrives_whatever_the_threads_do(void **state)
{
	struct pair *pair = *state;
	struct worker *workers = calloc(2, sizeof(*workers));
	pthread_t threads[2];
	uint64_t crossed = 0, resent = 0, lost = 0;

	for (unsigned i = 0; i < 2; i++) {
		workers[i] = (struct worker){
			.bed = &pair->beds[i], .self = i, .began_us = clock_now_us()};
		random_init(&workers[i].rng, 40 + i);
		pair->beds[i].broker.capture.hold_us = US_IN_MS;
		joins(pair, i, PUBLISHER);
	}
	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a", 1);
	workers[0].online = true;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, live, &workers[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	// All that is still owed.
	if (workers[1].online)
		comes_or_goes(&workers[1]);
	for (unsigned n = 0; n < 400; n++) {
		pair_wait(pair, 2 * US_IN_MS);
		if (!workers[0].online || (n == 20 && pair->beds[0].clients[0]->session == NULL))
			comes_or_goes(&workers[0]);
		for (unsigned i = 0; i < 2; i++)
			broker_reads(&workers[i], PUBLISHER);
		if (!workers[0].online)
			continue;
		broker_reads(&workers[0], 0);
		client_reads(&workers[0]);
	}
	for (unsigned from = 0; from < 2; from++) {
		const struct offload_counters *counters = bed_counters(&pair->beds[from]);

		for (unsigned n = 0; n < workers[from].published; n++)
			lost += !workers[0].arrived[from][n] && !workers[1].arrived[from][n] &&
				!workers[0].passed[from][n] && !workers[1].passed[from][n];
		crossed += counters->crossed;
		resent += counters->resent;
		assert_int_equal(counters->dropped[OFFLOAD_DROP_QUEUE_FULL], 0);
	}
	print_message("%u and %u published, %lu crossed, %lu sent again\n", workers[0].published,
		workers[1].published, (unsigned long)crossed, (unsigned long)resent);
	assert_int_equal(lost, 0);
	assert_true(crossed > 0);
	free(workers);
}

int test_threads(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(what_is_captured_arrives_whatever_the_threads_do),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
