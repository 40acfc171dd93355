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

#define BATCH 32u // segments whose connections are fetched into the cache together

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
static void refuse(struct tcp_stack *stack, const struct tcp_arrival *a)
{
	struct net_path path;

	tcp_count_drop(stack, TCP_DROP_NO_CONNECTION);
	if (a->seg.flags & TCP_FLAG_RST)
		return;
	if (!tcp_limit_take(&stack->resets, stack->now_us) ||
		net_path_open(stack->net, &a->local.address, &a->remote.address, &path)) {
		tcp_count(stack, TCP_COUNTER_RESETS_SUPPRESSED);
		return;
	}
	tcp_emit_reset_to(stack, &path, &a->seg);
	net_path_close(&path);
}

static bool opens(const struct tcp_segment *seg)
{
	return (seg->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN;
}

static void input_unmatched(struct tcp_stack *stack, struct tcp_arrival *a, const uint32_t *beyond)
{
	struct tcp_pcb *listener = NULL;

	if (opens(&a->seg) || tcp_cookie_expected(stack))
		listener = tcp_table_find_listener(stack, &a->local);
	if (listener && opens(&a->seg))
		tcp_input_listen(stack, listener, a, beyond);
	else if (!listener || !tcp_cookie_accept(stack, listener, a))
		refuse(stack, a);
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
		if (opens(&a->seg) && tcp_table_find_listener(stack, &a->local) &&
			tcp_time_wait_reuse(pcb, &a->seg, &beyond)) {
			input_unmatched(stack, a, &beyond);
			return;
		}
		break;
	default:
		break;
	}
	tcp_input_synchronized(pcb, a);
}

// What can be said of a segment before its connection is looked at. False: dropped.
static bool arrival_init(
	struct tcp_stack *stack, struct tcp_arrival *a, const struct net_delivery *delivery)
{
	*a = (struct tcp_arrival){.delivery = delivery, .m = delivery->m};
	if (delivery->kind != NET_DELIVERY_TCP)
		return true;
	tcp_count(stack, TCP_COUNTER_SEGMENTS_IN);
	if (!arrival_decode(a)) {
		tcp_count_drop(stack, TCP_DROP_MALFORMED);
		rte_pktmbuf_free(a->m);
		return false;
	}
	a->local = (struct net_endpoint){delivery->destination, a->seg.destination};
	a->remote = (struct net_endpoint){delivery->source, a->seg.source};
	a->hash = tcp_table_hash(&stack->table, &a->local, &a->remote);
	return true;
}

static void arrival_process(struct tcp_stack *stack, struct tcp_arrival *a)
{
	struct tcp_pcb *pcb;

	if (a->delivery->kind != NET_DELIVERY_TCP) {
		tcp_input_icmp(stack, a->delivery);
	} else {
		pcb = tcp_table_find_hashed(stack, a->hash, &a->local, &a->remote);
		if (pcb)
			input_pcb(pcb, a);
		else
			input_unmatched(stack, a, NULL);
	}
	rte_pktmbuf_free(a->m);
}

void tcp_input(struct tcp_stack *stack, const struct net_delivery *delivery)
{
	struct tcp_arrival a;

	if (arrival_init(stack, &a, delivery))
		arrival_process(stack, &a);
}

static void input_batch(
	struct tcp_stack *stack, const struct net_delivery *deliveries, unsigned count)
{
	struct tcp_arrival arrivals[BATCH];
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		if (arrival_init(stack, &arrivals[n], &deliveries[i]))
			tcp_table_prefetch(&stack->table, arrivals[n++].hash);
	for (unsigned i = 0; i < n; i++)
		tcp_table_prefetch_pcb(stack, arrivals[i].hash);
	for (unsigned i = 0; i < n; i++)
		arrival_process(stack, &arrivals[i]);
}

void tcp_input_burst(struct tcp_stack *stack, const struct net_delivery *deliveries, unsigned count)
{
	for (unsigned i = 0; i < count; i += BATCH)
		input_batch(stack, &deliveries[i], count - i < BATCH ? count - i : BATCH);
}
