// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes the way of bytes through the offload, in both directions, for four clients of one broker.
// Input: one byte of configuration, then records:
//
//   what (1 byte)  length (1 byte)  bytes …
//
//   bits 0–1   client: 0 (v3.1.1) and 1 (v5) are connected and subscribed, 2 connected, 3 new
//   bits 2–4   its client sends the bytes, its broker sends them (each twice as likely); time
//   passes;
//              it stops or begins to acknowledge; an end of stream; it is closed and opened anew
//
// Every input runs twice, each record in one piece and in pieces of a byte: both ends of every
// connection must see the same. At the end every payload and delivery is back.

#include "fuzz.h"

#include <string.h>

#include <rte_eal.h>

#include "base/assert.h"
#include "bed.h"

#define CLIENTS 4

static struct bed beds[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *arguments[] = {"offload_path", "--no-huge", "--no-shconf", "-m", "512", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};

	ASSERT(rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) >= 0);
	return 0;
}

enum {
	KNOWS_NOTHING = 1,
	SMALL_POOL = 2,
	SMALL_MESSAGES = 4,
	ONE_IN_FLIGHT = 8,
	NO_FENCE = 16,
	EVERY_BYTE = 32,
};

static void bed_configure(struct bed *bed, unsigned flags)
{
	bed_init(bed);
	bed->name = bed == &beds[0] ? "whole" : "bytes";
	bed->unchecked = true;
	bed->config.clients_max = CLIENTS;
	bed->config.sessions_max = CLIENTS;
	bed->config.subscriptions_max = 64;
	bed->broker.client.pending_messages = 4;
	bed->pool_config = (struct payload_pool_config){{255, 127, 31, 31}, -1};
	if (flags & KNOWS_NOTHING)
		bed->broker.knowledge = OFFLOAD_KNOWLEDGE_NONE;
	if (flags & SMALL_POOL)
		bed->pool_config = (struct payload_pool_config){{63, 31, 3, 3}, -1};
	if (flags & SMALL_MESSAGES)
		bed->broker.capture.max_size = 40;
	if (flags & ONE_IN_FLIGHT)
		bed->broker.client.inflight = 1;
	if (flags & NO_FENCE)
		bed->broker.fence = OFFLOAD_FENCE_NONE;
	bed_start(bed);
}

#define SENDS(who, text) who##_sends(bed, i, text, sizeof(text) - 1)

static void open_v4(struct bed *bed, unsigned i)
{
	bed_open(bed, i);
	SENDS(client, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02v4");
	SENDS(broker, "\x20\x02\x00\x00");
	SENDS(client, "\x82\x06\x00\x01\x00\x01#\x01");
	SENDS(broker, "\x90\x03\x00\x01\x01");
}

static void open_v5(struct bed *bed, unsigned i)
{
	bed_open(bed, i);
	SENDS(client, "\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x04\x00\x02v5");
	SENDS(broker, "\x20\x03\x00\x00\x00");
	SENDS(client, "\x82\x09\x00\x01\x02\x0b\x05\x00\x01"
		      "a\x01");
	SENDS(broker, "\x90\x04\x00\x01\x00\x01");
}

static void open_plain(struct bed *bed, unsigned i)
{
	bed_open(bed, i);
	SENDS(client, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01p");
	SENDS(broker, "\x20\x02\x00\x00");
}

enum split {
	WHOLE,
	SPANS, // of one byte each, which have come by the next turn
	BYTES, // a turn for each
};

static void bytes_come(struct bed *bed, unsigned i, bool of_client, const uint8_t *data,
	size_t length, enum split split)
{
	struct tcp_pcb *pcb = of_client ? &bed->down[i] : &bed->up[i];
	size_t piece = split == WHOLE ? length : 1;

	for (size_t at = 0; at < length && bed->clients[i] != NULL; at += piece) {
		tcp_double_arrive(pcb, data + at, piece);
		if (split == SPANS && at + 1 < length)
			continue;
		offload_client_run(bed->clients[i]);
		bed_turn(bed);
	}
}

static void record(
	struct bed *bed, unsigned what, const uint8_t *data, size_t length, enum split split)
{
	unsigned i = what & 3;

	if (bed->clients[i] == NULL) {
		bed_open(bed, i);
		return;
	}
	switch (what >> 2 & 7) {
	case 0:
	case 1:
		bytes_come(bed, i, true, data, length, split);
		break;
	case 2:
	case 3:
		bytes_come(bed, i, false, data, length, split);
		break;
	case 4:
		bed_wait(bed, 1000ull << (length % 14));
		break;
	case 5:
		bed->deaf[i] = !bed->deaf[i];
		bed_turn(bed);
		break;
	case 6:
		if (length % 2)
			client_ends(bed, i);
		else
			broker_ends(bed, i);
		break;
	default:
		bed_close(bed, i);
		bed_open(bed, i);
	}
}

static void run(struct bed *bed, const uint8_t *data, size_t size, enum split split)
{
	bed_configure(bed, data[0]);
	open_v4(bed, 0);
	open_v5(bed, 1);
	open_plain(bed, 2);
	bed_open(bed, 3);
	for (data++, size--; size >= 2;) {
		unsigned what = data[0];
		size_t length = data[1];

		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		record(bed, what, data, length, split);
		offload_check(bed->offload);
		data += length;
		size -= length;
	}
}

static void compare(struct tcp_pcb *a, struct tcp_pcb *b)
{
	const uint8_t *got_a, *got_b;
	size_t length_a = got_take(a, &got_a), length_b = got_take(b, &got_b);

	ASSERT(length_a == length_b);
	ASSERT(length_a == 0 || memcmp(got_a, got_b, length_a) == 0);
	ASSERT(a->shut == b->shut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 4096)
		return 0;
	run(&beds[0], data, size, WHOLE);
	run(&beds[1], data, size, data[0] & EVERY_BYTE ? BYTES : SPANS);
	// Who ran out of memory, and when, depends on how the bytes came; and with a turn for each
	// of them, whether an answer came before the question.
	for (unsigned i = 0; i < CLIENTS && !(data[0] & (SMALL_POOL | EVERY_BYTE)); i++) {
		ASSERT(!beds[0].clients[i] == !beds[1].clients[i]);
		if (beds[0].clients[i] == NULL)
			continue;
		compare(&beds[0].down[i], &beds[1].down[i]);
		compare(&beds[0].up[i], &beds[1].up[i]);
	}
	bed_fini(&beds[0]);
	bed_fini(&beds[1]);
	return 0;
}
