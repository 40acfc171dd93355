// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Rings and taps come from the heap when a trace begins; a worker only links them in and
// unlinks them, by a message. A trace may be freed when every worker has let go: one
// that hangs is asked again when the next trace begins, and at the end there is none.

#include "control/trace.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "control/admin.h"
#include "control/control.h"
#include "control/trace_filter.h"
#include "port/port.h"
#include "port/tap.h"

#include <stdlib.h>

struct trace_worker {
	struct mailbox_message message; // adds or removes
	struct trace *trace;
	unsigned index;
	struct tap_ring *ring;
	uint8_t *flat;
	struct port_tap *taps; // one a port
	bool tapped;
};

struct trace {
	struct traces *traces;
	const struct control_source *source;
	bool *ports;
	struct bpf_program *filter;
	bool closed; // but a worker has not let go
	struct trace_worker workers[];
};

struct traces {
	const struct control_source *source;
	struct trace *list[TRACES_MAX]; // NULL: a free place
};

// --- on the worker -------------------------------------------------------------------------------

static void each_tap(struct trace_worker *w,
	void (*act)(struct port *port, unsigned queue, struct port_tap *tap))
{
	const struct control_source *source = w->trace->source;

	for (unsigned i = 0; i < source->ports_count; i++)
		if (w->trace->ports[i] && w->index < port_queues(source->ports[i]))
			act(source->ports[i], w->index, &w->taps[i]);
}

static void add_run(struct mailbox_message *message, void *worker)
{
	(void)worker;
	each_tap(container_of(message, struct trace_worker, message), port_tap_add);
}

static void remove_run(struct mailbox_message *message, void *worker)
{
	(void)worker;
	each_tap(container_of(message, struct trace_worker, message), port_tap_remove);
}

static bool tell(struct trace_worker *w, bool tapped)
{
	struct mailbox *mailbox = w->trace->source->workers[w->index].mailbox;

	if (w->tapped == tapped)
		return true;
	w->message.run = tapped ? add_run : remove_run;
	if (mailbox_call(mailbox, &w->message, ADMIN_WORKER_TIMEOUT_MS) < 0)
		return false;
	w->tapped = tapped;
	return true;
}

static bool tell_all(struct trace *trace, bool tapped)
{
	bool all = true;

	for (unsigned i = 0; i < trace->source->workers_count; i++)
		all = tell(&trace->workers[i], tapped) && all;
	return all;
}

// --- making --------------------------------------------------------------------------------------

static bool worker_init(struct trace_worker *w, struct trace *trace, unsigned index,
	const struct trace_config *config)
{
	unsigned count = trace->source->ports_count;
	size_t size = TRACE_RING_MIN;

	while (size < config->ring_size && size < TRACE_RING_MAX)
		size *= 2;
	w->trace = trace;
	w->index = index;
	w->ring = tap_ring_create(size);
	w->taps = calloc(count, sizeof(*w->taps));
	w->flat = trace->filter ? malloc(TAP_FLAT_MAX) : NULL;
	if (!w->ring || !w->taps || (trace->filter && !w->flat))
		return false;
	for (unsigned i = 0; i < count; i++)
		w->taps[i] = (struct port_tap){
			.ring = w->ring,
			.filter = trace->filter,
			.flat = w->flat,
			.snap_length = config->snap_length,
			.port = (uint16_t)i,
		};
	return true;
}

static void trace_free(struct trace *trace)
{
	for (unsigned i = 0; i < trace->source->workers_count; i++) {
		tap_ring_destroy(trace->workers[i].ring);
		free(trace->workers[i].flat);
		free(trace->workers[i].taps);
	}
	trace_filter_destroy(trace->filter);
	free(trace->ports);
	free(trace);
}

static enum trace_verdict trace_make(
	struct traces *traces, const struct trace_config *config, struct trace **ret_trace)
{
	const struct control_source *source = traces->source;
	struct trace *trace =
		calloc(1, sizeof(*trace) + source->workers_count * sizeof(trace->workers[0]));
	enum trace_verdict verdict = TRACE_NO_MEMORY;

	if (!trace)
		return TRACE_NO_MEMORY;
	trace->traces = traces;
	trace->source = source;
	trace->ports = calloc(source->ports_count, sizeof(*trace->ports));
	for (unsigned i = 0; trace->ports && i < source->ports_count; i++)
		trace->ports[i] = config->ports[i];
	if (config->filter_length > 0) {
		trace->filter = trace_filter_create(config->filter, config->filter_length);
		verdict = trace->filter ? verdict : TRACE_BAD_FILTER;
	}
	if (trace->ports && verdict != TRACE_BAD_FILTER) {
		verdict = TRACE_OK;
		for (unsigned i = 0; i < source->workers_count; i++)
			if (!worker_init(&trace->workers[i], trace, i, config))
				verdict = TRACE_NO_MEMORY;
	}
	if (verdict == TRACE_OK)
		*ret_trace = trace;
	else
		trace_free(trace);
	return verdict;
}

// --- life ----------------------------------------------------------------------------------------

struct traces *traces_create(const struct control_source *source)
{
	struct traces *traces = calloc(1, sizeof(*traces));

	if (traces)
		traces->source = source;
	return traces;
}

void traces_destroy(struct traces *traces)
{
	if (!traces)
		return;
	for (unsigned i = 0; i < TRACES_MAX; i++)
		if (traces->list[i])
			trace_free(traces->list[i]);
	free(traces);
}

// A free place, after another try with workers that hung. NULL: none.
static struct trace **place_find(struct traces *traces)
{
	struct trace **free_place = NULL;

	for (unsigned i = 0; i < TRACES_MAX; i++) {
		struct trace **place = &traces->list[i];

		if (*place && (*place)->closed && tell_all(*place, false)) {
			trace_free(*place);
			*place = NULL;
		}
		if (!*place)
			free_place = place;
	}
	return free_place;
}

enum trace_verdict trace_open(
	struct traces *traces, const struct trace_config *config, struct trace **ret_trace)
{
	struct trace **place = place_find(traces);
	enum trace_verdict verdict;

	if (!place)
		return TRACE_TOO_MANY;
	verdict = trace_make(traces, config, place);
	if (verdict != TRACE_OK)
		return verdict;
	if (!tell_all(*place, true)) {
		trace_close(*place);
		return TRACE_NO_ANSWER;
	}
	*ret_trace = *place;
	return TRACE_OK;
}

bool trace_stop(struct trace *trace)
{
	return tell_all(trace, false);
}

void trace_close(struct trace *trace)
{
	if (!trace)
		return;
	trace->closed = true;
	place_find(trace->traces);
}

// --- reading -------------------------------------------------------------------------------------

const struct tap_record *trace_peek(struct trace *trace, uint64_t until_ns, unsigned *ret_worker)
{
	const struct tap_record *oldest = NULL;

	for (unsigned i = 0; i < trace->source->workers_count; i++) {
		const struct tap_record *record = tap_ring_peek(trace->workers[i].ring);

		if (record && record->time_ns < until_ns &&
			(!oldest || record->time_ns < oldest->time_ns)) {
			oldest = record;
			*ret_worker = i;
		}
	}
	return oldest;
}

void trace_take(struct trace *trace, unsigned worker)
{
	tap_ring_take(trace->workers[worker].ring);
}

struct trace_counts trace_counts(const struct trace *trace, unsigned port)
{
	struct trace_counts counts = {0};

	for (unsigned i = 0; i < trace->source->workers_count; i++) {
		const struct port_tap *tap = &trace->workers[i].taps[port];

		counts.seen += counter_read(&tap->seen);
		counts.wanted += counter_read(&tap->wanted);
		counts.lost += counter_read(&tap->lost);
	}
	return counts;
}
