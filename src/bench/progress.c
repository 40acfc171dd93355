// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The line on the terminal; the main thread.

#include "bench/progress.h"

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/worker.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRESS_US (200 * US_IN_MS)

void bench_progress_init(struct bench_progress *progress, bool quiet)
{
	*progress = (struct bench_progress){.enabled = !quiet && isatty(STDERR_FILENO)};
}

static void progress_connecting(const struct bench *bench, uint64_t ready)
{
	fprintf(stderr, "connecting: %" PRIu64 " of %u clients", ready,
		bench->options->publishers + bench->options->subscribers);
}

static void progress_running(struct bench_progress *progress, const struct bench *bench,
	uint64_t published, uint64_t delivered, uint64_t expected, uint64_t now_us)
{
	double seconds = (double)(now_us - progress->last_us) / US_IN_S;
	int64_t left_us = (int64_t)(bench->end_us - now_us);

	fprintf(stderr, "%s: ",
		atomic_load(&bench->phase) == BENCH_PHASE_DRAIN ? "waiting for the last"
		: now_us < bench->measure_us			? "warming up"
								: "measuring");
	fprintf(stderr,
		"%" PRIu64 " published (%.0f/s), %" PRIu64 " delivered (%.0f/s), %" PRIu64
		" on their way",
		published, (published - progress->last_published) / seconds, delivered,
		(delivered - progress->last_delivered) / seconds,
		expected > delivered ? expected - delivered : 0);
	if (bench->end_us != UINT64_MAX && left_us > 0)
		fprintf(stderr, ", %.0f s left", (double)left_us / US_IN_S);
	progress->last_published = published;
	progress->last_delivered = delivered;
}

void bench_progress_show(struct bench_progress *progress, const struct bench *bench)
{
	uint64_t now_us = clock_now_us();
	uint64_t ready = 0, published = 0, delivered = 0, expected = 0;

	if (!progress->enabled || now_us - progress->last_us < PROGRESS_US)
		return;
	for (unsigned i = 0; i < bench->workers_count; i++) {
		const struct bench_stats *stats = &bench->workers[i].stats;

		ready += counter_read(&stats->publishers_ready) +
			 counter_read(&stats->subscribers_ready);
		published += counter_read(&stats->published);
		delivered += counter_read(&stats->delivered);
		expected += counter_read(&stats->expected);
	}
	fputs("\r\033[K", stderr);
	if (atomic_load(&bench->phase) < BENCH_PHASE_RUN)
		progress_connecting(bench, ready);
	else
		progress_running(progress, bench, published, delivered, expected, now_us);
	fflush(stderr);
	progress->last_us = now_us;
	progress->shown = true;
}

void bench_progress_clear(struct bench_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
