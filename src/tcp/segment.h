// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The TCP header and its options on the wire: a pure codec (RFC 9293 3.1 and 3.2,
// RFC 7323, RFC 2018 2). Decoding fills a struct; what it means is decided elsewhere.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_ACK 0x10
#define TCP_FLAG_URG 0x20
#define TCP_FLAG_ECE 0x40
#define TCP_FLAG_CWR 0x80

#define TCP_HEADER_MIN 20u
#define TCP_HEADER_MAX 60u
// What timestamps cost in every segment: NOP, NOP, TSopt.
#define TCP_TIMESTAMPS_SIZE 12u
// NOP, NOP, kind 8, length 10: how everybody sends timestamps (RFC 7323 appendix A).
#define TCP_TIMESTAMPS_PREFIX 0x0101080au
#define TCP_WSCALE_MAX	      14u

enum tcp_option_bit {
	TCP_OPTION_MSS = 1 << 0,
	TCP_OPTION_WSCALE = 1 << 1,
	TCP_OPTION_TIMESTAMPS = 1 << 2,
	TCP_OPTION_SACK_PERMITTED = 1 << 3,
	TCP_OPTION_SACK = 1 << 4,
	// One that ties the connection's octets to who sends them: MD5 (RFC 2385), AO (RFC 5925),
	// MPTCP (RFC 8684). Never written.
	TCP_OPTION_BINDING = 1 << 5,
};

// Octets that arrived before their turn: [start, end).
struct tcp_sack_block {
	uint32_t start, end;
};
#define TCP_SACK_BLOCKS_MAX 4

struct tcp_options {
	uint8_t present; // enum tcp_option_bit
	uint8_t wscale;	 // shift; at most TCP_WSCALE_MAX after decoding (RFC 7323 2.3)
	uint16_t mss;
	uint32_t tsval, tsecr;
	uint8_t sack_count; // valid with TCP_OPTION_SACK only
	struct tcp_sack_block sack[TCP_SACK_BLOCKS_MAX];
};

struct tcp_segment {
	uint32_t seq, ack;
	uint32_t length; // octets of text, SYN and FIN not counted
	uint16_t source, destination;
	uint16_t wnd; // as on the wire, not scaled
	uint8_t flags;
	uint8_t header_length;
	struct tcp_options options;
};

// SEG.LEN of the RFC: text, SYN and FIN.
static inline uint32_t tcp_segment_span(const struct tcp_segment *seg)
{
	return seg->length + ((seg->flags & TCP_FLAG_SYN) != 0) +
	       ((seg->flags & TCP_FLAG_FIN) != 0);
}

// `length` octets from the header to the end of the text, of which the first `contiguous` can be
// read at `header`. False for a header that is cut short or an option of an illegal length.
bool tcp_segment_decode(const uint8_t *header, uint32_t contiguous, uint32_t length,
	struct tcp_segment *ret_segment);

// Writes header and options (checksum and urgent pointer 0) and returns their length;
// `header` has room for TCP_HEADER_MAX. Only `options.present` are written; `length` and
// `header_length` are not looked at.
unsigned tcp_segment_encode(uint8_t *header, const struct tcp_segment *segment);
