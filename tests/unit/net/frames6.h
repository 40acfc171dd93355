// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// IPv6 frames for the tests, built byte by byte, and what those tests ask of frames that
// came out.

#pragma once

#include "net_tests.h"

#define US6	 "2001:db8:18::1"
#define PEER6	 "2001:db8:18::2"
#define STATIC6	 "2001:db8:18::9"
#define GATEWAY6 "2001:db8:18::fe"
#define RAW_US6	 "2001:db8:10::1"
#define FAR6	 "2001:db8:99::1"
#define LINK_US6 "fe80::ff:fe00:1" // of mac_us

#define IPV6_LEN 40

enum {
	PROTO_HOPOPTS = 0,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_ICMP6 = 58,
	PROTO_NONE = 59,
	PROTO_DSTOPTS = 60,
};

enum { ND_NS = 135, ND_NA = 136 };
// Of the flags word.
#define ND_SOLICITED 0x40000000u
#define ND_OVERRIDE  0x20000000u

struct packet6_spec {
	const char *source, *destination; // NULL: PEER6 to US6
	uint8_t protocol;		  // of the IP header
	uint8_t traffic_class;
	uint8_t hop_limit; // 0: 64
};

// Each returns the length of what it wrote.
size_t build_ipv6(
	uint8_t *packet, const struct packet6_spec *spec, const void *payload, size_t length);
// The sum of the pseudo header and what follows it, complemented.
uint16_t naive_checksum6(const uint8_t *ip, uint8_t protocol, const uint8_t *l4, size_t length);
// `extensions` (whose first protocol is spec->protocol) stand between the IP header and TCP.
size_t build_tcp6(uint8_t *packet, const struct packet6_spec *spec, const void *extensions,
	size_t extensions_length, const void *payload, size_t length);
size_t build_icmp6(uint8_t *packet, const struct packet6_spec *spec, uint8_t type, uint8_t code,
	uint32_t rest, const void *payload, size_t length);
// A solicitation or advertisement, sum in place, hop limit 255; the option with `mac` unless NULL.
size_t build_nd(uint8_t *packet, const char *source, const char *destination, uint8_t type,
	uint32_t flags, const char *target, const uint8_t *mac);
size_t build_fragment6(uint8_t *packet, const struct packet6_spec *spec, uint8_t protocol,
	uint32_t id, unsigned offset, bool more, const void *payload, size_t length);

// The MAC that a group's frames go to.
void group_mac(const char *group, uint8_t mac[6]);
const char *solicited_node(const char *address);

// In an Ethernet header from `from` to us, or to the group's MAC.
bool receive_ipv6_from(
	struct fixture *f, const uint8_t from[6], const uint8_t *packet, size_t length);
bool receive_ipv6(struct fixture *f, const uint8_t *packet, size_t length); // from mac_peer
// A solicitation or advertisement from the peer, with an option of mac_peer.
void receive_ns(struct fixture *f, const char *source, const char *target);
void receive_na(struct fixture *f, const char *target, uint32_t flags);

// Frame i is a good solicitation or advertisement; `mac` its option's, NULL: none.
void assert_sent_nd(const struct fixture *f, unsigned i, uint8_t type, const char *source,
	const char *destination, uint32_t flags, const char *target, const uint8_t *mac);
// What stands at `ip` is an IPv6 packet of that length between the two.
void assert_good_ip6(const uint8_t *ip, size_t length, const char *source, const char *destination);
struct net_path open_path6(struct fixture *f, const char *remote);
const char *neighbour6_state(const struct fixture *f, const char *address);
