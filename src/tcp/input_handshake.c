// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Segment arrival before the connection is synchronized: LISTEN (RFC 9293 3.10.7.2), the
// deferred decision on a SYN, SYN-SENT (3.10.7.3). Runs on the worker.

#include "tcp/input.h"

#include "base/assert.h"
#include "net/net.h"
#include "tcp/stack.h"

int tcp_input_child_open(
	struct tcp_pcb *pcb, const struct tcp_pcb *listener, const struct tcp_arrival *a)
{
	int err;

	tcp_pcb_set_endpoints(pcb, &a->local, &a->remote);
	err = tcp_pcb_open_path(pcb);
	if (err)
		return err;
	pcb->flags |= TCP_PCB_PASSIVE;
	tcp_options_inherit(pcb, listener);
	return 0;
}

struct tcp_pcb *tcp_input_child_alloc(
	struct tcp_stack *stack, struct tcp_pcb *listener, const struct tcp_arrival *a)
{
	struct tcp_pcb *pcb = tcp_pcb_alloc(stack);

	if (!pcb) {
		tcp_count_syn_drop(stack, TCP_SYN_DROP_CONNECTIONS);
		return NULL;
	}
	if (tcp_input_child_open(pcb, listener, a)) {
		tcp_count_syn_drop(stack, TCP_SYN_DROP_NO_ROUTE);
		tcp_pcb_free(pcb);
		return NULL;
	}
	pcb->listener_index = tcp_pcb_index(listener);
	listener->children++;
	pcb->flags |= TCP_PCB_OWNED;
	return pcb;
}

// Text and FIN on a SYN are left to the peer to send again.
void tcp_input_listen(struct tcp_stack *stack, struct tcp_pcb *listener, struct tcp_arrival *a,
	const uint32_t *beyond)
{
	struct tcp_pcb *pcb;

	if (stack->half_open >= stack->config.backlog) {
		if (stack->config.syn_cookies)
			tcp_cookie_answer(stack, listener, a);
		else
			tcp_count_syn_drop(stack, TCP_SYN_DROP_BACKLOG);
		return;
	}
	pcb = tcp_input_child_alloc(stack, listener, a);
	if (!pcb)
		return;
	tcp_pcb_choose_isn(pcb, beyond);
	tcp_pcb_learn_syn(pcb, &a->seg);
	tcp_pcb_set_state(pcb, TCP_SYN_DEFERRED);
	tcp_table_insert(pcb);
	tcp_pcb_raise(pcb, TCP_EVENT_SYN);
}

// Nothing was promised to the peer yet: only its giving up counts.
void tcp_input_deferred(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	if ((a->seg.flags & TCP_FLAG_RST) && a->seg.seq == pcb->rcv_nxt) {
		tcp_count(pcb->stack, TCP_COUNTER_RESETS_RECEIVED);
		tcp_pcb_finish(pcb, TCP_EVENT_RESET);
	} else if (a->seg.flags & TCP_FLAG_SYN) {
		tcp_count_syn_drop(pcb->stack, TCP_SYN_DROP_REPEATED);
		if (a->seg.seq == pcb->irs && seq_ge(a->seg.options.tsval, pcb->ts_recent))
			tcp_input_timestamp(pcb, &a->seg);
	} else {
		tcp_count_drop(pcb->stack, TCP_DROP_UNEXPECTED);
	}
}

// An ACK of what we did not send: the peer still has an older connection of this tuple (its
// TIME-WAIT, or one that outlived us). The RST ends that, and then the SYN is welcome.
static void syn_sent_bad_ack(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	struct tcp_stack *stack = pcb->stack;

	tcp_count_drop(stack, TCP_DROP_BAD_ACK);
	if (seg->flags & TCP_FLAG_RST)
		return;
	tcp_emit_reset_to(stack, &pcb->path, seg);
	if (pcb->retries >= stack->config.connect_retries) {
		tcp_pcb_finish(pcb, TCP_EVENT_REFUSED);
		return;
	}
	pcb->retries++;
	tcp_count(stack, TCP_COUNTER_CONNECT_RETRIES);
	tcp_rtt_retransmitted(pcb);
	tcp_timer_rexmit(pcb);
	tcp_output_rewind(pcb);
}

// Our SYN is acknowledged: the three-way handshake is done on this side.
static void syn_sent_established(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	pcb->snd_una = pcb->snd_nxt = a->seg.ack;
	tcp_rtt_acked(pcb, &a->seg);
	tcp_timer_rexmit(pcb);
	pcb->flags |= TCP_PCB_ACK_NOW;
	tcp_pcb_established(pcb);
	// Text on the SYN-ACK counts from the octet behind the SYN (the sixth step on).
	a->seg.flags &= (uint8_t)~TCP_FLAG_SYN;
	a->seg.seq++;
	tcp_input_text(pcb, a);
}

// Simultaneous open: SYN-ACK goes out, the peer's ACK (or its SYN-ACK) is awaited.
static void syn_sent_crossed(struct tcp_pcb *pcb)
{
	pcb->flags &= ~(uint32_t)TCP_PCB_HOLD_ACK;
	tcp_rtt_retransmitted(pcb);
	tcp_pcb_set_state(pcb, TCP_SYN_RECEIVED);
	tcp_timer_rexmit(pcb);
	tcp_output_rewind(pcb);
}

void tcp_input_syn_sent(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	const struct tcp_segment *seg = &a->seg;
	bool ack = (seg->flags & TCP_FLAG_ACK) != 0;

	// First, the ACK bit.
	if (ack && (seq_le(seg->ack, pcb->iss) || seq_gt(seg->ack, pcb->snd_max))) {
		syn_sent_bad_ack(pcb, seg);
		return;
	}
	// Second, the RST bit: without an ACK anybody could have sent it.
	if (seg->flags & TCP_FLAG_RST) {
		if (!ack) {
			tcp_count_drop(pcb->stack, TCP_DROP_BAD_RST);
			return;
		}
		tcp_count(pcb->stack, TCP_COUNTER_RESETS_RECEIVED);
		tcp_pcb_finish(pcb, TCP_EVENT_REFUSED);
		return;
	}
	// Fourth, the SYN bit.
	if (!(seg->flags & TCP_FLAG_SYN)) {
		tcp_count_drop(pcb->stack, TCP_DROP_UNEXPECTED);
		return;
	}
	tcp_pcb_learn_syn(pcb, seg);
	net_path_confirm(&pcb->path, pcb->stack->now_us);
	if (ack)
		syn_sent_established(pcb, a);
	else
		syn_sent_crossed(pcb);
}
