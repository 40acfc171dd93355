// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One segment out: header built anew for each transmission, text put behind it (frame.c),
// handed to the path. ACK and RST may use the reserved frames. Runs on the worker.

#include "tcp/ecn.h"
#include "tcp/pcb.h"
#include "tcp/frame.h"
#include "tcp/sack.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/random.h"
#include "base/sum.h"

#include <rte_byteorder.h>
#include <rte_mbuf.h>

// A challenge ACK per connection at most this often (RFC 5961 7): a global limit alone would let
// one connection learn of another's.
#define CHALLENGE_INTERVAL_MS 100u

uint16_t tcp_window_of_syn(const struct tcp_pcb *pcb)
{
	uint32_t wnd = tcp_recvq_edge(pcb) - pcb->rcv_nxt;

	if (wnd > UINT16_MAX)
		wnd = UINT16_MAX;
	// Whole units of the scale, so that a later ACK can repeat exactly this edge.
	return (uint16_t)(wnd & ~((1u << pcb->stack->rcv_wscale) - 1));
}

// The window field of the next segment; moves the advertised right edge. Rounding to the scale goes
// up where the edge would shrink otherwise.
static uint16_t window_advertise(struct tcp_pcb *pcb, bool syn)
{
	uint8_t shift = syn ? 0 : pcb->rcv_wscale; // never scaled in a SYN (RFC 7323 2.2)
	uint32_t edge = tcp_recvq_edge(pcb);
	uint32_t from = tcp_pcb_ack(pcb);
	uint32_t wnd = syn ? tcp_window_of_syn(pcb) : (edge - from) >> shift;

	if (wnd > UINT16_MAX)
		wnd = UINT16_MAX;
	if (!syn && seq_lt(from + (wnd << shift), pcb->rcv_adv) && wnd < UINT16_MAX)
		wnd++;
	pcb->rcv_adv = seq_max(pcb->rcv_adv, from + (wnd << shift));
	return (uint16_t)wnd;
}

// The options of a SYN: what we offer, in a SYN-ACK what the peer offered too.
static void syn_options(const struct tcp_pcb *pcb, uint8_t flags, struct tcp_options *options)
{
	options->present |= TCP_OPTION_MSS;
	options->mss = tcp_mss_announced(pcb);
	options->wscale = pcb->stack->rcv_wscale;
	if (flags & TCP_FLAG_ACK) {
		options->present |= pcb->flags & TCP_PCB_WSCALE ? TCP_OPTION_WSCALE : 0;
		options->present |= pcb->flags & TCP_PCB_SACK ? TCP_OPTION_SACK_PERMITTED : 0;
		return;
	}
	options->present |= TCP_OPTION_WSCALE;
	options->present |= pcb->stack->config.timestamps ? TCP_OPTION_TIMESTAMPS : 0;
	options->present |= pcb->stack->config.sack ? TCP_OPTION_SACK_PERMITTED : 0;
}

uint32_t tcp_pcb_timestamp(const struct tcp_pcb *pcb)
{
	return pcb->ts_offset + (pcb->flags & TCP_PCB_ADOPTED ? 0 : pcb->stack->now_ms);
}

static void options_fill(const struct tcp_pcb *pcb, uint8_t flags, struct tcp_options *options)
{
	if (pcb->flags & TCP_PCB_TIMESTAMPS)
		options->present |= TCP_OPTION_TIMESTAMPS;
	if (flags & TCP_FLAG_SYN)
		syn_options(pcb, flags, options);
	options->tsval = tcp_pcb_timestamp(pcb);
	options->tsecr = flags & TCP_FLAG_ACK ? pcb->ts_recent : 0;
}

static uint32_t be32(uint32_t high, uint32_t low)
{
	return rte_cpu_to_be_32(high << 16 | low);
}

// The header of a segment with no options but perhaps timestamps, which is nearly every one, and
// its sum. Words go from registers to the frame and into the sum: what was just written in parts
// cannot be read back at once without a stall.
static uint16_t plain_header(const struct tcp_pcb *pcb, uint32_t seq, uint8_t flags, uint16_t wnd,
	uint32_t *words, uint16_t *ret_sum)
{
	bool timestamps = (pcb->flags & TCP_PCB_TIMESTAMPS) != 0;
	bool ack = (flags & TCP_FLAG_ACK) != 0;
	uint16_t length = TCP_HEADER_MIN + (timestamps ? TCP_TIMESTAMPS_SIZE : 0);
	uint64_t sum = 0;

	sum += words[0] = be32(pcb->local_port, pcb->remote_port);
	sum += words[1] = rte_cpu_to_be_32(seq);
	sum += words[2] = ack ? rte_cpu_to_be_32(tcp_pcb_ack(pcb)) : 0;
	sum += words[3] = be32((uint32_t)length / 4 << 12 | flags, wnd);
	words[4] = 0; // checksum, urgent pointer
	if (timestamps) {
		sum += words[5] = rte_cpu_to_be_32(TCP_TIMESTAMPS_PREFIX);
		sum += words[6] = rte_cpu_to_be_32(tcp_pcb_timestamp(pcb));
		sum += words[7] = ack ? rte_cpu_to_be_32(pcb->ts_recent) : 0;
	}
	*ret_sum = sum_fold(sum);
	return length;
}

// The header of a SYN, or of an ACK that reports what came early.
static uint16_t optioned_header(struct tcp_pcb *pcb, uint32_t seq, uint8_t flags, uint16_t wnd,
	uint8_t *header, uint16_t *ret_sum)
{
	struct tcp_segment seg = {
		.source = pcb->local_port,
		.destination = pcb->remote_port,
		.seq = seq,
		.ack = flags & TCP_FLAG_ACK ? tcp_pcb_ack(pcb) : 0,
		.wnd = wnd,
		.flags = flags,
	};
	uint16_t length;

	options_fill(pcb, flags, &seg.options);
	if (!(flags & TCP_FLAG_SYN))
		tcp_sack_report(pcb, &seg.options);
	length = (uint16_t)tcp_segment_encode(header, &seg);
	*ret_sum = sum_bytes(header, length);
	return length;
}

static void frame_send(struct tcp_stack *stack, struct net_path *path, struct rte_mbuf *m,
	uint16_t sum, uint8_t ecn)
{
	tcp_count(stack, TCP_COUNTER_SEGMENTS_OUT);
	net_path_send_summed(path, m, sum, ecn, stack->now_us);
}

// Less text than was asked for when the frame cannot hold it all.
static void text_reserve(struct tcp_pcb *pcb, struct tcp_emission *e, struct tcp_frame *frame)
{
	uint32_t length = tcp_frame_reserve(frame, e->from, e->length, pcb->mss);

	if (length < e->length) // what ended the text does not end this part of it
		e->flags &= (uint8_t) ~(TCP_FLAG_PSH | TCP_FLAG_FIN);
	e->length = length;
}

// The text follows the header. Longer than a segment it is for the device to cut (TSO).
static void text_add(
	struct tcp_pcb *pcb, struct tcp_emission *e, struct tcp_frame *frame, uint16_t *sum)
{
	bool hardware = frame->netif->caps.tx_tcp_checksum;

	e->from = tcp_frame_fill(frame, e->from, e->length, hardware ? NULL : sum);
	if (e->length <= pcb->mss)
		return;
	frame->m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	frame->m->tso_segsz = pcb->mss;
	tcp_count(pcb->stack, TCP_COUNTER_TSO_FRAMES);
	counter_add(&pcb->stack->counters[TCP_COUNTER_SEGMENTS_OUT], (e->length - 1) / pcb->mss);
}

// `report`: early text is to be reported, but this segment could not.
static void acknowledged(struct tcp_pcb *pcb, bool report)
{
	pcb->last_ack_sent = tcp_pcb_ack(pcb);
	if (report)
		return;
	pcb->rcv_segs = 0;
	pcb->delack_us = 0;
	pcb->flags &=
		~(uint32_t)(TCP_PCB_ACK_OWED | TCP_PCB_ACK_NOW | TCP_PCB_HOLD_ACK | TCP_PCB_PUSHED);
}

bool tcp_emit(struct tcp_pcb *pcb, struct tcp_emission *e)
{
	bool syn = (e->flags & TCP_FLAG_SYN) != 0;
	bool ack = (e->flags & TCP_FLAG_ACK) != 0;
	uint8_t flags, ecn = TCP_ECN_NOT_ECT;
	struct tcp_frame frame;
	struct rte_mbuf *m;
	uint16_t sum, wnd;
	void *header;
	bool report;

	if (!tcp_frame_begin(
		    &frame, pcb->path.netif, pcb->stack->config.reference_least, e->control))
		return false;
	if (e->length > 0)
		text_reserve(pcb, e, &frame);
	flags = e->flags;
	m = frame.m;
	// SACK blocks take no room from text: an ACK of its own carries them.
	report = ack && !syn && tcp_sack_pending(pcb);
	wnd = window_advertise(pcb, syn);
	if (syn)
		flags |= tcp_ecn_syn_flags(pcb, e->flags);
	else if (pcb->flags & TCP_PCB_ECN)
		flags |= tcp_ecn_flags(pcb, e->seq, e->length, &ecn);
	header = rte_pktmbuf_mtod(m, void *);
	if (syn || (report && e->length == 0))
		m->data_len = optioned_header(pcb, e->seq, flags, wnd, header, &sum);
	else
		m->data_len = plain_header(pcb, e->seq, flags, wnd, header, &sum);
	m->l4_len = m->pkt_len = m->data_len;
	if (e->length > 0)
		text_add(pcb, e, &frame, &sum);
	if (ack)
		acknowledged(pcb, report && e->length > 0);
	frame_send(pcb->stack, &pcb->path, m, sum, ecn);
	return true;
}

bool tcp_emit_ack(struct tcp_pcb *pcb)
{
	// SND.NXT of the RFC is the highest: after a timeout ours is behind. But the octet that
	// probes a closed window does not count: behind it, an ACK would be out of the peer's
	// window.
	bool probing = pcb->snd_wnd == 0 && pcb->snd_nxt == pcb->snd_una;
	struct tcp_emission e = {
		.seq = probing ? pcb->snd_nxt : pcb->snd_max,
		.flags = TCP_FLAG_ACK,
		.control = true,
	};

	return tcp_emit(pcb, &e);
}

void tcp_emit_keep_alive(struct tcp_pcb *pcb)
{
	struct tcp_emission e = {.seq = pcb->snd_una - 1, .flags = TCP_FLAG_ACK, .control = true};

	tcp_count(pcb->stack, TCP_COUNTER_KEEP_ALIVES);
	tcp_emit(pcb, &e);
}

void tcp_emit_reset(struct tcp_pcb *pcb)
{
	struct tcp_emission e = {
		.seq = pcb->snd_max,
		.flags = TCP_FLAG_RST | TCP_FLAG_ACK,
		.control = true,
	};

	if (tcp_emit(pcb, &e))
		tcp_count(pcb->stack, TCP_COUNTER_RESETS_SENT);
	else
		tcp_count(pcb->stack, TCP_COUNTER_RESETS_SUPPRESSED);
}

bool tcp_emit_bare(
	struct tcp_stack *stack, struct net_path *path, const struct tcp_segment *segment)
{
	struct tcp_frame frame;
	struct rte_mbuf *m;
	uint8_t *header;

	if (!tcp_frame_begin(&frame, path->netif, 0, true))
		return false;
	m = frame.m;
	header = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = (uint16_t)tcp_segment_encode(header, segment);
	m->l4_len = m->pkt_len = m->data_len;
	frame_send(stack, path, m, sum_bytes(header, m->data_len), TCP_ECN_NOT_ECT);
	return true;
}

void tcp_emit_reset_to(
	struct tcp_stack *stack, struct net_path *path, const struct tcp_segment *seg)
{
	struct tcp_segment reset = {
		.source = seg->destination,
		.destination = seg->source,
		.seq = seg->ack,
		.flags = TCP_FLAG_RST,
	};

	if (!(seg->flags & TCP_FLAG_ACK)) {
		reset.seq = 0;
		reset.ack = seg->seq + tcp_segment_span(seg);
		reset.flags |= TCP_FLAG_ACK;
	}
	if (tcp_emit_bare(stack, path, &reset))
		tcp_count(stack, TCP_COUNTER_RESETS_SENT);
	else
		tcp_count(stack, TCP_COUNTER_RESETS_SUPPRESSED);
}

void tcp_challenge_ack(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;

	// +1: zero means that none was sent yet.
	if ((pcb->challenged_ms &&
		    stack->now_ms + 1 - pcb->challenged_ms < CHALLENGE_INTERVAL_MS) ||
		!tcp_limit_take(&stack->challenges, stack->now_us)) {
		tcp_count(stack, TCP_COUNTER_CHALLENGE_ACKS_SUPPRESSED);
		return;
	}
	// How many are left this second must not be known, or counting them would tell of other
	// connections' (RFC 5961 7 and 10; CVE-2016-5696).
	if (stack->challenges.used == 1)
		stack->challenges.used += random_below(stack->rng, stack->challenges.per_s / 2 + 1);
	pcb->challenged_ms = stack->now_ms + 1;
	tcp_count(stack, TCP_COUNTER_CHALLENGE_ACKS);
	tcp_pcb_ack_now(pcb);
}
