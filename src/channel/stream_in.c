// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What comes: frames are looked at once, in this side's own memory. A frame that no honest side
// writes ends the lane; one of a slot's life that is over already is passed over.

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "channel/stream_state.h"

static void is_broken(struct stream_lane *lane)
{
	lane->broken = true;
}

// --- octets of slots -----------------------------------------------------------------------------

static void give_back(struct stream_lane *lane, struct stream_slot *own, unsigned place)
{
	if (own->chunks[place] == ARENA_NONE)
		return;
	arena_give(&lane->arena, own->chunks[place]);
	own->chunks[place] = ARENA_NONE;
}

void stream_in_drop(struct stream_lane *lane, struct stream_slot *own)
{
	for (unsigned i = 0; i < CHANNEL_CHUNKS; i++)
		give_back(lane, own, i);
}

void stream_in_taken(struct stream_lane *lane, uint32_t slot, uint32_t octets)
{
	struct stream_slot *own = &lane->slots[slot];
	uint32_t tail = own->tail + octets;

	for (uint32_t at = own->tail; stream_floor(at) != stream_floor(tail); at += CHANNEL_CHUNK)
		give_back(lane, own, stream_place(at));
	own->tail = tail;
	if (tail == own->came)
		give_back(lane, own, stream_place(tail));
	// In good time, unless the other side waits for it; more often it goes with something else.
	stream_tell(lane, slot, STREAM_TELL_TAKEN,
		(own->flags & STREAM_IS_HUNGRY) || tail - own->told >= CHANNEL_STREAM / 4);
}

static uint8_t *chunk_for(struct stream_lane *lane, struct stream_slot *own, uint32_t octet)
{
	uint32_t *chunk = &own->chunks[stream_place(octet)];

	if (*chunk == ARENA_NONE)
		*chunk = arena_take(&lane->arena);
	return *chunk == ARENA_NONE ? NULL : lane->chunks + (size_t)*chunk * CHANNEL_CHUNK;
}

// Of a frame's octets those that are here. False: there was no credit for them.
static bool store(
	struct stream_lane *lane, struct stream_slot *own, const uint8_t *octets, uint32_t n)
{
	for (uint32_t done = 0; done < n;) {
		uint32_t offset = own->came % CHANNEL_CHUNK, part = CHANNEL_CHUNK - offset;
		uint8_t *to = chunk_for(lane, own, own->came);

		if (to == NULL)
			return false;
		part = part < n - done ? part : n - done;
		memcpy(to + offset, octets + done, part);
		own->came += part;
		done += part;
	}
	return true;
}

unsigned stream_in_peek(
	struct lane *base, uint32_t slot, uint32_t skip, struct lane_span *ret_spans, unsigned max)
{
	struct stream_lane *lane = stream_of_lane(base);
	const struct stream_slot *own = &lane->slots[slot];
	uint32_t at = own->tail + skip;
	unsigned count = 0;

	if (skip >= own->came - own->tail || (own->flags & STREAM_CLOSED))
		return 0;
	for (; at != own->came && count < max; count++) {
		uint32_t offset = at % CHANNEL_CHUNK, n = CHANNEL_CHUNK - offset;
		uint32_t chunk = own->chunks[stream_place(at)];

		n = n < own->came - at ? n : own->came - at;
		ret_spans[count] = (struct lane_span){
			lane->chunks + (size_t)chunk * CHANNEL_CHUNK + offset, n};
		at += n;
	}
	return count;
}

// --- frames of slots -----------------------------------------------------------------------------

static void news_of(struct lane_news *news, enum lane_what what, uint32_t slot)
{
	news->what = what;
	news->slot = slot;
}

static void get_address(const struct channel_address *from, struct channel_endpoint *to)
{
	memcpy(to->address, from->address, sizeof(to->address));
	to->port = from->port;
	to->ipv6 = from->ipv6 != 0;
}

static void take_open(struct stream_lane *lane, const struct frame_head *head,
	const uint8_t *octets, struct lane_news *ret_news)
{
	struct stream_slot *own = &lane->slots[head->slot];
	struct frame_opened opened;

	if (lane->lane.side != CHANNEL_PROCESS || head->value != sizeof(opened) ||
		head->generation == 0 || head->generation == own->generation) {
		is_broken(lane);
		return;
	}
	memcpy(&opened, octets, sizeof(opened));
	stream_life(lane, own, head->generation);
	own->opened.kind = (enum channel_slot_kind)(opened.kind & 1);
	own->opened.listener = opened.listener;
	get_address(&opened.local, &own->opened.local);
	get_address(&opened.remote, &own->opened.remote);
	news_of(ret_news, LANE_OPENED, head->slot);
}

// Octets follow, and are stored as they come.
static void take_data(struct stream_lane *lane, const struct frame_head *head)
{
	struct stream_slot *own = &lane->slots[head->slot];

	if (head->value == 0 || head->value > FRAME_DATA_MAX || (own->flags & STREAM_IS_ENDED) ||
		own->came - stream_floor(own->tail) + head->value > CHANNEL_STREAM) {
		is_broken(lane);
		return;
	}
	if (head->flags & FRAME_HURRY)
		own->flags |= STREAM_IS_HUNGRY;
	else
		own->flags &= ~(uint32_t)STREAM_IS_HUNGRY;
	lane->data = *head;
	lane->data_left = head->value;
}

static void take_close(struct stream_lane *lane, struct stream_slot *own, uint32_t error)
{
	own->flags |= STREAM_IS_ENDED | STREAM_IS_CLOSED;
	own->error = (int)(error & 0xfff);
	stream_credit_return(lane, own);
}

// What has no octets.
static void take_word(
	struct stream_lane *lane, const struct frame_head *head, struct lane_news *ret_news)
{
	struct stream_slot *own = &lane->slots[head->slot];

	switch (head->kind) {
	case FRAME_TAKEN:
		if (!stream_credit_taken(lane, own, head->value))
			is_broken(lane);
		else if (own->flags & STREAM_HUNGRY)
			news_of(ret_news, LANE_MOVED, head->slot);
		return;
	case FRAME_HUNGRY:
		own->flags |= STREAM_IS_HUNGRY;
		stream_tell(lane, head->slot, 0, true); // and all the others with it
		return;
	case FRAME_END:
		own->flags |= STREAM_IS_ENDED;
		break;
	case FRAME_CLOSE:
		take_close(lane, own, head->value);
		break;
	case FRAME_READY:
		own->flags |= STREAM_IS_READY;
		break;
	default:
		break;
	}
	news_of(ret_news, LANE_MOVED, head->slot);
}

// A life that the daemon has begun while this was on its way is not this frame's.
static bool is_stale(const struct stream_lane *lane, const struct frame_head *head)
{
	const struct stream_slot *own = &lane->slots[head->slot];

	return lane->lane.side == CHANNEL_DAEMON && head->generation != 0 &&
	       (head->kind != FRAME_DATA || head->value <= FRAME_DATA_MAX) &&
	       (int32_t)(own->generation - head->generation) > 0;
}

static void take_of_slot(struct stream_lane *lane, const struct frame_head *head,
	const uint8_t *octets, struct lane_news *ret_news)
{
	const struct stream_slot *own = &lane->slots[head->slot];

	if (head->kind == FRAME_READY && lane->lane.side == CHANNEL_DAEMON) {
		is_broken(lane);
	} else if (head->kind == FRAME_OPEN) {
		take_open(lane, head, octets, ret_news);
	} else if (is_stale(lane, head)) {
		lane->data = *head;
		lane->data_left = head->kind == FRAME_DATA ? head->value : 0;
	} else if (own->generation == 0 || head->generation != own->generation ||
		   (own->flags & STREAM_IS_CLOSED)) {
		is_broken(lane);
	} else if (head->kind == FRAME_DATA) {
		take_data(lane, head);
	} else {
		take_word(lane, head, ret_news);
	}
}

// --- frames --------------------------------------------------------------------------------------

// Octets that must be here before the frame is looked at; STREAM_NOWHERE: no side writes this.
static uint32_t wanted(const struct stream_lane *lane, const struct frame_head *head)
{
	bool of_slot = head->kind != FRAME_MESSAGE && head->kind != FRAME_BEAT;

	if (head->kind >= FRAME_KINDS || head->reserved != 0 ||
		(head->flags & ~(head->kind == FRAME_DATA ? FRAME_HURRY : 0)) != 0 ||
		(of_slot ? head->slot >= lane->lane.slots : head->slot != 0))
		return STREAM_NOWHERE;
	if (head->kind == FRAME_MESSAGE)
		return head->value <= CHANNEL_MESSAGE_MAX ? head->value : STREAM_NOWHERE;
	if (head->kind == FRAME_OPEN)
		return head->value == sizeof(struct frame_opened) ? head->value : STREAM_NOWHERE;
	return 0;
}

static void take_frame(struct stream_lane *lane, const struct frame_head *head,
	const uint8_t *octets, struct lane_news *ret_news)
{
	if (head->kind == FRAME_BEAT)
		return;
	if (head->kind != FRAME_MESSAGE)
		take_of_slot(lane, head, octets, ret_news);
	else if (channel_message_decode(octets, head->value, &ret_news->message) < 0)
		is_broken(lane);
	else
		ret_news->what = LANE_MESSAGE;
}

// Octets of the frame that is under way. False: there are none here.
static bool more_data(struct stream_lane *lane, struct lane_news *ret_news)
{
	struct stream_slot *own = &lane->slots[lane->data.slot];
	uint32_t n = lane->in_head - lane->in_tail;

	n = n < lane->data_left ? n : lane->data_left;
	if (n == 0)
		return false;
	// Of a life that is over, or of a slot with which this side is done: nobody's.
	if (lane->data.generation == own->generation && !(own->flags & STREAM_CLOSED)) {
		if (!store(lane, own, lane->in + lane->in_tail, n))
			is_broken(lane);
		news_of(ret_news, LANE_MOVED, lane->data.slot);
	}
	lane->in_tail += n;
	lane->data_left -= n;
	return true;
}

static bool next_frame(struct stream_lane *lane, struct lane_news *ret_news)
{
	uint32_t here = lane->in_head - lane->in_tail, length;
	struct frame_head head;

	if (here < sizeof(head))
		return false;
	memcpy(&head, lane->in + lane->in_tail, sizeof(head));
	length = wanted(lane, &head);
	if (length == STREAM_NOWHERE) {
		is_broken(lane);
		return false;
	}
	if (here < sizeof(head) + length)
		return false;
	lane->in_tail += sizeof(head) + length;
	take_frame(lane, &head, lane->in + lane->in_tail - length, ret_news);
	return true;
}

void stream_in_next(struct stream_lane *lane, struct lane_news *ret_news)
{
	ret_news->what = LANE_NOTHING;
	while (!lane->broken && ret_news->what == LANE_NOTHING)
		if (lane->data_left > 0 ? !more_data(lane, ret_news) : !next_frame(lane, ret_news))
			return;
}

bool stream_in_idle(const struct stream_lane *lane)
{
	uint32_t here = lane->in_head - lane->in_tail;
	struct frame_head head;

	if (lane->data_left > 0 || here < sizeof(head))
		return here == 0 || lane->data_left == 0;
	memcpy(&head, lane->in + lane->in_tail, sizeof(head));
	return wanted(lane, &head) != STREAM_NOWHERE && here < sizeof(head) + wanted(lane, &head);
}

// --- reading -------------------------------------------------------------------------------------

void stream_in_read(struct stream_lane *lane)
{
	uint32_t here = lane->in_head - lane->in_tail, room;
	ssize_t n;

	memmove(lane->in, lane->in + lane->in_tail, here);
	lane->in_tail = 0;
	lane->in_head = here;
	room = STREAM_IN - here;
	n = recv(lane->config.fd, lane->in + here, room, MSG_DONTWAIT);
	lane->drained = n < (ssize_t)room;
	if (n > 0) {
		lane->in_head += (uint32_t)n;
		lane->heard_us = lane->config.now_us();
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lane->gone = true;
	}
}
