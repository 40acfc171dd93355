// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What goes out: octets are framed at once, as far as there is credit and room; all else of a slot
// is remembered as bits and framed when the lane is flushed, so it is never refused, and what is
// taken bit by bit is told once. Octets never overtake that: credit that a slot's end gives back is
// used behind the word of it.

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "channel/stream_state.h"

// The most that is told of one slot at a time.
#define TELL_MAX (6 * sizeof(struct frame_head) + sizeof(struct frame_opened))

static void wake(struct stream_lane *lane)
{
	if (lane->config.wake != NULL)
		lane->config.wake(lane->config.ctx);
}

// --- the octets that wait ------------------------------------------------------------------------

uint32_t stream_out_room(const struct stream_lane *lane)
{
	return STREAM_OUT - (lane->out_head - lane->out_tail);
}

static void out_write(struct stream_lane *lane, const void *octets, uint32_t length)
{
	uint32_t place = lane->out_head % STREAM_OUT, first = STREAM_OUT - place;

	first = first < length ? first : length;
	memcpy(lane->out + place, octets, first);
	memcpy(lane->out, (const uint8_t *)octets + first, length - first);
	lane->out_head += length;
}

static bool has_octets(const struct frame_head *head)
{
	return head->kind == FRAME_MESSAGE || head->kind == FRAME_OPEN || head->kind == FRAME_DATA;
}

void stream_out_frame(struct stream_lane *lane, const struct frame_head *head, const void *octets)
{
	out_write(lane, head, sizeof(*head));
	if (has_octets(head) && octets != NULL)
		out_write(lane, octets, head->value);
}

int stream_out_message(struct stream_lane *lane, const struct channel_message *message)
{
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct frame_head head = {
		.kind = FRAME_MESSAGE,
		.value = (uint32_t)channel_message_encode(message, bytes),
	};

	if (stream_out_room(lane) < sizeof(head) + head.value)
		return -EAGAIN;
	stream_out_frame(lane, &head, bytes);
	wake(lane);
	return 0;
}

// --- lists of slots ------------------------------------------------------------------------------

static bool append(struct stream_list *list, struct stream_slot *slots, uint32_t slot,
	uint32_t *next, size_t next_offset)
{
	if (*next != STREAM_NOWHERE)
		return false;
	*next = slot;
	if (list->first == STREAM_NOWHERE)
		list->first = slot;
	else
		*(uint32_t *)((uint8_t *)&slots[list->last] + next_offset) = slot;
	list->last = slot;
	return true;
}

static uint32_t pop(struct stream_list *list, uint32_t *next)
{
	uint32_t slot = list->first;

	list->first = *next == slot ? STREAM_NOWHERE : *next;
	*next = STREAM_NOWHERE;
	return slot;
}

// --- credit --------------------------------------------------------------------------------------

// As the other side's chunks: from the floor of what was taken to the head, none when all was
// taken.
static uint32_t chunks_between(uint32_t taken, uint32_t head)
{
	return taken == head ? 0 : (head - stream_floor(taken) + CHANNEL_CHUNK - 1) / CHANNEL_CHUNK;
}

static void hold(struct stream_lane *lane, struct stream_slot *own)
{
	uint32_t held = chunks_between(own->taken, own->head);

	lane->credits += own->held;
	lane->credits -= held;
	own->held = held;
}

void stream_credit_return(struct stream_lane *lane, struct stream_slot *own)
{
	lane->credits += own->held;
	own->held = 0;
}

bool stream_credit_taken(struct stream_lane *lane, struct stream_slot *own, uint32_t octets)
{
	if (octets > own->head - own->taken)
		return false;
	own->taken += octets;
	// After its end the other side holds nothing.
	if (!(own->flags & STREAM_IS_CLOSED))
		hold(lane, own);
	return true;
}

// Of the stream itself.
static uint32_t window(const struct stream_slot *own)
{
	return stream_floor(own->taken) + CHANNEL_STREAM - own->head;
}

// Octets for which there are chunks.
static uint32_t credit(const struct stream_lane *lane, const struct stream_slot *own)
{
	uint32_t end = own->held > 0 ? stream_floor(own->taken) + own->held * CHANNEL_CHUNK
				     : stream_floor(own->head);
	uint32_t more = lane->credits < CHANNEL_CHUNKS ? lane->credits : CHANNEL_CHUNKS;

	if (own->held == 0 && more == 0)
		return 0;
	return end + more * CHANNEL_CHUNK - own->head;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

// What is told later has its place.
static uint32_t out_room(const struct stream_lane *lane)
{
	uint32_t room = stream_out_room(lane), kept = sizeof(struct frame_head) + TELL_MAX;

	return room > kept ? room - kept : 0;
}

uint32_t stream_room(const struct stream_lane *lane, const struct stream_slot *own)
{
	return least(window(own), out_room(lane));
}

bool stream_out_full(const struct stream_lane *lane)
{
	return out_room(lane) < STREAM_OUT / 4;
}

static bool is_short(const struct stream_lane *lane)
{
	return lane->credits <= lane->config.chunks / 4;
}

// --- who waits for room --------------------------------------------------------------------------

void stream_starve(struct stream_lane *lane, uint32_t slot)
{
	append(&lane->starved, lane->slots, slot, &lane->slots[slot].starved_next,
		offsetof(struct stream_slot, starved_next));
}

bool stream_starved_any(const struct stream_lane *lane)
{
	return lane->starved.first != STREAM_NOWHERE && !is_short(lane) &&
	       lane->telling.first == STREAM_NOWHERE && !stream_out_full(lane);
}

bool stream_starved(struct stream_lane *lane, uint32_t *ret_slot)
{
	if (!stream_starved_any(lane))
		return false;
	*ret_slot = pop(&lane->starved, &lane->slots[lane->starved.first].starved_next);
	return true;
}

// --- what is told of slots -----------------------------------------------------------------------

static void tell_opened(struct stream_lane *lane, struct frame_head *head)
{
	const struct lane_opened *from = &lane->slots[head->slot].opened;
	const struct channel_endpoint *ends[2] = {&from->local, &from->remote};
	struct frame_opened opened = {.listener = from->listener, .kind = from->kind};
	struct channel_address *to[2] = {&opened.local, &opened.remote};

	for (unsigned i = 0; i < 2; i++) {
		memcpy(to[i]->address, ends[i]->address, ends[i]->ipv6 ? 16 : 4);
		to[i]->port = ends[i]->port;
		to[i]->ipv6 = ends[i]->ipv6;
	}
	head->kind = FRAME_OPEN;
	head->value = sizeof(opened);
	stream_out_frame(lane, head, &opened);
}

static void tell_one(struct stream_lane *lane, uint32_t slot)
{
	static const uint8_t kinds[] = {
		FRAME_READY, FRAME_TAKEN, FRAME_HUNGRY, FRAME_END, FRAME_CLOSE};
	struct stream_slot *own = &lane->slots[slot];
	const uint32_t values[] = {0, own->tail - own->told, 0, 0, (uint32_t)own->close_error};
	struct frame_head head = {.slot = slot, .generation = own->generation};

	if (own->flags & STREAM_TELL_OPEN)
		tell_opened(lane, &head);
	for (unsigned i = 0; i < sizeof(kinds); i++)
		if (own->flags & (STREAM_TELL_READY << i)) {
			head.kind = kinds[i];
			head.value = values[i];
			stream_out_frame(lane, &head, NULL);
		}
	own->told = own->tail;
	own->flags &= ~STREAM_TELL;
}

// False: there is no room for all of it.
static bool tell_all(struct stream_lane *lane)
{
	while (lane->telling.first != STREAM_NOWHERE && stream_out_room(lane) >= TELL_MAX) {
		uint32_t slot = pop(&lane->telling, &lane->slots[lane->telling.first].telling_next);

		tell_one(lane, slot);
	}
	return lane->telling.first == STREAM_NOWHERE;
}

void stream_tell(struct stream_lane *lane, uint32_t slot, uint32_t what, bool now)
{
	struct stream_slot *own = &lane->slots[slot];

	own->flags |= what;
	append(&lane->telling, lane->slots, slot, &own->telling_next,
		offsetof(struct stream_slot, telling_next));
	if (now)
		wake(lane);
}

// --- octets of slots -----------------------------------------------------------------------------

static uint32_t put_frame(
	struct stream_lane *lane, uint32_t slot, const struct lane_span *span, uint32_t done)
{
	struct stream_slot *own = &lane->slots[slot];
	uint32_t room = least(stream_room(lane, own), credit(lane, own));
	struct frame_head head = {
		.kind = FRAME_DATA,
		.slot = slot,
		.generation = own->generation,
		.value = least(least(room, FRAME_DATA_MAX), span->length - done),
	};

	if (head.value == 0)
		return 0;
	own->head += head.value;
	hold(lane, own);
	head.flags = is_short(lane) ? FRAME_HURRY : 0;
	stream_out_frame(lane, &head, (const uint8_t *)span->data + done);
	return head.value;
}

static uint32_t put_span(struct stream_lane *lane, uint32_t slot, const struct lane_span *span)
{
	uint32_t done = 0, n;

	while (done < span->length && (n = put_frame(lane, slot, span, done)) > 0)
		done += n;
	return done;
}

int stream_out_data(
	struct stream_lane *lane, uint32_t slot, const struct lane_span *spans, unsigned count)
{
	struct stream_slot *own = &lane->slots[slot];
	uint32_t done = 0;

	if (own->flags & STREAM_IS_CLOSED)
		return 0;
	if (!tell_all(lane)) {
		stream_starve(lane, slot);
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		uint32_t n = put_span(lane, slot, &spans[i]);

		done += n;
		if (n == spans[i].length)
			continue;
		if (window(own) > 0)
			stream_starve(lane, slot);
		break;
	}
	if (done > 0) {
		own->flags &= ~(uint32_t)STREAM_HUNGRY;
		wake(lane);
	}
	return (int)done;
}

// --- writing -------------------------------------------------------------------------------------

// Nobody reads it any more.
static void be_mute(struct stream_lane *lane)
{
	lane->mute = true;
	lane->out_tail = lane->out_head;
}

static void write_out(struct stream_lane *lane)
{
	uint32_t waits = lane->out_head - lane->out_tail, place = lane->out_tail % STREAM_OUT;
	uint32_t first = least(waits, STREAM_OUT - place);
	struct iovec iov[2] = {{lane->out + place, first}, {lane->out, waits - first}};
	struct msghdr header = {.msg_iov = iov, .msg_iovlen = waits > first ? 2 : 1};
	ssize_t n = sendmsg(lane->config.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0) {
		lane->out_tail += (uint32_t)n;
		lane->said_us = lane->config.now_us();
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		be_mute(lane);
	}
}

void stream_lane_flush(struct lane *base)
{
	struct stream_lane *lane = stream_of_lane(base);
	bool all;

	if (lane->broken)
		return;
	// What has no room is told when the first part is written; twice at most.
	for (unsigned i = 0; i < 2; i++) {
		all = tell_all(lane);
		if (lane->mute)
			be_mute(lane);
		if (lane->out_head != lane->out_tail)
			write_out(lane);
		if (all || lane->out_head != lane->out_tail)
			break;
	}
}

bool stream_lane_waits(const struct lane *base)
{
	const struct stream_lane *lane = (const struct stream_lane *)base;

	return !lane->mute && !lane->broken &&
	       (lane->out_head != lane->out_tail || lane->telling.first != STREAM_NOWHERE);
}
