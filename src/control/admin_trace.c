// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Admin/Trace: a live capture, handed out as the transport takes it. Frames wait in the
// trace's rings and nowhere else, so a slow reader loses frames, and nobody waits for it.
//
//   request ─▶ running ─┬─ the client's end, or the time is over ─▶ workers let go, the rest ─┐
//                       └─ as many frames as were asked for ──────────────────────────────────┴▶
//                       end

#include "control/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "control/pcapng.h"
#include "control/trace.h"
#include "offramp/v1/admin.pb-c.h"
#include "port/port.h"
#include "port/tap_ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK	     (64 * 1024) // of a message; one frame more fits
#define RING_DEFAULT (4u * 1024 * 1024)
#define FILTER_MAX   1024 // bytes of its text
#define NONE	     UINT32_MAX

// The request must come so soon.
#define PATIENCE_US (10 * US_IN_S)
// Looking into empty rings, and telling of losses, so often.
#define LOOK_US (20 * US_IN_MS)
#define TELL_US (1 * US_IN_S)
// Two workers' clocks are one, but what they copied shows up here a little later.
#define SETTLED_NS 5000000u

struct port_state {
	uint32_t interface; // NONE: not traced
	uint64_t delivered;
};

struct trace_call {
	struct trace *trace; // NULL: not requested yet
	struct port_state *ports;
	uint64_t opened_us, until_us, rest_us, told_us;
	uint64_t start_ns;
	uint64_t frames, frames_max;
	uint64_t lost; // as told
	uint32_t snap_length;
	bool ending, stopped;
	struct pcapng out;
	uint8_t buffer[CHUNK + TRACE_SNAP_MAX + 4096];
};

static_assert(sizeof(struct trace_call) <= ADMIN_TRACE_STATE_SIZE, "fits");

// --- the request ---------------------------------------------------------------------------------

void admin_trace_open(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply)
{
	struct trace_call *call = state;

	(void)ctx;
	(void)request;
	call->opened_us = clock_now_us();
	rpc_call_wake(rpc_reply_call(reply), PATIENCE_US);
}

// Which port has that name? ports_count: none.
static unsigned port_find(const struct control_source *source, const char *name)
{
	unsigned i = 0;

	while (i < source->ports_count && strcmp(port_name(source->ports[i]), name) != 0)
		i++;
	return i;
}

static bool choose_ports(const struct control_source *source,
	const Offramp__V1__TraceRequest *request, bool *ret_ports, struct rpc_reply *reply)
{
	for (unsigned i = 0; i < source->ports_count; i++)
		ret_ports[i] = request->n_ports == 0;
	for (size_t i = 0; i < request->n_ports; i++) {
		unsigned port = port_find(source, request->ports[i]);

		if (port == source->ports_count) {
			rpc_reply_fail(reply, GRPC_STATUS_NOT_FOUND, "no port is named '%.64s'",
				request->ports[i]);
			return false;
		}
		ret_ports[port] = true;
	}
	return true;
}

// The instructions as numbers that fit; where one does not there is no such code.
static void translate(const Offramp__V1__TraceRequest *request, struct trace_instruction *ret_code)
{
	for (size_t i = 0; i < request->n_code; i++) {
		const Offramp__V1__FilterInstruction *from = request->code[i];
		bool fits = from->code <= UINT16_MAX && from->jump_true <= UINT8_MAX &&
			    from->jump_false <= UINT8_MAX;

		ret_code[i] = (struct trace_instruction){
			.code = fits ? (uint16_t)from->code : UINT16_MAX,
			.jump_true = (uint8_t)from->jump_true,
			.jump_false = (uint8_t)from->jump_false,
			.k = from->k,
		};
	}
}

static void refuse(struct rpc_reply *reply, enum trace_verdict verdict)
{
	switch (verdict) {
	case TRACE_OK:
		break;
	case TRACE_BAD_FILTER:
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT,
			"not a capture filter, or one with a loop (protochain)");
		break;
	case TRACE_TOO_MANY:
		rpc_reply_fail(
			reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "%u traces run already", TRACES_MAX);
		break;
	case TRACE_NO_MEMORY:
		rpc_reply_fail(reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
		break;
	case TRACE_NO_ANSWER:
		rpc_reply_fail(reply, GRPC_STATUS_UNAVAILABLE, "a worker does not answer");
		break;
	}
}

static bool in_bounds(const Offramp__V1__TraceRequest *request, struct rpc_reply *reply)
{
	if (request->n_code > TRACE_CODE_MAX || strlen(request->filter) > FILTER_MAX)
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT,
			"a filter has at most %u instructions and %u bytes", TRACE_CODE_MAX,
			FILTER_MAX);
	else if (request->buffer_size > TRACE_RING_MAX)
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT, "a buffer has at most %u bytes",
			TRACE_RING_MAX);
	else
		return true;
	return false;
}

// The start of the file.
static void announce(const struct control_source *source, struct trace_call *call,
	const char *filter, const bool *ports)
{
	uint32_t interface = 0;

	pcapng_section(&call->out, "offrampd " OFFRAMP_VERSION);
	for (unsigned i = 0; i < source->ports_count; i++) {
		uint8_t mac[6];

		call->ports[i].interface = ports[i] ? interface++ : NONE;
		if (!ports[i])
			continue;
		port_mac(source->ports[i], mac);
		pcapng_interface(
			&call->out, &(struct pcapng_interface){
					    .name = port_name(source->ports[i]),
					    .description = source->config->ports[i].port.device,
					    .filter = *filter ? filter : NULL,
					    .mac = mac,
					    .snap_length = call->snap_length,
				    });
	}
}

static enum trace_verdict begin(struct control *control, struct trace_call *call,
	const Offramp__V1__TraceRequest *request, const bool *ports)
{
	struct trace_instruction code[TRACE_CODE_MAX];
	const struct trace_config config = {
		.ports = ports,
		.snap_length = call->snap_length,
		.ring_size = request->buffer_size ? request->buffer_size : RING_DEFAULT,
		.filter = code,
		.filter_length = (unsigned)request->n_code,
	};

	call->ports = calloc(control->source.ports_count, sizeof(*call->ports));
	if (!call->ports)
		return TRACE_NO_MEMORY;
	translate(request, code);
	announce(&control->source, call, request->filter, ports);
	return trace_open(control->traces, &config, &call->trace);
}

bool admin_trace_receive(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Offramp__V1__TraceRequest *request = (const void *)message;
	struct trace_call *call = state;
	struct control *control = ctx;
	uint64_t now_us = clock_now_us();
	bool *ports;

	if (!request) {
		call->ending = true;
		return true;
	}
	if (call->trace) {
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT, "one request a trace");
		return true;
	}
	call->out = (struct pcapng){call->buffer, 0, sizeof(call->buffer)};
	call->start_ns = clock_wall_ns();
	call->frames_max = request->frames_max ? request->frames_max : UINT64_MAX;
	call->until_us = request->duration_us && request->duration_us < UINT64_MAX - now_us
				 ? now_us + request->duration_us
				 : UINT64_MAX;
	call->snap_length = request->snap_length && request->snap_length < TRACE_SNAP_MAX
				    ? request->snap_length
				    : TRACE_SNAP_MAX;
	ports = calloc(control->source.ports_count, sizeof(*ports));
	if (!ports)
		refuse(reply, TRACE_NO_MEMORY);
	else if (in_bounds(request, reply) && choose_ports(&control->source, request, ports, reply))
		refuse(reply, begin(control, call, request, ports));
	free(ports);
	if (call->trace)
		log_info("control", "a trace begins%s%s", *request->filter ? ": " : "",
			request->filter);
	return true;
}

// --- the answer ----------------------------------------------------------------------------------

static bool is_full(const struct trace_call *call)
{
	return call->out.length >= CHUNK || call->frames >= call->frames_max;
}

// False: there is more.
static bool put_frames(const struct control_source *source, struct trace_call *call)
{
	bool merges = source->workers_count > 1;
	uint64_t until_ns = merges && !call->stopped ? clock_wall_ns() - SETTLED_NS : UINT64_MAX;
	const struct tap_record *record;
	uint32_t worker;

	while (!is_full(call)) {
		record = trace_peek(call->trace, until_ns, &worker);
		if (!record)
			return true;
		pcapng_packet(&call->out, &(struct pcapng_packet){
						  .interface = call->ports[record->port].interface,
						  .time_ns = record->time_ns,
						  .captured = record->captured,
						  .length = record->length,
						  .direction = record->direction,
						  .queue = merges ? &worker : NULL,
						  .bytes = record->bytes,
					  });
		call->ports[record->port].delivered++;
		call->frames++;
		trace_take(call->trace, worker);
	}
	return false;
}

static uint64_t lost_now(const struct control_source *source, const struct trace_call *call)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i < source->ports_count; i++)
		lost += trace_counts(call->trace, i).lost;
	return lost;
}

static void put_statistics(const struct control_source *source, struct trace_call *call)
{
	for (unsigned i = 0; i < source->ports_count; i++) {
		const struct port_state *port = &call->ports[i];
		struct trace_counts counts = trace_counts(call->trace, i);

		if (port->interface == NONE)
			continue;
		pcapng_statistics(&call->out, &(struct pcapng_statistics){
						      .interface = port->interface,
						      .start_ns = call->start_ns,
						      .now_ns = clock_wall_ns(),
						      .seen = counts.seen,
						      .wanted = counts.wanted,
						      .lost = counts.lost,
						      .delivered = port->delivered,
					      });
	}
}

static void send(struct trace_call *call, struct rpc_reply *reply)
{
	Offramp__V1__TraceResponse response = OFFRAMP__V1__TRACE_RESPONSE__INIT;

	response.pcapng.data = call->out.bytes;
	response.pcapng.len = call->out.length;
	response.frames = call->frames;
	response.lost = call->lost;
	rpc_reply_message(reply, &response.base);
	call->out.length = 0;
}

static void end(
	const struct control_source *source, struct trace_call *call, struct rpc_reply *reply)
{
	call->lost = lost_now(source, call);
	put_statistics(source, call);
	send(call, reply);
	rpc_reply_end(reply);
}

static void await_request(const struct trace_call *call, struct rpc_reply *reply)
{
	if (call->ending || clock_now_us() - call->opened_us >= PATIENCE_US)
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT, "no TraceRequest has come");
}

void admin_trace_next(void *ctx, void *state, struct rpc_reply *reply)
{
	const struct control_source *source = &((struct control *)ctx)->source;
	uint64_t now_us = clock_now_us();
	struct trace_call *call = state;
	bool all;

	if (!call->trace) {
		await_request(call, reply);
		return;
	}
	call->ending |= now_us >= call->until_us;
	if (now_us < call->rest_us && !call->ending) {
		rpc_call_wake(rpc_reply_call(reply), call->rest_us - now_us);
		return;
	}
	if (call->ending && !call->stopped) {
		call->stopped = trace_stop(call->trace);
		if (!call->stopped)
			refuse(reply, TRACE_NO_ANSWER);
	}
	all = put_frames(source, call);
	if (call->frames >= call->frames_max || (call->stopped && all)) {
		end(source, call, reply);
		return;
	}
	if (now_us - call->told_us >= TELL_US && lost_now(source, call) != call->lost) {
		call->told_us = now_us;
		call->lost = lost_now(source, call);
		put_statistics(source, call);
	}
	if (all)
		call->rest_us = now_us + LOOK_US;
	if (call->out.length > 0)
		send(call, reply);
	else
		rpc_call_wake(rpc_reply_call(reply), LOOK_US);
}

void admin_trace_close(void *ctx, void *state)
{
	struct trace_call *call = state;

	(void)ctx;
	if (call->trace)
		log_info("control", "a trace ends: %llu frames, %llu lost",
			(unsigned long long)call->frames, (unsigned long long)call->lost);
	trace_close(call->trace);
	free(call->ports);
}
