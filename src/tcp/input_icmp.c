// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP errors about our segments (RFC 9293 3.9.2.2, RFC 1191, with the checks of RFC 5927):
// they have to name an octet in flight. While connecting, "unreachable" ends the
// attempt; afterwards the connection outlives them. Runs on the worker.

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

// What the error quotes of a segment of ours.
struct quote {
	struct net_endpoint local, remote;
	uint32_t seq;
	uint32_t packet_length;
};

static bool quote_decode(const struct rte_mbuf *m, struct quote *q)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t header;
	uint16_t ports[2];
	uint32_t seq;
	const uint8_t *tcp;

	if (m->data_len < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return false;
	header = (ip->version_ihl & 0xf) * 4u;
	if (m->data_len < header + 8)
		return false;
	tcp = (const uint8_t *)ip + header;
	memcpy(ports, tcp, sizeof(ports));
	memcpy(&seq, tcp + 4, sizeof(seq));
	q->local.address = net_address_from_ipv4(ip->src_addr);
	q->remote.address = net_address_from_ipv4(ip->dst_addr);
	q->local.port = rte_be_to_cpu_16(ports[0]);
	q->remote.port = rte_be_to_cpu_16(ports[1]);
	q->seq = rte_be_to_cpu_32(seq);
	q->packet_length = rte_be_to_cpu_16(ip->total_length);
	return true;
}

static bool ends_attempt(uint8_t code)
{
	switch (code) {
	case ICMP_NET_UNREACHABLE:
	case ICMP_HOST_UNREACHABLE:
	case ICMP_PROTOCOL_UNREACHABLE:
	case ICMP_PORT_UNREACHABLE:
	case ICMP_PROHIBITED_NET:
	case ICMP_PROHIBITED_HOST:
	case ICMP_PROHIBITED:
		return true;
	default:
		return false;
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

static bool apply(struct tcp_pcb *pcb, const struct quote *q, const struct net_delivery *delivery)
{
	if (delivery->icmp_type != ICMP_UNREACHABLE)
		return false;
	if (delivery->icmp_code == ICMP_FRAGMENTATION_NEEDED)
		return path_mtu_lower(pcb, q, delivery->icmp_mtu);
	if (pcb->state != TCP_SYN_SENT || !ends_attempt(delivery->icmp_code))
		return false;
	tcp_pcb_finish(pcb, TCP_EVENT_UNREACHABLE);
	return true;
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
