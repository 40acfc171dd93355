// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One call of Broker/Events after the other, over one channel, on the C-core API. Bytes in,
// bytes out; what they mean is the stream's affair (stream.h). The stream's thread only.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;
struct options;

enum channel_event {
	CHANNEL_NOTHING,  // time is up
	CHANNEL_WOKEN,	  // by channel_waker()
	CHANNEL_SENT,	  // what was sent is on its way: the next may be
	CHANNEL_RECEIVED, // channel_received() has a message
	CHANNEL_ENDED,	  // channel_why() says why; another call may be opened
};

// `error` gets a line for people.
int channel_create(const struct options *options, struct channel **ret_channel, char *error,
	size_t error_size);
// There is no call.
void channel_destroy(struct channel *channel);
struct waker *channel_waker(struct channel *channel);

bool channel_is_open(const struct channel *channel);
// Is what was sent last still on its way?
bool channel_is_sending(const struct channel *channel);
// Starts a call with its first message. It waits for the peer to come up.
void channel_open(struct channel *channel, const void *message, size_t length);
// Only when nothing is being sent. `more` is about to follow: the two may go out together.
void channel_send(struct channel *channel, const void *message, size_t length, bool more);
// CHANNEL_ENDED follows.
void channel_cancel(struct channel *channel);

enum channel_event channel_wait(struct channel *channel, uint64_t timeout_us);
// The message of CHANNEL_RECEIVED, until the next channel_wait().
const uint8_t *channel_received(const struct channel *channel, size_t *ret_length);
const char *channel_why(const struct channel *channel);
