// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The line on the terminal that says what the run is doing; nothing at all when
// standard error is no terminal. The main thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bench;

struct bench_progress {
	bool shown, enabled;
	uint64_t last_us, last_delivered, last_published;
};

void bench_progress_init(struct bench_progress *progress, bool quiet);
// Rewrites the line a few times a second; call as often as you like.
void bench_progress_show(struct bench_progress *progress, const struct bench *bench);
void bench_progress_clear(struct bench_progress *progress);
