// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes what the streams of brokers hold: bytes are unpacked, checked, put in order and taken in
// as Broker/Events does, for two streams that claim to be the same broker. No worker listens; what
// is taken in is freed. Input: records of
//
//   what (1 byte)  length (1 byte)  a BrokerMessage …
//
//   bit 0      which stream
//   bits 1–3   0: it ends and begins anew; 1: its client has sent its last message; else a message
//
// After each, what the method wants to send is taken from it, as the server does.

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>

#include "base/assert.h"
#include "control/config.h"
#include "control/control_state.h"
#include "control/rpc.h"

#define STREAMS 2

// The server's part, as far as a method sees it.
struct rpc_call {
	struct rpc_reply reply;
	ProtobufCMessage *request;
	void *state;
};

static struct rpc_call calls[STREAMS];
static struct control control;
static struct config config;
static struct offload_broker_config broker;

static struct rpc_call *call_of(struct rpc_reply *reply)
{
	return (struct rpc_call *)reply;
}

void rpc_reply_message(struct rpc_reply *reply, const ProtobufCMessage *message)
{
	uint8_t packed[256];

	ASSERT(!reply->last);
	ASSERT(protobuf_c_message_get_packed_size(message) <= sizeof(packed));
	protobuf_c_message_pack(message, packed);
}

void rpc_reply_end(struct rpc_reply *reply)
{
	reply->last = true;
}

void rpc_reply_fail(struct rpc_reply *reply, grpc_status_code status, const char *format, ...)
{
	ASSERT(status != GRPC_STATUS_OK);
	reply->last = true;
}

struct rpc_call *rpc_reply_call(struct rpc_reply *reply)
{
	return call_of(reply);
}

ProtobufCMessage *rpc_request_keep(struct rpc_reply *reply)
{
	struct rpc_call *call = call_of(reply);
	ProtobufCMessage *request = call->request;

	call->request = NULL;
	return request;
}

void rpc_call_wake(struct rpc_call *call, uint64_t after_us)
{
}

void rpc_call_cancel(struct rpc_call *call, grpc_status_code status, const char *details)
{
	call->reply.last = true;
}

// --- streams -------------------------------------------------------------------------------------

static void call_begin(struct rpc_call *call)
{
	memset(call, 0, sizeof(*call));
	call->state = calloc(1, broker_methods[0].state_size);
	broker_methods[0].open(&control, call->state, NULL, &call->reply);
}

static void call_end(struct rpc_call *call)
{
	broker_methods[0].close(&control, call->state);
	free(call->state);
}

static void call_send(struct rpc_call *call)
{
	if (!call->reply.last)
		broker_methods[0].next(&control, call->state, &call->reply);
}

static void call_receive(struct rpc_call *call, const uint8_t *bytes, size_t length)
{
	if (call->reply.last)
		return;
	call->request = protobuf_c_message_unpack(broker_methods[0].request, NULL, length, bytes);
	if (!call->request)
		return;
	// Nobody is behind: all is taken.
	ASSERT(broker_methods[0].receive(&control, call->state, call->request, &call->reply));
	if (call->request)
		protobuf_c_message_free_unpacked(call->request, NULL);
	call->request = NULL;
}

static void check(void)
{
	const struct feed *feed = &control.feeds.feeds[0];
	unsigned open = 0;

	for (unsigned i = 0; i < STREAMS; i++)
		open += feed->stream && feed->stream->call == &calls[i];
	ASSERT(control.feeds.counters.streams == (feed->stream != NULL));
	ASSERT(open == (feed->stream != NULL));
}

static void record(unsigned what, const uint8_t *bytes, size_t length)
{
	struct rpc_call *call = &calls[what & 1];

	switch (what >> 1 & 7) {
	case 0:
		call_end(call);
		call_begin(call);
		break;
	case 1:
		if (!call->reply.last)
			broker_methods[0].receive(&control, call->state, NULL, &call->reply);
		break;
	default:
		call_receive(call, bytes, length);
		break;
	}
	call_send(call);
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_LEVEL_ERROR);
	broker.name = "broker";
	broker.proof.lease_us = 500000;
	config.brokers = &broker;
	config.brokers_count = 1;
	memset(&control, 0, sizeof(control));
	control.source.config = &config;
	ASSERT(notices_create(&control.source, &control.notices) == 0);
	ASSERT(feeds_create(&control.source, control.notices, &control.feeds) == 0);
	for (unsigned i = 0; i < STREAMS; i++)
		call_begin(&calls[i]);
	while (size >= 2) {
		size_t length = data[1] < size - 2 ? data[1] : size - 2;

		record(data[0], data + 2, length);
		data += 2 + length;
		size -= 2 + length;
	}
	for (unsigned i = 0; i < STREAMS; i++)
		call_end(&calls[i]);
	ASSERT(!control.feeds.feeds[0].stream);
	notices_destroy(control.notices);
	feeds_destroy(&control.feeds);
	return 0;
}
