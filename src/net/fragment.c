// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bounded reassembly on rte_ip_frag. Its clock is handed in, so microseconds serve as
// its "cycles". Limits that come with it: at most 8 fragments a packet (as Debian builds
// it), all of a packet's fragments are dropped on overlap or duplication (RFC 5722's
// rule, taken for IPv4 too), and packets are told apart without their protocol: a mix-up
// of two protocols under one id fails its checksum. Time: RFC 1122 3.3.2 and RFC 8200 4.5,
// which meet in 60 s. Worker's thread.

#include "net/fragment.h"

#include "base/clock.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/local.h"

#include <rte_tcp.h>

#include <errno.h>

#define FRAGMENT_TIMEOUT_US (60 * US_IN_S)
#define FRAGMENT_SWEEP_US   US_IN_S
#define FRAGMENT_WAYS	    8
#define FRAGMENT_PREFETCH   4

int fragment_table_init(struct net *net)
{
	unsigned max = net->config.fragments_max;

	net->fragment_sweep_us = WHEEL_NEVER;
	net->fragment_table = rte_ip_frag_table_create((max + FRAGMENT_WAYS - 1) / FRAGMENT_WAYS,
		FRAGMENT_WAYS, max, FRAGMENT_TIMEOUT_US, SOCKET_ID_ANY);
	return net->fragment_table != NULL ? 0 : -ENOMEM;
}

void fragment_table_fini(struct net *net)
{
	if (net->fragment_table != NULL)
		rte_ip_frag_table_destroy(net->fragment_table);
}

// Where fragment_strip() has put it.
static struct rte_ipv6_fragment_ext *ipv6_fragment(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(
		m, struct rte_ipv6_fragment_ext *, sizeof(struct rte_ipv6_hdr));
}

static uint16_t ipv6_fragment_offset(const struct rte_ipv6_fragment_ext *fragment)
{
	return rte_be_to_cpu_16(fragment->frag_data) & RTE_IPV6_EHDR_FO_MASK;
}

static bool ipv6_more_fragments(const struct rte_ipv6_fragment_ext *fragment)
{
	return (fragment->frag_data & rte_cpu_to_be_16(RTE_IPV6_EHDR_MF_MASK)) != 0;
}

static void fragment_dead_free(struct net *net, enum net_drop reason)
{
	counter_add(&net->counters.dropped[reason], net->fragment_dead.cnt);
	rte_ip_frag_free_death_row(&net->fragment_dead, FRAGMENT_PREFETCH);
}

// Where to the address is ours that the waiting fragment was for, when it is the first of its
// packet.
static struct net_if *fragment_first_netif(const struct net *net, const struct rte_mbuf *m)
{
	const struct net_local *local;
	struct net_address address;

	if (ipv4_header(m)->version != 6) {
		local = local_find(net, NULL, ipv4_header(m)->dst_addr);
		return local != NULL && ipv4_offset(ipv4_header(m)) == 0 ? local->netif : NULL;
	}
	address = ipv6_address(ipv6_header(m)->dst_addr);
	local = local6_find(net, NULL, &address);
	return local != NULL && ipv6_fragment_offset(ipv6_fragment(m)) == 0 ? local->netif : NULL;
}

// The source learns that its packet died here, if we hold the first fragment (RFC 792: "if
// fragment zero is not available then no time exceeded need be sent"; RFC 8200 4.5 likewise).
static void fragment_time_exceeded(struct net *net)
{
	for (uint32_t i = 0; i < net->fragment_dead.cnt; i++) {
		struct rte_mbuf *m = net->fragment_dead.row[i];
		struct net_if *netif = fragment_first_netif(net, m);
		struct icmp_error error = {
			.type = ICMP_TYPE_TIME_EXCEEDED,
			.code = ICMP_CODE_REASSEMBLY,
		};

		if (ipv4_header(m)->version == 6)
			error.type = ICMP6_TYPE_TIME_EXCEEDED;
		if (netif != NULL)
			icmp_error_send(net, netif, m, &error);
	}
}

static void fragment_expire(struct net *net)
{
	// One pass ends when the death row is full, so a burst may take several.
	for (;;) {
		rte_ip_frag_table_del_expired_entries(
			net->fragment_table, &net->fragment_dead, net->now_us);
		if (net->fragment_dead.cnt == 0)
			return;
		fragment_time_exceeded(net);
		fragment_dead_free(net, NET_DROP_FRAGMENT_TIMEOUT);
	}
}

void fragment_timers(struct net *net)
{
	if (net->now_us < net->fragment_sweep_us)
		return;
	fragment_expire(net);
	// The table does not say whether anything is left: look until all must be gone.
	net->fragment_sweep_us =
		net->now_us > net->fragment_last_us + FRAGMENT_TIMEOUT_US + FRAGMENT_SWEEP_US
			? WHEEL_NEVER
			: net->now_us + FRAGMENT_SWEEP_US;
}

// What can never become a whole packet, and what is cut to slip headers past filters (RFC 1858,
// RFC 3128, RFC 7112): the first fragment of TCP holds its header, and none starts inside it.
static bool fragment_cut_well(uint32_t offset, uint32_t length, bool more, uint8_t protocol)
{
	if (length == 0 || (more && length % IP_FRAGMENT_UNIT != 0))
		return false;
	if (protocol != IPPROTO_TCP)
		return true;
	return offset == 0 ? length >= sizeof(struct rte_tcp_hdr)
			   : offset >= sizeof(struct rte_tcp_hdr);
}

static void fragment_begin(struct net *net)
{
	fragment_expire(net); // so that what dies below died of something else
	net->fragment_last_us = net->now_us;
	if (net->fragment_sweep_us == WHEEL_NEVER)
		net->fragment_sweep_us = net->now_us + FRAGMENT_SWEEP_US;
}

// Consumes m, what the library has made of the packet, if anything.
static struct rte_mbuf *fragment_end(struct net *net, struct rte_mbuf *m)
{
	uint32_t length;

	fragment_dead_free(net, NET_DROP_FRAGMENT_REFUSED);
	if (m == NULL)
		return NULL;
	if (ipv4_header(m)->version == 6)
		length =
			sizeof(struct rte_ipv6_hdr) + rte_be_to_cpu_16(ipv6_header(m)->payload_len);
	else
		length = rte_be_to_cpu_16(ipv4_header(m)->total_length);
	// A first fragment with options may take the sum of all past what a packet can be.
	if (length != m->pkt_len) {
		net_drop(net, m, NET_DROP_FRAGMENT_INVALID);
		return NULL;
	}
	// The library asks for a checksum at transmission, and no hardware has seen the whole.
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	counter_inc(&net->counters.fragments_reassembled);
	return m;
}

struct rte_mbuf *fragment_input_ipv4(struct net *net, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);
	uint32_t length = m->pkt_len - m->l3_len, offset = ipv4_offset(ip);

	counter_inc(&net->counters.fragments[NET_RECEIVED]);
	if (offset + length + m->l3_len > IP_LENGTH_MAX ||
		!fragment_cut_well(offset, length, ipv4_more_fragments(ip), ip->next_proto_id)) {
		net_drop(net, m, NET_DROP_FRAGMENT_INVALID);
		return NULL;
	}
	fragment_begin(net);
	m = rte_ipv4_frag_reassemble_packet(
		net->fragment_table, &net->fragment_dead, m, net->now_us, ipv4_header(m));
	return fragment_end(net, m);
}

// --- IPv6 ----------------------------------------------------------------------------------------

// Moves the IP header over `cut` bytes of extension headers that follow it.
static void fragment_strip(struct rte_mbuf *m, uint16_t cut, uint8_t protocol)
{
	struct rte_ipv6_hdr ip = *ipv6_header(m);

	ip.proto = protocol;
	ip.payload_len = rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(ip.payload_len) - cut));
	rte_pktmbuf_adj(m, cut);
	*ipv6_header(m) = ip;
}

// RFC 8200 4.5: the lengths that a source is told about.
static bool fragment_lengths_good(struct net *net, const struct ip_packet *packet,
	const struct ipv6_chain *chain, const struct rte_ipv6_fragment_ext *fragment)
{
	uint32_t length = packet->m->pkt_len - chain->offset - (uint32_t)sizeof(*fragment);
	struct icmp_error error = {
		.type = ICMP6_TYPE_PARAMETER_PROBLEM,
		.code = ICMP6_CODE_BAD_FIELD,
	};

	if (ipv6_more_fragments(fragment) && length % IP_FRAGMENT_UNIT != 0)
		error.pointer = offsetof(struct rte_ipv6_hdr, payload_len);
	else if (ipv6_fragment_offset(fragment) + length > IP_LENGTH_MAX)
		error.pointer = chain->offset + offsetof(struct rte_ipv6_fragment_ext, frag_data);
	else
		return true;
	icmp_error_send(net, packet->netif, packet->m, &error);
	return false;
}

static enum net_drop fragment_check_ipv6(
	struct net *net, const struct ip_packet *packet, const struct ipv6_chain *chain)
{
	const struct rte_mbuf *m = packet->m;
	const struct rte_ipv6_fragment_ext *fragment =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_fragment_ext *, chain->offset);

	// Reassembled packets do not come in fragments again.
	if (chain->reassembled || m->data_len < chain->offset + sizeof(*fragment) ||
		!fragment_lengths_good(net, packet, chain, fragment) ||
		!fragment_cut_well(ipv6_fragment_offset(fragment),
			m->pkt_len - chain->offset - (uint32_t)sizeof(*fragment),
			ipv6_more_fragments(fragment), fragment->next_header))
		return NET_DROP_FRAGMENT_INVALID;
	return NET_DROPS;
}

struct rte_mbuf *fragment_input_ipv6(
	struct net *net, const struct ip_packet *packet, const struct ipv6_chain *chain)
{
	enum net_drop wrong = fragment_check_ipv6(net, packet, chain);
	struct rte_mbuf *m = packet->m;
	struct rte_ipv6_fragment_ext *fragment;

	counter_inc(&net->counters.fragments[NET_RECEIVED]);
	if (wrong != NET_DROPS) {
		net_drop(net, m, wrong);
		return NULL;
	}
	// What stood before has been dealt with, and the library does not expect it.
	fragment_strip(
		m, (uint16_t)(chain->offset - sizeof(struct rte_ipv6_hdr)), IPPROTO_FRAGMENT);
	fragment = ipv6_fragment(m);
	if (ipv6_fragment_offset(fragment) == 0 && !ipv6_more_fragments(fragment)) {
		// RFC 6946: an atomic fragment has nothing to do with any other. Hardware may have
		// taken it for one and not looked at its sum.
		m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
		fragment_strip(m, sizeof(*fragment), fragment->next_header);
		return m;
	}
	m->l3_len = sizeof(struct rte_ipv6_hdr) + sizeof(*fragment);
	fragment_begin(net);
	m = rte_ipv6_frag_reassemble_packet(
		net->fragment_table, &net->fragment_dead, m, net->now_us, ipv6_header(m), fragment);
	return fragment_end(net, m);
}
