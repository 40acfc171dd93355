// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The controller: starts the workers, leads them through the phases and sums up
// what they counted. The main thread.

#pragma once

#include "bench/bench.h"
#include "bench/stats.h"

struct bench_result {
	enum bench_outcome outcome;
	char reason[240];	  // why it could not connect
	char loss[240];		  // the first connection lost in the run; empty: none
	struct bench_stats total; // of all workers
	uint64_t lost;		  // deliveries that never came
	uint64_t unsent;	  // messages that were to be published and were not
	double connect_s;	  // until all were connected and subscribed
	double elapsed_s;	  // from the end of the warm-up to the last measured arrival
	double wall_s;		  // over which CPU time was taken
	double own_cpu_s;	  // of this process, over wall_s
	double watch_cpu_s[BENCH_WATCHES_MAX]; // negative: the process ended
};

// Runs the load. 0 with *ret_result filled, -errno when it cannot even begin.
int bench_run(const struct bench_options *options, const struct bench_address *target, uint32_t id,
	struct bench_result *ret_result);

// Did everything arrive as it was sent, apart from losses when these are allowed?
bool bench_result_good(const struct bench_options *options, const struct bench_result *result);
// CPU time a process has used, in seconds; negative when there is none.
double bench_process_cpu_s(pid_t pid);
