// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ending a connection: shutdown, close, abort, refuse (RFC 9293 3.10.4 and 3.10.5,
// RFC 2525 2.17). All but tcp_shutdown() end the user's ownership. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/assert.h"

// The states of the RFC change when the FIN is queued; it is sent behind all text.
static void fin_queue(struct tcp_pcb *pcb)
{
	if (pcb->flags & TCP_PCB_FIN_QUEUED)
		return;
	pcb->flags |= TCP_PCB_FIN_QUEUED;
	if (pcb->state == TCP_ESTABLISHED)
		tcp_pcb_set_state(pcb, TCP_FIN_WAIT_1);
	else if (pcb->state == TCP_CLOSE_WAIT)
		tcp_pcb_set_state(pcb, TCP_LAST_ACK);
	tcp_pcb_mark_flush(pcb);
}

void tcp_shutdown(struct tcp_pcb *pcb)
{
	if (pcb->state != TCP_CLOSED && pcb->state != TCP_LISTEN)
		fin_queue(pcb);
}

void tcp_refuse(struct tcp_pcb *pcb)
{
	const struct tcp_segment syn = {
		.source = pcb->remote_port,
		.destination = pcb->local_port,
		.seq = pcb->irs,
		.flags = TCP_FLAG_SYN,
	};

	if (pcb->state == TCP_SYN_DEFERRED)
		tcp_emit_reset_to(pcb->stack, &pcb->path, &syn);
	tcp_pcb_disown(pcb);
	tcp_pcb_finish(pcb, 0);
}

void tcp_abort(struct tcp_pcb *pcb)
{
	switch (pcb->state) {
	case TCP_SYN_DEFERRED:
		tcp_refuse(pcb);
		return;
	case TCP_CLOSED:
	case TCP_LISTEN:
	case TCP_SYN_SENT:
	case TCP_TIME_WAIT:
		break;
	default:
		tcp_emit_reset(pcb);
	}
	tcp_pcb_disown(pcb);
	tcp_pcb_finish(pcb, 0);
}

// Whatever is under way has this long to arrive.
static void linger(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;

	pcb->linger_until_ms = stack->now_ms + pcb->linger_s * 1000u;
	if (pcb->timer == TCP_TIMER_REXMIT || pcb->timer == TCP_TIMER_PERSIST)
		tcp_timer_set(pcb, pcb->timer, pcb->timer_us - stack->now_us);
}

void tcp_close(struct tcp_pcb *pcb)
{
	// A peer whose text nobody read must not think that it was (RFC 2525 2.17).
	if (pcb->state < TCP_SYN_RECEIVED || pcb->unread > 0 ||
		((pcb->flags & TCP_PCB_LINGER) && pcb->linger_s == 0)) {
		tcp_abort(pcb);
		return;
	}
	tcp_pcb_disown(pcb);
	tcp_recv_release(pcb);
	fin_queue(pcb);
	if (pcb->flags & TCP_PCB_LINGER)
		linger(pcb);
	if (pcb->state == TCP_FIN_WAIT_2)
		tcp_timer_set(pcb, TCP_TIMER_FIN_WAIT, pcb->stack->config.fin_wait_us);
}

void tcp_abort_if_sent(struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_ABORT_LATER) || tcp_sendq_unsent(&pcb->sendq) > 0)
		return;
	tcp_emit_reset(pcb);
	tcp_pcb_finish(pcb, 0);
}

void tcp_abort_after_send(struct tcp_pcb *pcb)
{
	if (pcb->sendq.bytes == 0 || pcb->state == TCP_SYN_DEFERRED) {
		tcp_abort(pcb);
		return;
	}
	tcp_pcb_disown(pcb);
	pcb->flags |= TCP_PCB_ABORT_LATER;
	tcp_recvq_clear(pcb);
	tcp_pcb_mark_flush(pcb);
}
