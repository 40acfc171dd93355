// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every segment of an adopted connection that Offramp sends must be one that the end whose place
// it takes could have sent: nothing outside the window that was offered, no ACK of what was never
// sent, a right edge and a clock that do not go back, and a clock that is not ahead.

#include "world.h"

#include "attach/track.h"
#include "net/checksum.h"
#include "tcp/segment.h"
#include "tcp/seq.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

// False for what is no segment of a client's.
static bool segment_read(const struct rte_mbuf *m, struct tcp_segment *ret_segment,
	uint16_t *ret_port, unsigned *ret_from)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	if (m->data_len < 40 || ip->next_proto_id != IPPROTO_TCP ||
		(ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) ||
		!tcp_segment_decode((const uint8_t *)(ip + 1), m->data_len - 20u, m->pkt_len - 20u,
			ret_segment))
		return false;
	*ret_from = ret_segment->source == PORT_BROKER ? BROKER : CLIENT;
	*ret_port = *ret_from == BROKER ? ret_segment->destination : ret_segment->source;
	return (ret_segment->source == PORT_BROKER || ret_segment->destination == PORT_BROKER) &&
	       *ret_port < PORT_FOREIGN;
}

static struct tap_flow *flow_of(struct world *world, uint16_t port)
{
	for (unsigned i = 0; i < world->taps_count; i++)
		if (world->taps[i].port == port)
			return &world->taps[i];
	CHECK(world, world->taps_count < sizeof(world->taps) / sizeof(world->taps[0]));
	world->taps[world->taps_count] = (struct tap_flow){.port = port};
	return &world->taps[world->taps_count++];
}

static void syn_note(struct tap_flow *flow, unsigned from, const struct tcp_segment *seg)
{
	struct tap_end *end = &flow->ends[from];

	if (end->known && end->isn == seg->seq)
		return;
	if (from == CLIENT)
		*flow = (struct tap_flow){.port = flow->port};
	*end = (struct tap_end){
		.known = true,
		.isn = seg->seq,
		.sent = seg->seq + 1,
		.wscale = seg->options.wscale,
		.scales = (seg->options.present & TCP_OPTION_WSCALE) != 0,
		.ts = seg->options.tsval,
	};
}

static uint32_t edge_of(const struct tap_flow *flow, unsigned from, const struct tcp_segment *seg)
{
	bool scaled = flow->ends[0].scales && flow->ends[1].scales && !(seg->flags & TCP_FLAG_SYN);

	return seg->ack + ((uint32_t)seg->wnd << (scaled ? flow->ends[from].wscale : 0));
}

static void trace(
	const struct world *world, const char *way, uint16_t port, const struct tcp_segment *seg)
{
	if (world->verbose)
		fprintf(stderr, "%10lu %u %s %s%s%s%s seq %u+%u ack %u wnd %u ts %u\n",
			(unsigned long)world->now_us, port, way,
			seg->flags & TCP_FLAG_SYN ? "S" : "", seg->flags & TCP_FLAG_FIN ? "F" : "",
			seg->flags & TCP_FLAG_RST ? "R" : "", seg->flags & TCP_FLAG_ACK ? "." : "",
			seg->seq, seg->length, seg->ack, seg->wnd,
			seg->options.present & TCP_OPTION_TIMESTAMPS ? seg->options.tsval : 0);
}

void tap_end(struct world *world, unsigned host, const struct rte_mbuf *m)
{
	struct tcp_segment seg;
	struct tap_flow *flow;
	struct tap_end *end;
	unsigned from;
	uint16_t port;

	if (!segment_read(m, &seg, &port, &from))
		return;
	trace(world, from == CLIENT ? "client → " : "broker → ", port, &seg);
	if (seg.flags & TCP_FLAG_RST)
		return;
	CHECK(world, (host == HOST_BROKER) == (from == BROKER));
	flow = flow_of(world, port);
	if (seg.flags & TCP_FLAG_SYN)
		syn_note(flow, from, &seg);
	end = &flow->ends[from];
	if (!end->known)
		return;
	end->sent = seq_max(end->sent, seg.seq + tcp_segment_span(&seg));
	if (seg.flags & TCP_FLAG_ACK) {
		uint32_t edge = edge_of(flow, from, &seg);

		end->edge = end->edge_known ? seq_max(end->edge, edge) : edge;
		end->edge_known = true;
	}
	if (seg.options.present & TCP_OPTION_TIMESTAMPS)
		end->ts = seq_max(end->ts, seg.options.tsval);
}

// The connection that Offramp knows there, if it is the one that the ends speak of.
static const struct track *track_of(
	const struct world *world, const struct tap_flow *flow, const struct rte_mbuf *m, bool from)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct track_key key = {
		.client = net_address_from_ipv4(from == CLIENT ? ip->src_addr : ip->dst_addr),
		.port = flow->port,
		.vlan = world->vlan,
	};
	const struct track *track = track_find(world->bump.monitor, &key);

	if (!track || !flow->ends[CLIENT].known || !flow->ends[BROKER].known ||
		track->ends[CLIENT].tcp.isn != flow->ends[CLIENT].isn ||
		track->ends[BROKER].tcp.isn != flow->ends[BROKER].isn)
		return NULL;
	return track;
}

static void half_check(
	struct world *world, struct tap_flow *flow, unsigned towards, const struct tcp_segment *seg)
{
	const struct tap_end *end = &flow->ends[towards], *self = &flow->ends[!towards];
	struct tap_half *half = &flow->halves[towards];
	uint32_t edge = edge_of(flow, !towards, seg);

	// A keep-alive stands before what comes next.
	CHECK(world,
		!(seg->flags & TCP_FLAG_SYN) && seq_ge(seg->seq, self->isn + (seg->length > 0)));
	CHECK(world, (seg->flags & TCP_FLAG_ACK) && seq_le(seg->ack, end->sent));
	CHECK(world, seg->length == 0 || seq_le(seg->seq + seg->length, end->edge + 1));
	CHECK(world, !half->edge_known || seq_ge(edge, half->edge));
	if (seg->options.present & TCP_OPTION_TIMESTAMPS) {
		CHECK(world, !half->ts_known || seq_ge(seg->options.tsval, half->ts));
		CHECK(world, seq_le(seg->options.tsval, self->ts));
	}
}

static bool is_intact(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct net_address source = net_address_from_ipv4(ip->src_addr);
	const struct net_address destination = net_address_from_ipv4(ip->dst_addr);
	uint32_t length = m->pkt_len - sizeof(*ip);
	uint16_t sum = net_checksum_pseudo(&source, &destination, IPPROTO_TCP, length);

	return rte_raw_cksum(ip, sizeof(*ip)) == 0xffff &&
	       net_checksum_chain(m, sizeof(*ip), length, sum) == 0xffff;
}

void tap_half(struct world *world, unsigned towards, const struct rte_mbuf *m)
{
	const struct track *track;
	struct tcp_segment seg;
	struct tap_flow *flow;
	struct tap_half *half;
	unsigned from;
	uint16_t port;

	// What was spoilt on the way passes when it looks like nobody's.
	if (!segment_read(m, &seg, &port, &from) || from == towards)
		return;
	trace(world, towards == CLIENT ? "→ client" : "→ broker", port, &seg);
	if ((seg.flags & TCP_FLAG_RST) || !is_intact(m))
		return;
	flow = flow_of(world, port);
	half = &flow->halves[towards];
	track = track_of(world, flow, m, from);
	if (!track || track->state == TRACK_GONE)
		return;
	world->result.segments++;
	if (track->state == TRACK_ADOPTED)
		half_check(world, flow, towards, &seg);
	if (seg.flags & TCP_FLAG_ACK) {
		uint32_t edge = edge_of(flow, from, &seg);

		half->edge = half->edge_known ? seq_max(half->edge, edge) : edge;
		half->edge_known = true;
	}
	if (seg.options.present & TCP_OPTION_TIMESTAMPS) {
		half->ts =
			half->ts_known ? seq_max(half->ts, seg.options.tsval) : seg.options.tsval;
		half->ts_known = true;
	}
}
