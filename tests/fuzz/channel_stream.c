// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes a lane over a stream socket whose other side is hostile. Input: a byte that says which
// side this one is, then records of
//
//   what (1 byte)  value (1 byte)
//
//   bit 3 clear        a call of this side
//   bit 3 set          `value` bytes that follow are written to its socket
//   bits 3 and 7 set   a frame: bits 0–2 its kind, bits 4–5 its slot, the value its own; as many
//                      octets follow as it says, from nowhere
//
// When frames of an honest kind go through, this side lives long enough for the rest to be of use.

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/frame.h"
#include "channel/stream.h"
#include "channel_use.h"

#define SLOTS  4
#define CHUNKS 20

static uint64_t now;

static uint64_t now_us(void)
{
	return now += 1000;
}

static void flush(void *lane)
{
	stream_lane_flush(*(struct lane **)lane);
}

static void say(int fd, const void *octets, size_t length)
{
	if (send(fd, octets, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void say_frame(struct lane *lane, int fd, uint8_t what, uint8_t value)
{
	static const uint8_t octets[56 * 300];
	struct frame_head head = {.kind = what & 7, .slot = what >> 4 & 3};
	struct lane_slot slot;

	lane_slot(lane, head.slot, &slot);
	head.generation = slot.generation + (head.kind == FRAME_OPEN);
	switch (head.kind) {
	case FRAME_OPEN:
		head.value = sizeof(struct frame_opened);
		break;
	case FRAME_DATA:
		head.value = value < 200 ? value : (value - 199u) * 300;
		break;
	case FRAME_TAKEN:
		head.value = value < 255 ? value : slot.sent;
		break;
	case FRAME_CLOSE:
		head.value = value;
		break;
	case FRAME_BEAT:
	case FRAME_MESSAGE:
		head = (struct frame_head){.kind = FRAME_BEAT};
		break;
	default:
		break;
	}
	say(fd, &head, sizeof(head));
	if (head.kind == FRAME_OPEN || head.kind == FRAME_DATA)
		say(fd, octets, head.value);
}

// What this side writes is read, and not looked at.
static void hear(int fd)
{
	static uint8_t octets[1 << 20];

	if (recv(fd, octets, sizeof(octets), MSG_DONTWAIT) < 0)
		return;
}

static void play(struct lane *lane, int fd, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at + 2 <= size;) {
		uint8_t what = data[at], value = data[at + 1];
		size_t left = size - (at += 2);

		if ((what & 0x88) == 0x88) {
			say_frame(lane, fd, what, value);
		} else if (what & 8) {
			say(fd, data + at, value < left ? value : left);
			at += value < left ? value : left;
		} else {
			use_call(lane, what, value);
		}
		hear(fd);
		if (!use_poll(lane))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lane *lane;
	struct stream_lane_config config = {
		.slots = SLOTS,
		.chunks = CHUNKS,
		.silence_us = 1000000,
		.now_us = now_us,
		.wake = flush,
		.ctx = &lane,
	};
	int fds[2];

	if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		return 0;
	config.fd = fds[0];
	config.side = data[0] & 1 ? CHANNEL_DAEMON : CHANNEL_PROCESS;
	if (stream_lane_create(&config, &lane) < 0)
		abort();
	play(lane, fds[1], data + 1, size - 1);
	lane_destroy(lane);
	close(fds[1]);
	return 0;
}
