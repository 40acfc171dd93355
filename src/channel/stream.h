// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The transport over a stream socket (frame.h), for a process whose memory the daemon does not
// share. What is posted is gathered and goes out with stream_lane_flush(), in one system call;
// lane_poll() reads, in one. Nothing here waits. Each side tells the other from time to time that
// it is there.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "channel/lane.h"

#define STREAM_SILENCE_MIN_MS 1000u

struct stream_lane_config {
	int fd; // connected, does not block; the lane's from now on
	enum channel_side side;
	uint32_t slots;	     // connections at once
	uint32_t chunks;     // CHANNEL_CHUNK octets each: what is under way, of each side
	uint64_t silence_us; // the other side says nothing for so long: it is gone
	uint64_t (*now_us)(void);
	// There is something for stream_lane_flush(). May be called from lane_post() and
	// lane_poll().
	void (*wake)(void *ctx);
	void *ctx;
};

// -EINVAL: a number is out of bounds; -ENOMEM. The descriptor is not touched on failure.
int stream_lane_create(const struct stream_lane_config *config, struct lane **ret_lane);
// Writes what waits, as far as the socket takes it.
void stream_lane_flush(struct lane *lane);
// The socket has not taken everything: flush again when it can be written to.
bool stream_lane_waits(const struct lane *lane);
int stream_lane_fd(const struct lane *lane);
// How often to poll at least, so that the other side knows of this one.
uint64_t stream_lane_beat_us(const struct lane *lane);
// In a child of a fork: the connection is the parent's.
void stream_lane_forget(struct lane *lane);
