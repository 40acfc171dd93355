// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP errors about our segments (RFC 9293 3.9.2.2, RFC 1191, RFC 8201, with the checks of RFC
// 5927): they have to name an octet in flight. While connecting, "unreachable" ends the attempt;
// afterwards the connection outlives them. Runs on the worker.

#include "tcp/input.h"

#include "net/net.h"
#include "tcp/flight.h"
#include "tcp/stack.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

#define ICMP_UNREACHABLE	  3
#define ICMP_NET_UNREACHABLE	  0
#define ICMP_HOST_UNREACHABLE	  1
#define ICMP_PROTOCOL_UNREACHABLE 2
#define ICMP_PORT_UNREACHABLE	  3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_PROHIBITED_NET	  9
#define ICMP_PROHIBITED_HOST	  10
#define ICMP_PROHIBITED		  13

#define ICMP6_UNREACHABLE	1
#define ICMP6_TOO_BIG		2
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_BAD_NEXT_HEADER	1
#define ICMP6_NO_ROUTE		0
#define ICMP6_PROHIBITED	1
#define ICMP6_PORT_UNREACHABLE	4
#define ICMP6_POLICY		5
#define ICMP6_REJECTED		6

#define QUOTE_TCP 8 // what RFC 792 promises of the segment

// What the error quotes of a segment of ours.
struct quote {
	struct net_endpoint local, remote;
	uint32_t seq;
	uint32_t packet_length;
};

// The ports and the sequence number: what any error quotes of a segment.
static void quote_tcp(const uint8_t *tcp, struct quote *q)
{
	uint16_t ports[2];
	uint32_t seq;

	memcpy(ports, tcp, sizeof(ports));
	memcpy(&seq, tcp + 4, sizeof(seq));
	q->local.port = rte_be_to_cpu_16(ports[0]);
	q->remote.port = rte_be_to_cpu_16(ports[1]);
	q->seq = rte_be_to_cpu_32(seq);
}

static bool quote_decode_ipv4(const struct rte_mbuf *m, struct quote *q)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t header = (ip->version_ihl & 0xf) * 4u;

	if (m->data_len < header + QUOTE_TCP)
		return false;
	q->local.address = net_address_from_ipv4(ip->src_addr);
	q->remote.address = net_address_from_ipv4(ip->dst_addr);
	q->packet_length = rte_be_to_cpu_16(ip->total_length);
	quote_tcp((const uint8_t *)ip + header, q);
	return true;
}

// We put no extension headers in front of TCP.
static bool quote_decode_ipv6(const struct rte_mbuf *m, struct quote *q)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);

	if (m->data_len < sizeof(*ip) + QUOTE_TCP)
		return false;
	memcpy(q->local.address.bytes, ip->src_addr, sizeof(ip->src_addr));
	memcpy(q->remote.address.bytes, ip->dst_addr, sizeof(ip->dst_addr));
	q->packet_length = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	quote_tcp((const uint8_t *)(ip + 1), q);
	return true;
}

static bool quote_decode(const struct rte_mbuf *m, struct quote *q)
{
	if (m->data_len < sizeof(struct rte_ipv4_hdr))
		return false;
	switch (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4) {
	case 4:
		return quote_decode_ipv4(m, q);
	case 6:
		return quote_decode_ipv6(m, q);
	default:
		return false;
	}
}

enum meaning {
	MEANING_NONE,	     // nothing that we act on
	MEANING_TOO_BIG,     // fragmentation needed, or packet too big
	MEANING_UNREACHABLE, // the peer, or TCP there, and not just for now
};

static enum meaning meaning_ipv4(uint8_t type, uint8_t code)
{
	if (type != ICMP_UNREACHABLE)
		return MEANING_NONE;
	switch (code) {
	case ICMP_FRAGMENTATION_NEEDED:
		return MEANING_TOO_BIG;
	case ICMP_NET_UNREACHABLE:
	case ICMP_HOST_UNREACHABLE:
	case ICMP_PROTOCOL_UNREACHABLE:
	case ICMP_PORT_UNREACHABLE:
	case ICMP_PROHIBITED_NET:
	case ICMP_PROHIBITED_HOST:
	case ICMP_PROHIBITED:
		return MEANING_UNREACHABLE;
	default:
		return MEANING_NONE;
	}
}

// RFC 4443: every code of "unreachable" means it; TCP that is not known there is told of as a
// parameter problem.
static enum meaning meaning_ipv6(uint8_t type, uint8_t code)
{
	switch (type) {
	case ICMP6_UNREACHABLE:
		return MEANING_UNREACHABLE;
	case ICMP6_TOO_BIG:
		return MEANING_TOO_BIG;
	case ICMP6_PARAMETER_PROBLEM:
		return code == ICMP6_BAD_NEXT_HEADER ? MEANING_UNREACHABLE : MEANING_NONE;
	default:
		return MEANING_NONE;
	}
}

// The packet was too long for a link on the way: from now on shorter ones, at once. It is no sign
// of congestion, so the windows stay.
static bool path_mtu_lower(struct tcp_pcb *pcb, const struct quote *q, uint16_t mtu)
{
	if (q->packet_length > pcb->path.mtu || (mtu != 0 && q->packet_length <= mtu) ||
		!tcp_mss_lower(pcb, mtu))
		return false;
	if (tcp_state_sends(pcb->state)) {
		tcp_rtt_retransmitted(pcb);
		if (pcb->flags & TCP_PCB_SACK)
			tcp_flight_lose_all(pcb);
		else
			tcp_output_rewind(pcb);
		tcp_pcb_mark_flush(pcb);
	}
	return true;
}

static enum tcp_unreachable reason_ipv4(uint8_t code)
{
	switch (code) {
	case ICMP_NET_UNREACHABLE:
	case ICMP_PROHIBITED_NET:
		return TCP_UNREACHABLE_NET;
	case ICMP_PROTOCOL_UNREACHABLE:
		return TCP_UNREACHABLE_PROTOCOL;
	case ICMP_PORT_UNREACHABLE:
		return TCP_UNREACHABLE_PORT;
	default:
		return TCP_UNREACHABLE_HOST;
	}
}

static enum tcp_unreachable reason_ipv6(uint8_t type, uint8_t code)
{
	if (type == ICMP6_PARAMETER_PROBLEM)
		return TCP_UNREACHABLE_PROTOCOL;
	switch (code) {
	case ICMP6_NO_ROUTE:
		return TCP_UNREACHABLE_NET;
	case ICMP6_PORT_UNREACHABLE:
		return TCP_UNREACHABLE_PORT;
	case ICMP6_PROHIBITED:
	case ICMP6_POLICY:
	case ICMP6_REJECTED:
		return TCP_UNREACHABLE_PROHIBITED;
	default:
		return TCP_UNREACHABLE_HOST;
	}
}

static bool apply(struct tcp_pcb *pcb, const struct quote *q, const struct net_delivery *delivery)
{
	uint8_t type = delivery->icmp_type, code = delivery->icmp_code;

	switch (pcb->path.ipv6 ? meaning_ipv6(type, code) : meaning_ipv4(type, code)) {
	case MEANING_TOO_BIG:
		return path_mtu_lower(pcb, q, delivery->icmp_mtu);
	case MEANING_UNREACHABLE:
		if (pcb->state != TCP_SYN_SENT)
			return false;
		pcb->unreachable =
			(uint8_t)(pcb->path.ipv6 ? reason_ipv6(type, code) : reason_ipv4(code));
		tcp_pcb_finish(pcb, TCP_EVENT_UNREACHABLE);
		return true;
	default:
		return false;
	}
}

void tcp_input_icmp(struct tcp_stack *stack, const struct net_delivery *delivery)
{
	struct tcp_pcb *pcb = NULL;
	struct quote q;

	if (quote_decode(delivery->m, &q))
		pcb = tcp_table_find(stack, &q.local, &q.remote);
	// RFC 5927 4.1.
	if (!pcb || pcb->state < TCP_SYN_SENT || seq_lt(q.seq, pcb->snd_una) ||
		seq_ge(q.seq, pcb->snd_max) || !apply(pcb, &q, delivery))
		tcp_count_drop(stack, TCP_DROP_ICMP);
}
