// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The third constructor: a connection that two others have opened, taken over in the place of one
// of them. Nothing is sent; the sequence space, the options, the windows and the timestamp clock go
// on where that end has left them (RFC 9293 3.5, RFC 7323 5.4). And what comes for those that are
// there no more. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/assert.h"
#include "base/random.h"
#include "net/net.h"

#include <rte_mbuf.h>

#include <errno.h>

// What both ends have offered holds; as a SYN of the peer's would tell it.
static struct tcp_segment negotiated(const struct tcp_adoption *adoption)
{
	const struct tcp_adopted_end *self = &adoption->self;
	const struct tcp_adopted_end *peer = &adoption->peer;
	struct tcp_segment syn = {.seq = peer->isn, .flags = TCP_FLAG_SYN};

	if (peer->mss != 0) {
		syn.options.present |= TCP_OPTION_MSS;
		syn.options.mss = peer->mss;
	}
	if (self->has_wscale && peer->has_wscale) {
		syn.options.present |= TCP_OPTION_WSCALE;
		syn.options.wscale = peer->wscale;
	}
	if (self->sack_permitted && peer->sack_permitted)
		syn.options.present |= TCP_OPTION_SACK_PERMITTED;
	if (self->timestamps && peer->timestamps) {
		syn.options.present |= TCP_OPTION_TIMESTAMPS;
		syn.options.tsval = peer->tsval;
	}
	return syn;
}

static void windows_continue(struct tcp_pcb *pcb, const struct tcp_adoption *adoption)
{
	if (pcb->flags & TCP_PCB_WSCALE)
		pcb->rcv_wscale = adoption->self.wscale;
	pcb->rcv_adv = seq_max(adoption->self.right_edge, pcb->rcv_nxt);
	pcb->snd_wnd = seq_max(adoption->peer.right_edge, pcb->snd_una) - pcb->snd_una;
	pcb->snd_wnd_max = pcb->snd_wnd;
	pcb->snd_wl1 = adoption->peer.isn;
	pcb->snd_wl2 = pcb->snd_una;
}

static void twins_join(struct tcp_pcb *pcb, struct tcp_pcb *twin)
{
	if (!twin)
		return;
	ASSERT((twin->flags & TCP_PCB_ADOPTED) && !twin->twin_index);
	pcb->twin_index = tcp_pcb_index(twin);
	twin->twin_index = tcp_pcb_index(pcb);
}

int tcp_adopt(struct tcp_stack *stack, const struct tcp_adoption *adoption,
	const struct net_path *path, void *user, struct tcp_pcb **ret_pcb)
{
	const struct tcp_adopted_end *self = &adoption->self;
	const struct tcp_segment syn = negotiated(adoption);
	struct tcp_pcb *pcb;

	if (tcp_table_find(stack, &self->endpoint, &adoption->peer.endpoint))
		return -EADDRINUSE;
	pcb = tcp_pcb_alloc(stack);
	if (!pcb)
		return -ENOMEM;
	pcb->path = *path;
	tcp_pcb_set_endpoints(pcb, &self->endpoint, &adoption->peer.endpoint);
	pcb->user = user;
	pcb->flags |= TCP_PCB_ADOPTED | TCP_PCB_PATH_OPEN;
	pcb->iss = self->isn;
	pcb->snd_una = pcb->snd_nxt = pcb->snd_max = self->isn + 1;
	pcb->ts_offset = self->tsval;
	tcp_pcb_learn_syn(pcb, &syn);
	if (self->ecn && adoption->peer.ecn)
		pcb->flags |= TCP_PCB_ECN;
	windows_continue(pcb, adoption);
	twins_join(pcb, adoption->twin);
	tcp_table_insert(pcb);
	tcp_pcb_established(pcb); // no event: the user knows, and owns it only from here on
	pcb->flags |= TCP_PCB_OWNED;
	*ret_pcb = pcb;
	return 0;
}

void tcp_adopted_clock(struct tcp_pcb *pcb, uint32_t tsval)
{
	if (pcb->flags & TCP_PCB_ADOPTED)
		pcb->ts_offset = seq_max(pcb->ts_offset, tsval);
}

// --- where the peer is ---------------------------------------------------------------------------

bool tcp_plausible(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct tcp_segment *segment)
{
	const struct tcp_pcb *pcb = tcp_table_find(stack, local, remote);
	uint32_t behind;

	if (!pcb || (segment->flags & (TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_ACK)) != TCP_FLAG_ACK)
		return false;
	if ((pcb->flags & TCP_PCB_TIMESTAMPS) &&
		(!(segment->options.present & TCP_OPTION_TIMESTAMPS) ||
			seq_lt(segment->options.tsval, pcb->ts_recent)))
		return false;
	behind = tcp_receive_buffer(pcb) + pcb->recvq.held;
	return seq_ge(segment->ack, pcb->snd_una) && seq_le(segment->ack, pcb->snd_max) &&
	       seq_ge(segment->seq, pcb->rcv_nxt - behind) && seq_le(segment->seq, pcb->rcv_adv);
}

void tcp_reroute(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct net_path *path)
{
	struct tcp_pcb *pcb = tcp_table_find(stack, local, remote);
	struct net_path old = *path;

	if (pcb) {
		old = pcb->path;
		pcb->path = *path;
		if (old.mtu < pcb->path.mtu)
			pcb->path.mtu = old.mtu;
		tcp_mss_update(pcb);
	}
	net_path_close(&old);
}

// --- after the end -------------------------------------------------------------------------------

enum tcp_presence tcp_presence(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	const struct tcp_pcb *pcb = tcp_table_find(stack, local, remote);

	if (!pcb)
		return TCP_ABSENT;
	return pcb->flags & TCP_PCB_OWNED ? TCP_OWNED : TCP_ORPHAN;
}

void tcp_forget(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	struct tcp_pcb *pcb = tcp_table_find(stack, local, remote);

	if (!pcb)
		return;
	if (pcb->flags & TCP_PCB_OWNED)
		tcp_pcb_disown(pcb);
	tcp_pcb_finish(pcb, 0);
}

void tcp_stray_reset(
	struct tcp_stack *stack, struct net_path *path, const struct net_delivery *delivery)
{
	const struct rte_mbuf *m = delivery->m;
	struct tcp_segment seg;

	tcp_count_drop(stack, TCP_DROP_NO_CONNECTION);
	if (!tcp_segment_decode(rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len),
		    m->data_len - (uint32_t)m->l3_len, m->pkt_len - (uint32_t)m->l3_len, &seg) ||
		(seg.flags & TCP_FLAG_RST))
		return;
	if (tcp_limit_take(&stack->resets, stack->now_us))
		tcp_emit_reset_to(stack, path, &seg);
	else
		tcp_count(stack, TCP_COUNTER_RESETS_SUPPRESSED);
}

void tcp_stray_ask(
	struct tcp_stack *stack, struct net_path *path, uint16_t local_port, uint16_t remote_port)
{
	const struct tcp_segment question = {
		.source = local_port,
		.destination = remote_port,
		.seq = (uint32_t)random_next(stack->rng),
		.ack = (uint32_t)random_next(stack->rng),
		.flags = TCP_FLAG_ACK,
	};

	tcp_emit_bare(stack, path, &question);
}
