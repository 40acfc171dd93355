// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A call's batches. One message out:
//
//   accepted ─┬─ CLOSE ───────────────────────────────────────────────────┐
//             └─ RECEIVE ─▶ open() ─▶ next() ─▶ SEND ─▶ next() … last ────┴▶ over
//
// Streams of the client: open() at once, and both directions go on by themselves:
//
//   RECEIVE ─▶ receive() ─┬─ taken ─▶ RECEIVE …           next() ─▶ SEND ─▶ next() …
//        ▲                └─ left ─┐                         ▲
//        └── wake ─▶ receive() ◀───┘                         └── wake, received
//
// The core completes every batch, at the latest after a cancellation; a call is given
// back when none is under way, so nothing completes into a freed place. CLOSE is a batch
// of its own because it ends only with the call.

#include "control/rpc_call.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/list.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A client that does not read its status keeps its place so long.
#define LAST_WORDS_US (5 * US_IN_S)

// --- replies -------------------------------------------------------------------------------------

void rpc_reply_message(struct rpc_reply *reply, const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	ASSERT(reply->message == NULL);
	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	reply->message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
}

void rpc_reply_end(struct rpc_reply *reply)
{
	reply->last = true;
}

void rpc_reply_fail(struct rpc_reply *reply, grpc_status_code status, const char *format, ...)
{
	va_list args;

	if (reply->last)
		return; // the first reason is the one that counts
	va_start(args, format);
	vsnprintf(reply->details, sizeof(reply->details), format, args);
	va_end(args);
	reply->status = status;
	reply->last = true;
}

ProtobufCMessage *rpc_request_keep(struct rpc_reply *reply)
{
	struct rpc_call *call = rpc_reply_call(reply);
	ProtobufCMessage *request = call->request;

	call->request = NULL;
	return request;
}

struct rpc_call *rpc_reply_call(struct rpc_reply *reply)
{
	return container_of(reply, struct rpc_call, reply);
}

void rpc_call_cancel(struct rpc_call *call, grpc_status_code status, const char *details)
{
	grpc_call_cancel_with_status(call->grpc, status, details, NULL);
}

const char *rpc_call_peer(const struct rpc_call *call, char out[RPC_PEER_SIZE])
{
	char *peer = grpc_call_get_peer(call->grpc);

	snprintf(out, RPC_PEER_SIZE, "%s", peer);
	gpr_free(peer);
	return out;
}

// --- batches -------------------------------------------------------------------------------------

static void start(struct rpc_call *call, enum rpc_tag_kind kind, const grpc_op *ops, size_t count)
{
	grpc_call_error err =
		grpc_call_start_batch(call->grpc, ops, count, &call->tags[kind], NULL);

	ASSERT(err == GRPC_CALL_OK);
	call->batches++;
}

static void start_receiving(struct rpc_call *call)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &call->received;
	start(call, RPC_TAG_RECEIVE, &op, 1);
}

static void send_reply(struct rpc_call *call)
{
	struct rpc_reply *reply = &call->reply;
	grpc_slice details = grpc_slice_from_copied_string(reply->details);
	grpc_op ops[3] = {0}, *op = ops;

	if (!call->metadata_sent)
		(op++)->op = GRPC_OP_SEND_INITIAL_METADATA;
	call->metadata_sent = true;
	if (reply->message) {
		op->data.send_message.send_message = reply->message;
		(op++)->op = GRPC_OP_SEND_MESSAGE;
	}
	if (reply->last) {
		op->data.send_status_from_server.status = reply->status;
		op->data.send_status_from_server.status_details = &details;
		(op++)->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
		call->status_sent = true;
	}
	call->sending = true;
	start(call, RPC_TAG_SEND, ops, op - ops);
	grpc_slice_unref(details);
}

// Sends what there is to send, when nothing is on its way.
static void step(struct rpc_call *call)
{
	struct rpc_reply *reply = &call->reply;

	if (reply->last && call->expires_us == UINT64_MAX)
		call->expires_us = clock_now_us() + LAST_WORDS_US;
	if (call->sending || call->status_sent || call->closed)
		return;
	if (!reply->last)
		call->method->next(call->service->ctx, call->state, reply);
	if (reply->message || reply->last)
		send_reply(call);
}

// --- what the client sends -----------------------------------------------------------------------

// NULL after a failure, which the reply then says.
static ProtobufCMessage *request_unpack(struct rpc_call *call)
{
	const char *name = call->method->request->name;
	ProtobufCMessage *message = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (!call->received) {
		rpc_reply_fail(
			&call->reply, GRPC_STATUS_INVALID_ARGUMENT, "no %s in the request", name);
	} else if (grpc_byte_buffer_length(call->received) > call->service->request_max) {
		rpc_reply_fail(&call->reply, GRPC_STATUS_RESOURCE_EXHAUSTED,
			"%s of more than %u bytes", name, call->service->request_max);
	} else if (grpc_byte_buffer_reader_init(&reader, call->received)) {
		slice = grpc_byte_buffer_reader_readall(&reader);
		message = protobuf_c_message_unpack(call->method->request, NULL,
			GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
		grpc_slice_unref(slice);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	grpc_byte_buffer_destroy(call->received);
	call->received = NULL;
	if (!message)
		rpc_reply_fail(&call->reply, GRPC_STATUS_INVALID_ARGUMENT, "not a %s", name);
	return message;
}

static void open_call(struct rpc_call *call, const ProtobufCMessage *request)
{
	const struct rpc_method *method = call->method;

	call->state = calloc(1, method->state_size + 1);
	if (!call->state) {
		rpc_reply_fail(&call->reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	call->opened = true;
	if (method->open)
		method->open(call->service->ctx, call->state, request, &call->reply);
}

// The one request of a call.
static void received_request(struct rpc_call *call)
{
	ProtobufCMessage *request = request_unpack(call);

	if (request) {
		open_call(call, request);
		protobuf_c_message_free_unpacked(request, NULL);
	}
	step(call);
}

// Offers what has come, and reads on when it was taken.
static void offer(struct rpc_call *call)
{
	const struct rpc_method *method = call->method;
	void *ctx = call->service->ctx;

	if (call->reply.last || call->closed)
		return;
	if (call->request) {
		if (!method->receive(ctx, call->state, call->request, &call->reply))
			return;
		if (call->request)
			protobuf_c_message_free_unpacked(call->request, NULL);
		call->request = NULL;
		if (!call->reply.last)
			start_receiving(call);
	} else if (call->half_closed && !call->end_offered) {
		call->end_offered = method->receive(ctx, call->state, NULL, &call->reply);
	}
}

// One message of a stream, or its end.
static void received_part(struct rpc_call *call)
{
	if (call->received)
		call->request = request_unpack(call);
	else
		call->half_closed = true;
	offer(call);
	step(call);
}

// --- life ----------------------------------------------------------------------------------------

void rpc_call_begin(struct rpc_call *call, grpc_status_code status, const char *details)
{
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	close.data.recv_close_on_server.cancelled = &call->cancelled;
	start(call, RPC_TAG_CLOSE, &close, 1);
	if (!call->method) {
		rpc_reply_fail(&call->reply, status, "%s", details);
		send_reply(call);
		return;
	}
	start_receiving(call);
	if (call->method->receive) {
		open_call(call, NULL);
		step(call);
	}
}

void rpc_call_resume(struct rpc_call *call)
{
	call->wake_us = UINT64_MAX;
	if (!call->opened || call->closed)
		return;
	offer(call);
	step(call);
}

void rpc_call_stop(struct rpc_call *call)
{
	if (!call->opened || call->closed || call->method->age_max_s)
		return;
	rpc_reply_fail(&call->reply, GRPC_STATUS_UNAVAILABLE, "offrampd stops");
	step(call);
}

static void sent(struct rpc_call *call, bool ok)
{
	grpc_byte_buffer_destroy(call->reply.message);
	call->reply.message = NULL;
	call->sending = false;
	if (!ok)
		grpc_call_cancel(call->grpc, NULL); // the peer is gone; CLOSE follows
	else
		step(call);
}

static void end_call(struct rpc_call *call)
{
	if (call->opened && call->method->close)
		call->method->close(call->service->ctx, call->state);
	free(call->state);
	if (call->request)
		protobuf_c_message_free_unpacked(call->request, NULL);
	grpc_byte_buffer_destroy(call->received);
	grpc_byte_buffer_destroy(call->reply.message);
	grpc_call_unref(call->grpc);
	grpc_metadata_array_destroy(&call->metadata);
	grpc_call_details_destroy(&call->details);
}

bool rpc_call_event(struct rpc_call *call, enum rpc_tag_kind kind, bool ok)
{
	call->batches--;
	switch (kind) {
	case RPC_TAG_RECEIVE:
		if (!ok || call->closed)
			break;
		if (call->method->receive)
			received_part(call);
		else
			received_request(call);
		break;
	case RPC_TAG_SEND:
		sent(call, ok);
		break;
	default:
		call->closed = true;
		break;
	}
	if (call->batches > 0)
		return false;
	end_call(call);
	return true;
}
