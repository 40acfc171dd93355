// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The seventh and eighth step of segment arrival (RFC 9293 3.10.7.4): text and FIN, in
// sequence or early. Also what RFC 2525 2.17 asks for: text that nobody will ever read
// is answered with RST. Runs on the worker.

#include "tcp/input.h"

#include "tcp/sack.h"
#include "tcp/stack.h"

#include <rte_mbuf.h>

// The part of a segment's text that is new and within the window.
struct text {
	uint32_t seq, length;
	uint32_t skip; // octets of the segment before it
	bool whole;    // nothing was cut off at the end, so that a FIN counts
};

static struct text text_trim(const struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	struct text t = {.seq = seg->seq, .length = seg->length, .whole = true};
	uint32_t room;

	if (seq_lt(t.seq, pcb->rcv_nxt)) {
		t.skip = pcb->rcv_nxt - t.seq;
		if (t.skip > t.length)
			t.skip = t.length;
		t.seq += t.skip;
		t.length -= t.skip;
	}
	room = seq_gt(pcb->rcv_adv, t.seq) ? pcb->rcv_adv - t.seq : 0;
	if (t.length > room) {
		t.length = room;
		t.whole = false;
	}
	return t;
}

static void text_in_sequence(struct tcp_pcb *pcb, struct tcp_arrival *a, const struct text *t)
{
	tcp_recvq_append(pcb, a->m, a->text + t->skip, t->length);
	a->m = NULL;
	if (pcb->rcv_segs < UINT8_MAX)
		pcb->rcv_segs++;
	if (!(pcb->flags & TCP_PCB_MANUAL_ACK))
		pcb->flags |= TCP_PCB_ACK_OWED;
	if (a->seg.flags & TCP_FLAG_PSH)
		pcb->flags |= TCP_PCB_PUSHED;
	// The peer's fast recovery waits for the ACK of a hole that was filled (RFC 5681 4.2).
	if (pcb->recvq.early) {
		tcp_reassembly_join(pcb);
		if (!(pcb->flags & TCP_PCB_MANUAL_ACK))
			pcb->flags |= TCP_PCB_ACK_NOW;
	}
	pcb->dupacks_due = 0; // they would repeat an ACK that is outdated now
	tcp_pcb_mark_flush(pcb);
	tcp_pcb_raise(pcb, TCP_EVENT_READABLE);
}

static void text_early(struct tcp_pcb *pcb, const struct tcp_arrival *a, const struct text *t)
{
	if (!tcp_reassembly_insert(pcb, t->seq, a->m, a->text + t->skip, t->length))
		tcp_count_drop(pcb->stack, TCP_DROP_REASSEMBLY);
	if (pcb->dupacks_due < UINT8_MAX)
		pcb->dupacks_due++;
	if (!tcp_pcb_holds(pcb)) // else tcp_recv_acknowledge() sees to it
		tcp_pcb_ack_now(pcb);
}

static void text_process(struct tcp_pcb *pcb, struct tcp_arrival *a, const struct text *t)
{
	if (t->length == 0)
		tcp_pcb_ack_now(pcb); // nothing new, or a probe of a closed window
	else if (t->seq == pcb->rcv_nxt)
		text_in_sequence(pcb, a, t);
	else
		text_early(pcb, a, t);
}

// The peer's FIN is next. Text before it has to be in memory of our own: it could not be forgotten
// any more once the state has changed.
static void fin_process(struct tcp_pcb *pcb)
{
	if (!tcp_recvq_settle(pcb))
		return; // no memory; the peer sends both again
	// A peer that contradicts itself may have sent text from behind its FIN.
	tcp_reassembly_clear(pcb);
	pcb->flags &= ~(uint32_t)TCP_PCB_EARLY_FIN;
	pcb->flags |= TCP_PCB_EOF;
	pcb->rcv_nxt++;
	if (pcb->flags & TCP_PCB_MANUAL_ACK)
		pcb->recvq.held++;
	else
		tcp_pcb_ack_now(pcb);
	tcp_pcb_raise(pcb, TCP_EVENT_EOF);
	switch (pcb->state) {
	case TCP_ESTABLISHED:
		tcp_pcb_set_state(pcb, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT_1: // our FIN is not acknowledged, or it would be FIN-WAIT-2
		tcp_pcb_set_state(pcb, TCP_CLOSING);
		break;
	case TCP_FIN_WAIT_2:
		tcp_pcb_enter_time_wait(pcb);
		break;
	default:
		break;
	}
}

static bool fin_is_next(const struct tcp_pcb *pcb)
{
	return (pcb->flags & TCP_PCB_EARLY_FIN) && pcb->rcv_nxt == pcb->rcv_fin &&
	       tcp_state_receives(pcb->state);
}

// Text in sequence goes before early text, which the peer still has: it is not acknowledged.
static bool settle_at_any_price(struct tcp_pcb *pcb)
{
	while (!tcp_recvq_settle(pcb))
		if (!tcp_reassembly_shrink(pcb))
			return false;
	return true;
}

void tcp_text_settle(struct tcp_pcb *pcb)
{
	if (pcb->recvq.borrowed && !settle_at_any_price(pcb)) {
		tcp_recvq_roll_back(pcb);
		pcb->flags |= TCP_PCB_ACK_NOW;
	}
	// Both are late only when there was no memory to settle what precedes them.
	if (pcb->recvq.early && tcp_reassembly_join(pcb)) {
		pcb->flags |= TCP_PCB_ACK_NOW;
		tcp_pcb_raise(pcb, TCP_EVENT_READABLE);
	}
	if (fin_is_next(pcb))
		fin_process(pcb);
}

static bool unread_for_ever(const struct tcp_pcb *pcb)
{
	return !(pcb->flags & (TCP_PCB_OWNED | TCP_PCB_ABORT_LATER));
}

void tcp_input_text(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	const struct tcp_segment *seg = &a->seg;
	struct text t;

	// After the peer's FIN there is nothing to follow.
	if (!tcp_state_receives(pcb->state) || (pcb->flags & TCP_PCB_EOF))
		return;
	t = text_trim(pcb, seg);
	tcp_sack_duplicate(pcb, seg->seq, seg->seq + t.skip);
	if (t.length > 0 && unread_for_ever(pcb)) {
		tcp_emit_reset(pcb);
		tcp_pcb_finish(pcb, 0);
		return;
	}
	if (seg->length > 0)
		text_process(pcb, a, &t);
	if ((seg->flags & TCP_FLAG_FIN) && t.whole) {
		pcb->flags |= TCP_PCB_EARLY_FIN;
		pcb->rcv_fin = seg->seq + seg->length;
		if (pcb->rcv_nxt != pcb->rcv_fin)
			tcp_pcb_ack_now(pcb);
	}
	if (fin_is_next(pcb))
		fin_process(pcb);
}
