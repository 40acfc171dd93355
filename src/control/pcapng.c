// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Blocks of pcapng. Each is begun, filled, and ended: the end writes the length on both
// sides, or takes everything back when it did not fit.

#include "control/pcapng.h"

#include <assert.h>
#include <string.h>

enum block_type {
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a,
};

enum option_code {
	OPTION_END = 0,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_DESCRIPTION = 3,
	INTERFACE_MAC = 6,
	INTERFACE_RESOLUTION = 9,
	INTERFACE_FILTER = 11,
	PACKET_FLAGS = 2,
	PACKET_QUEUE = 6,
	STATISTICS_START = 2,
	STATISTICS_END = 3,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,
	STATISTICS_ACCEPTED = 6,
	STATISTICS_DELIVERED = 8,
};

#define BYTE_ORDER_MAGIC   0x1a2b3c4du
#define LINK_TYPE_ETHERNET 1u
#define NANOSECONDS	   9 // 10^-9 s
#define FILTER_EXPRESSION  0 // what kind of filter: libpcap's
#define OPTION_MAX	   UINT16_MAX

// A block that is being written.
struct block {
	struct pcapng *p;
	size_t start;
	bool fits;
};

static void put(struct block *b, const void *bytes, size_t length)
{
	struct pcapng *p = b->p;

	b->fits = b->fits && length <= p->size - p->length;
	if (!b->fits || length == 0)
		return;
	memcpy(p->bytes + p->length, bytes, length);
	p->length += length;
}

// Everything stands on multiples of four bytes.
static void pad(struct block *b)
{
	static const uint8_t zeros[4];

	put(b, zeros, (4 - (b->p->length - b->start) % 4) % 4);
}

static void put_u16(struct block *b, uint16_t value)
{
	put(b, &value, sizeof(value));
}

static void put_u32(struct block *b, uint32_t value)
{
	put(b, &value, sizeof(value));
}

// Times are written in two halves, the higher one first.
static void put_time(struct block *b, uint64_t ns)
{
	put_u32(b, (uint32_t)(ns >> 32));
	put_u32(b, (uint32_t)ns);
}

static struct block block_begin(struct pcapng *p, enum block_type type)
{
	struct block b = {.p = p, .start = p->length, .fits = true};

	put_u32(&b, type);
	put_u32(&b, 0); // the length: see block_end()
	return b;
}

static bool block_end(struct block *b)
{
	struct pcapng *p = b->p;
	uint32_t length = (uint32_t)(p->length - b->start) + sizeof(length);

	put_u32(b, length);
	if (!b->fits) {
		p->length = b->start;
		return false;
	}
	memcpy(p->bytes + b->start + sizeof(uint32_t), &length, sizeof(length));
	return true;
}

// --- options -------------------------------------------------------------------------------------

static void option(struct block *b, enum option_code code, const void *bytes, size_t length)
{
	put_u16(b, (uint16_t)code);
	put_u16(b, (uint16_t)length);
	put(b, bytes, length);
	pad(b);
}

static void option_text(struct block *b, enum option_code code, const char *text)
{
	size_t length = strlen(text);

	option(b, code, text, length < OPTION_MAX ? length : OPTION_MAX);
}

static void option_u32(struct block *b, enum option_code code, uint32_t value)
{
	option(b, code, &value, sizeof(value));
}

static void option_u64(struct block *b, enum option_code code, uint64_t value)
{
	option(b, code, &value, sizeof(value));
}

static void option_time(struct block *b, enum option_code code, uint64_t ns)
{
	put_u16(b, (uint16_t)code);
	put_u16(b, sizeof(ns));
	put_time(b, ns);
}

static void option_filter(struct block *b, const char *expression)
{
	const uint8_t kind = FILTER_EXPRESSION;
	size_t length = strlen(expression);

	length = length < OPTION_MAX - 1 ? length : OPTION_MAX - 1;
	put_u16(b, INTERFACE_FILTER);
	put_u16(b, (uint16_t)(sizeof(kind) + length));
	put(b, &kind, sizeof(kind));
	put(b, expression, length);
	pad(b);
}

static bool options_end(struct block *b)
{
	option(b, OPTION_END, NULL, 0);
	return block_end(b);
}

// --- blocks --------------------------------------------------------------------------------------

bool pcapng_section(struct pcapng *p, const char *application)
{
	struct block b = block_begin(p, BLOCK_SECTION);

	put_u32(&b, BYTE_ORDER_MAGIC);
	put_u16(&b, 1); // version 1.0
	put_u16(&b, 0);
	put_u32(&b, UINT32_MAX); // the section's length: not known, twice
	put_u32(&b, UINT32_MAX);
	option_text(&b, SECTION_APPLICATION, application);
	return options_end(&b);
}

bool pcapng_interface(struct pcapng *p, const struct pcapng_interface *interface)
{
	const uint8_t resolution = NANOSECONDS;
	struct block b = block_begin(p, BLOCK_INTERFACE);

	put_u16(&b, LINK_TYPE_ETHERNET);
	put_u16(&b, 0);
	put_u32(&b, interface->snap_length);
	option_text(&b, INTERFACE_NAME, interface->name);
	option_text(&b, INTERFACE_DESCRIPTION, interface->description);
	option(&b, INTERFACE_MAC, interface->mac, 6);
	option(&b, INTERFACE_RESOLUTION, &resolution, sizeof(resolution));
	if (interface->filter)
		option_filter(&b, interface->filter);
	return options_end(&b);
}

bool pcapng_packet(struct pcapng *p, const struct pcapng_packet *packet)
{
	struct block b = block_begin(p, BLOCK_PACKET);

	put_u32(&b, packet->interface);
	put_time(&b, packet->time_ns);
	put_u32(&b, packet->captured);
	put_u32(&b, packet->length);
	put(&b, packet->bytes, packet->captured);
	pad(&b);
	option_u32(&b, PACKET_FLAGS, packet->direction);
	if (packet->queue)
		option_u32(&b, PACKET_QUEUE, *packet->queue);
	return options_end(&b);
}

bool pcapng_statistics(struct pcapng *p, const struct pcapng_statistics *statistics)
{
	struct block b = block_begin(p, BLOCK_STATISTICS);

	put_u32(&b, statistics->interface);
	put_time(&b, statistics->now_ns);
	option_time(&b, STATISTICS_START, statistics->start_ns);
	option_time(&b, STATISTICS_END, statistics->now_ns);
	option_u64(&b, STATISTICS_RECEIVED, statistics->seen);
	option_u64(&b, STATISTICS_DROPPED, statistics->lost);
	option_u64(&b, STATISTICS_ACCEPTED, statistics->wanted);
	option_u64(&b, STATISTICS_DELIVERED, statistics->delivered);
	return options_end(&b);
}
