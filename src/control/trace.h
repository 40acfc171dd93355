// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Live captures: taps on every worker's queue of the ports that are traced, their rings
// read as one. Made, read and ended on the gRPC server's thread. Private to control.
//
//   worker 0 ── taps of its queues ──▶ ring ──┐
//   worker 1 ── taps of its queues ──▶ ring ──┴─ by time ──▶ trace_peek()

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control_source;
struct tap_record;
struct trace;
struct traces;

#define TRACES_MAX     4u	      // at once
#define TRACE_SNAP_MAX (128u * 1024)  // bytes of a frame: more than any has
#define TRACE_RING_MIN (1024u * 1024) // bytes, of each worker
#define TRACE_RING_MAX (128u * 1024 * 1024)
#define TRACE_CODE_MAX 1024u // instructions of a filter

// One instruction of a capture filter, as libpcap compiles it (struct bpf_insn).
struct trace_instruction {
	uint16_t code;
	uint8_t jump_true, jump_false;
	uint32_t k;
};

struct trace_config {
	const bool *ports; // one a port: is it traced?
	uint32_t snap_length;
	uint32_t ring_size; // of each worker; rounded up to a power of two
	const struct trace_instruction *filter;
	unsigned filter_length; // 0: all frames
};

enum trace_verdict {
	TRACE_OK,
	TRACE_BAD_FILTER, // not a filter, or one that DPDK does not run
	TRACE_TOO_MANY,
	TRACE_NO_MEMORY,
	TRACE_NO_ANSWER, // a worker hangs
};

// Of one port, since the start.
struct trace_counts {
	uint64_t seen, wanted, lost;
};

struct traces *traces_create(const struct control_source *source);
void traces_destroy(struct traces *traces); // no worker runs any more; accepts NULL

// Frames are copied from now on.
enum trace_verdict trace_open(
	struct traces *traces, const struct trace_config *config, struct trace **ret_trace);
// Nothing is copied any more; what was can still be read. False: a worker hangs, and it is not so.
bool trace_stop(struct trace *trace);
// Frees it, at once or, where a worker hangs, when that one has let go. Accepts NULL.
void trace_close(struct trace *trace);

// The oldest frame that was copied before `until_ns`, and which worker's it is. NULL: none.
const struct tap_record *trace_peek(struct trace *trace, uint64_t until_ns, unsigned *ret_worker);
void trace_take(struct trace *trace, unsigned worker);
struct trace_counts trace_counts(const struct trace *trace, unsigned port);
