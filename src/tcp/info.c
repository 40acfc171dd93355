// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Looking in: what a connection and a stack look like from outside. Runs on the worker,
// except for the counters, which anybody may read.

#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/stack.h"

void *tcp_pcb_user(const struct tcp_pcb *pcb)
{
	return pcb->user;
}

void tcp_pcb_set_user(struct tcp_pcb *pcb, void *user)
{
	pcb->user = user;
}

enum tcp_unreachable tcp_pcb_unreachable(const struct tcp_pcb *pcb)
{
	return (enum tcp_unreachable)pcb->unreachable;
}

struct tcp_pcb *tcp_pcb_listener(const struct tcp_pcb *pcb)
{
	struct tcp_pcb *listener;

	if ((pcb->flags & TCP_PCB_ADOPTED) || pcb->listener_index == 0)
		return NULL;
	// A listener that its user has closed is there only for its children.
	listener = tcp_pcb_at(pcb->stack, pcb->listener_index);
	return listener->state == TCP_LISTEN ? listener : NULL;
}

struct net_endpoint tcp_pcb_local(const struct tcp_pcb *pcb)
{
	return (struct net_endpoint){.address = pcb->path.local, .port = pcb->local_port};
}

struct net_endpoint tcp_pcb_remote(const struct tcp_pcb *pcb)
{
	return (struct net_endpoint){.address = pcb->path.remote, .port = pcb->remote_port};
}

void tcp_pcb_info(const struct tcp_pcb *pcb, struct tcp_info *ret_info)
{
	*ret_info = (struct tcp_info){
		.state = pcb->state,
		.local = tcp_pcb_local(pcb),
		.remote = tcp_pcb_remote(pcb),
		.snd_una = pcb->snd_una,
		.snd_nxt = pcb->snd_max,
		.snd_wnd = pcb->snd_wnd,
		.rcv_nxt = pcb->rcv_nxt,
		.rcv_wnd = seq_gt(pcb->rcv_adv, pcb->rcv_nxt) ? pcb->rcv_adv - pcb->rcv_nxt : 0,
		.cwnd = pcb->cwnd,
		.ssthresh = pcb->ssthresh,
		.mss = pcb->mss,
		.srtt_us = pcb->srtt_us,
		.rttvar_us = pcb->rttvar_us,
		.rto_us = (uint32_t)tcp_rtt_timeout_us(pcb),
		.backoff = pcb->backoff,
		.in_flight = pcb->snd_max - pcb->snd_una,
		.queued = pcb->sendq.bytes,
		.unread = pcb->unread,
		.held = pcb->recvq.held > 0 ? (uint32_t)pcb->recvq.held : 0,
		.bytes_in = pcb->bytes_in,
		.bytes_out = pcb->bytes_out,
		.retransmits = pcb->retransmits,
		.pipe = tcp_flight_pipe(pcb),
		.sack = (pcb->flags & TCP_PCB_SACK) != 0,
		.timestamps = (pcb->flags & TCP_PCB_TIMESTAMPS) != 0,
		.ecn = (pcb->flags & TCP_PCB_ECN) != 0,
		.recovery = (pcb->flags & TCP_PCB_RECOVERY) != 0,
		.congestion = pcb->congestion,
	};
}

struct counter_set tcp_counters(const struct tcp_stack *stack)
{
	return tcp_counter_set(stack->counters);
}

void tcp_stack_usage(const struct tcp_stack *stack, struct tcp_usage *ret_usage)
{
	*ret_usage = (struct tcp_usage){
		.pcbs = stack->pcbs_used,
		.pcbs_max = stack->config.connections_max,
		.pieces = stack->pieces.pieces,
		.pieces_max = stack->pieces.pieces_max,
		.pcb_bytes =
			(uint32_t)(sizeof(struct tcp_pcb) +
				   tcp_table_bytes(&stack->table) / stack->config.connections_max),
		.piece_bytes = sizeof(struct tcp_piece),
	};
}
