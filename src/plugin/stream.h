// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The plugin's side of Broker/Events (proto/offramp/v1/broker.proto), on a thread of its own:
// says Hello, takes the key of Welcome, sends what is in the queue and a Heartbeat when one
// is due, forgets what is acknowledged. When the stream ends, or events were lost, it starts
// over. mosquitto's thread never waits for it.

#pragma once

#include <stddef.h>

struct notes;
struct options;
struct queue;
struct secret;
struct stream;

// `error` gets a line for people. What is handed in stays the caller's and outlives the stream,
// the text of `options` too.
int stream_start(const struct options *options, struct queue *queue, struct secret *secret,
	struct notes *notes, struct stream **ret_stream, char *error, size_t error_size);
void stream_stop(struct stream *stream);

// mosquitto's thread: what it sees is all there is to see. Nothing is sent before.
void stream_go(struct stream *stream);
// mosquitto's thread, after an event was put into the queue.
void stream_wake(struct stream *stream);
