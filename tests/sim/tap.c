// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The tap: rules that every segment an engine sends must keep, whatever the wire does:
// the text is the stream's, nothing lies outside the window the peer has ever offered
// (but for a probe), the right edge never shrinks, timestamps never go back; what the peer
// has acknowledged or SACKed is not sent again, and no more is in the network than the
// congestion window allows, but for one segment.

#include "sim.h"

#include "tcp/counters.h"
#include "tcp/segment.h"
#include "tcp/seq.h"

#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

static unsigned pair_of(unsigned port)
{
	return port - SIM_CLIENTS;
}

static void options_check(const struct sim *sim, struct sim_tap *tap, const struct tcp_segment *seg)
{
	if (seg->options.present & TCP_OPTION_TIMESTAMPS) {
		SIM_CHECK(sim, !tap->ts_known || seq_ge(seg->options.tsval, tap->ts));
		tap->ts_known = true;
		tap->ts = seg->options.tsval;
	}
	if (seg->flags & TCP_FLAG_SYN) {
		SIM_CHECK(sim, !tap->syn_seen || tap->isn == seg->seq);
		tap->syn_seen = true;
		tap->knocked = tap->knocked || !(seg->flags & TCP_FLAG_ACK);
		tap->isn = seg->seq;
		tap->wscale_sent = (seg->options.present & TCP_OPTION_WSCALE) != 0;
		tap->wscale = seg->options.wscale;
	}
}

static void edge_check(const struct sim *sim, struct sim_tap *tap, const struct sim_tap *peer,
	const struct tcp_segment *seg)
{
	bool scaled = !(seg->flags & TCP_FLAG_SYN) && tap->wscale_sent && peer->wscale_sent;
	uint32_t edge = seg->ack + ((uint32_t)seg->wnd << (scaled ? tap->wscale : 0));

	if (!(seg->flags & TCP_FLAG_ACK))
		return;
	SIM_CHECK(sim, !tap->edge_known || seq_ge(edge, tap->edge));
	SIM_CHECK(sim, seq_le(seg->ack, peer->isn + 1) || peer->syn_seen);
	tap->edge_known = true;
	tap->edge = edge;
}

static void text_check(const struct sim *sim, unsigned host, unsigned pair,
	const struct tcp_segment *seg, const uint8_t *text)
{
	const struct sim_app *app = &sim->apps[host][pair];
	uint64_t offset = (uint32_t)(seg->seq - sim->taps[host][pair].isn - 1);

	SIM_CHECK(sim, offset + seg->length <= app->queued);
	for (uint32_t i = 0; i < seg->length; i++)
		if (text[i] != sim_octet(sim, host, pair, offset + i))
			sim_fail(sim, "host %u pair %u: wrong octet at %lu", host, pair,
				(unsigned long)(offset + i));
}

static void fin_check(const struct sim *sim, struct sim_tap *tap, const struct tcp_segment *seg)
{
	uint32_t end = seg->seq + seg->length;

	if (seg->flags & TCP_FLAG_FIN) {
		SIM_CHECK(sim, !tap->fin_seen || tap->fin_seq == end);
		tap->fin_seen = true;
		tap->fin_seq = end;
	}
	SIM_CHECK(sim, !tap->fin_seen || seq_le(end, tap->fin_seq + 1));
}

// What its user has not acknowledged, the host does not.
static void manual_check(
	const struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	const struct sim_app *app = &sim->apps[host][pair];
	uint32_t acked = seg->ack - sim->taps[!host][pair].isn;

	if (app->manual && app->pcb && app->established && acked > app->acknowledged + 1)
		sim_fail(sim, "host %u pair %u: ACK of %u octets, not of %lu", host, pair,
			acked - 1, (unsigned long)app->acknowledged);
}

static void resent_check(
	struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	struct sim_tap *tap = &sim->taps[host][pair];
	const uint64_t *values = tcp_counters(sim->hosts[host].stack).values;
	uint64_t forgotten = values[TCP_COUNTER_TIMEOUTS] + values[TCP_COUNTER_SACKS_FORGOTTEN];
	uint32_t offset = seg->seq - tap->isn - 1;

	if (forgotten != tap->forgotten) {
		tap->forgotten = forgotten;
		if (tap->sacked)
			memset(tap->sacked, 0, tap->sacked_size);
	}
	for (uint32_t i = offset; i < offset + seg->length && i < tap->sacked_size; i++)
		if (tap->sacked[i])
			sim_fail(sim, "host %u pair %u: octet %u was SACKed", host, pair, i);
}

// The first of what is outstanding may be sent again at any time: after a loss was noticed it must.
// So may the last: as a probe.
static void pipe_check(
	const struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	const struct tcp_pcb *pcb = sim->apps[host][pair].pcb;
	struct tcp_info info;

	if (!pcb)
		return;
	tcp_pcb_info(pcb, &info);
	if (!info.sack || seg->seq == info.snd_una ||
		(seq_lt(seg->seq, info.snd_nxt) &&
			seq_ge(seg->seq + seg->length + 1, info.snd_nxt)))
		return;
	if (info.pipe + seg->length > info.cwnd + info.mss)
		sim_fail(sim, "host %u pair %u: %u octets under way and %u more, CWND %u", host,
			pair, info.pipe, seg->length, info.cwnd);
}

static void sacked_note(
	struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	struct sim_tap *tap = &sim->taps[host][pair];
	const struct tcp_options *options = &seg->options;

	for (unsigned i = 0; i < options->sack_count; i++) {
		uint32_t from = options->sack[i].start - tap->isn - 1;
		uint32_t to = options->sack[i].end - tap->isn - 1;

		// The receiver reports only what it was sent.
		SIM_CHECK(sim, from < to && to <= sim->apps[host][pair].queued + 1);
		if (to > tap->sacked_size) {
			tap->sacked = realloc(tap->sacked, 2 * to);
			memset(tap->sacked + tap->sacked_size, 0, 2 * to - tap->sacked_size);
			tap->sacked_size = 2 * to;
		}
		memset(tap->sacked + from, 1, to - from);
	}
}

// Will the engine look at the ACK of this segment? Not when its text came before (RFC 9293
// 3.10.7.4, first) or its timestamp is old (PAWS), and nobody knows what it does after a RST.
static bool accepted(struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	struct sim_tap *tap = &sim->taps[host][pair];
	const struct tcp_pcb *pcb = sim->apps[host][pair].pcb;
	struct tcp_info info;

	if (tap->dead || sim->taps[!host][pair].dead || !pcb ||
		(seg->flags & (TCP_FLAG_ACK | TCP_FLAG_SYN | TCP_FLAG_RST)) != TCP_FLAG_ACK)
		return false;
	if (seg->options.present & TCP_OPTION_TIMESTAMPS) {
		if (tap->echo_known && seq_lt(seg->options.tsval, tap->echo))
			return false;
		tap->echo_known = true;
		tap->echo = seg->options.tsval;
	}
	tcp_pcb_info(pcb, &info);
	return info.sack && seq_ge(seg->seq, info.rcv_nxt);
}

void sim_tap_delivery(struct sim *sim, unsigned host, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct tcp_segment seg;
	unsigned pair;

	if (m->data_len < m->l3_len ||
		!tcp_segment_decode(ip + m->l3_len, (uint32_t)(m->data_len - m->l3_len),
			(uint32_t)(m->pkt_len - m->l3_len), &seg))
		return;
	pair = pair_of(seg.source == SIM_PORT ? seg.destination : seg.source);
	if (accepted(sim, host, pair, &seg) && (seg.options.present & TCP_OPTION_SACK))
		sacked_note(sim, host, pair, &seg);
}

void sim_tap_fini(struct sim_tap *tap)
{
	free(tap->sacked);
}

// NULL for anything but a TCP segment of a pair.
static const uint8_t *tcp_decode(
	const struct sim *sim, const struct rte_mbuf *m, uint8_t *buffer, struct tcp_segment *seg)
{
	const uint8_t *ip = rte_pktmbuf_read(m, 0, m->pkt_len, buffer);
	unsigned pair;

	SIM_CHECK(sim, ip);
	if (ip[9] != 6)
		return NULL;
	SIM_CHECK(sim, tcp_segment_decode(ip + 20, m->pkt_len - 20u, m->pkt_len - 20u, seg));
	pair = pair_of(seg->source == SIM_PORT ? seg->destination : seg->source);
	SIM_CHECK(sim, pair < sim->pairs);
	return ip;
}

void sim_tap_frame(const struct sim *sim, unsigned host, const struct rte_mbuf *m)
{
	uint8_t packet[SIM_FRAME_MAX];
	struct tcp_segment seg;
	unsigned pair;

	if (!tcp_decode(sim, m, packet, &seg) || seg.length == 0)
		return;
	pair = pair_of(seg.source == SIM_PORT ? seg.destination : seg.source);
	if (!sim->taps[host][pair].dead && !(seg.flags & TCP_FLAG_RST))
		pipe_check(sim, host, pair, &seg);
}

void sim_tap_packet(struct sim *sim, unsigned host, const struct rte_mbuf *m)
{
	uint8_t packet[SIM_PACKET_MAX];
	struct tcp_segment seg;
	const uint8_t *ip = tcp_decode(sim, m, packet, &seg);
	struct sim_tap *tap, *peer;
	unsigned pair;

	if (!ip)
		return;
	SIM_CHECK(sim, m->pkt_len <= sim->hosts[host].netif.mtu && (ip[6] & 0x40)); // DF
	pair = pair_of(seg.source == SIM_PORT ? seg.destination : seg.source);
	tap = &sim->taps[host][pair];
	peer = &sim->taps[!host][pair];
	if (sim->verbose)
		sim_trace(sim, host, pair, &seg);
	tap->segments++;
	if (seg.flags & TCP_FLAG_RST)
		tap->dead = true;
	if (tap->dead)
		return;
	options_check(sim, tap, &seg);
	edge_check(sim, tap, peer, &seg);
	fin_check(sim, tap, &seg);
	if (seg.flags & TCP_FLAG_ACK)
		manual_check(sim, host, pair, &seg);
	if (seg.length == 0)
		return;
	text_check(sim, host, pair, &seg, ip + 20 + seg.header_length);
	resent_check(sim, host, pair, &seg);
	SIM_CHECK(sim, peer->edge_known || seg.length == 0);
	SIM_CHECK(sim, seq_le(seg.seq + seg.length, peer->edge + (seg.length == 1)));
}
