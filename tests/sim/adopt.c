// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A bump in the wire in virtual time: it lets a handshake pass, adopts the connection at the
// client's first octet, edits both streams, and neither end may notice.
//
//   client ══ wires ══ net ─ half ┐ edits ┌ half ─ net ══ wires ══ broker
//                     (as broker) └───────┘ (as client)
//
// sim-adopt [--seeds N | --nightly] [--first S] [--without A,B…]. What goes in comes out, edited;
// what the halves send keeps the impersonated ends' ISNs, windows and clocks; and every buffer
// comes back. Every other run acknowledges from end to end: then no end is told that something has
// arrived before the other end has said so, in its own numbers, on the wire.

#include "campaign.h"
#include "sim.h"

#include "attach/passage.h"
#include "base/clock.h"
#include "base/wheel.h"
#include "tcp/segment.h"
#include "tcp/seq.h"

#include <rte_mbuf.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MAX_US (4 * 3600 * US_IN_S)
#define STEPS_MAX   1000000u
#define QUEUE_MAX   20000u
#define CHUNK	    512u

enum { CLIENT, BROKER, ENDS };

// The edits. From the client: of each BLOCK octets the first CUT are taken out. From the broker:
// behind each STRETCH octets a mark is put in.
#define BLOCK	1000u
#define CUT	100u
#define STRETCH 700u
#define MARK	5u

struct node {
	struct bump *bump;
	unsigned index;
	struct net_if netif;
	struct net *net;
};

struct end {
	struct node node;
	struct tcp_stack *stack;
	struct tcp_pcb *listener, *pcb;
	uint64_t to_send, queued, received, abort_at;
	uint64_t nap_us, wakes_us; // it does not read for so long, once
	bool shut, eof, done, broken;
	uint32_t ts; // the latest timestamp it has sent
};

struct half {
	struct node node; // towards the end of its index
	struct tcp_pcb *pcb;
	struct tcp_adopted_end seen; // of that end
	bool syn_seen, ended;
	uint64_t taken; // octets read
	uint32_t edge;	// the highest right edge that was told to that end
	bool edge_known;
	uint32_t ts;
	bool ts_known;
	struct passage passage; // from it to the other one
	uint32_t told;		// the highest ACK of that end
};

// What a run can be spared.
enum dimension {
	LOSS,
	DUPLICATES,
	REORDERING,
	CORRUPTION,
	STALLS,
	SQUEEZES,
	SMALL_BUFFERS,
	NAPS,
	BREAKS,
	END_TO_END,
	DIMENSIONS,
};

static const char *const dimension_names[DIMENSIONS] = {
	[LOSS] = "loss",
	[DUPLICATES] = "duplicates",
	[REORDERING] = "reordering",
	[CORRUPTION] = "corruption",
	[STALLS] = "stalls",
	[SQUEEZES] = "squeezes",
	[SMALL_BUFFERS] = "small-buffers",
	[NAPS] = "naps",
	[BREAKS] = "breaks",
	[END_TO_END] = "end-to-end",
};

struct bump {
	uint64_t seed, without, now_us, steps;
	struct random rng;
	const struct sim_pools *pools;
	struct sim_wire in[ENDS], out[ENDS]; // from and to each end
	struct end ends[ENDS];
	struct tcp_stack *stack;
	struct half halves[ENDS];
	bool adopted, end_to_end;
};

static struct random run_rng;
static uint64_t current_seed;

#define CHECK(cond)                                                                           \
	do {                                                                                  \
		if (!(cond)) {                                                                \
			fprintf(stderr, "seed %lu: %s:%d: %s\n", (unsigned long)current_seed, \
				__FILE__, __LINE__, #cond);                                   \
			abort();                                                              \
		}                                                                             \
	} while (0)

// --- streams -------------------------------------------------------------------------------------

static uint8_t sent_octet(const struct bump *b, unsigned from, uint64_t offset)
{
	uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15ull + b->seed + from;

	return (uint8_t)((x ^ x >> 31) * 0xbf58476d1ce4e5b9ull >> 56);
}

// What the edits make of the stream, said from the receiver's side.
static uint8_t expected_octet(const struct bump *b, unsigned from, uint64_t offset)
{
	uint64_t rest;

	if (from == CLIENT)
		return sent_octet(
			b, from, offset / (BLOCK - CUT) * BLOCK + CUT + offset % (BLOCK - CUT));
	rest = offset % (STRETCH + MARK);
	return rest >= STRETCH ? 0xaa
			       : sent_octet(b, from, offset / (STRETCH + MARK) * STRETCH + rest);
}

static uint64_t expected_length(unsigned from, uint64_t sent)
{
	uint64_t rest = sent % BLOCK;

	if (from == BROKER)
		return sent + sent / STRETCH * MARK;
	return sent / BLOCK * (BLOCK - CUT) + (rest > CUT ? rest - CUT : 0);
}

// The same, done: `n` octets from stream offset `at` on.
static uint32_t edit(unsigned from, uint64_t at, const uint8_t *data, uint32_t n, uint8_t *out)
{
	uint32_t length = 0;

	for (uint32_t i = 0; i < n; i++, at++) {
		if (from == BROKER || at % BLOCK >= CUT)
			out[length++] = data[i];
		if (from == BROKER && at % STRETCH == STRETCH - 1)
			for (unsigned k = 0; k < MARK; k++)
				out[length++] = 0xaa;
	}
	return length;
}

// --- the ends ------------------------------------------------------------------------------------

static bool frame_decode(const struct rte_mbuf *m, struct tcp_segment *ret_segment)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	return m->pkt_len >= 40 && ip[9] == 6 &&
	       tcp_segment_decode(ip + 20, m->data_len - 20u, m->pkt_len - 20u, ret_segment);
}

static void end_transmit(void *ctx, struct rte_mbuf *m)
{
	struct node *node = ctx;
	struct bump *b = node->bump;
	struct tcp_segment seg;

	if (frame_decode(m, &seg) && (seg.options.present & TCP_OPTION_TIMESTAMPS))
		b->ends[node->index].ts = seg.options.tsval;
	sim_wire_send(&b->in[node->index], m, b->pools->rx, b->now_us);
}

static void end_read(struct bump *b, struct end *end)
{
	struct tcp_span spans[4];
	unsigned n;

	if (end->nap_us > 0 && end->received > 0) {
		end->wakes_us = b->now_us + end->nap_us;
		end->nap_us = 0;
	}
	if (b->now_us < end->wakes_us)
		return;
	while ((n = tcp_recv_peek(end->pcb, spans, 4)) > 0)
		for (unsigned i = 0; i < n; i++) {
			for (uint32_t k = 0; k < spans[i].length; k++)
				CHECK(spans[i].data[k] ==
					expected_octet(b, !end->node.index, end->received + k));
			end->received += spans[i].length;
			tcp_recv_consume(end->pcb, spans[i].length);
			break; // spans are valid until consumed
		}
}

static void end_write(struct bump *b, struct end *end)
{
	uint8_t text[CHUNK];

	while (end->queued < end->to_send && tcp_send_queued(end->pcb) < QUEUE_MAX) {
		uint64_t left = end->to_send - end->queued;
		uint32_t n = 1 + random_below(&b->rng, CHUNK);

		n = n < left ? n : (uint32_t)left;
		for (uint32_t i = 0; i < n; i++)
			text[i] = sent_octet(b, end->node.index, end->queued + i);
		if (tcp_send_copy(end->pcb, text, n))
			return;
		end->queued += n;
	}
	if (end->queued == end->to_send && !end->shut) {
		end->shut = true;
		tcp_shutdown(end->pcb);
	}
}

static void end_finish(struct end *end, bool broken)
{
	end->pcb = NULL;
	end->done = true;
	end->broken = broken;
}

static void end_turn(struct bump *b, struct end *end)
{
	struct tcp_pcb *pcb = end->pcb;

	if (!pcb)
		return;
	end_read(b, end);
	end->eof = tcp_recv_eof(pcb) && tcp_recv_readable(pcb) == 0;
	if (end->received + end->queued >= end->abort_at) {
		end_finish(end, true);
		tcp_abort(pcb);
		return;
	}
	// The broker waits to be spoken to.
	if (end->node.index == CLIENT || end->received > 0 || end->eof)
		end_write(b, end);
	if (end->eof && end->shut) {
		CHECK(end->received ==
			expected_length(!end->node.index, b->ends[!end->node.index].to_send));
		end_finish(end, false);
		tcp_close(pcb);
	}
}

static void end_events(struct end *end)
{
	struct tcp_pcb *pcb;
	uint32_t events;

	while ((pcb = tcp_ready_next(end->stack, &events))) {
		if (events & TCP_EVENT_SYN) {
			if (end->pcb || end->done) {
				tcp_refuse(pcb);
				continue;
			}
			end->pcb = pcb;
			tcp_accept(pcb);
		}
		if ((events & TCP_EVENTS_TERMINAL) && pcb == end->pcb) {
			end_finish(end, true);
			tcp_abort(pcb);
		}
	}
}

// --- the bump ------------------------------------------------------------------------------------

// `from` is told that its octets have arrived: those that were left of them have, and the end of
// the stream, if that is what it is told.
static void check_arrived(const struct bump *b, unsigned from, uint32_t ack)
{
	uint64_t sent = ack - b->halves[from].seen.isn - 1, arrived;
	bool end = sent > b->ends[from].to_send;

	sent -= end;
	CHECK(sent <= b->ends[from].to_send);
	arrived = b->halves[!from].told - b->halves[from].seen.isn - 1;
	CHECK(expected_length(from, sent) + end <= arrived);
}

// What a half sends must be what the end it stands for could have sent.
static void half_transmit(void *ctx, struct rte_mbuf *m)
{
	struct node *node = ctx;
	struct bump *b = node->bump;
	struct half *half = &b->halves[node->index];
	const struct half *other = &b->halves[!node->index];
	struct tcp_segment seg;
	uint32_t edge;

	CHECK(frame_decode(m, &seg));
	CHECK(b->adopted);
	CHECK(!(seg.flags & TCP_FLAG_SYN));
	// To a SYN that is late even for the end of it all, a reset knows no better.
	CHECK(seq_gt(seg.seq, other->seen.isn) || (seg.seq == 0 && (seg.flags & TCP_FLAG_RST)));
	if (!(seg.flags & TCP_FLAG_RST)) {
		if (b->end_to_end)
			check_arrived(b, node->index, seg.ack);
		edge = seg.ack + ((uint32_t)seg.wnd << other->seen.wscale);
		CHECK(!half->edge_known || seq_ge(edge, half->edge));
		half->edge = edge;
		half->edge_known = true;
	}
	if (seg.options.present & TCP_OPTION_TIMESTAMPS) {
		CHECK(!half->ts_known || seq_ge(seg.options.tsval, half->ts));
		CHECK(seq_le(seg.options.tsval, b->ends[!node->index].ts));
		half->ts = seg.options.tsval;
		half->ts_known = true;
	}
	sim_wire_send(&b->out[node->index], m, b->pools->rx, b->now_us);
}

static void half_adopt(struct bump *b, unsigned h)
{
	struct half *half = &b->halves[h];
	const struct half *other = &b->halves[!h];
	const struct tcp_adoption adoption = {
		.self = other->seen, .peer = half->seen, .twin = other->pcb};
	struct net_path path;

	CHECK(net_path_open(half->node.net, &other->seen.endpoint.address,
		      &half->seen.endpoint.address, &path) == 0);
	CHECK(tcp_adopt(b->stack, &adoption, &path, half, &half->pcb) == 0);
}

static void halves_begin(struct bump *b)
{
	for (unsigned h = 0; h < ENDS; h++) {
		b->halves[h].told = b->halves[!h].seen.isn + 1;
		if (b->end_to_end)
			passage_init(&b->halves[h].passage, b->halves[h].pcb, b->halves[!h].pcb);
	}
}

// Handshake and windows of the end that sent the segment.
static void half_track(struct half *half, struct half *other, const struct net_delivery *delivery,
	const struct tcp_segment *seg)
{
	const uint8_t both = TCP_FLAG_ECE | TCP_FLAG_CWR;
	struct tcp_adopted_end *seen = &half->seen;
	bool scaled = half->seen.has_wscale && other->seen.has_wscale;
	uint32_t edge = seg->ack + seg->wnd;

	if (seg->flags & TCP_FLAG_SYN) {
		half->syn_seen = true;
		*seen = (struct tcp_adopted_end){
			.endpoint = {.address = delivery->source, .port = seg->source},
			.isn = seg->seq,
			.right_edge = seen->right_edge,
			.tsval = seg->options.tsval,
			.mss = seg->options.mss,
			.wscale = seg->options.wscale,
			.has_wscale = (seg->options.present & TCP_OPTION_WSCALE) != 0,
			.sack_permitted = (seg->options.present & TCP_OPTION_SACK_PERMITTED) != 0,
			.timestamps = (seg->options.present & TCP_OPTION_TIMESTAMPS) != 0,
			.ecn = (seg->flags & both) ==
			       (seg->flags & TCP_FLAG_ACK ? TCP_FLAG_ECE : both),
		};
	} else if (scaled) {
		edge = seg->ack + ((uint32_t)seg->wnd << seen->wscale);
	}
	if (seg->flags & TCP_FLAG_ACK) {
		seen->right_edge = other->edge_known ? seq_max(other->edge, edge) : edge;
		other->edge = seen->right_edge;
		other->edge_known = true;
	}
	if (seg->options.present & TCP_OPTION_TIMESTAMPS)
		seen->tsval = seq_max(seen->tsval, seg->options.tsval);
}

static bool first_octet(const struct bump *b, unsigned from, const struct tcp_segment *seg)
{
	return from == CLIENT && b->halves[CLIENT].syn_seen && b->halves[BROKER].syn_seen &&
	       (seg->flags & TCP_FLAG_ACK) && seg->length > 0;
}

static void bump_packet(struct bump *b, unsigned from, struct rte_mbuf *frame)
{
	struct half *half = &b->halves[from];
	struct rte_mbuf *m = rte_pktmbuf_copy(frame, b->pools->rx, 0, UINT32_MAX);
	struct net_delivery delivery;
	struct tcp_segment seg;

	if (!m || net_input(half->node.net, &half->node.netif, &m, 1, b->now_us, &delivery) == 0) {
		rte_pktmbuf_free(frame); // corrupted
		return;
	}
	m = delivery.m;
	CHECK(delivery.kind == NET_DELIVERY_TCP);
	CHECK(tcp_segment_decode(rte_pktmbuf_mtod_offset(m, uint8_t *, m->l3_len),
		m->data_len - (uint32_t)m->l3_len, m->pkt_len - (uint32_t)m->l3_len, &seg));
	if (!b->adopted) {
		half_track(half, &b->halves[!from], &delivery, &seg);
		if (first_octet(b, from, &seg)) {
			b->adopted = true;
			half_adopt(b, CLIENT);
			half_adopt(b, BROKER);
			halves_begin(b);
		}
	}
	if (b->adopted) {
		if ((seg.flags & TCP_FLAG_ACK) && seq_gt(seg.ack, half->told))
			half->told = seg.ack;
		tcp_input(b->stack, &delivery);
		tcp_stack_check(b->stack);
		rte_pktmbuf_free(frame);
		return;
	}
	rte_pktmbuf_free(m);
	sim_wire_send(&b->out[!from], frame, b->pools->rx, b->now_us);
}

// Moves what one half has read to the other, edited, and then the end of the stream.
static void half_relay(struct bump *b, unsigned from)
{
	struct half *half = &b->halves[from];
	struct tcp_pcb *to = b->halves[!from].pcb;
	uint8_t out[2 * CHUNK];
	struct tcp_span span;

	while (tcp_send_queued(to) < QUEUE_MAX && tcp_recv_peek(half->pcb, &span, 1) > 0) {
		uint32_t n = span.length < CHUNK ? span.length : CHUNK;
		uint32_t length = edit(from, half->taken, span.data, n, out);

		if (length > 0 && tcp_send_copy(to, out, length))
			return;
		tcp_recv_consume(half->pcb, n);
		half->taken += n;
		if (b->end_to_end)
			passage_note(&half->passage, 0);
	}
	if (tcp_recv_eof(half->pcb) && tcp_recv_readable(half->pcb) == 0 && !half->ended) {
		half->ended = half->passage.ended = true;
		tcp_shutdown(to);
		if (b->end_to_end)
			passage_note(&half->passage, 0);
	}
}

static bool halves_settled(const struct bump *b)
{
	return !b->end_to_end || (passage_settled(&b->halves[CLIENT].passage) &&
					 passage_settled(&b->halves[BROKER].passage));
}

static void halves_end(struct bump *b, bool abort)
{
	for (unsigned h = 0; h < ENDS; h++) {
		struct tcp_pcb *pcb = b->halves[h].pcb;

		b->halves[h].pcb = NULL;
		if (abort)
			tcp_abort(pcb);
		else
			tcp_close(pcb);
	}
}

static void bump_turn(struct bump *b)
{
	struct tcp_pcb *pcb;
	uint32_t events;
	struct rte_mbuf *m;

	tcp_advance(b->stack, b->now_us);
	for (unsigned e = 0; e < ENDS; e++)
		while ((m = sim_wire_receive(&b->in[e], b->now_us)))
			bump_packet(b, e, m);
	while ((pcb = tcp_ready_next(b->stack, &events))) {
		if (events & TCP_EVENTS_TERMINAL) {
			halves_end(b, true);
			break;
		}
		if (events & TCP_EVENT_ACKNOWLEDGED)
			passage_carry(&b->halves[pcb == b->halves[CLIENT].pcb].passage);
	}
	for (unsigned h = 0; h < ENDS && b->halves[h].pcb; h++)
		half_relay(b, h);
	if (b->halves[CLIENT].pcb && b->halves[CLIENT].ended && b->halves[BROKER].ended &&
		halves_settled(b))
		halves_end(b, false);
	tcp_flush(b->stack);
	tcp_stack_check(b->stack);
}

// --- a run ---------------------------------------------------------------------------------------

static struct net_address address_of(unsigned end)
{
	const uint8_t ip[4] = {198, 18, 0, (uint8_t)(1 + end)};
	uint32_t ipv4;

	memcpy(&ipv4, ip, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static void node_init(struct bump *b, struct node *node, unsigned index, unsigned address,
	enum sim_pool_size size, void (*tx)(void *, struct rte_mbuf *))
{
	const struct net_interface_address own = {.address = address_of(address), .prefix = 24};
	const struct net_interface_config interface = {
		.netif = &node->netif, .addresses = &own, .addresses_count = 1};
	struct net_config config;
	const char *error;

	node->bump = b;
	node->index = index;
	node->netif = (struct net_if){.name = "sim",
		.raw_ip = true,
		.mtu = 1500,
		.tx_pool = b->pools->tx[index][size],
		.tx_reserve = b->pools->reserve[index],
		.tx = tx,
		.ctx = node};
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	CHECK(net_create(&config, &run_rng, b->now_us, &node->net, &error) == 0);
}

static void stack_init(struct bump *b, struct net *net, struct payload_pool *payloads,
	uint32_t buffer, struct tcp_stack **ret_stack)
{
	struct tcp_config config;

	tcp_config_init(&config);
	config.connections_max = 16;
	config.pieces_max = 4096;
	config.receive_buffer = buffer;
	config.retries = config.syn_retries = 30;
	config.keep_alive = (struct tcp_keep_alive){.idle_s = 120, .interval_s = 20, .probes = 5};
	for (unsigned i = 0; i < sizeof(config.secret); i++)
		config.secret[i] = (uint8_t)random_next(&b->rng);
	CHECK(tcp_stack_create("sim", &config, net, payloads, &run_rng, b->now_us, ret_stack) == 0);
}

// What is switched off is drawn all the same, so that the rest stays as it was.
static bool has(const struct bump *b, enum dimension dimension, bool drawn)
{
	return drawn && !(b->without & 1ull << dimension);
}

static uint64_t moment_draw(struct bump *b)
{
	return b->now_us + random_below(&b->rng, 1u << (10 + random_below(&b->rng, 13)));
}

// Between 100 ms and 10 s.
static uint64_t spell_draw(struct bump *b)
{
	return (1 + random_below(&b->rng, 100)) * 100 * US_IN_MS;
}

static void spells_draw(struct bump *b, struct sim_impairment *i)
{
	bool stalls = random_below(&b->rng, 6) == 0, squeezed = random_below(&b->rng, 8) == 0;
	struct sim_stall stall = {.from_us = moment_draw(b), .drops = random_below(&b->rng, 2)};
	struct sim_squeeze squeeze = {.from_us = moment_draw(b),
		.shift = random_below(&b->rng, 2) ? 16 : 1 + random_below(&b->rng, 6)};

	stall.until_us = stall.from_us + spell_draw(b);
	squeeze.until_us = squeeze.from_us + spell_draw(b);
	if (has(b, STALLS, stalls))
		i->stalls[0] = stall;
	if (has(b, SQUEEZES, squeezed))
		i->squeezes[0] = squeeze;
}

static void wire_draw(struct bump *b, struct sim_wire *wire)
{
	bool dirty = random_below(&b->rng, 3) > 0;
	uint32_t loss = random_below(&b->rng, 1000);
	uint32_t duplicate = random_below(&b->rng, 500);
	uint32_t reorder = random_below(&b->rng, 1500);
	uint32_t corrupt = random_below(&b->rng, 100);

	*wire = (struct sim_wire){.rng = &b->rng};
	wire->impairment = (struct sim_impairment){
		.loss = has(b, LOSS, dirty) ? loss : 0,
		.duplicate = has(b, DUPLICATES, dirty) ? duplicate : 0,
		.reorder = has(b, REORDERING, dirty) ? reorder : 0,
		.corrupt = has(b, CORRUPTION, dirty) ? corrupt : 0,
		.delay_us = 1 + random_below(&b->rng, 20000),
		.jitter_us = 1 + random_below(&b->rng, 50000),
		.bytes_per_ms = 500 + random_below(&b->rng, 20000),
		.queue_us = 200000,
	};
	spells_draw(b, &wire->impairment);
}

static uint32_t buffer_draw(struct bump *b)
{
	static const uint32_t buffers[] = {4000, 20000, 65535};
	uint32_t drawn = random_below(&b->rng, 4);

	return has(b, SMALL_BUFFERS, drawn < 3) ? buffers[drawn] : 262144;
}

static void end_draw(struct bump *b, struct end *end)
{
	bool naps = random_below(&b->rng, 6) == 0, breaks = random_below(&b->rng, 6) == 0;
	uint64_t nap_us = spell_draw(b) * 3;
	uint32_t abort_at = random_below(&b->rng, 20000);

	end->to_send = 1 + random_below(&b->rng, 1u << (4 + random_below(&b->rng, 13)));
	end->nap_us = has(b, NAPS, naps) ? nap_us : 0;
	end->abort_at = has(b, BREAKS, breaks) ? abort_at : UINT64_MAX;
}

static void bump_draw(struct bump *b)
{
	for (unsigned e = 0; e < ENDS; e++) {
		struct end *end = &b->ends[e];

		wire_draw(b, &b->in[e]);
		wire_draw(b, &b->out[e]);
		node_init(b, &end->node, e, e, SIM_POOL_AMPLE, end_transmit);
		stack_init(b, end->node.net, b->pools->payloads[e][SIM_POOL_AMPLE], buffer_draw(b),
			&end->stack);
		end_draw(b, end);
		node_init(b, &b->halves[e].node, e, !e, SIM_POOL_SMALL, half_transmit);
	}
	stack_init(b, b->halves[0].node.net, b->pools->payloads[0][SIM_POOL_SMALL], buffer_draw(b),
		&b->stack);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_us(const struct bump *b)
{
	uint64_t next = tcp_next_deadline(b->stack);

	for (unsigned e = 0; e < ENDS; e++) {
		next = least(next, tcp_next_deadline(b->ends[e].stack));
		if (b->ends[e].pcb && b->now_us < b->ends[e].wakes_us)
			next = least(next, b->ends[e].wakes_us);
		next = least(next, sim_wire_next_us(&b->in[e]));
		next = least(next, sim_wire_next_us(&b->out[e]));
	}
	return next;
}

static void end_step(struct bump *b, struct end *end)
{
	struct rte_mbuf *m;
	struct net_delivery delivery;

	tcp_advance(end->stack, b->now_us);
	while ((m = sim_wire_receive(&b->out[end->node.index], b->now_us))) {
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, b->pools->rx, 0, UINT32_MAX);

		rte_pktmbuf_free(m);
		if (copy && net_input(end->node.net, &end->node.netif, &copy, 1, b->now_us,
				    &delivery) > 0)
			tcp_input(end->stack, &delivery);
	}
	end_events(end);
	end_turn(b, end);
	tcp_flush(end->stack);
	tcp_stack_check(end->stack);
}

static uint32_t pcbs_of(const struct tcp_stack *stack)
{
	struct tcp_usage usage;

	tcp_stack_usage(stack, &usage);
	return usage.pcbs;
}

static void play(struct bump *b)
{
	const struct net_endpoint broker = {.address = address_of(BROKER), .port = SIM_PORT};
	const struct net_endpoint client = {.address = address_of(CLIENT), .port = SIM_CLIENTS};
	uint64_t next;

	CHECK(tcp_listen(b->ends[BROKER].stack, &broker, NULL, &b->ends[BROKER].listener) == 0);
	CHECK(tcp_connect(b->ends[CLIENT].stack, &client, &broker, NULL, NULL,
		      &b->ends[CLIENT].pcb) == 0);
	while ((next = next_us(b)) != WHEEL_NEVER) {
		b->now_us = next <= b->now_us ? b->now_us + 50 : next;
		CHECK(b->now_us < TIME_MAX_US && ++b->steps < STEPS_MAX);
		end_step(b, &b->ends[CLIENT]);
		bump_turn(b);
		end_step(b, &b->ends[BROKER]);
	}
	CHECK(b->ends[CLIENT].done && !b->ends[BROKER].pcb && !b->halves[CLIENT].pcb);
	CHECK(pcbs_of(b->stack) == 0 && pcbs_of(b->ends[CLIENT].stack) == 0);
	CHECK(pcbs_of(b->ends[BROKER].stack) == 1);
	// When nobody breaks it off, both ends see an orderly one.
	if (b->ends[CLIENT].abort_at == UINT64_MAX && b->ends[BROKER].abort_at == UINT64_MAX)
		CHECK(b->adopted && !b->ends[CLIENT].broken && !b->ends[BROKER].broken);
}

static uint64_t bump_run(uint64_t seed, uint64_t without, const struct sim_pools *pools)
{
	struct bump *b = calloc(1, sizeof(*b));
	uint64_t octets;

	b->seed = seed;
	b->without = without;
	b->pools = pools;
	b->now_us = 1000000;
	random_init(&b->rng, seed);
	random_init(&run_rng, seed);
	bump_draw(b);
	b->end_to_end = has(b, END_TO_END, seed & 1);
	play(b);
	octets = b->ends[CLIENT].received + b->ends[BROKER].received;
	tcp_stack_destroy(b->stack);
	for (unsigned e = 0; e < ENDS; e++) {
		if (b->ends[e].listener)
			tcp_close(b->ends[e].listener);
		tcp_stack_destroy(b->ends[e].stack);
		net_destroy(b->ends[e].node.net);
		net_destroy(b->halves[e].node.net);
		sim_wire_fini(&b->in[e]);
		sim_wire_fini(&b->out[e]);
	}
	free(b);
	sim_pools_check(pools);
	return octets;
}

static void run(const struct sim_campaign *campaign, uint64_t seed, const struct sim_pools *pools)
{
	uint64_t *octets = campaign->ctx;

	current_seed = seed;
	*octets += bump_run(seed, campaign->without, pools);
}

static bool end(const struct sim_campaign *campaign)
{
	const uint64_t *octets = campaign->ctx;

	printf("seeds %lu to %lu: %lu octets through adopted connections\n",
		(unsigned long)campaign->first,
		(unsigned long)(campaign->first + campaign->seeds - 1), (unsigned long)*octets);
	return true;
}

int main(int argc, char **argv)
{
	uint64_t octets = 0;
	struct sim_campaign campaign = {
		.name = "sim-adopt",
		.dimensions = dimension_names,
		.dimensions_count = DIMENSIONS,
		.seeds = 200,
		.seeds_nightly = 10000,
		.run = run,
		.end = end,
		.ctx = &octets,
	};

	return sim_campaign_main(&campaign, argc, argv);
}
