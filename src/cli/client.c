// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A call is made of batches: the request goes out and, at once or later, that it was the
// last; messages come in one by one; the status ends it.

#include "cli/client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_S 60
#define LOOK_MS	   100

// A plain connect() first: its errno says more than "unavailable" does.
static int socket_error(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, err = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err = errno;
	close(fd);
	return err;
}

static void quiet(gpr_log_func_args *args)
{
	(void)args;
}

struct call {
	grpc_completion_queue *queue;
	grpc_channel *channel;
	grpc_call *grpc;
	grpc_status_code status;
	grpc_slice details;
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *request;
	unsigned (*look)(void *ctx); // NULL: only one message goes out
	void *ctx;
	unsigned stops; // what it said last
};

// Tags are the addresses of these; only they matter.
static const char tag_send, tag_close, tag_status, tag_receive;

static void start(struct call *call, const grpc_op *ops, size_t count, const char *tag)
{
	grpc_call_start_batch(call->grpc, ops, count, (void *)tag, NULL);
}

// Does what the caller wants of the call by now.
static void look(struct call *call)
{
	const grpc_op close = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
	unsigned stops = call->look(call->ctx);

	if (stops > 0 && call->stops == 0)
		start(call, &close, 1, &tag_close);
	if (stops > 1 && call->stops <= 1)
		grpc_call_cancel(call->grpc, NULL);
	call->stops = stops > call->stops ? stops : call->stops;
}

static void finish(struct call *call, const char *tag)
{
	gpr_timespec until = gpr_inf_future(GPR_CLOCK_REALTIME);

	do {
		if (call->look && tag != &tag_close) {
			look(call);
			until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
				gpr_time_from_millis(LOOK_MS, GPR_TIMESPAN));
		}
	} while (grpc_completion_queue_pluck(call->queue, (void *)tag, until, NULL).type ==
		 GRPC_QUEUE_TIMEOUT);
}

static void call_open(struct call *call, const char *socket, const char *path)
{
	gpr_timespec patience = gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(PATIENCE_S, GPR_TIMESPAN));
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_arg no_proxy = {
		.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0};
	grpc_channel_args args = {1, &no_proxy};
	grpc_slice method = grpc_slice_from_static_string(path);
	grpc_slice host = grpc_slice_from_static_string("localhost");
	char target[256];

	snprintf(target, sizeof(target), "unix:%s", socket);
	call->queue = grpc_completion_queue_create_for_pluck(NULL);
	call->channel = grpc_channel_create(target, credentials, &args);
	grpc_channel_credentials_release(credentials);
	call->grpc = grpc_channel_create_call(call->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
		call->queue, method, &host,
		call->look ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : patience, NULL);
	grpc_metadata_array_init(&call->initial);
	grpc_metadata_array_init(&call->trailing);
}

static void call_close(struct call *call)
{
	grpc_metadata_array_destroy(&call->initial);
	grpc_metadata_array_destroy(&call->trailing);
	grpc_slice_unref(call->details);
	grpc_byte_buffer_destroy(call->request);
	grpc_call_unref(call->grpc);
	grpc_channel_destroy(call->channel);
	grpc_completion_queue_shutdown(call->queue);
	grpc_completion_queue_destroy(call->queue);
}

static grpc_byte_buffer *request_pack(const ProtobufCMessage *message)
{
	grpc_slice slice =
		grpc_slice_malloc(message ? protobuf_c_message_get_packed_size(message) : 0);
	grpc_byte_buffer *buffer;

	if (message)
		protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

// A stream waits for its answer first, another call for the request to have gone.
static void send_request(struct call *call, const ProtobufCMessage *message)
{
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	grpc_op send[4] = {
		{.op = GRPC_OP_SEND_INITIAL_METADATA},
		{.op = GRPC_OP_SEND_MESSAGE},
		{.op = GRPC_OP_RECV_INITIAL_METADATA},
		{.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
	};

	call->request = request_pack(message);
	status.data.recv_status_on_client.status = &call->status;
	status.data.recv_status_on_client.status_details = &call->details;
	status.data.recv_status_on_client.trailing_metadata = &call->trailing;
	send[1].data.send_message.send_message = call->request;
	send[2].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
	start(call, &status, 1, &tag_status);
	start(call, send, call->look ? 3 : 4, &tag_send);
	finish(call, &tag_send);
}

static grpc_byte_buffer *receive(struct call *call)
{
	grpc_byte_buffer *buffer = NULL;
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &buffer;
	start(call, &op, 1, &tag_receive);
	finish(call, &tag_receive);
	return buffer;
}

// Reads all messages; false when one was not understood.
static bool receive_all(struct call *call,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length), void *ctx)
{
	grpc_byte_buffer *buffer;
	bool ok = true;

	while (ok && (buffer = receive(call))) {
		grpc_byte_buffer_reader reader;
		grpc_slice slice;

		ok = grpc_byte_buffer_reader_init(&reader, buffer);
		if (ok) {
			slice = grpc_byte_buffer_reader_readall(&reader);
			ok = message(ctx, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
			grpc_slice_unref(slice);
			grpc_byte_buffer_reader_destroy(&reader);
		}
		grpc_byte_buffer_destroy(buffer);
	}
	if (!ok)
		grpc_call_cancel(call->grpc, NULL);
	finish(call, &tag_status);
	if (call->stops > 0)
		finish(call, &tag_close);
	return ok;
}

static bool run(struct call *call, const char *socket, const char *path,
	const ProtobufCMessage *request,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length), char *error,
	size_t error_size)
{
	int err = socket_error(socket);
	bool ok;

	if (err) {
		snprintf(error, error_size,
			"cannot reach the daemon at %s: %s; is offrampd running?", socket,
			strerror(err));
		return false;
	}
	gpr_set_log_function(quiet);
	grpc_init();
	call_open(call, socket, path);
	send_request(call, request);
	ok = receive_all(call, message, call->ctx);
	if (!ok) {
		snprintf(error, error_size,
			"the daemon at %s answers in a way that this version does not understand",
			socket);
	} else if (call->status != GRPC_STATUS_OK &&
		   !(call->status == GRPC_STATUS_CANCELLED && call->stops > 1)) {
		snprintf(error, error_size, "the daemon at %s answers: %.*s (status %d)", socket,
			(int)GRPC_SLICE_LENGTH(call->details),
			(const char *)GRPC_SLICE_START_PTR(call->details), call->status);
		ok = false;
	}
	call_close(call);
	grpc_shutdown_blocking();
	return ok;
}

bool client_call(const char *socket, const char *path, const ProtobufCMessage *request,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length), void *ctx, char *error,
	size_t error_size)
{
	struct call call = {.ctx = ctx};

	return run(&call, socket, path, request, message, error, error_size);
}

bool client_follow(const char *socket, const char *path, const ProtobufCMessage *request,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length),
	unsigned (*look_)(void *ctx), void *ctx, char *error, size_t error_size)
{
	struct call call = {.look = look_, .ctx = ctx};

	return run(&call, socket, path, request, message, error, error_size);
}
