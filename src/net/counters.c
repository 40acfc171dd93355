// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Names of this floor's counters. The order is that of struct net_counter_slots
// and of enum net_drop. Read by any thread, written by the worker.

#include "net/state.h"

static const char *const drop_names[NET_DROPS] = {
	[NET_DROP_FRAME_SHORT] = "frame_short",
	[NET_DROP_MAC_DESTINATION] = "mac_destination",
	[NET_DROP_MAC_SOURCE] = "mac_source",
	[NET_DROP_VLAN] = "vlan",
	[NET_DROP_ETHERTYPE] = "ethertype",
	[NET_DROP_ARP_MALFORMED] = "arp_malformed",
	[NET_DROP_ARP_NOT_OURS] = "arp_not_ours",
	[NET_DROP_ARP_CONFLICT] = "arp_conflict",
	[NET_DROP_ND_MALFORMED] = "nd_malformed",
	[NET_DROP_ND_NOT_OURS] = "nd_not_ours",
	[NET_DROP_ND_CONFLICT] = "nd_conflict",
	[NET_DROP_IP_HEADER] = "ip_header",
	[NET_DROP_IP_LENGTH] = "ip_length",
	[NET_DROP_IP_CHECKSUM] = "ip_checksum",
	[NET_DROP_IP_SOURCE] = "ip_source",
	[NET_DROP_LINK_BROADCAST] = "link_broadcast",
	[NET_DROP_BROADCAST] = "broadcast",
	[NET_DROP_MULTICAST] = "multicast",
	[NET_DROP_NOT_OURS] = "not_ours",
	[NET_DROP_IPV6_EXTENSION] = "ipv6_extension",
	[NET_DROP_IPV6_OPTION] = "ipv6_option",
	[NET_DROP_IPV6_ROUTING] = "ipv6_routing",
	[NET_DROP_IPV6_EMPTY] = "ipv6_empty",
	[NET_DROP_FRAGMENT_INVALID] = "fragment_invalid",
	[NET_DROP_FRAGMENT_REFUSED] = "fragment_refused",
	[NET_DROP_FRAGMENT_TIMEOUT] = "fragment_timeout",
	[NET_DROP_TCP_HEADER] = "tcp_header",
	[NET_DROP_TCP_CHECKSUM] = "tcp_checksum",
	[NET_DROP_UDP_HEADER] = "udp_header",
	[NET_DROP_UDP_CHECKSUM] = "udp_checksum",
	[NET_DROP_UDP] = "udp",
	[NET_DROP_IP_PROTOCOL] = "ip_protocol",
	[NET_DROP_ICMP_SHORT] = "icmp_short",
	[NET_DROP_ICMP_CHECKSUM] = "icmp_checksum",
	[NET_DROP_ICMP_IGNORED] = "icmp_ignored",
	[NET_DROP_ICMP_EMBEDDED] = "icmp_embedded",
	[NET_DROP_NO_MBUF] = "no_mbuf",
	[NET_DROP_TOO_BIG] = "too_big",
	[NET_DROP_NEIGHBOUR_QUEUE] = "neighbour_queue",
	[NET_DROP_NEIGHBOUR_FAILED] = "neighbour_failed",
	[NET_DROP_NEIGHBOUR_FULL] = "neighbour_full",
	[NET_DROP_NO_ROUTE] = "no_route",
	[NET_DROP_ICMP_RATE] = "icmp_rate",
	[NET_DROP_ICMP_FORBIDDEN] = "icmp_forbidden",
};

static const char *const direction_names[NET_DIRECTIONS] = {
	[NET_RECEIVED] = "received",
	[NET_SENT] = "sent",
};

static const char *const neighbour_names[NET_NEIGHBOUR_GAUGES] = {
	[NET_NEIGHBOUR_GAUGE_STATIC] = "static",
	[NET_NEIGHBOUR_GAUGE_OBSERVED] = "observed",
	[NET_NEIGHBOUR_GAUGE_REACHABLE] = "reachable",
	[NET_NEIGHBOUR_GAUGE_STALE] = "stale",
	[NET_NEIGHBOUR_GAUGE_INCOMPLETE] = "incomplete",
	[NET_NEIGHBOUR_GAUGE_FAILED] = "failed",
};

static const struct counter_family families[] = {
	{"packets_dropped_total", "Packets dropped, by reason", "reason", drop_names, NET_DROPS,
		COUNTER_MONOTONIC},
	{"ip_packets_total", "IP packets received and sent", "direction", direction_names,
		NET_DIRECTIONS, COUNTER_MONOTONIC},
	{"arp_requests_total", "ARP requests", "direction", direction_names, NET_DIRECTIONS,
		COUNTER_MONOTONIC},
	{"arp_replies_total", "ARP replies", "direction", direction_names, NET_DIRECTIONS,
		COUNTER_MONOTONIC},
	{"arp_conflicts_total", "Claims of other hosts to an IPv4 address of ours", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"nd_solicitations_total", "ND solicitations", "direction", direction_names, NET_DIRECTIONS,
		COUNTER_MONOTONIC},
	{"nd_advertisements_total", "ND advertisements", "direction", direction_names,
		NET_DIRECTIONS, COUNTER_MONOTONIC},
	{"nd_conflicts_total", "Claims of other hosts to an IPv6 address of ours", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"mld_reports_total", "MLD reports sent", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"neighbours", "Entries of the neighbour cache", "state", neighbour_names,
		NET_NEIGHBOUR_GAUGES, COUNTER_GAUGE},
	{"neighbour_requests_suppressed_total",
		"Requests for neighbours not sent because of the rate limit", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"ip_fragments_total", "IP fragments received and sent", "direction", direction_names,
		NET_DIRECTIONS, COUNTER_MONOTONIC},
	{"fragments_reassembled_total", "IP packets put together from fragments", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"icmp_echo_total", "ICMP echo requests answered", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"icmp_pings_total",
		"ICMP echo requests of programs, and the ICMP that came back to programs",
		"direction", direction_names, NET_DIRECTIONS, COUNTER_MONOTONIC},
	{"udp_datagrams_total", "UDP datagrams for programs, and of programs", "direction",
		direction_names, NET_DIRECTIONS, COUNTER_MONOTONIC},
	{"icmp_errors_total", "ICMP errors handed to TCP and sent", "direction", direction_names,
		NET_DIRECTIONS, COUNTER_MONOTONIC},
};

struct counter_set net_counters(const struct net *net)
{
	return (struct counter_set){
		.families = families,
		.families_count = RTE_DIM(families),
		.values = (const uint64_t *)&net->counters,
	};
}
