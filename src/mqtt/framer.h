// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Cuts a byte stream into MQTT packets, wherever TCP split or joined them.
//
// A packet that lies whole in the bytes given is shown in place (no copy), however long. One that
// is split is gathered into payloads while it is at most `gather_max` long; a longer one is a
// stream: its bytes are shown as they come. Bytes that are no MQTT make the framer `broken`: from
// there on everything is a stream too. Every byte given is shown exactly once, in order.
//
//            header needs more          length <= gather_max        all there
//   HEADER ─────────────────▶ HEADER ─────────────────────▶ GATHER ──────────▶ SHOWN ─▶ HEADER
//     │ │                                                     next push frees the payloads
//     │ └── length > gather_max ──▶ STREAM ── all shown ──▶ HEADER
//     └──── no MQTT ──────────────▶ BROKEN (for ever)
//
// Worker's thread. MQTT 2.1.

#pragma once

#include "base/payload.h"
#include "mqtt/packet.h"

enum mqtt_framer_result {
	MQTT_FRAMER_MORE,   // all bytes used, no packet complete
	MQTT_FRAMER_PACKET, // *ret is a whole packet
	MQTT_FRAMER_STREAM, // *ret_stream are bytes of a packet too long to gather (or of no
			    // packet: broken); used > 0
	MQTT_FRAMER_NOMEM,  // payloads ran out; nothing used: try again later with the same bytes
};

// A gathered packet is a list of at most this many payloads.
#define MQTT_FRAME_PARTS_MAX 72

struct mqtt_frame {
	struct mqtt_header header;
	struct mqtt_bytes head; // the first contiguous bytes, fixed header included (whole packet
				// when in place)
	uint32_t length;	// of the packet, fixed header included
	// Gathered packets only: the payloads that hold the packet, in order; full but the last.
	// Owned by the framer until the next push: take references to keep them.
	struct payload *const *parts;
	unsigned parts_count; // 0: in place, everything is in `head`
};

// What follows the fixed header, as far as it is contiguous.
static inline struct mqtt_bytes mqtt_frame_body(const struct mqtt_frame *frame)
{
	return mqtt_bytes(
		frame->head.data + frame->header.size, frame->head.length - frame->header.size);
}

struct mqtt_stream {
	// In `data`; or, when the fixed header had been split, the whole header, in the framer.
	struct mqtt_bytes bytes;
	bool first, last; // of the packet; a broken stream is never last
	uint8_t type;	  // of the packet; MQTT_RESERVED when broken
	uint32_t length;  // of the packet with its fixed header; 0 when broken
};

struct mqtt_framer {
	struct payload_pool *pool;
	uint32_t gather_max;
	uint32_t length; // of the current packet, fixed header included; 0: header not complete
	uint32_t have;	 // bytes of it seen
	enum mqtt_error error; // != MQTT_OK: broken
	uint8_t state;
	uint8_t head_length;
	uint8_t head[MQTT_HEADER_MAX];
	struct mqtt_header header;
	// gathered payloads (a small table from the pool when more than one is needed)
	struct payload *first;
	struct payload *table; // holds struct payload *[], NULL when one is enough
	unsigned parts_count;
};

// gather_max <= MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST.
void mqtt_framer_init(struct mqtt_framer *framer, struct payload_pool *pool, uint32_t gather_max);
// Frees what was gathered.
void mqtt_framer_fini(struct mqtt_framer *framer);

// Looks at data[0..n). Sets *ret_used to the bytes that are dealt with (the caller consumes them
// after it has used *ret_packet or *ret_stream, which may point into `data`). Call again with the
// rest. Payloads are taken only for bytes that have come: a long packet that stalls holds little.
enum mqtt_framer_result mqtt_framer_push(struct mqtt_framer *framer, const uint8_t *data, size_t n,
	size_t *ret_used, struct mqtt_frame *ret_packet, struct mqtt_stream *ret_stream);

// Is the stream between two packets?
bool mqtt_framer_idle(const struct mqtt_framer *framer);
void mqtt_framer_check(const struct mqtt_framer *framer); // invariants

// Memory ran out in the middle of a packet that is being gathered: gives it up. Shows what has been
// gathered as *ret_part (whose length is that of the bytes shown; valid until the next push); the
// rest will be a stream. False when nothing is being gathered.
bool mqtt_framer_spill(struct mqtt_framer *framer, struct mqtt_frame *ret_part);
