// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What lies in the memory that offrampd shares with a process whose sockets live on its TCP: the
// one description of it. Fixed little-endian records, offsets instead of pointers, every size
// asserted. A memory is a row of equal lanes, one a worker; a lane is
//
//   ┌────────┬──────────┬──────────┬─────────┬─────────┬───────┬─────────┬─────────┐
//   │ header │ messages │ messages │ notices │ notices │ slots │ chunks  │ chunks  │
//   │        │ of side 0│ of side 1│ of 0    │ of 1    │       │ of 0    │ of 1    │
//   └────────┴──────────┴──────────┴─────────┴─────────┴───────┴─────────┴─────────┘
//
// Side 0 is the daemon, side 1 the process. "Of a side" is what that side writes; the other only
// reads it, and believes none of it before it has looked: an index may be anything, and may change
// between two looks. A slot is a connection (or a datagram socket): two byte streams, each a ring
// of CHANNEL_CHUNKS chunks of its writer's, which are taken when there are octets and given back
// when these have been read. A notice is a slot's number, or that messages wait; each waits at most
// once in a ring, so rings never overflow.
//
// Order: who writes octets, then the head (release); who reads, the head (acquire), then octets.
// A notice: the state first, then `notified` by exchange, then the ring. The receiver clears
// `notified` before it looks at the state. So nothing that happens goes unnoticed.

#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define CHANNEL_MAGIC 0x4352464fu // "OFRC"

#define CHANNEL_CHUNK	       4096u // octets
#define CHANNEL_CHUNKS	       16u   // a stream holds as many: 60 to 64 KiB
#define CHANNEL_STREAM	       (CHANNEL_CHUNK * CHANNEL_CHUNKS)
#define CHANNEL_MESSAGES_BYTES (64u << 10) // of a ring of messages
#define CHANNEL_SLOTS_MAX      (1u << 20)
#define CHANNEL_MESSAGES       UINT32_MAX // the notice that messages wait

enum channel_side { CHANNEL_DAEMON, CHANNEL_PROCESS, CHANNEL_SIDES };

// A line each, for each has one writer.
struct channel_words {
	// That side sleeps, and wants to be woken. Set by that side, taken back by who wakes it.
	_Alignas(64) _Atomic uint32_t sleeping;
	_Atomic uint32_t messages_notified;	     // to that side; by exchange
	_Alignas(64) _Atomic uint32_t messages_head; // octets that side has written
	_Atomic uint32_t messages_tail;		     // octets of the other's that it has read
	_Atomic uint32_t notices_head;		     // likewise
	_Atomic uint32_t notices_tail;
};

struct channel_header {
	uint32_t magic;
	uint32_t version;
	uint64_t epoch; // of the daemon's run
	uint32_t slots;
	uint32_t chunks; // of a side
	uint64_t bytes;	 // of the lane
	struct channel_words of[CHANNEL_SIDES];
};

// What a side says of its stream in a slot. Both are meant for one life of the slot, which the
// daemon begins: `generation` tells lives apart.
enum channel_flag {
	CHANNEL_END = 1 << 0,	 // nothing follows the head
	CHANNEL_CLOSED = 1 << 1, // this side has done with the slot, in both directions
	CHANNEL_RESET = 1 << 2,	 // and what it had not read, or sent, is lost
	CHANNEL_HUNGRY = 1 << 3, // wants a notice when the other has taken octets
	CHANNEL_READY = 1 << 4,	 // the daemon's: a connection that the process makes stands
};

struct channel_half {
	_Alignas(64) _Atomic uint32_t head; // octets written, modulo 2^32
	_Atomic uint32_t tail;		    // octets of the other's read
	_Atomic uint32_t flags;
	_Atomic uint32_t generation;
	uint32_t error; // errno that goes with RESET; valid with it
	uint32_t reserved[11];
	_Atomic uint32_t chunks[CHANNEL_CHUNKS]; // where octet n lies: [n / CHUNK % CHUNKS]
};

enum channel_slot_kind {
	CHANNEL_STREAM_SLOT,
	CHANNEL_DATAGRAM_SLOT, // its streams are rows of datagrams
};

// As in struct channel_endpoint, with its size.
struct channel_address {
	uint8_t address[16];
	uint16_t port;
	uint8_t ipv6;
	uint8_t reserved[5];
};

#define CHANNEL_LANE_OF_DATAGRAMS 0 // where datagram sockets have their slots
// The longest datagram: with what stands in front of it, it always finds room in an empty stream.
#define CHANNEL_DATAGRAM_MAX (CHANNEL_STREAM - CHANNEL_CHUNK - 72u)
// Of a channel_datagram.
enum channel_datagram_flag {
	CHANNEL_WHOLE = 1 << 0, // to be sent in one piece, or not at all
	CHANNEL_ERROR = 1 << 1, // of a UDP socket: not a datagram, but ICMP that is about one
};

// Stands in front of each datagram in the streams of a CHANNEL_DATAGRAM_SLOT. Of a UDP socket what
// follows is what programs send and receive, or an ICMP error. Of an ICMP socket it is, towards the
// daemon, an echo request of ICMP or ICMPv6, whose sum and (of a datagram socket) identifier are
// made there; towards the process what came: a reply, or an error about such a request.
struct channel_datagram {
	uint32_t length; // octets that follow
	uint16_t header; // so many of them, the first, are an IPv4 header
	uint8_t hops;	 // TTL or hop limit; to be sent: 0 for the usual one
	uint8_t tos;	 // or traffic class
	uint8_t flags;
	uint8_t reserved[5];
	uint16_t mtu;	  // to be sent: of the path, as far as is known; 0: nothing is
	uint64_t came_ns; // when, since 1970
	struct channel_address local, remote;
};

struct channel_slot {
	struct channel_half of[CHANNEL_SIDES];
	_Alignas(
		64) _Atomic uint32_t notified[CHANNEL_SIDES]; // a notice to that side is on its way
	// The daemon's, valid from the life's first notice on.
	uint32_t listener; // it came by; the process's number
	uint32_t kind;
	struct channel_address local, remote;
};

_Static_assert(sizeof(struct channel_words) == 128, "two lines");
_Static_assert(sizeof(struct channel_header) == 320, "no holes that a compiler chooses");
_Static_assert(sizeof(struct channel_half) == 128, "two lines");
_Static_assert(sizeof(struct channel_slot) == 320, "five lines");
_Static_assert(sizeof(struct channel_address) == 24, "no holes that a compiler chooses");
_Static_assert(sizeof(struct channel_datagram) == 72 &&
		       CHANNEL_DATAGRAM_MAX + sizeof(struct channel_datagram) ==
			       CHANNEL_STREAM - CHANNEL_CHUNK,
	"no holes that a compiler chooses");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");
