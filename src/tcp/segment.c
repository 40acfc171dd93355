// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The TCP header codec: RFC 9293 3.1 (header), 3.2 (options), RFC 7323 2.2 and 3.2,
// RFC 2018 2. Called by the worker for every segment.

#include "tcp/segment.h"

#include <rte_byteorder.h>

#include <string.h>

enum option_kind {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	OPTION_WSCALE = 3,
	OPTION_SACK_PERMITTED = 4,
	OPTION_SACK = 5,
	OPTION_TIMESTAMPS = 8,
	OPTION_MD5 = 19,
	OPTION_AO = 29,
	OPTION_MPTCP = 30,
};

static uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return rte_be_to_cpu_16(v);
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return rte_be_to_cpu_32(v);
}

static void store16(uint8_t *p, uint16_t value)
{
	uint16_t v = rte_cpu_to_be_16(value);

	memcpy(p, &v, sizeof(v));
}

static void store32(uint8_t *p, uint32_t value)
{
	uint32_t v = rte_cpu_to_be_32(value);

	memcpy(p, &v, sizeof(v));
}

static void sack_decode(const uint8_t *p, unsigned size, struct tcp_options *options)
{
	options->sack_count = (uint8_t)((size - 2) / 8);
	for (unsigned i = 0; i < options->sack_count; i++) {
		options->sack[i].start = load32(p + 2 + 8 * i);
		options->sack[i].end = load32(p + 6 + 8 * i);
	}
	options->present |= TCP_OPTION_SACK;
}

// One option of `size` octets, kind and length included. An option of a known kind with another
// length than its own is ignored as if it were unknown.
static void option_decode(const uint8_t *p, unsigned size, struct tcp_options *options)
{
	switch (p[0]) {
	case OPTION_MSS:
		if (size == 4) {
			options->mss = load16(p + 2);
			options->present |= TCP_OPTION_MSS;
		}
		break;
	case OPTION_WSCALE:
		if (size == 3) {
			options->wscale = p[2] < TCP_WSCALE_MAX ? p[2] : TCP_WSCALE_MAX;
			options->present |= TCP_OPTION_WSCALE;
		}
		break;
	case OPTION_SACK_PERMITTED:
		if (size == 2)
			options->present |= TCP_OPTION_SACK_PERMITTED;
		break;
	case OPTION_SACK:
		if (size >= 10 && size <= 2 + 8 * TCP_SACK_BLOCKS_MAX && size % 8 == 2)
			sack_decode(p, size, options);
		break;
	case OPTION_TIMESTAMPS:
		if (size == 10) {
			options->tsval = load32(p + 2);
			options->tsecr = load32(p + 6);
			options->present |= TCP_OPTION_TIMESTAMPS;
		}
		break;
	case OPTION_MD5:
	case OPTION_AO:
	case OPTION_MPTCP:
		options->present |= TCP_OPTION_BINDING;
		break;
	}
}

static bool options_decode(const uint8_t *p, unsigned left, struct tcp_options *options)
{
	options->present = 0;
	if (left == TCP_TIMESTAMPS_SIZE && load32(p) == TCP_TIMESTAMPS_PREFIX) {
		option_decode(p + 2, 10, options);
		return true;
	}
	while (left > 0 && p[0] != OPTION_END) {
		unsigned size = 1;

		if (p[0] != OPTION_NOP) {
			if (left < 2 || p[1] < 2 || p[1] > left)
				return false;
			size = p[1];
			option_decode(p, size, options);
		}
		p += size;
		left -= size;
	}
	return true;
}

bool tcp_segment_decode(const uint8_t *header, uint32_t contiguous, uint32_t length,
	struct tcp_segment *ret_segment)
{
	uint32_t header_length;

	if (contiguous > length)
		contiguous = length;
	if (contiguous < TCP_HEADER_MIN)
		return false;
	header_length = (header[12] >> 4) * 4u;
	if (header_length < TCP_HEADER_MIN || header_length > contiguous)
		return false;
	ret_segment->source = load16(header);
	ret_segment->destination = load16(header + 2);
	ret_segment->seq = load32(header + 4);
	ret_segment->ack = load32(header + 8);
	ret_segment->header_length = (uint8_t)header_length;
	ret_segment->flags = header[13];
	ret_segment->wnd = load16(header + 14);
	ret_segment->length = length - header_length;
	return options_decode(
		header + TCP_HEADER_MIN, header_length - TCP_HEADER_MIN, &ret_segment->options);
}

static uint8_t *options_encode(uint8_t *p, const struct tcp_options *options)
{
	if (options->present & TCP_OPTION_MSS) {
		store32(p, OPTION_MSS << 24 | 4 << 16 | options->mss);
		p += 4;
	}
	if (options->present & TCP_OPTION_WSCALE) {
		store32(p, OPTION_NOP << 24 | OPTION_WSCALE << 16 | 3 << 8 | options->wscale);
		p += 4;
	}
	if (options->present & TCP_OPTION_SACK_PERMITTED) {
		store32(p, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK_PERMITTED << 8 | 2);
		p += 4;
	}
	if (options->present & TCP_OPTION_TIMESTAMPS) {
		store32(p, TCP_TIMESTAMPS_PREFIX);
		store32(p + 4, options->tsval);
		store32(p + 8, options->tsecr);
		p += TCP_TIMESTAMPS_SIZE;
	}
	if (options->present & TCP_OPTION_SACK) {
		store32(p, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK << 8 |
				   (2 + 8u * options->sack_count));
		p += 4;
		for (unsigned i = 0; i < options->sack_count; i++, p += 8) {
			store32(p, options->sack[i].start);
			store32(p + 4, options->sack[i].end);
		}
	}
	return p;
}

unsigned tcp_segment_encode(uint8_t *header, const struct tcp_segment *segment)
{
	uint8_t *end = options_encode(header + TCP_HEADER_MIN, &segment->options);
	unsigned length = (unsigned)(end - header);

	store16(header, segment->source);
	store16(header + 2, segment->destination);
	store32(header + 4, segment->seq);
	store32(header + 8, segment->ack);
	header[12] = (uint8_t)(length / 4 << 4);
	header[13] = segment->flags;
	store16(header + 14, segment->wnd);
	store32(header + 16, 0); // checksum, urgent pointer
	return length;
}
