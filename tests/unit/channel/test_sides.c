// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Both sides on threads of their own, as they are: nothing is lost, doubled or seen too early
// (ThreadSanitizer), and who sleeps is woken.

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "channel_tests.h"

#define OCTETS (4u << 20)
#define SLOTS  3

struct sides {
	struct lane *daemon, *process;
	int wake;   // rung for the process
	int socket; // the process's; -1: there is none
	_Atomic bool done;
};

static void wake(void *ctx)
{
	const uint64_t one = 1;
	const struct sides *sides = ctx;

	if (write(sides->wake, &one, sizeof(one)) < 0)
		return;
}

static uint8_t octet(uint32_t slot, uint32_t n)
{
	return (uint8_t)(n ^ (n >> 7) ^ slot * 13);
}

// Sends as it can, and looks at what comes back: the same octets.
static void *echo_daemon(void *ctx)
{
	struct sides *sides = ctx;
	uint32_t sent[SLOTS] = {0}, back[SLOTS] = {0}, whole = 0;
	static uint8_t data[CHANNEL_STREAM];

	while (whole < SLOTS) {
		struct lane_news news;

		do
			lane_poll(sides->daemon, &news);
		while (news.what == LANE_MOVED);
		assert_int_equal(news.what, LANE_NOTHING);
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			uint32_t n = OCTETS - sent[slot] < 7000 ? OCTETS - sent[slot] : 7000;
			struct lane_slot state;

			for (uint32_t i = 0; i < n; i++)
				data[i] = octet(slot, sent[slot] + i);
			sent[slot] += (uint32_t)post_data(sides->daemon, slot, data, n);
			lane_slot(sides->daemon, slot, &state);
			n = take(sides->daemon, slot, data, sizeof(data));
			for (uint32_t i = 0; i < n; i++)
				assert_int_equal(data[i], octet(slot, back[slot] + i));
			if (n > 0 && back[slot] + n == OCTETS)
				whole++;
			back[slot] += n;
		}
	}
	atomic_store(&sides->done, true);
	wake(sides);
	return NULL;
}

static bool echo_slot(struct lane *lane, uint32_t slot)
{
	struct lane_item taken = {.what = LANE_POST_TAKEN, .slot = slot};
	struct lane_span spans[LANE_SPANS];
	unsigned count = lane_peek(lane, slot, 0, spans, LANE_SPANS);
	struct lane_item data = {
		.what = LANE_POST_DATA, .slot = slot, .spans = spans, .spans_count = count};
	int rc = count > 0 ? lane_post(lane, &data) : 0;

	if (rc <= 0) {
		post(lane, LANE_POST_HUNGRY, slot);
		lane_slot(lane, slot, &(struct lane_slot){0});
		return false;
	}
	taken.octets = (uint32_t)rc;
	lane_post(lane, &taken);
	return true;
}

static void *echo_process(void *ctx)
{
	struct sides *sides = ctx;

	while (!atomic_load(&sides->done)) {
		struct pollfd fds[2] = {{.fd = sides->wake, .events = POLLIN}, {.fd = -1}};
		bool moved = false;
		struct lane_news news;
		uint64_t rung;

		do
			lane_poll(sides->process, &news);
		while (news.what != LANE_NOTHING);
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			moved |= echo_slot(sides->process, slot);
		if (moved || !lane_arm(sides->process))
			continue;
		if (sides->socket >= 0)
			fds[1] = (struct pollfd){.fd = sides->socket, .events = POLLIN};
		if (sides->socket >= 0 && stream_lane_waits(sides->process))
			fds[1].events |= POLLOUT;
		assert_true(poll(fds, 2, 10000) >= 1);
		if (fds[0].revents != 0)
			assert_true(read(sides->wake, &rung, sizeof(rung)) > 0);
		lane_disarm(sides->process);
	}
	return NULL;
}

static void echo(struct sides *sides)
{
	const struct lane_opened opened = {0};
	pthread_t thread;

	for (uint32_t slot = 0; slot < SLOTS; slot++)
		lane_post(sides->daemon,
			&(struct lane_item){
				.what = LANE_POST_OPEN, .slot = slot, .opened = &opened});
	assert_int_equal(pthread_create(&thread, NULL, echo_process, sides), 0);
	echo_daemon(sides);
	pthread_join(thread, NULL);
	lane_destroy(sides->daemon);
	lane_destroy(sides->process);
	close(sides->wake);
}

static void test_two_threads_echo_through_memory(void **state)
{
	const struct shared_geometry geometry = {SLOTS, 40};
	struct sides sides = {.wake = eventfd(0, 0), .socket = -1};
	size_t bytes = shared_size(&geometry);
	void *memory = aligned_alloc(4096, bytes);

	(void)state;
	memset(memory, 0, bytes);
	assert_int_equal(shared_create(memory, &geometry, 1, wake, &sides, &sides.daemon), 0);
	assert_int_equal(shared_attach(memory, bytes, &sides.process), 0);
	echo(&sides);
	free(memory);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void flush(void *lane)
{
	stream_lane_flush(*(struct lane **)lane);
}

static void test_two_threads_echo_over_a_socket(void **state)
{
	struct sides sides = {.wake = eventfd(0, 0)};
	struct stream_lane_config config = {
		.slots = SLOTS,
		.chunks = 40,
		.silence_us = 60000000,
		.now_us = now_us,
		.wake = flush,
	};
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	config.fd = fds[0];
	config.side = CHANNEL_DAEMON;
	config.ctx = &sides.daemon;
	assert_int_equal(stream_lane_create(&config, &sides.daemon), 0);
	config.fd = sides.socket = fds[1];
	config.side = CHANNEL_PROCESS;
	config.ctx = &sides.process;
	assert_int_equal(stream_lane_create(&config, &sides.process), 0);
	echo(&sides);
}

int test_sides(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_threads_echo_through_memory),
		cmocka_unit_test(test_two_threads_echo_over_a_socket),
	};

	return cmocka_run_group_tests_name("sides", tests, NULL, NULL);
}
