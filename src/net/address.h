// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Addresses of both families in one 16-byte form: IPv4 as ::ffff:a.b.c.d
// (RFC 4291 2.5.5.2). All ports are in host byte order.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct net_address {
	union {
		uint8_t bytes[16];
		uint32_t words[4];
		uint64_t halves[2];
	};
};

struct net_endpoint {
	struct net_address address;
	uint16_t port;
};

// Ports that a program is given when it does not ask for one (RFC 6056 3.2: the dynamic range or
// more of it), as Linux.
#define NET_EPHEMERAL_FIRST 32768u
#define NET_EPHEMERAL_COUNT 28232u

// "198.18.0.1" or "2001:db8::1".
#define NET_ADDRESS_STRLEN 46
// "198.18.0.1:1883" or "[2001:db8::1]:1883".
#define NET_ENDPOINT_STRLEN 56

static inline bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

static inline bool net_endpoint_equal(const struct net_endpoint *a, const struct net_endpoint *b)
{
	return a->port == b->port && net_address_equal(&a->address, &b->address);
}

bool net_address_is_ipv4(const struct net_address *a);
// `ipv4` in network byte order.
struct net_address net_address_from_ipv4(uint32_t ipv4);
// Network byte order; only for IPv4.
static inline uint32_t net_address_to_ipv4(const struct net_address *a)
{
	return a->words[3];
}
// All: -EINVAL when the text is not of the form.
int net_address_parse(const char *text, struct net_address *ret_address);
int net_endpoint_parse(const char *text, struct net_endpoint *ret_endpoint);
// "198.18.0.1/16"; without "/n" a host prefix. The prefix is of the family's own length (0–32,
// 0–128).
int net_prefix_parse(const char *text, struct net_address *ret_address, uint8_t *ret_prefix);
const char *net_address_format(const struct net_address *a, char text[NET_ADDRESS_STRLEN]);
const char *net_endpoint_format(const struct net_endpoint *e, char text[NET_ENDPOINT_STRLEN]);
// May a host have this address? Not the unspecified one, loopback, multicast, nor what is reserved
// (RFC 6890, RFC 4291 2.7).
bool net_address_is_host(const struct net_address *a);
// fe80::/10: means something on its link only (RFC 4291 2.5.6).
bool net_address_is_link_local(const struct net_address *a);
// Is it a host's in its network? Not the network's own address nor its broadcast (RFC 1122 3.2.1.3,
// RFC 3021), nor the one of all routers (RFC 4291 2.6.1, RFC 6164).
bool net_prefix_names_host(const struct net_address *a, uint8_t len);
// Are all bits behind the prefix 0?
bool net_prefix_names_network(const struct net_address *a, uint8_t len);
// Does `a` lie in prefix/len? (len of the family's own length; families never mix)
bool net_prefix_contains(
	const struct net_address *prefix, uint8_t len, const struct net_address *a);
