// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One side of a channel between a worker and a process whose sockets live on its TCP: control
// messages, and connections ("slots") with a byte stream each way. What carries it is a transport
// of four calls: open, post, poll, arm. Shared memory is the one for a process on the same host
// (shared.h); a stream socket carries it to a host whose memory is another's (stream.h).
//
// A side sees of a slot what it has last been told of, and that is what lane_slot() shows. All of
// a lane is one thread's, or under one lock.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "channel/abi.h"
#include "channel/message.h"

struct lane;

struct lane_span {
	const void *data;
	uint32_t length;
};
#define LANE_SPANS (CHANNEL_CHUNKS + 1)

enum lane_what {
	LANE_NOTHING,
	LANE_MESSAGE, // a control message
	LANE_OPENED,  // a new life of a slot; it may have moved already
	LANE_MOVED,   // something is new in a slot: look
	LANE_GONE,    // the other side is gone, and everything it wrote was told of
	LANE_BROKEN,  // the other side has written what it never may: the lane is over
};

struct lane_news {
	enum lane_what what;
	uint32_t slot;
	struct channel_message message;
};

enum lane_post {
	LANE_POST_MESSAGE, // `message`
	LANE_POST_OPEN,	   // a slot's life begins (the daemon only); `opened`
	LANE_POST_DATA,	   // `spans`: octets for the other side
	LANE_POST_TAKEN,   // `octets` of what the other side has sent are not needed any more
	LANE_POST_END,	   // nothing follows what was sent
	LANE_POST_CLOSE,   // this side is done with the slot; `error`: how, if not in order
	LANE_POST_READY,   // the connection that the process makes stands (the daemon only)
	LANE_POST_HUNGRY, // wants LANE_MOVED when the other side has taken something, until DATA is
			  // posted; look, or post, once more afterwards
};

struct lane_opened {
	enum channel_slot_kind kind;
	uint32_t listener;
	struct channel_endpoint local, remote;
};

struct lane_item {
	enum lane_post what;
	uint32_t slot;
	union {
		const struct channel_message *message;
		const struct lane_opened *opened;
		struct {
			const struct lane_span *spans;
			unsigned spans_count;
		};
		uint32_t octets;
		int error;
	};
};

// What is known of a slot. Octets that came stay where they are until they are posted as taken.
struct lane_slot {
	uint32_t generation;
	bool open;     // this side has not closed it
	bool ended;    // nothing follows what is there
	bool closed;   // the other side has done with it
	bool ready;    // the other side has said that the connection stands
	int error;     // and how: an errno, or 0
	uint32_t came; // octets that wait to be read
	uint32_t room; // octets that can be posted now
	uint32_t sent; // octets that the other side has not taken yet
	struct lane_opened opened;
};

struct lane_ops {
	// DATA: how many octets were taken, which may be fewer than given, or 0. Else 0, or
	// -EAGAIN: there is no room, try again later; -EPIPE: the slot is over. Never blocks.
	int (*post)(struct lane *lane, const struct lane_item *item);
	// The next news. LANE_NOTHING: there is none.
	void (*poll)(struct lane *lane, struct lane_news *ret_news);
	// Before this side sleeps: true when it may; what the transport wakes it with is readable,
	// or becomes so, once something is new. False: poll again.
	bool (*arm)(struct lane *lane);
	void (*disarm)(struct lane *lane); // awake again
	void (*slot)(struct lane *lane, uint32_t slot, struct lane_slot *ret_slot);
	// The octets that wait, from `skip` on: at most `max` spans. Returns how many.
	unsigned (*peek)(struct lane *lane, uint32_t slot, uint32_t skip,
		struct lane_span *ret_spans, unsigned max);
	void (*destroy)(struct lane *lane);
};

// What all transports begin with.
struct lane {
	const struct lane_ops *ops;
	enum channel_side side;
	uint32_t slots; // numbers below it
};

static inline int lane_post(struct lane *lane, const struct lane_item *item)
{
	return lane->ops->post(lane, item);
}

static inline void lane_poll(struct lane *lane, struct lane_news *ret_news)
{
	lane->ops->poll(lane, ret_news);
}

static inline bool lane_arm(struct lane *lane)
{
	return lane->ops->arm(lane);
}

static inline void lane_disarm(struct lane *lane)
{
	lane->ops->disarm(lane);
}

static inline void lane_slot(struct lane *lane, uint32_t slot, struct lane_slot *ret_slot)
{
	lane->ops->slot(lane, slot, ret_slot);
}

static inline unsigned lane_peek(
	struct lane *lane, uint32_t slot, uint32_t skip, struct lane_span *ret_spans, unsigned max)
{
	return lane->ops->peek(lane, slot, skip, ret_spans, max);
}

// Copies octets that wait, from `skip` on. False: there are not as many.
static inline bool lane_copy(
	struct lane *lane, uint32_t slot, uint32_t skip, void *to, uint32_t length)
{
	struct lane_span spans[LANE_SPANS];
	unsigned count = lane_peek(lane, slot, skip, spans, LANE_SPANS);
	uint32_t done = 0;

	for (unsigned i = 0; i < count && done < length; i++) {
		uint32_t n = spans[i].length < length - done ? spans[i].length : length - done;

		memcpy((uint8_t *)to + done, spans[i].data, n);
		done += n;
	}
	return done == length;
}

// Accepts NULL.
static inline void lane_destroy(struct lane *lane)
{
	if (lane != NULL)
		lane->ops->destroy(lane);
}
