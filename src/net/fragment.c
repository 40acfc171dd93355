// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bounded reassembly on rte_ip_frag. Its clock is handed in, so microseconds serve as
// its "cycles". Limits that come with it: at most 8 fragments a packet (as Debian builds
// it), all of a packet's fragments are dropped on overlap or duplication (RFC 5722's
// rule, taken for IPv4 too), and packets are told apart without their protocol: a mix-up
// of two protocols under one id fails its checksum. Time: RFC 1122 3.3.2. Worker's thread.

#include "net/fragment.h"

#include "base/clock.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/state.h"

#include <rte_tcp.h>

#include <errno.h>

#define FRAGMENT_TIMEOUT_US (30 * US_IN_S)
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

static void fragment_dead_free(struct net *net, enum net_drop reason)
{
	counter_add(&net->counters.dropped[reason], net->fragment_dead.cnt);
	rte_ip_frag_free_death_row(&net->fragment_dead, FRAGMENT_PREFETCH);
}

// The source learns that its packet died here, if we hold the first fragment (RFC 792: "if
// fragment zero is not available then no time exceeded need be sent").
static void fragment_time_exceeded(struct net *net)
{
	for (uint32_t i = 0; i < net->fragment_dead.cnt; i++) {
		struct rte_mbuf *m = net->fragment_dead.row[i];
		const struct net_local *local = net_local_find(net, NULL, ipv4_header(m)->dst_addr);

		if (local != NULL && ipv4_offset(ipv4_header(m)) == 0)
			icmp_error_send(net, local->netif, m, ICMP_TYPE_TIME_EXCEEDED,
				ICMP_CODE_REASSEMBLY);
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
// RFC 3128): the first fragment of TCP holds its header, and none starts inside it.
static bool fragment_valid(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);
	uint32_t length = m->pkt_len - m->l3_len, offset = ipv4_offset(ip);

	if (length == 0 || offset + length + m->l3_len > RTE_IPV4_MAX_PKT_LEN)
		return false;
	if (ipv4_more_fragments(ip) && length % RTE_IPV4_HDR_OFFSET_UNITS != 0)
		return false;
	if (ip->next_proto_id != IPPROTO_TCP)
		return true;
	return offset == 0 ? length >= sizeof(struct rte_tcp_hdr)
			   : offset >= sizeof(struct rte_tcp_hdr);
}

struct rte_mbuf *fragment_input(struct net *net, struct net_if *netif, struct rte_mbuf *m)
{
	counter_inc(&net->counters.fragments[NET_RECEIVED]);
	if (!fragment_valid(m)) {
		net_drop(net, m, NET_DROP_FRAGMENT_INVALID);
		return NULL;
	}
	fragment_expire(net); // so that what dies below died of something else
	net->fragment_last_us = net->now_us;
	if (net->fragment_sweep_us == WHEEL_NEVER)
		net->fragment_sweep_us = net->now_us + FRAGMENT_SWEEP_US;

	m = rte_ipv4_frag_reassemble_packet(
		net->fragment_table, &net->fragment_dead, m, net->now_us, ipv4_header(m));
	fragment_dead_free(net, NET_DROP_FRAGMENT_REFUSED);
	if (m == NULL)
		return NULL;
	// A first fragment with options may take the sum of all past what a packet can be.
	if (rte_be_to_cpu_16(ipv4_header(m)->total_length) != m->pkt_len) {
		net_drop(net, m, NET_DROP_FRAGMENT_INVALID);
		return NULL;
	}
	// The library asks for a checksum at transmission, and no hardware has seen the whole.
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	counter_inc(&net->counters.fragments_reassembled);
	return m;
}
