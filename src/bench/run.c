// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The controller: phases, progress, sums; the main thread.

#include "bench/run.h"

#include "base/clock.h"
#include "bench/memory.h"
#include "bench/progress.h"
#include "bench/publisher.h"
#include "bench/subscriber.h"
#include "bench/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define RUN_LEAD_US (20 * US_IN_MS) // the first message is due this long after the start
#define WAIT_US	    (50 * US_IN_MS) // longest sleep of the controller
#define DRAIN_US    (2 * US_IN_MS)  // while it waits for the last arrival
#define SPARE_FILES 64u		    // descriptors besides the clients'

struct controller {
	struct bench bench;
	const struct bench_options *options;
	struct bench_progress progress;
	int signal_fd;
	bool interrupted;
	double own_cpu_s, watch_cpu_s[BENCH_WATCHES_MAX]; // at the end of the warm-up
	uint64_t sampled_us;				  // when these were taken, 0: not yet
};

double bench_process_cpu_s(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return -1;
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

bool bench_result_good(const struct bench_options *options, const struct bench_result *result)
{
	const struct bench_stats *t = &result->total;
	uint64_t unacknowledged = options->qos ? t->published - t->acknowledged : 0;
	bool incomplete = result->lost || unacknowledged || (options->messages && result->unsent);

	return !t->duplicated && !t->reordered && !t->corrupted && !t->unexpected && !t->refused &&
	       !t->connections_lost && (!incomplete || options->allow_loss);
}

// --- sums of live counters -----------------------------------------------------------------------

#define LIVE_SUM(controller, field)                                                         \
	({                                                                                  \
		uint64_t sum_ = 0;                                                          \
		for (unsigned i_ = 0; i_ < (controller)->bench.workers_count; i_++)         \
			sum_ += counter_read(&(controller)->bench.workers[i_].stats.field); \
		sum_;                                                                       \
	})

static uint64_t sum_progress(const struct controller *c)
{
	return LIVE_SUM(c, subscribers_ready) + LIVE_SUM(c, publishers_ready) +
	       LIVE_SUM(c, published) + LIVE_SUM(c, delivered) + LIVE_SUM(c, acknowledged) -
	       LIVE_SUM(c, unflushed);
}

// A worker's reason why the run cannot go on, NULL when there is none.
static const char *run_failure(const struct controller *c)
{
	for (unsigned i = 0; i < c->bench.workers_count; i++)
		if (atomic_load(&c->bench.workers[i].failed))
			return c->bench.workers[i].failure;
	return NULL;
}

// --- waiting -------------------------------------------------------------------------------------

// Sleeps until a worker or a signal has something to say, at most until `until_us`.
static void controller_wait(struct controller *c, uint64_t until_us)
{
	struct pollfd fds[] = {
		{.fd = c->bench.notify_fd, .events = POLLIN},
		{.fd = c->signal_fd, .events = POLLIN},
	};
	struct signalfd_siginfo info;
	uint64_t now_us = clock_now_us(), wait_us = until_us > now_us ? until_us - now_us : 0, n;
	struct timespec timeout;
	sigset_t none;

	if (wait_us > WAIT_US)
		wait_us = WAIT_US;
	timeout = (struct timespec){0, wait_us * 1000};
	ppoll(fds, 2, &timeout, NULL);
	if (fds[0].revents)
		(void)!read(c->bench.notify_fd, &n, sizeof(n));
	if (fds[1].revents && read(c->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		// The first one ends the run in order, the next one ends the process.
		c->interrupted = true;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
	}
	bench_progress_show(&c->progress, &c->bench);
}

static void controller_enter(struct controller *c, enum bench_phase phase)
{
	atomic_store(&c->bench.phase, phase);
	for (unsigned i = 0; i < c->bench.workers_count; i++)
		bench_worker_wake(&c->bench.workers[i]);
}

// Tells whether nothing has moved for `limit_us`; call again and again.
struct stall {
	uint64_t progress, since_us, limit_us;
};

static bool stalled(struct stall *stall, const struct controller *c)
{
	uint64_t progress = sum_progress(c), now_us = clock_now_us();

	if (progress != stall->progress || !stall->since_us) {
		stall->progress = progress;
		stall->since_us = now_us;
	}
	return now_us - stall->since_us > stall->limit_us;
}

// --- phases --------------------------------------------------------------------------------------

static enum bench_outcome run_connect(
	struct controller *c, enum bench_phase phase, struct bench_result *result)
{
	const struct bench_options *o = c->options;
	bool subscribers = phase == BENCH_PHASE_SUBSCRIBE;
	uint32_t wanted = subscribers ? o->subscribers : o->publishers;
	struct stall stall = {.limit_us = (uint64_t)(o->connect_timeout_s * US_IN_S)};
	const char *failure;

	controller_enter(c, phase);
	for (;;) {
		uint64_t ready = subscribers ? LIVE_SUM(c, subscribers_ready)
					     : LIVE_SUM(c, publishers_ready);

		failure = run_failure(c);
		if (failure) {
			snprintf(result->reason, sizeof(result->reason), "%s", failure);
			return BENCH_OUTCOME_NOT_CONNECTED;
		}
		if (ready == wanted)
			return BENCH_OUTCOME_DONE;
		if (c->interrupted)
			return BENCH_OUTCOME_INTERRUPTED;
		if (stalled(&stall, c)) {
			snprintf(result->reason, sizeof(result->reason),
				"%s did not answer for %g s (%" PRIu64 " of %u %s connected)",
				c->bench.target.text, o->connect_timeout_s, ready, wanted,
				subscribers ? "subscribers" : "publishers");
			return BENCH_OUTCOME_NOT_CONNECTED;
		}
		controller_wait(c, UINT64_MAX);
	}
}

static void sample_cpu(struct controller *c)
{
	c->sampled_us = clock_now_us();
	c->own_cpu_s = bench_process_cpu_s(0);
	for (unsigned i = 0; i < c->options->watches_count; i++)
		c->watch_cpu_s[i] = bench_process_cpu_s(c->options->watches[i].pid);
}

static bool run_is_over(const struct controller *c)
{
	const struct bench_options *o = c->options;

	if (LIVE_SUM(c, connections_lost) == (uint64_t)o->publishers + o->subscribers)
		return true;
	if (o->messages && o->publishers)
		return LIVE_SUM(c, publishers_done) == o->publishers;
	return clock_now_us() >= c->bench.end_us;
}

static void run_load(struct controller *c)
{
	const struct bench_options *o = c->options;
	bool counted = o->messages && o->publishers;
	struct bench *bench = &c->bench;
	struct stall stall = {.limit_us = (uint64_t)(o->drain_s * US_IN_S)};

	bench->start_us = clock_now_us() + (o->pace == BENCH_PACE_RATE ? RUN_LEAD_US : 0);
	bench->measure_us = bench->start_us + (uint64_t)(o->warmup_s * US_IN_S);
	bench->end_us = bench->measure_us + (uint64_t)(o->duration_s * US_IN_S);
	if (counted)
		bench->end_us = UINT64_MAX;
	if (o->pace == BENCH_PACE_RATE)
		stall.limit_us += (uint64_t)(2 * US_IN_S / o->rate);
	controller_enter(c, BENCH_PHASE_RUN);
	while (!run_is_over(c) && !c->interrupted && !(counted && stalled(&stall, c))) {
		if (!c->sampled_us && clock_now_us() >= bench->measure_us)
			sample_cpu(c);
		controller_wait(c, c->sampled_us ? bench->end_us : bench->measure_us);
	}
	if (!c->sampled_us)
		sample_cpu(c);
}

static bool drained(const struct controller *c)
{
	for (unsigned i = 0; i < c->bench.workers_count; i++)
		if (atomic_load(&c->bench.workers[i].phase_seen) != BENCH_PHASE_DRAIN)
			return false;
	return LIVE_SUM(c, delivered) >= LIVE_SUM(c, expected) && !LIVE_SUM(c, unflushed) &&
	       (!c->options->qos || LIVE_SUM(c, acknowledged) >= LIVE_SUM(c, published));
}

static void run_drain(struct controller *c, struct bench_result *result)
{
	struct stall stall = {.limit_us = (uint64_t)(c->options->drain_s * US_IN_S)};

	controller_enter(c, BENCH_PHASE_DRAIN);
	while (!drained(c) && !stalled(&stall, c))
		controller_wait(c, clock_now_us() + DRAIN_US);
	result->wall_s = (double)(clock_now_us() - c->sampled_us) / US_IN_S;
	result->own_cpu_s = bench_process_cpu_s(0) - c->own_cpu_s;
	for (unsigned i = 0; i < c->options->watches_count; i++) {
		double cpu_s = bench_process_cpu_s(c->options->watches[i].pid);

		result->watch_cpu_s[i] =
			cpu_s < 0 || c->watch_cpu_s[i] < 0 ? -1 : cpu_s - c->watch_cpu_s[i];
	}
}

// --- sums ----------------------------------------------------------------------------------------

static void stats_merge(struct bench_stats *into, const struct bench_stats *from)
{
	into->subscribers_ready += from->subscribers_ready;
	into->publishers_ready += from->publishers_ready;
	into->connections_lost += from->connections_lost;
	into->published += from->published;
	into->acknowledged += from->acknowledged;
	into->expected += from->expected;
	into->delivered += from->delivered;
	into->duplicated += from->duplicated;
	into->reordered += from->reordered;
	into->corrupted += from->corrupted;
	into->unexpected += from->unexpected;
	into->refused += from->refused;
	into->abandoned += from->abandoned;
	into->measured_published += from->measured_published;
	into->measured_delivered += from->measured_delivered;
	into->measured_bytes += from->measured_bytes;
	into->unmeasured += from->unmeasured;
	if (from->last_arrival_us > into->last_arrival_us)
		into->last_arrival_us = from->last_arrival_us;
	histogram_merge(&into->distribution, &from->distribution);
	histogram_merge(&into->delivery, &from->delivery);
	histogram_merge(&into->acknowledgement, &from->acknowledgement);
	histogram_merge(&into->lag, &from->lag);
}

static void run_sum(struct controller *c, struct bench_result *result)
{
	struct bench *bench = &c->bench;
	struct bench_stats *total = &result->total;

	for (unsigned i = 0; i < bench->workers_count; i++) {
		stats_merge(total, &bench->workers[i].stats);
		if (bench->workers[i].loss[0] && !result->loss[0])
			memcpy(result->loss, bench->workers[i].loss, sizeof(result->loss));
	}
	for (uint32_t i = 0; i < c->options->subscribers; i++)
		result->lost += bench_subscriber_missing(&bench->subscribers[i]);
	for (uint32_t i = 0; i < c->options->publishers; i++)
		result->unsent += bench_publisher_unsent(&bench->publishers[i]);
	result->elapsed_s = result->wall_s;
	if (total->last_arrival_us > bench->measure_us)
		result->elapsed_s = (double)(total->last_arrival_us - bench->measure_us) / US_IN_S;
}

// --- beginning and end ---------------------------------------------------------------------------

static int controller_files(const struct bench_options *o)
{
	rlim_t need = (rlim_t)o->publishers + o->subscribers + SPARE_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur >= need)
		return 0;
	limit.rlim_cur = need;
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -EMFILE : 0;
}

static int controller_signals(struct controller *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return c->signal_fd < 0 ? -errno : 0;
}

static void controller_end(struct controller *c, unsigned started)
{
	struct bench *bench = &c->bench;

	for (uint32_t i = 0; started && i < c->options->publishers; i++)
		if (bench->publishers[i].conn.worker)
			bench_publisher_fini(&bench->publishers[i]);
	for (uint32_t i = 0; started && i < c->options->subscribers; i++)
		if (bench->subscribers[i].conn.worker)
			bench_subscriber_fini(&bench->subscribers[i]);
	free(bench->publishers);
	free(bench->subscribers);
	free(bench->workers);
	if (bench->notify_fd >= 0)
		close(bench->notify_fd);
	if (c->signal_fd >= 0)
		close(c->signal_fd);
}

static enum bench_outcome run_phases(struct controller *c, struct bench_result *result)
{
	uint64_t begin_us = clock_now_us();
	enum bench_outcome outcome;

	outcome = run_connect(c, BENCH_PHASE_SUBSCRIBE, result);
	if (!outcome)
		outcome = run_connect(c, BENCH_PHASE_CONNECT, result);
	if (outcome)
		return outcome;
	result->connect_s = (double)(clock_now_us() - begin_us) / US_IN_S;
	run_load(c);
	run_drain(c, result);
	return c->interrupted ? BENCH_OUTCOME_INTERRUPTED : BENCH_OUTCOME_DONE;
}

int bench_run(const struct bench_options *options, const struct bench_address *target, uint32_t id,
	struct bench_result *ret_result)
{
	struct controller c = {.options = options, .signal_fd = -1};
	struct bench *bench = &c.bench;
	unsigned started = 0;
	int rc;

	memset(ret_result, 0, sizeof(*ret_result));
	histogram_init(&ret_result->total.distribution);
	histogram_init(&ret_result->total.delivery);
	histogram_init(&ret_result->total.acknowledgement);
	histogram_init(&ret_result->total.lag);
	*bench = (struct bench){.options = options, .target = *target, .id = id};
	bench_plan_init(&bench->plan, options, id);
	bench->publishers = bench_memory_zeroed(options->publishers, sizeof(*bench->publishers));
	bench->subscribers = bench_memory_zeroed(options->subscribers, sizeof(*bench->subscribers));
	bench->workers = bench_memory_zeroed(options->threads, sizeof(*bench->workers));
	bench->workers_count = options->threads;
	bench->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bench_progress_init(&c.progress, options->quiet);
	rc = bench->notify_fd < 0 ? -errno : controller_files(options);
	if (!rc)
		rc = controller_signals(&c);
	while (!rc && started < options->threads) {
		rc = bench_worker_start(&bench->workers[started], bench, started);
		started += !rc;
	}
	if (!rc)
		ret_result->outcome = run_phases(&c, ret_result);
	controller_enter(&c, BENCH_PHASE_STOP);
	for (unsigned i = 0; i < started; i++)
		bench_worker_join(&bench->workers[i]);
	bench_progress_clear(&c.progress);
	if (!rc)
		run_sum(&c, ret_result);
	controller_end(&c, started);
	return rc;
}
