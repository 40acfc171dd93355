// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the files of this floor share: the state of one worker's network layer and
// its counters. Private to src/net. Everything here belongs to the worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/counters.h"
#include "base/list.h"
#include "base/random.h"
#include "base/wheel.h"
#include "net/net.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

struct rte_hash;
struct rte_mempool;

// Why a packet went no further. The label values stand in counters.c, in this order.
enum net_drop {
	// Ethernet
	NET_DROP_FRAME_SHORT,	  // shorter than its headers say
	NET_DROP_MAC_DESTINATION, // neither our MAC, broadcast nor a group of ours
	NET_DROP_MAC_SOURCE,	  // a group address as source
	NET_DROP_VLAN,
	NET_DROP_ETHERTYPE,
	// ARP
	NET_DROP_ARP_MALFORMED,
	NET_DROP_ARP_NOT_OURS, // between other hosts, and nothing new about a neighbour
	NET_DROP_ARP_CONFLICT, // another host claims an address of ours
	// ND
	NET_DROP_ND_MALFORMED,
	NET_DROP_ND_NOT_OURS, // about other hosts, and nothing new about a neighbour
	NET_DROP_ND_CONFLICT, // another host claims an address of ours
	// IPv4 and IPv6, received
	NET_DROP_IP_HEADER, // version, header length
	NET_DROP_IP_LENGTH,
	NET_DROP_IP_CHECKSUM,
	NET_DROP_IP_SOURCE,
	NET_DROP_LINK_BROADCAST, // a unicast packet in a frame to many (RFC 1122 3.3.6)
	NET_DROP_BROADCAST,
	NET_DROP_MULTICAST,
	NET_DROP_NOT_OURS,
	NET_DROP_IPV6_EXTENSION,   // extension headers malformed, misplaced or too long in all
	NET_DROP_IPV6_OPTION,	   // an option that whoever does not know it must not skip
	NET_DROP_IPV6_ROUTING,	   // a routing header that names further hosts (RFC 5095)
	NET_DROP_IPV6_EMPTY,	   // no next header
	NET_DROP_FRAGMENT_INVALID, // length, offset, header split between fragments
	NET_DROP_FRAGMENT_REFUSED, // table full, more than 8 fragments, overlaps, duplicates
	NET_DROP_FRAGMENT_TIMEOUT,
	NET_DROP_TCP_HEADER,
	NET_DROP_TCP_CHECKSUM,
	NET_DROP_UDP_HEADER,
	NET_DROP_UDP_CHECKSUM,
	NET_DROP_UDP, // to a port that nobody has
	NET_DROP_IP_PROTOCOL,
	NET_DROP_ICMP_SHORT,
	NET_DROP_ICMP_CHECKSUM,
	NET_DROP_ICMP_IGNORED,	// replies, redirects, source quench (RFC 6633) …
	NET_DROP_ICMP_EMBEDDED, // an error about something that is not ours
	// To be sent
	NET_DROP_NO_MBUF,
	NET_DROP_TOO_BIG,	   // longer than the MTU with DF, or than a packet can be
	NET_DROP_NEIGHBOUR_QUEUE,  // queue of an unresolved neighbour full
	NET_DROP_NEIGHBOUR_FAILED, // waited for a neighbour that did not answer
	NET_DROP_NEIGHBOUR_FULL,   // cache full, or the entry was evicted while packets waited
	NET_DROP_NO_ROUTE,
	NET_DROP_ICMP_RATE,	 // our own ICMP error above the rate limit
	NET_DROP_ICMP_FORBIDDEN, // an error must not be answered with one (RFC 1122 3.2.2,
				 // 4443 2.4)
	NET_DROPS
};

enum net_neighbour_gauge {
	NET_NEIGHBOUR_GAUGE_STATIC,
	NET_NEIGHBOUR_GAUGE_OBSERVED,
	NET_NEIGHBOUR_GAUGE_REACHABLE,
	NET_NEIGHBOUR_GAUGE_STALE,
	NET_NEIGHBOUR_GAUGE_INCOMPLETE,
	NET_NEIGHBOUR_GAUGE_FAILED,
	NET_NEIGHBOUR_GAUGES
};

enum net_direction { NET_RECEIVED, NET_SENT, NET_DIRECTIONS };

// One slot each, in the order of the families in counters.c.
struct net_counter_slots {
	uint64_t dropped[NET_DROPS];
	uint64_t ip_packets[NET_DIRECTIONS];
	uint64_t arp_requests[NET_DIRECTIONS];
	uint64_t arp_replies[NET_DIRECTIONS];
	uint64_t arp_conflicts;
	uint64_t nd_solicitations[NET_DIRECTIONS];
	uint64_t nd_advertisements[NET_DIRECTIONS];
	uint64_t nd_conflicts;
	uint64_t mld_reports;
	uint64_t neighbours[NET_NEIGHBOUR_GAUGES];
	uint64_t neighbour_requests_suppressed;
	uint64_t fragments[NET_DIRECTIONS];
	uint64_t fragments_reassembled;
	uint64_t icmp_echo;
	uint64_t icmp_pings[NET_DIRECTIONS];
	uint64_t udp_datagrams[NET_DIRECTIONS];
	uint64_t icmp_errors[NET_DIRECTIONS];
};

// So many a second in the long run, and as many at once.
struct net_rate {
	uint64_t credit; // one costs a second's worth of microseconds; earned `per_s` in each
	uint64_t refilled_us;
};
bool net_rate_take(struct net_rate *rate, uint64_t per_s, uint64_t now_us);

// RFC 4862 5.4.
enum net_local_state {
	NET_LOCAL_TENTATIVE, // being probed for; nothing is sent from it, nothing taken for it
	NET_LOCAL_ASSIGNED,
	NET_LOCAL_DUPLICATE, // another host has it
};

// An address of ours.
struct net_local {
	struct net_address address;
	struct net_if *netif;
	uint8_t prefix;
	bool defended;
	uint64_t defended_us; // when we last answered a conflict (RFC 5227 2.4)
	// IPv4
	uint32_t ipv4;		 // network byte order
	uint32_t ipv4_broadcast; // of its subnet, network byte order; 0 when the prefix has none
	// IPv6
	uint8_t state;	    // enum net_local_state
	uint8_t sends_left; // probes while TENTATIVE, then announcements
	bool link_local;
	uint64_t due_us; // of the next one, WHEEL_NEVER when done
};

// An Ethernet interface that speaks IPv6.
struct net_link6 {
	struct net_if *netif;
	struct net_local *link_local;
	uint64_t report_us;  // of the next MLD report, WHEEL_NEVER when none is asked for
	uint8_t report_type; // of MLDv1 or MLDv2, as the querier's
	bool report_asked;   // by a querier; else it tells a change
};

struct net_route {
	struct net_address prefix;
	struct net_if *netif;
	struct net_address via;
	struct net_address source; // of ours: shares the prefix of the next hop
	uint8_t prefix_len;
	bool gateway; // via is set; else the destination is on the link
};

#define NET_LOOP_MAX 1024 // packets to ourselves that wait

struct net {
	// Read only after net_create().
	struct net_config config; // numbers only; its arrays are not kept
	struct random *rng;
	struct net_local *locals;  // IPv4; fixed but for their defence
	struct net_local *locals6; // IPv6, link-local ones included
	struct net_link6 *links6;
	struct net_route *routes; // longest prefix first, of both families
	unsigned locals_count, locals6_count, links6_count, routes_count;

	uint64_t now_us;	      // of the latest call that told it
	bool hearing;		      // in net_hear(): nothing is answered
	uint16_t ip_id;		      // of the next IPv4 packet that may be fragmented (RFC 6864)
	struct net_rate icmp_rate;    // our own errors
	struct net_rate request_rate; // for addresses that have never answered

	// The neighbour cache, neighbour.c.
	struct rte_hash *neighbour_hash;
	struct net_neighbour *neighbours; // config.neighbours_max of them
	struct rte_mbuf **pending;	  // config.neighbour_queue slots an entry
	struct list neighbours_free;
	// Nobody refers to these, the longest unused first: with a known MAC, and without.
	struct list neighbours_unused, neighbours_unresolved;
	unsigned unresolved_count;
	unsigned pending_count, pending_max;
	struct wheel wheel;

	// Reassembly, fragment.c.
	struct rte_ip_frag_tbl *fragment_table;
	struct rte_ip_frag_death_row fragment_dead;
	uint64_t fragment_sweep_us; // WHEEL_NEVER when no fragment can be waiting
	uint64_t fragment_last_us;

	// Announcements (arp.c), probes and reports (nd_timers.c); conflicts (local.c).
	uint64_t announce_us; // of the next announcement, WHEEL_NEVER when done
	unsigned announcements;
	uint64_t nd_due_us; // the earliest of locals6 and links6
	bool conflict_noted;
	struct net_conflict conflict;

	// To ourselves, loop.c.
	struct net_if loop;
	struct rte_mbuf *looped[NET_LOOP_MAX];
	unsigned looped_count;

	struct net_counter_slots counters;
};

// Is a frame to that address, of one host or of many, for the netif?
bool net_listens(
	const struct net *net, const struct net_if *netif, const struct rte_ether_addr *to);

static inline void net_drop_count(struct net *net, enum net_drop reason)
{
	if (net->hearing) // whoever received it counts it
		return;
	counter_inc(&net->counters.dropped[reason]);
}

// Consumes m.
static inline void net_drop(struct net *net, struct rte_mbuf *m, enum net_drop reason)
{
	net_drop_count(net, reason);
	rte_pktmbuf_free(m);
}
