// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where segments enter: decoding, one lookup, the state's handler. Segments that nobody
// waits for are answered as RFC 9293 3.10.7.1 says. Runs on the worker.

#include "tcp/input.h"

#include "base/assert.h"
#include "net/net.h"
#include "tcp/stack.h"

#include <rte_mbuf.h>

// The text ends with the IP packet, not with the frame, which Ethernet may have padded.
static bool arrival_decode(struct tcp_arrival *a)
{
	const struct rte_mbuf *m = a->m;

	if (m->data_len < m->l3_len ||
		!tcp_segment_decode(rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len),
			m->data_len - (uint32_t)m->l3_len, m->pkt_len - (uint32_t)m->l3_len,
			&a->seg))
		return false;
	a->text = (uint32_t)m->l3_len + a->seg.header_length;
	return true;
}

// RFC 9293 3.10.7.1: RST, within a rate.
static void refuse(struct tcp_stack *stack, const struct tcp_arrival *a,
	const struct net_endpoint *local, const struct net_endpoint *remote)
{
	struct net_path path;

	tcp_count_drop(stack, TCP_DROP_NO_CONNECTION);
	if (a->seg.flags & TCP_FLAG_RST)
		return;
	if (!tcp_limit_take(&stack->resets, stack->now_us) ||
		net_path_open(stack->net, &local->address, &remote->address, &path)) {
		tcp_count(stack, TCP_COUNTER_RESETS_SUPPRESSED);
		return;
	}
	tcp_emit_reset_to(stack, &path, local, remote, &a->seg);
	net_path_close(&path);
}

static bool opens(const struct tcp_segment *seg)
{
	return (seg->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN;
}

static void input_unmatched(struct tcp_stack *stack, struct tcp_arrival *a,
	const struct net_endpoint *local, const struct net_endpoint *remote, const uint32_t *beyond)
{
	struct tcp_pcb *listener = NULL;

	if (opens(&a->seg) || tcp_cookie_expected(stack))
		listener = tcp_table_find_listener(stack, local);
	if (listener && opens(&a->seg))
		tcp_input_listen(stack, listener, a, beyond);
	else if (!listener || !tcp_cookie_accept(stack, listener, a))
		refuse(stack, a, local, remote);
}

static void input_pcb(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	struct tcp_stack *stack = pcb->stack;
	uint32_t beyond;

	switch (pcb->state) {
	case TCP_SYN_DEFERRED:
		tcp_input_deferred(pcb, a);
		return;
	case TCP_SYN_SENT:
		tcp_input_syn_sent(pcb, a);
		return;
	case TCP_TIME_WAIT:
		if (opens(&a->seg) && tcp_table_find_listener(stack, &pcb->local)) {
			const struct net_endpoint local = pcb->local;
			const struct net_endpoint remote = pcb->remote;

			if (tcp_time_wait_reuse(pcb, &a->seg, &beyond)) {
				input_unmatched(stack, a, &local, &remote, &beyond);
				return;
			}
		}
		break;
	default:
		break;
	}
	tcp_input_synchronized(pcb, a);
}

static void input_tcp(struct tcp_stack *stack, struct tcp_arrival *a)
{
	struct net_endpoint local = {.address = a->delivery->destination};
	struct net_endpoint remote = {.address = a->delivery->source};
	struct tcp_pcb *pcb;

	tcp_count(stack, TCP_COUNTER_SEGMENTS_IN);
	if (!arrival_decode(a)) {
		tcp_count_drop(stack, TCP_DROP_MALFORMED);
		return;
	}
	local.port = a->seg.destination;
	remote.port = a->seg.source;
	pcb = tcp_table_find(stack, &local, &remote);
	if (pcb)
		input_pcb(pcb, a);
	else
		input_unmatched(stack, a, &local, &remote, NULL);
}

void tcp_input(struct tcp_stack *stack, const struct net_delivery *delivery)
{
	struct tcp_arrival a = {.delivery = delivery, .m = delivery->m};

	if (delivery->kind == NET_DELIVERY_TCP)
		input_tcp(stack, &a);
	else
		tcp_input_icmp(stack, delivery);
	rte_pktmbuf_free(a.m);
}
