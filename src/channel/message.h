// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Control messages of a channel, as Cap'n Proto (proto/channel.capnp): one segment, framed as
// Cap'n Proto's streams are. An encoder and a decoder of just these messages: no allocation, no
// state. The decoder is for bytes that somebody hostile may have written: it looks at each octet
// once, in the caller's private copy, and follows no pointer out of it.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_VERSION	     1
#define CHANNEL_NAME_MAX     63	  // octets of a program's name, or of a reason
#define CHANNEL_LISTENS_MAX  64	  // endpoints that a welcome names
#define CHANNEL_CONNECTS_MAX 32	  // prefixes, likewise
#define CHANNEL_SECRET_MAX   64	  // octets
#define CHANNEL_TICKET	     16	  // octets
#define CHANNEL_MESSAGE_MAX  3584 // octets of the longest message
#define CHANNEL_MESSAGE_MIN  16	  // and of the shortest

// An address and a port; of IPv4 the first four octets count. The address 0: every one of ours.
struct channel_endpoint {
	uint8_t address[16];
	uint16_t port;
	bool ipv6;
};

// Addresses that begin with so many bits.
struct channel_prefix {
	uint8_t address[16];
	bool ipv6;
	uint8_t length;
};

enum channel_kind { // numbered as the union's members
	CHANNEL_HELLO,
	CHANNEL_WELCOME,
	CHANNEL_REFUSED,
	CHANNEL_LISTEN,
	CHANNEL_UNLISTEN,
	CHANNEL_OPTION,
	CHANNEL_INFO,
	CHANNEL_INFO_IS,
	CHANNEL_DONE,
	CHANNEL_JOIN,
	CHANNEL_ICMP,
	CHANNEL_ROUTE,
	CHANNEL_ROUTE_IS,
	CHANNEL_CONNECT,
	CHANNEL_UDP,
	CHANNEL_KINDS,
};

enum channel_option {
	CHANNEL_NO_DELAY,
	CHANNEL_KEEP_ALIVE,
	CHANNEL_KEEP_IDLE,
	CHANNEL_KEEP_INTERVAL,
	CHANNEL_KEEP_COUNT,
	CHANNEL_LINGER,
	CHANNEL_OPTIONS,
};

struct channel_message {
	uint32_t call; // an answer repeats its call's
	enum channel_kind kind;
	union {
		struct {
			uint16_t version;
			uint32_t pid;
			char name[CHANNEL_NAME_MAX + 1];
			uint32_t secret_length;
			uint8_t secret[CHANNEL_SECRET_MAX];
		} hello;
		struct {
			uint16_t version;
			uint16_t lanes;
			bool icmp, udp;
			uint64_t epoch;
			uint64_t lane_bytes;
			unsigned listens_count;
			struct channel_endpoint listens[CHANNEL_LISTENS_MAX];
			unsigned connects_count;
			struct channel_prefix connects[CHANNEL_CONNECTS_MAX];
			// Over a stream:
			uint8_t ticket[CHANNEL_TICKET];
			uint32_t slots, chunks, silence_ms;
		} welcome;
		struct {
			char reason[CHANNEL_NAME_MAX + 1];
		} refused;
		struct {
			uint32_t listener;
			uint32_t backlog;
			bool accepts;
			bool ipv6_only;
			struct channel_endpoint endpoint;
		} listen;
		struct {
			uint32_t listener;
		} unlisten;
		struct {
			uint32_t slot;
			enum channel_option option;
			int32_t value;
		} option;
		struct {
			uint32_t slot;
		} info;
		struct {
			uint8_t state;
			uint32_t mss, cwnd, rtt_us, rtt_var_us, retransmits;
			uint64_t unacked;
		} info_is;
		struct {
			uint16_t error;
		} done;
		struct {
			uint8_t ticket[CHANNEL_TICKET];
			uint16_t lane;
		} join;
		struct {
			uint32_t socket;
		} icmp;
		struct {
			struct channel_endpoint remote;
		} route;
		struct {
			uint16_t error;
			bool own;
			bool general;
			uint16_t mtu;
			uint32_t longest;
			struct channel_endpoint local;
		} route_is;
		struct {
			uint32_t socket;
			uint8_t attempts;
			struct channel_endpoint local, remote;
		} connect;
		struct {
			uint32_t socket;
			bool ipv6_only, reuses, shares, ephemeral;
			uint64_t cookie;
			struct channel_endpoint local, remote;
		} udp;
	};
};

// Returns the length; `ret_bytes` has room for CHANNEL_MESSAGE_MAX.
size_t channel_message_encode(const struct channel_message *message, uint8_t *ret_bytes);
// How long the message is that begins with these octets, CHANNEL_MESSAGE_MIN of them at least.
// -EBADMSG: none begins so.
int channel_message_length(const uint8_t *bytes);
// 0; -EBADMSG for what is not one whole message of a known kind. Fields that the sender's schema
// does not have are 0.
int channel_message_decode(
	const uint8_t *bytes, size_t length, struct channel_message *ret_message);
