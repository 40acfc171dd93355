// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A call has three kinds of batches: STATUS, which ends with the call, one RECEIVE and one
// SEND at a time. The core completes each, at the latest after a cancellation; the call is
// given back when none is under way.

#include "plugin/channel.h"

#include "plugin/credentials.h"
#include "plugin/options.h"
#include "plugin/waker.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHOD	      "/offramp.v1.Broker/Events"
#define MESSAGE_MAX   4096   // of Offramp's
#define RECONNECT_MS  100    // first wait, then longer,
#define RECONNECT_MAX 1000   // up to this
#define KEEP_ALIVE_MS 330000 // servers take pings more often than every 5 min for abuse
#define UNANSWERED_MS 20000  // and so long TCP waits for an answer to heartbeats
#define WHY_MAX	      256

enum tag { TAG_WAKE, TAG_STATUS, TAG_RECEIVE, TAG_SEND, TAGS };

struct channel {
	grpc_completion_queue *queue;
	grpc_channel *grpc;
	struct waker *waker;
	bool is_unix;
	char tags[TAGS]; // their addresses are the tags

	grpc_call *call;
	unsigned batches; // under way
	bool sending;
	grpc_status_code status;
	grpc_slice details;
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *buffer;
	grpc_slice received;
	bool has_received;
	char why[WHY_MAX];
};

static void quiet(gpr_log_func_args *args)
{
	(void)args; // mosquitto's stderr is not ours; what matters is in channel_why()
}

static grpc_arg integer(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_channel *connect_to(
	const struct options *options, bool is_unix, grpc_channel_credentials *credentials)
{
	grpc_arg list[8];
	grpc_channel_args args = {.args = list};

	list[args.num_args++] = integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
	list[args.num_args++] = integer(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_MS);
	list[args.num_args++] = integer(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, RECONNECT_MS);
	list[args.num_args++] = integer(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MAX);
	list[args.num_args++] = integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_MAX);
	if (!is_unix) { // a peer that is gone without a word
		list[args.num_args++] = integer(GRPC_ARG_KEEPALIVE_TIME_MS, KEEP_ALIVE_MS);
		list[args.num_args++] = integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, UNANSWERED_MS);
	}
	if (options->tls_name)
		list[args.num_args++] = (grpc_arg){.type = GRPC_ARG_STRING,
			.key = GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
			.value.string = (char *)options->tls_name};
	return grpc_channel_create(options->address, credentials, &args);
}

int channel_create(
	const struct options *options, struct channel **ret_channel, char *error, size_t error_size)
{
	struct channel *channel = calloc(1, sizeof(*channel));
	grpc_channel_credentials *credentials;
	sigset_t all, before;
	int err;

	if (!channel) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	channel->is_unix = strncmp(options->address, "unix:", 5) == 0;
	// Signals are for mosquitto's thread: they end its waiting.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	gpr_set_log_function(quiet);
	grpc_init();
	channel->queue = grpc_completion_queue_create_for_next(NULL);
	err = credentials_create(options, &credentials, error, error_size);
	if (!err) {
		channel->grpc = connect_to(options, channel->is_unix, credentials);
		grpc_channel_credentials_release(credentials);
		err = waker_start(channel->queue, &channel->tags[TAG_WAKE], &channel->waker);
		if (err)
			snprintf(error, error_size, "cannot start a thread: %s", strerror(-err));
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		channel_destroy(channel);
		return err;
	}
	*ret_channel = channel;
	return 0;
}

void channel_destroy(struct channel *channel)
{
	grpc_event event;

	if (!channel)
		return;
	waker_stop(channel->waker);
	if (channel->grpc)
		grpc_channel_destroy(channel->grpc);
	if (channel->has_received)
		grpc_slice_unref(channel->received);
	grpc_completion_queue_shutdown(channel->queue);
	do
		event = grpc_completion_queue_next(
			channel->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	while (event.type != GRPC_QUEUE_SHUTDOWN);
	grpc_completion_queue_destroy(channel->queue);
	grpc_shutdown_blocking();
	free(channel);
}

struct waker *channel_waker(struct channel *channel)
{
	return channel->waker;
}

bool channel_is_open(const struct channel *channel)
{
	return channel->call != NULL;
}

bool channel_is_sending(const struct channel *channel)
{
	return channel->sending;
}

// --- batches -------------------------------------------------------------------------------------

static void start(struct channel *channel, enum tag tag, const grpc_op *ops, size_t count)
{
	grpc_call_error err =
		grpc_call_start_batch(channel->call, ops, count, &channel->tags[tag], NULL);

	if (err == GRPC_CALL_OK)
		channel->batches++;
	else // only misuse is refused; the call is then of no use any more
		grpc_call_cancel(channel->call, NULL);
}

static void start_receive(struct channel *channel, bool first)
{
	grpc_op ops[2] = {0}, *op = ops;

	if (first) {
		op->data.recv_initial_metadata.recv_initial_metadata = &channel->initial;
		(op++)->op = GRPC_OP_RECV_INITIAL_METADATA;
	}
	op->data.recv_message.recv_message = &channel->buffer;
	(op++)->op = GRPC_OP_RECV_MESSAGE;
	start(channel, TAG_RECEIVE, ops, op - ops);
}

static void start_send(
	struct channel *channel, const void *message, size_t length, bool first, bool more)
{
	grpc_slice slice = grpc_slice_from_copied_buffer(message, length);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op ops[2] = {0}, *op = ops;

	if (first) {
		op->flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
			    GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
		(op++)->op = GRPC_OP_SEND_INITIAL_METADATA;
	}
	op->flags = more ? GRPC_WRITE_BUFFER_HINT : 0;
	op->data.send_message.send_message = buffer;
	(op++)->op = GRPC_OP_SEND_MESSAGE;
	channel->sending = true;
	start(channel, TAG_SEND, ops, op - ops);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(slice);
}

void channel_open(struct channel *channel, const void *message, size_t length)
{
	// A unix socket's path is no name that a server is asked for.
	grpc_slice host = grpc_slice_from_static_string("localhost");
	grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	channel->call = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS,
		channel->queue, grpc_slice_from_static_string(METHOD),
		channel->is_unix ? &host : NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_metadata_array_init(&channel->initial);
	grpc_metadata_array_init(&channel->trailing);
	channel->details = grpc_empty_slice();
	channel->why[0] = '\0';
	op.data.recv_status_on_client.status = &channel->status;
	op.data.recv_status_on_client.status_details = &channel->details;
	op.data.recv_status_on_client.trailing_metadata = &channel->trailing;
	start(channel, TAG_STATUS, &op, 1);
	start_send(channel, message, length, true, false);
	start_receive(channel, true);
}

void channel_send(struct channel *channel, const void *message, size_t length, bool more)
{
	start_send(channel, message, length, false, more);
}

void channel_cancel(struct channel *channel)
{
	if (channel->call)
		grpc_call_cancel(channel->call, NULL);
}

static void close_call(struct channel *channel)
{
	snprintf(channel->why, sizeof(channel->why), "%.*s (status %d)",
		(int)GRPC_SLICE_LENGTH(channel->details),
		(const char *)GRPC_SLICE_START_PTR(channel->details), channel->status);
	grpc_metadata_array_destroy(&channel->initial);
	grpc_metadata_array_destroy(&channel->trailing);
	grpc_slice_unref(channel->details);
	grpc_call_unref(channel->call);
	channel->call = NULL;
	channel->sending = false;
}

// --- completions ---------------------------------------------------------------------------------

// Takes the message out of the core's buffer and asks for the next; false: there is none.
static bool receive(struct channel *channel, bool ok)
{
	grpc_byte_buffer_reader reader;

	if (!ok || !channel->buffer)
		return false;
	channel->has_received = grpc_byte_buffer_reader_init(&reader, channel->buffer);
	if (channel->has_received) {
		channel->received = grpc_byte_buffer_reader_readall(&reader);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	grpc_byte_buffer_destroy(channel->buffer);
	channel->buffer = NULL;
	start_receive(channel, false);
	return channel->has_received;
}

static enum channel_event complete(struct channel *channel, enum tag tag, bool ok)
{
	enum channel_event event = CHANNEL_NOTHING;

	channel->batches--;
	if (tag == TAG_SEND) {
		channel->sending = false;
		event = ok ? CHANNEL_SENT : CHANNEL_NOTHING;
	} else if (tag == TAG_RECEIVE && receive(channel, ok)) {
		event = CHANNEL_RECEIVED;
	}
	if (channel->batches > 0)
		return event;
	close_call(channel);
	return CHANNEL_ENDED;
}

enum channel_event channel_wait(struct channel *channel, uint64_t timeout_us)
{
	gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
		gpr_time_from_micros((int64_t)timeout_us, GPR_TIMESPAN));
	grpc_event event;
	enum tag tag;

	if (channel->has_received)
		grpc_slice_unref(channel->received);
	channel->has_received = false;
	event = grpc_completion_queue_next(channel->queue, until, NULL);
	if (event.type != GRPC_OP_COMPLETE)
		return CHANNEL_NOTHING;
	tag = (const char *)event.tag - channel->tags;
	return tag == TAG_WAKE ? CHANNEL_WOKEN : complete(channel, tag, event.success);
}

const uint8_t *channel_received(const struct channel *channel, size_t *ret_length)
{
	*ret_length = GRPC_SLICE_LENGTH(channel->received);
	return GRPC_SLICE_START_PTR(channel->received);
}

const char *channel_why(const struct channel *channel)
{
	return channel->why;
}
