// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The network layer of one worker: Ethernet, ARP, ND, IPv4, IPv6, fragments, ICMP,
// routes. Runs on the worker's thread; no clock, no globals: `now_us` is an argument.
//
//   frames ──▶ net_input ──▶ (ARP, ND, ICMP echo, fragments: dealt with here)
//                  └──▶ struct net_delivery: TCP segments and ICMP errors for their owner
//   TCP ──▶ net_path_send ──▶ IP header, route's neighbour, Ethernet ──▶ net_if.tx
//
// RFC 791 (IPv4), 826 and 5227 (ARP, conflicts), 792 and 1122 (ICMP, hosts), 815
// (reassembly), 5722/6864; 8200 (IPv6), 4861 (ND), 4862 5.4 (DAD), 4443 (ICMPv6), 3810
// (MLD, as a listener). Addresses and routes are the configured ones: Router
// Advertisements and Redirects are ignored, of IPv4 and of IPv6.

#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "net/address.h"
#include "net/net_if.h"

struct net_delivery;
struct random;
struct rte_mbuf;

// Configuration: owned by this floor, filled by control (or a test).

struct net_interface_address {
	struct net_address address;
	uint8_t prefix;
};

// An Ethernet interface with an IPv6 address also has a link-local one: that of `addresses`, or
// else one made from the MAC (RFC 4291 appendix A).
struct net_interface_config {
	struct net_if *netif; // lives as long as the net
	const struct net_interface_address
		*addresses; // the first of a family is the default source
	unsigned addresses_count;
};

struct net_route_config {
	struct net_address prefix;
	uint8_t prefix_len;
	struct net_address via; // gateway; must lie in an interface's prefix, be of the prefix's
				// family and not link-local
};

struct net_neighbour_config {
	struct net_address address;
	uint8_t mac[6];
};

struct net_config {
	const struct net_interface_config *interfaces;
	unsigned interfaces_count;
	const struct net_route_config *routes;
	unsigned routes_count;
	const struct net_neighbour_config *neighbours; // static: never aged, never overwritten
	unsigned neighbours_count;
	unsigned neighbours_max; // cache entries, static ones included; default 4096
	unsigned fragments_max;	 // packets under reassembly, of at most 8 fragments each; 256
	// Of both ARP and ND:
	uint64_t neighbour_age_us;   // a reachable entry is doubted after this; 30 s
	uint64_t neighbour_delay_us; // … in use, and asked for (unicast) when nothing above has
				     // confirmed it for this long; 5 s
	uint64_t neighbour_retry_us; // between requests; 1 s
	unsigned neighbour_retries;  // requests after the first one; 2
	unsigned neighbour_queue;    // frames that wait on one unresolved neighbour; 8
	// Requests for addresses that have never answered; 1000.
	unsigned neighbour_requests_per_s;
	unsigned icmp_errors_per_s; // rate limit of our own ICMP errors of both families; 100
	// Probes for each IPv6 address of ours before it is used, 1 s apart; 0: none (RFC
	// 4862 5.1).
	unsigned dad_transmits; // 1
	// Several nets may have the same interfaces and addresses, one a worker. One of them is not
	// quiet: it announces, probes and reports for all. Whoever receives a frame answers it; of
	// ARP, ND and MLD the others are to hear too: `share` is given such frames, which stay
	// the net's, and has copies of them brought to net_hear() of the others. NULL: alone.
	bool quiet;
	void (*share)(void *ctx, struct net_if *netif, const struct rte_mbuf *frame);
	void *share_ctx;
	// Is given what comes for who sends with net_datagram_send(): of the kinds
	// NET_DELIVERY_ICMP, and NET_DELIVERY_UDP where `udp` is set. The delivery's m is consumed.
	// Called from within net_input(), net_timers(), and whatever sends. NULL: nobody does.
	void (*datagram)(void *ctx, const struct net_delivery *delivery);
	void *datagram_ctx;
	bool udp; // else every port is unreachable
	// What TCP sends to addresses of ours comes back by net_looped(); else there is no way to
	// them.
	bool loop;
};

// Default values for every number above; pointers and counts zero.
void net_config_init(struct net_config *config);

struct net;

// Announces every IPv4 address (gratuitous ARP) at the first net_timers(), and probes for every
// IPv6 address: these can be used dad_transmits seconds later, when nobody has objected. `rng` and
// `config`'s netifs must outlive the net; the rest of `config` is copied. -EINVAL with a line in
// `ret_error` (static storage duration text or NULL) for an impossible configuration; -ENOMEM.
int net_create(const struct net_config *config, struct random *rng, uint64_t now_us,
	struct net **ret_net, const char **ret_error);
void net_destroy(struct net *net);

enum net_delivery_kind {
	NET_DELIVERY_TCP, // m starts at the IP header, l3_len set, sums verified, to an address of
			  // ours; the TCP header with its options lies in the first segment
	NET_DELIVERY_ICMP_ERROR, // an ICMP error whose embedded packet is TCP: m starts at the
				 // EMBEDDED IP header (l3_len set, at least 8 bytes of TCP follow,
				 // in the first segment); icmp_* tell the error
	// For net_config.datagram; m starts at the IP header, l3_len set, sums verified:
	NET_DELIVERY_ICMP, // a reply to an echo request, or an error about a datagram of ours; it,
			   // or what it quotes up to 8 octets of the datagram, lies in the first
			   // segment
	NET_DELIVERY_UDP,  // to an address of ours, and no longer than its header says, which lies
			   // in the first segment
};

struct net_delivery {
	enum net_delivery_kind kind;
	struct rte_mbuf *m; // owned by the receiver; may be a chain only when reassembled
	struct net_address source, destination; // of the (outer) packet
	struct net_if *netif;			// where it came in
	uint8_t ecn;				// the two ECN bits of the packet (RFC 3168)
	uint8_t ttl;				// or hop limit
	uint8_t icmp_type, icmp_code;		// those of the family: ICMP's or ICMPv6's
	uint16_t icmp_mtu; // next-hop MTU of "fragmentation needed" (0 when not told) or "packet
			   // too big" (at least 1280)
};

// Consumes all frames. `ret_deliveries` holds at least `count` entries; returns how many are
// filled.
unsigned net_input(struct net *net, struct net_if *netif, struct rte_mbuf **frames, unsigned count,
	uint64_t now_us, struct net_delivery *ret_deliveries);

// TCP that was sent to addresses of ours, at most `max` packets; their netif is the one that has
// the address. To be called in each turn while net_config.loop is set. Returns how many.
unsigned net_looped(
	struct net *net, struct net_delivery *ret_deliveries, unsigned max, uint64_t now_us);

// A frame that another net of ours has received and shared: what it says of neighbours is learned,
// it is not answered. Consumes m.
void net_hear(struct net *net, struct net_if *netif, struct rte_mbuf *m, uint64_t now_us);

// Is the address one of ours? (an IPv6 address is until another host turns out to have it)
bool net_address_is_local(const struct net *net, const struct net_address *address);
// The address of ours from which `remote` is best spoken to: the one that shares the prefix of the
// next hop (RFC 1122 3.3.4.3). -EHOSTUNREACH without a route.
int net_source_select(
	const struct net *net, const struct net_address *remote, struct net_address *ret_local);

// Where an address lies.
struct net_way {
	struct net_address local; // of ours, as net_source_select()
	bool own;		  // it is one of ours
	bool general;		  // nothing but a route to everything leads there
	uint16_t mtu;
	uint32_t echo_max; // octets of the longest ICMP message that can come back in fragments
};
// -EHOSTUNREACH: nowhere; so for link-local addresses, which need more than an address.
// -EADDRNOTAVAIL: our address that speaks to it is being probed for.
int net_way_find(const struct net *net, const struct net_address *remote, struct net_way *ret_way);

// A path is where packets of one connection go: resolved route and neighbour, addresses, TTL, TOS.
// Embedded in a pcb; refers to a neighbour entry, so it must be closed.
struct net_path {
	struct net_if *netif;
	struct net_neighbour *neighbour;
	struct net_address local, remote;
	uint16_t mtu;
	uint8_t ttl;		  // or hop limit
	uint8_t tos;		  // DSCP; the ECN bits are given per packet
	uint32_t flow_label : 20; // IPv6: random for each path (RFC 6437 2)
	bool df : 1;		  // Don't Fragment (on for TCP: RFC 1191, RFC 8201)
	bool ipv6 : 1;
};
static_assert(sizeof(struct net_path) == 56, "every connection has one");

// -EHOSTUNREACH without a route, -EADDRNOTAVAIL when local is not ours or still being probed for
// (see net_create()), -ENOMEM when the cache is
// full of entries in use.
int net_path_open(struct net *net, const struct net_address *local,
	const struct net_address *remote, struct net_path *ret_path);

// How the frames of an end look whose place is taken (a bump in the wire).
struct net_observed {
	struct net_if *netif; // where they leave
	uint8_t source[6], destination[6];
	bool tagged;
	uint16_t tag;	     // priority, DEI and VLAN of IEEE 802.1Q, when tagged
	uint16_t mtu;	     // 0: the interface's
	uint8_t ttl;	     // or hop limit
	uint8_t tos;	     // DSCP; the ECN bits are given per packet
	uint32_t flow_label; // IPv6
	bool fragments;	     // IPv4 without Don't Fragment
};

// A path like that: no route, no resolution, and neither address has to be ours. Paths with the
// same header share it; it takes an entry of the neighbour cache. -EINVAL: addresses of two
// families; -ENOMEM: the cache is full of entries in use.
int net_path_observe(struct net *net, const struct net_observed *observed,
	const struct net_address *local, const struct net_address *remote,
	struct net_path *ret_path);
void net_path_close(struct net_path *path);

// Room that net_path_send() needs in front of the L4 header.
#define NET_HEADROOM 96

// Consumes m, which starts at the L4 header (l4_len set) and has NET_HEADROOM in front; `protocol`
// is the IP protocol. Prepends IP and Ethernet; for TCP also completes the checksum (the field must
// hold 0): in hardware where the netif can, else in software. m may be a chain; where the netif
// lacks multi_segment it is copied into one mbuf. A TSO frame (RTE_MBUF_F_TX_TCP_SEG, tso_segsz)
// may exceed the MTU. Queued on the neighbour while that is unresolved (bounded, the oldest is
// dropped and counted). Fragments only when !path->df; a too long packet with df is dropped.
void net_path_send(
	struct net_path *path, struct rte_mbuf *m, uint8_t protocol, uint8_t ecn, uint64_t now_us);
// The same for TCP whose octets were summed while they were written: `sum` is that of everything
// from the TCP header on (base/sum.h), so that nothing needs to be read again. Of no meaning where
// the netif completes checksums.
void net_path_send_summed(
	struct net_path *path, struct rte_mbuf *m, uint16_t sum, uint8_t ecn, uint64_t now_us);
// The connection moves forward: its neighbour is known to be alive (RFC 4861 7.3.1; same idea for
// ARP).
void net_path_confirm(struct net_path *path, uint64_t now_us);
// -EHOSTUNREACH once the neighbour's resolution has failed (retries used up), else 0. The next
// net_path_send() starts a new resolution and so clears it: ask before sending again.
int net_path_error(const struct net_path *path);

// May net_path_send() be given TSO frames?
static inline bool net_path_takes_tso(const struct net_path *path)
{
	return path->ipv6 ? path->netif->caps.tso_ipv6 : path->netif->caps.tso;
}

// A datagram of somebody above: UDP, or an echo request (ping). What becomes of it, as far as it is
// told, comes to net_config.datagram.
struct net_datagram {
	struct net_address local, remote;
	uint8_t protocol; // IPPROTO_UDP, or ICMP of the family
	uint8_t hops;	  // TTL or hop limit; 0: the usual one
	uint8_t tos;	  // DSCP and ECN
	bool whole;	  // not in fragments
	uint16_t
		mtu; // as far as it is known to whoever sends, if that is less than the interface's
};
#define NET_DATAGRAM_MTU_MIN 68 // RFC 791; less is not believed
// `message` is the UDP or ICMP message (8 octets or more), whose sum is made here. An echo request
// to an address of ours is answered here; UDP comes to net_config.datagram at once. -EHOSTUNREACH,
// -EADDRNOTAVAIL, -ENOMEM as net_path_open(); -ENOBUFS.
int net_datagram_send(struct net *net, const struct net_datagram *datagram, const void *message,
	uint32_t length, uint64_t now_us);
// Nobody has the port that UDP has come to: its sender is told, as far as the limits of that allow.
// Consumes the delivery's m.
void net_datagram_refuse(struct net *net, const struct net_delivery *delivery, uint64_t now_us);

// ICMP destination unreachable, with the code of m's family, for a packet that nobody wants; m as
// in a delivery. Consumes m.
void net_unreachable(
	struct net *net, struct rte_mbuf *m, struct net_if *netif, uint8_t code, uint64_t now_us);

// Ageing, retries, reassembly time-outs, announcements, probes for our own addresses. Call when
// net_next_deadline() has come.
void net_timers(struct net *net, uint64_t now_us);
uint64_t net_next_deadline(const struct net *net);

// Conflicts (somebody else claims an address of ours) since the last call: for a log line by
// whoever may log. Returns false when there was none. An IPv6 address that turned out to be
// another's before it was used is given up for good (RFC 4862 5.4.5).
struct net_conflict {
	struct net_address address;
	uint8_t mac[6];
};
bool net_conflict_take(struct net *net, struct net_conflict *ret_conflict);

// Families: packets_dropped_total{reason}, net_* …
struct counter_set net_counters(const struct net *net);

struct net_neighbour_info {
	struct net_address address;
	uint8_t mac[6];
	const char *state; // "static", "reachable", "stale", "incomplete", "failed"
	const char *interface;
};
// Walks the cache: fills at most `max` entries from position `*cursor` (0 at first), moves it on.
unsigned net_neighbours_list(const struct net *net, unsigned *cursor,
	struct net_neighbour_info *ret_infos, unsigned max);

// Invariants, for tests.
void net_check(const struct net *net);
