// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp trace: a live capture written to a file or a pipe, as it comes.

#pragma once

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#define TRACE_PORTS_MAX 32

struct trace_options {
	bool given;	  // one of the options was
	const char *file; // "-": standard output; NULL: not said
	char *ports[TRACE_PORTS_MAX];
	unsigned ports_count;
	uint64_t count, seconds, snap_length, buffer_kib; // 0: not said
	char *expression;				  // from the heap; NULL: all frames
};

// Its options; the input is a struct trace_options.
extern const struct argp trace_argp;

// One more word of the filter expression.
void trace_expression_add(struct trace_options *options, const char *word);
// Captures until it is told to stop or the capture is over. Returns the exit status.
int trace_run(const char *socket, const struct trace_options *options);
