// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A call's batches:
//
//   accepted ─┬─ CLOSE ───────────────────────────────────────────────────┐
//             └─ RECEIVE ─▶ open() ─▶ next() ─▶ SEND ─▶ next() … last ────┴▶ over
//
// The core completes every batch, at the latest after a cancellation; a call is given
// back when none is under way, so nothing completes into a freed place. CLOSE is a batch
// of its own because it ends only with the call.

#include "control/rpc_call.h"

#include "base/assert.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/time.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

	va_start(args, format);
	vsnprintf(reply->details, sizeof(reply->details), format, args);
	va_end(args);
	reply->status = status;
	reply->last = true;
}

// --- batches -------------------------------------------------------------------------------------

static void start(struct rpc_call *call, enum rpc_tag_kind kind, const grpc_op *ops, size_t count)
{
	grpc_call_error err =
		grpc_call_start_batch(call->grpc, ops, count, &call->tags[kind], NULL);

	ASSERT(err == GRPC_CALL_OK);
	call->batches++;
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
	}
	start(call, RPC_TAG_SEND, ops, op - ops);
	grpc_slice_unref(details);
}

static void step(struct rpc_call *call)
{
	if (!call->reply.last) {
		call->method->next(call->ctx, call->state, &call->reply);
		ASSERT(call->reply.message || call->reply.last);
	}
	send_reply(call);
}

void rpc_call_begin(struct rpc_call *call, const struct rpc_method *method, void *ctx,
	grpc_status_code status, const char *details)
{
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
	grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};

	call->method = method;
	call->ctx = ctx;
	close.data.recv_close_on_server.cancelled = &call->cancelled;
	start(call, RPC_TAG_CLOSE, &close, 1);
	if (!method) {
		rpc_reply_fail(&call->reply, status, "%s", details);
		send_reply(call);
		return;
	}
	receive.data.recv_message.recv_message = &call->request;
	start(call, RPC_TAG_RECEIVE, &receive, 1);
}

// --- events --------------------------------------------------------------------------------------

static ProtobufCMessage *request_unpack(struct rpc_call *call)
{
	ProtobufCMessage *message = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (!call->request || !grpc_byte_buffer_reader_init(&reader, call->request))
		return NULL;
	slice = grpc_byte_buffer_reader_readall(&reader);
	message = protobuf_c_message_unpack(
		call->method->request, NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
	grpc_slice_unref(slice);
	grpc_byte_buffer_reader_destroy(&reader);
	return message;
}

static void open_call(struct rpc_call *call)
{
	const struct rpc_method *method = call->method;
	ProtobufCMessage *request = request_unpack(call);

	call->state = calloc(1, method->state_size + 1);
	if (!request) {
		rpc_reply_fail(&call->reply, GRPC_STATUS_INVALID_ARGUMENT, "no %s in the request",
			method->request->name);
	} else if (!call->state) {
		rpc_reply_fail(&call->reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
	} else {
		call->opened = true;
		if (method->open)
			method->open(call->ctx, call->state, request, &call->reply);
	}
	if (request)
		protobuf_c_message_free_unpacked(request, NULL);
	step(call);
}

static void sent(struct rpc_call *call, bool ok)
{
	grpc_byte_buffer_destroy(call->reply.message);
	call->reply.message = NULL;
	if (!ok)
		grpc_call_cancel(call->grpc, NULL); // the peer is gone; CLOSE follows
	else if (!call->reply.last && !call->closed)
		step(call);
}

static void end_call(struct rpc_call *call)
{
	if (call->opened && call->method->close)
		call->method->close(call->ctx, call->state);
	free(call->state);
	grpc_byte_buffer_destroy(call->request);
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
		if (ok && !call->closed)
			open_call(call);
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
