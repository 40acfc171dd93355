// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker thread's loop. One turn: wait for sockets or the next due time, serve
// a batch of sockets, issue what is due, let closed loops go on.

#include "bench/worker.h"

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/memory.h"
#include "bench/publisher.h"
#include "bench/subscriber.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EVENTS_MAX	 128		  // sockets served between two looks at what is due
#define RECEIVE_SIZE	 (256u << 10)	  // bytes read at once
#define OPEN_PENDING_MAX 64u		  // handshakes at once: brokers' backlogs are short
#define TICK_US		 (250 * US_IN_MS) // housekeeping

// How many of `total` clients this worker owns; the n-th of them is client_index().
static uint32_t share(const struct bench_worker *worker, uint32_t total)
{
	unsigned workers = worker->bench->workers_count;

	return worker->index < total ? (total - worker->index - 1) / workers + 1 : 0;
}

static uint32_t client_index(const struct bench_worker *worker, uint32_t n)
{
	return worker->index + n * worker->bench->workers_count;
}

static struct bench_publisher *publisher_of(const struct bench_worker *worker, uint32_t n)
{
	return &worker->bench->publishers[client_index(worker, n)];
}

static struct bench_subscriber *subscriber_of(const struct bench_worker *worker, uint32_t n)
{
	return &worker->bench->subscribers[client_index(worker, n)];
}

static uint32_t publishers_count(const struct bench_worker *worker)
{
	return share(worker, worker->bench->options->publishers);
}

static uint32_t subscribers_count(const struct bench_worker *worker)
{
	return share(worker, worker->bench->options->subscribers);
}

// --- messages between threads --------------------------------------------------------------------

static void event_signal(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one)); // fails only when it is signalled already
}

void bench_worker_wake(struct bench_worker *worker)
{
	event_signal(worker->wake_fd);
}

void bench_worker_notify(struct bench_worker *worker)
{
	event_signal(worker->bench->notify_fd);
}

void bench_worker_fail(struct bench_worker *worker, const char *text)
{
	if (atomic_load(&worker->failed))
		return;
	snprintf(worker->failure, sizeof(worker->failure), "%s", text);
	atomic_store(&worker->failed, true);
	bench_worker_notify(worker);
}

void bench_worker_credit(struct bench_publisher *publisher, const struct bench_worker *by)
{
	struct bench_worker *worker = publisher->conn.worker;
	struct bench_publisher *top;

	atomic_fetch_add(&publisher->completed, 1);
	if (worker->bench->options->pace != BENCH_PACE_CLOSED ||
		atomic_exchange(&publisher->credited, true))
		return;
	top = atomic_load(&worker->credits);
	do
		publisher->credit_next = top;
	while (!atomic_compare_exchange_weak(&worker->credits, &top, publisher));
	if (worker != by)
		bench_worker_wake(worker);
}

static void worker_spend_credits(struct bench_worker *worker)
{
	struct bench_publisher *publisher = atomic_exchange(&worker->credits, NULL);

	while (publisher) {
		// Once it is not credited any more, another thread may link it anew.
		struct bench_publisher *next = publisher->credit_next;

		atomic_store(&publisher->credited, false);
		bench_publisher_run(publisher);
		publisher = next;
	}
}

// --- opening -------------------------------------------------------------------------------------

static uint32_t open_count(const struct bench_worker *worker)
{
	if (worker->phase == BENCH_PHASE_SUBSCRIBE)
		return subscribers_count(worker);
	if (worker->phase == BENCH_PHASE_CONNECT)
		return publishers_count(worker);
	return 0;
}

// When the pace asked for allows the next connection.
static uint64_t open_due_us(const struct bench_worker *worker)
{
	double rate = worker->bench->options->connect_rate / worker->bench->workers_count;

	return rate > 0 ? worker->open_us + (uint64_t)(worker->open_next * (US_IN_S / rate)) : 0;
}

static void worker_open(struct bench_worker *worker)
{
	while (worker->open_next < open_count(worker) && !atomic_load(&worker->failed) &&
		worker->open_pending < OPEN_PENDING_MAX && open_due_us(worker) <= worker->now_us) {
		struct bench_conn *conn = worker->phase == BENCH_PHASE_SUBSCRIBE
						  ? &subscriber_of(worker, worker->open_next)->conn
						  : &publisher_of(worker, worker->open_next)->conn;

		worker->open_next++;
		worker->open_pending++;
		bench_conn_open(conn);
	}
}

// --- issuing at a rate ---------------------------------------------------------------------------

// All publishers have the same rate and are shifted against each other in order, so what is due
// next goes round and round through them.
static uint64_t issue_due_us(const struct bench_worker *worker)
{
	const struct bench *bench = worker->bench;
	uint64_t due_us;

	if (worker->phase != BENCH_PHASE_RUN || bench->options->pace != BENCH_PACE_RATE ||
		!publishers_count(worker))
		return UINT64_MAX;
	due_us = bench_publisher_due_us(
		bench, client_index(worker, worker->due_next), worker->due_round);
	return due_us < bench->end_us ? due_us : UINT64_MAX;
}

static void worker_issue(struct bench_worker *worker)
{
	// Overdue messages are many after a stall: the sockets get their turn in between.
	for (unsigned budget = EVENTS_MAX; budget && issue_due_us(worker) <= worker->now_us;
		budget--) {
		struct bench_publisher *publisher = publisher_of(worker, worker->due_next);

		if (++worker->due_next == publishers_count(worker)) {
			worker->due_next = 0;
			worker->due_round++;
		}
		if (publisher->done)
			continue;
		publisher->due++;
		bench_publisher_run(publisher);
	}
}

// --- the loop ------------------------------------------------------------------------------------

static void worker_tick(struct bench_worker *worker)
{
	const struct bench_options *o = worker->bench->options;
	uint64_t idle_us = o->keep_alive_s * US_IN_S / 2;

	worker->tick_us = worker->now_us + TICK_US;
	for (uint32_t n = 0; o->keep_alive_s && n < subscribers_count(worker); n++) {
		struct bench_conn *conn = &subscriber_of(worker, n)->conn;

		if (conn->state == BENCH_CONN_READY && worker->now_us - conn->active_us > idle_us)
			bench_conn_ping(conn);
	}
	for (uint32_t n = 0; n < publishers_count(worker); n++) {
		struct bench_publisher *publisher = publisher_of(worker, n);

		if (o->keep_alive_s && publisher->conn.state == BENCH_CONN_READY &&
			worker->now_us - publisher->conn.active_us > idle_us)
			bench_conn_ping(&publisher->conn);
		if (o->pace == BENCH_PACE_CLOSED && worker->phase == BENCH_PHASE_RUN)
			bench_publisher_give_up(publisher, worker->now_us);
	}
}

static void worker_enter(struct bench_worker *worker, int phase)
{
	worker->phase = phase;
	worker->open_next = 0;
	worker->open_us = worker->now_us;
	worker->tick_us = worker->now_us + TICK_US;
	if (phase == BENCH_PHASE_RUN && worker->bench->options->pace != BENCH_PACE_RATE)
		for (uint32_t n = 0; n < publishers_count(worker); n++)
			bench_publisher_run(publisher_of(worker, n));
}

static void worker_tell_drain(struct bench_worker *worker)
{
	uint64_t bytes = 0;

	for (uint32_t n = 0; n < publishers_count(worker); n++)
		if (publisher_of(worker, n)->conn.state == BENCH_CONN_READY)
			bytes += bench_conn_pending(&publisher_of(worker, n)->conn);
	counter_set_to(&worker->stats.unflushed, bytes);
}

static void worker_wait(struct bench_worker *worker)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t until_us = worker->tick_us, due_us = issue_due_us(worker), wait_us, count;
	struct timespec timeout;
	int n;

	if (due_us < until_us)
		until_us = due_us;
	if (worker->open_next < open_count(worker) && worker->open_pending < OPEN_PENDING_MAX &&
		open_due_us(worker) < until_us)
		until_us = open_due_us(worker);
	wait_us = until_us > worker->now_us ? until_us - worker->now_us : 0;
	timeout = (struct timespec){wait_us / US_IN_S, wait_us % US_IN_S * 1000};
	n = epoll_pwait2(worker->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
	worker->now_us = clock_now_us();
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			bench_conn_event(events[i].data.ptr, events[i].events);
		else
			(void)!read(worker->wake_fd, &count, sizeof(count));
	}
}

static void *worker_main(void *argument)
{
	struct bench_worker *worker = argument;
	int phase;

	prctl(PR_SET_TIMERSLACK, 1); // due times are kept to the microsecond
	worker->now_us = clock_now_us();
	worker->tick_us = worker->now_us + TICK_US;
	while ((phase = atomic_load(&worker->bench->phase)) != BENCH_PHASE_STOP) {
		if (phase != worker->phase)
			worker_enter(worker, phase);
		atomic_store(&worker->phase_seen, phase);
		worker_wait(worker);
		worker->now_us = clock_now_us();
		worker_open(worker);
		worker_issue(worker);
		worker_spend_credits(worker);
		if (phase == BENCH_PHASE_DRAIN)
			worker_tell_drain(worker);
		if (worker->now_us >= worker->tick_us)
			worker_tick(worker);
	}
	for (uint32_t n = 0; n < publishers_count(worker); n++)
		bench_conn_close(&publisher_of(worker, n)->conn);
	for (uint32_t n = 0; n < subscribers_count(worker); n++)
		bench_conn_close(&subscriber_of(worker, n)->conn);
	return NULL;
}

int bench_worker_start(struct bench_worker *worker, struct bench *bench, unsigned index)
{
	struct epoll_event event = {.events = EPOLLIN};
	int rc;

	memset(worker, 0, sizeof(*worker));
	worker->bench = bench;
	worker->index = index;
	histogram_init(&worker->stats.distribution);
	histogram_init(&worker->stats.delivery);
	histogram_init(&worker->stats.acknowledgement);
	histogram_init(&worker->stats.lag);
	worker->buffer.size = RECEIVE_SIZE;
	worker->buffer.data = bench_memory_zeroed(RECEIVE_SIZE + MQTT_HEADER_MAX, 1);
	worker->message = bench_memory_zeroed(bench_plan_size_max(&bench->plan), 1);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0 || worker->wake_fd < 0 ||
		epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0) {
		rc = -errno;
		goto err;
	}
	for (uint32_t n = 0; n < publishers_count(worker); n++)
		bench_publisher_init(publisher_of(worker, n), worker, client_index(worker, n));
	for (uint32_t n = 0; n < subscribers_count(worker); n++)
		bench_subscriber_init(subscriber_of(worker, n), worker, client_index(worker, n));
	rc = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (!rc)
		return 0;
	for (uint32_t n = 0; n < publishers_count(worker); n++)
		bench_publisher_fini(publisher_of(worker, n));
	for (uint32_t n = 0; n < subscribers_count(worker); n++)
		bench_subscriber_fini(subscriber_of(worker, n));
err:
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	free(worker->buffer.data);
	free(worker->message);
	return rc;
}

void bench_worker_join(struct bench_worker *worker)
{
	bench_worker_wake(worker);
	pthread_join(worker->thread, NULL);
	close(worker->epoll_fd);
	close(worker->wake_fd);
	free(worker->buffer.data);
	free(worker->message);
}
