// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Opening: listen, connect, accept and its kin (RFC 9293 3.10.1); initial sequence numbers
// (RFC 6528); when a TIME-WAIT may give way (RFC 9293 3.6.1, RFC 6191). The third
// constructor, from a handshake seen on the wire, belongs here. Runs on the worker.

#include "tcp/ecn.h"
#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/assert.h"
#include "base/random.h"

#include <errno.h>
#include <string.h>

// How far behind the old connection's last octet a new ISN lies at least.
#define ISN_GAP 65536u

static bool address_is_any(const struct net_address *a)
{
	return (a->halves[0] | a->halves[1]) == 0;
}

int tcp_listen(struct tcp_stack *stack, const struct net_endpoint *local, void *user,
	struct tcp_pcb **ret_listener)
{
	static const struct net_endpoint any;
	struct tcp_pcb *pcb;

	if (tcp_table_find(stack, local, &any))
		return -EADDRINUSE;
	pcb = tcp_pcb_alloc(stack);
	if (!pcb)
		return -ENOMEM;
	tcp_pcb_set_endpoints(pcb, local, &any);
	pcb->user = user;
	pcb->flags = TCP_PCB_OWNED | TCP_PCB_LISTENER;
	tcp_pcb_set_state(pcb, TCP_LISTEN);
	tcp_table_insert(pcb);
	*ret_listener = pcb;
	return 0;
}

int tcp_pcb_open_path(struct tcp_pcb *pcb)
{
	const struct net_address local = pcb->path.local;
	const struct net_address remote = pcb->path.remote;
	int err = net_path_open(pcb->stack->net, &local, &remote, &pcb->path);

	if (err)
		return err;
	pcb->flags |= TCP_PCB_PATH_OPEN;
	tcp_mss_update(pcb);
	return 0;
}

// What goes into the hash of ISNs and timestamp offsets: no padding.
struct tuple {
	struct net_address local, remote;
	uint16_t local_port, remote_port;
	uint32_t purpose;
};

static uint32_t tuple_hash(const struct tcp_pcb *pcb, uint32_t purpose)
{
	struct tuple tuple = {
		.local = pcb->path.local,
		.remote = pcb->path.remote,
		.local_port = pcb->local_port,
		.remote_port = pcb->remote_port,
		.purpose = purpose,
	};

	return (uint32_t)siphash_2_4(pcb->stack->config.secret, &tuple, sizeof(tuple));
}

void tcp_pcb_choose_isn(struct tcp_pcb *pcb, const uint32_t *beyond)
{
	uint32_t iss = (uint32_t)(pcb->stack->now_us / 4) + tuple_hash(pcb, 0);

	// A connection faster than the clock may have run ahead of it.
	if (beyond && seq_lt(iss, *beyond))
		iss = *beyond;
	pcb->iss = pcb->snd_una = pcb->snd_nxt = pcb->snd_max = iss;
	pcb->ts_offset = tuple_hash(pcb, 1);
}

void tcp_pcb_learn_syn(struct tcp_pcb *pcb, const struct tcp_segment *syn)
{
	const struct tcp_config *config = &pcb->stack->config;
	const struct tcp_options *options = &syn->options;
	bool adopted = (pcb->flags & TCP_PCB_ADOPTED) != 0;

	pcb->irs = syn->seq;
	// What a SYN of ours has advertised was relative to the unknown.
	pcb->rcv_adv = syn->seq + 1 + (pcb->rcv_adv - pcb->rcv_nxt);
	pcb->rcv_nxt = syn->seq + 1;
	pcb->last_ack_sent = pcb->rcv_nxt;
	pcb->snd_wnd = pcb->snd_wnd_max = syn->wnd; // never scaled in a SYN
	pcb->snd_wl1 = syn->seq;
	pcb->snd_wl2 = syn->ack;
	pcb->peer_mss = options->present & TCP_OPTION_MSS ? options->mss : 0;
	if (options->present & TCP_OPTION_WSCALE) {
		pcb->flags |= TCP_PCB_WSCALE;
		pcb->snd_wscale = options->wscale;
		pcb->rcv_wscale = pcb->stack->rcv_wscale;
	}
	// Of an adopted connection everything has been settled by others.
	if ((options->present & TCP_OPTION_SACK_PERMITTED) && (config->sack || adopted))
		pcb->flags |= TCP_PCB_SACK;
	tcp_ecn_learn_syn(pcb, syn);
	if ((options->present & TCP_OPTION_TIMESTAMPS) && (config->timestamps || adopted)) {
		pcb->flags |= TCP_PCB_TIMESTAMPS;
		pcb->ts_recent = options->tsval;
		pcb->ts_recent_ms = pcb->stack->now_ms;
	}
	tcp_mss_update(pcb);
}

// Out of the way of a new incarnation; its user, if any, keeps what is left of it.
static void time_wait_retire(struct tcp_pcb *pcb, uint32_t *ret_beyond)
{
	*ret_beyond = pcb->snd_max + ISN_GAP;
	tcp_count(pcb->stack, TCP_COUNTER_TIME_WAIT_REUSED);
	tcp_pcb_finish(pcb, 0);
}

// RFC 6191 2.
static bool syn_is_later(const struct tcp_pcb *pcb, const struct tcp_segment *syn)
{
	if (syn->options.present & TCP_OPTION_TIMESTAMPS) {
		// Segments of an incarnation without timestamps could not be taken for the new
		// one's.
		if (!(pcb->flags & TCP_PCB_TIMESTAMPS) ||
			seq_gt(syn->options.tsval, pcb->ts_recent))
			return true;
		if (syn->options.tsval != pcb->ts_recent)
			return false;
	}
	return seq_gt(syn->seq, pcb->rcv_nxt);
}

bool tcp_time_wait_reuse(struct tcp_pcb *pcb, const struct tcp_segment *syn, uint32_t *ret_beyond)
{
	if (!syn_is_later(pcb, syn))
		return false;
	time_wait_retire(pcb, ret_beyond);
	return true;
}

// Our own TIME-WAIT, for a connection we open: timestamps keep the old one's segments apart, once
// the clock has ticked.
static bool own_time_wait_reuse(struct tcp_pcb *pcb, uint32_t *ret_beyond)
{
	if (pcb->state != TCP_TIME_WAIT || !(pcb->flags & TCP_PCB_TIMESTAMPS) ||
		pcb->stack->now_ms == pcb->ts_recent_ms)
		return false;
	time_wait_retire(pcb, ret_beyond);
	return true;
}

// Makes the 4-tuple free, or finds an ephemeral port with which it is. *ret_beyond is set when a
// TIME-WAIT was reused; true then.
static int tuple_claim(struct tcp_stack *stack, struct net_endpoint *local,
	const struct net_endpoint *remote, const struct tcp_connect_options *options,
	uint32_t *ret_beyond, bool *ret_reused)
{
	bool choosy = options && options->port_suits;
	struct tcp_pcb *old;
	uint32_t start;

	*ret_reused = false;
	if (local->port != 0) {
		old = tcp_table_find(stack, local, remote);
		if (!old)
			return 0;
		*ret_reused = own_time_wait_reuse(old, ret_beyond);
		return *ret_reused ? 0 : -EADDRINUSE;
	}
	start = random_below(stack->rng, NET_EPHEMERAL_COUNT);
	for (uint32_t i = 0; i < NET_EPHEMERAL_COUNT; i++) {
		local->port = (uint16_t)(NET_EPHEMERAL_FIRST + (start + i) % NET_EPHEMERAL_COUNT);
		if (choosy && !options->port_suits(options->port_ctx, local, remote))
			continue;
		if (!tcp_table_find(stack, local, remote))
			return 0;
	}
	return -EADDRINUSE;
}

static int connect_start(
	struct tcp_pcb *pcb, const struct tcp_connect_options *options, const uint32_t *beyond)
{
	int err = tcp_pcb_open_path(pcb);

	if (err)
		return err;
	if (options && options->hold_ack)
		pcb->flags |= TCP_PCB_HOLD_ACK;
	if (options && options->no_delay)
		pcb->flags |= TCP_PCB_NO_DELAY;
	pcb->syn_retries = options && options->syn_retries
				   ? options->syn_retries
				   : (uint8_t)pcb->stack->config.syn_retries;
	tcp_pcb_choose_isn(pcb, beyond);
	tcp_pcb_set_state(pcb, TCP_SYN_SENT);
	tcp_table_insert(pcb);
	tcp_pcb_mark_flush(pcb);
	return 0;
}

int tcp_connect(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct tcp_connect_options *options, void *user,
	struct tcp_pcb **ret_pcb)
{
	struct net_endpoint from = {.address = local->address, .port = local->port};
	uint32_t beyond;
	bool reused;
	struct tcp_pcb *pcb;
	int err;

	if (address_is_any(&from.address)) {
		err = net_source_select(stack->net, &remote->address, &from.address);
		if (err)
			return err;
	}
	err = tuple_claim(stack, &from, remote, options, &beyond, &reused);
	if (err)
		return err;
	pcb = tcp_pcb_alloc(stack);
	if (!pcb)
		return -ENOMEM;
	tcp_pcb_set_endpoints(pcb, &from, remote);
	pcb->user = user;
	err = connect_start(pcb, options, reused ? &beyond : NULL);
	if (err) {
		tcp_pcb_free(pcb);
		return err;
	}
	pcb->flags |= TCP_PCB_OWNED;
	*ret_pcb = pcb;
	return 0;
}

void tcp_accept(struct tcp_pcb *pcb)
{
	// The knock may have been withdrawn meanwhile (RESET is then on its way to the user).
	if (pcb->state != TCP_SYN_DEFERRED)
		return;
	tcp_pcb_set_state(pcb, TCP_SYN_RECEIVED);
	tcp_pcb_mark_flush(pcb);
}

void tcp_confirm(struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_HOLD_ACK))
		return;
	pcb->flags &= ~(uint32_t)TCP_PCB_HOLD_ACK;
	if (pcb->state >= TCP_ESTABLISHED)
		tcp_pcb_ack_now(pcb);
}
