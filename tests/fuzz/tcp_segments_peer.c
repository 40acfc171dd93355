// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The peers of the fuzz target: what they send, and what they hold against everything that the
// engine sends. Numbers in the input are relative to where the connection stands (what the
// engine expects, and the end of what it has sent), so that a fuzzer finds its way.

#include "tcp_segments.h"

#include "net/checksum.h"
#include "tcp/segment.h"
#include "tcp/seq.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

#define MSS 1460
// Of a segment in the input.
enum {
	HAS_TIMESTAMPS = 1,
	TIMESTAMP_OLD = 2,
	HAS_MSS = 4,
	HAS_WSCALE = 8,
	HAS_SACK_PERMITTED = 16,
	CE_MARKED = 32,
	TEXT_LONG = 64, // 16 times as much
};

void fuzz_peer_forget(struct fuzz_peer *peer)
{
	peer->written = 0;
	peer->ts_known = peer->edge_known = false;
}

void fuzz_peer_begin(struct fuzz_peer *peer, uint32_t iss)
{
	peer->talked = true;
	peer->iss = iss;
	peer->top = iss + 1;
	peer->ts_known = peer->edge_known = false;
}

// --- what the engine sends -----------------------------------------------------------------------

static void sums_check(const struct fuzz_tcp *f, const struct rte_mbuf *m, uint32_t header)
{
	uint32_t length = m->pkt_len - header;

	if (f->netif.caps.tx_tcp_checksum)
		return;
	if (!f->ipv6)
		ASSERT(net_checksum_chain(m, 0, header, 0) == 0xffff);
	ASSERT(net_checksum_chain(m, header, length,
		       net_checksum_pseudo(&f->local.address, &f->remote, IPPROTO_TCP, length)) ==
		0xffff);
}

// The window never shrinks from the right, clocks never go back.
static void promises_check(struct fuzz_peer *peer, const struct tcp_segment *seg)
{
	struct tcp_info info;
	uint32_t edge;

	if (seg->options.present & TCP_OPTION_TIMESTAMPS) {
		// A cookie carries options there, and no connection has begun.
		ASSERT(!peer->ts_known || (seg->flags & TCP_FLAG_SYN) ||
			seq_ge(seg->options.tsval, peer->ts));
		peer->ts = seg->options.tsval;
		peer->ts_known = true;
	}
	if (!peer->pcb || !(seg->flags & TCP_FLAG_ACK))
		return;
	tcp_pcb_info(peer->pcb, &info);
	if (info.state < TCP_ESTABLISHED || info.rcv_nxt != seg->ack)
		return;
	edge = info.rcv_nxt + info.rcv_wnd;
	ASSERT(!peer->edge_known || seq_ge(edge, peer->edge));
	peer->edge = edge;
	peer->edge_known = true;
}

static void text_check(
	const struct fuzz_peer *peer, const struct tcp_segment *seg, const uint8_t *text)
{
	uint32_t offset = seg->seq - peer->iss - 1;

	if (seg->length == 0)
		return;
	ASSERT(peer->talked);
	for (uint32_t i = 0; i < seg->length; i++)
		ASSERT(text[i] == fuzz_octet(offset + i));
}

static struct fuzz_peer *peer_at(struct fuzz_tcp *f, uint16_t port)
{
	ASSERT(port >= FUZZ_PEER_PORT && port < FUZZ_PEER_PORT + FUZZ_PEERS);
	return &f->peers[port - FUZZ_PEER_PORT];
}

void fuzz_peer_receive(void *ctx, struct rte_mbuf *m)
{
	struct fuzz_tcp *f = ctx;
	uint32_t header = f->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	static uint8_t packet[UINT16_MAX];
	const uint8_t *ip = rte_pktmbuf_read(m, 0, m->pkt_len, packet);
	uint8_t protocol = ip[f->ipv6 ? 6 : 9];
	struct fuzz_peer *peer;
	struct tcp_segment seg;

	rte_mbuf_sanity_check(m, 1);
	if (protocol == IPPROTO_TCP) {
		sums_check(f, m, header);
		ASSERT(tcp_segment_decode(
			ip + header, m->pkt_len - header, m->pkt_len - header, &seg));
		peer = peer_at(f, seg.destination);
		if (seg.flags & TCP_FLAG_SYN && (!peer->talked || peer->iss != seg.seq))
			fuzz_peer_begin(peer, seg.seq);
		if (!(seg.flags & TCP_FLAG_RST)) {
			promises_check(peer, &seg);
			text_check(peer, &seg, ip + header + seg.header_length);
			peer->expected = seg.flags & TCP_FLAG_ACK ? seg.ack : peer->isn + 1;
			peer->top = seq_max(peer->top, seg.seq + tcp_segment_span(&seg));
		}
	}
	rte_pktmbuf_free(m);
}

// --- what comes to it ----------------------------------------------------------------------------

static void deliver(
	struct fuzz_tcp *f, const struct tcp_segment *seg, struct rte_mbuf *m, uint8_t ecn)
{
	const struct net_delivery delivery = {
		.kind = NET_DELIVERY_TCP,
		.m = m,
		.source = f->remote,
		.destination = f->local.address,
		.netif = &f->netif,
		.ttl = 64,
		.ecn = ecn,
	};

	m->l3_len = sizeof(struct rte_ipv4_hdr);
	m->data_len = (uint16_t)(m->l3_len + seg->header_length + seg->length);
	m->pkt_len = m->data_len;
	tcp_input(f->stack, &delivery);
}

// Its text is that of its place in the stream.
static void send_segment(struct fuzz_tcp *f, struct tcp_segment *seg, uint8_t ecn)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	uint8_t *tcp, *text;

	if (m == NULL)
		return;
	tcp = rte_pktmbuf_mtod_offset(m, uint8_t *, sizeof(struct rte_ipv4_hdr));
	seg->header_length = (uint8_t)tcp_segment_encode(tcp, seg);
	text = tcp + seg->header_length;
	for (uint32_t i = 0; i < seg->length; i++)
		text[i] = fuzz_octet(seg->seq + ((seg->flags & TCP_FLAG_SYN) != 0) + i);
	deliver(f, seg, m, ecn);
}

static struct tcp_segment segment(const struct fuzz_peer *peer, uint8_t flags)
{
	return (struct tcp_segment){
		.source = peer->port,
		.destination = FUZZ_PORT,
		.seq = flags & TCP_FLAG_SYN ? peer->isn : peer->expected,
		.ack = flags & TCP_FLAG_ACK ? peer->top : 0,
		.flags = flags,
		.wnd = 20000,
		.options = {.mss = MSS, .wscale = 2, .tsval = peer->tsval, .tsecr = peer->ts},
	};
}

static void options_read(struct fuzz_peer *peer, unsigned bits, struct tcp_options *options)
{
	if (bits & HAS_TIMESTAMPS) {
		options->present |= TCP_OPTION_TIMESTAMPS;
		peer->tsval += bits & TIMESTAMP_OLD ? 0 : 10;
		options->tsval = peer->tsval - (bits & TIMESTAMP_OLD ? 100 : 0);
	}
	if (bits & HAS_MSS)
		options->present |= TCP_OPTION_MSS;
	if (bits & HAS_WSCALE)
		options->present |= TCP_OPTION_WSCALE;
	if (bits & HAS_SACK_PERMITTED)
		options->present |= TCP_OPTION_SACK_PERMITTED;
}

static void sack_read(const struct fuzz_peer *peer, struct fuzz_input *in, struct tcp_options *o)
{
	o->sack_count = fuzz_byte(in) % (TCP_SACK_BLOCKS_MAX + 1);
	if (o->present & TCP_OPTION_TIMESTAMPS && o->sack_count > 3)
		o->sack_count = 3;
	for (unsigned i = 0; i < o->sack_count; i++) {
		o->sack[i].start = peer->top - fuzz_u16(in);
		o->sack[i].end = o->sack[i].start + fuzz_u16(in);
	}
	if (o->sack_count > 0)
		o->present |= TCP_OPTION_SACK;
}

static void any_segment(
	struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned what, struct fuzz_input *in)
{
	struct tcp_segment seg = segment(peer, fuzz_byte(in));
	unsigned bits = fuzz_byte(in);

	seg.seq += (uint32_t)(int16_t)fuzz_u16(in);
	seg.ack = peer->top + (uint32_t)(int16_t)fuzz_u16(in);
	seg.wnd = fuzz_u16(in);
	seg.length = fuzz_byte(in) * (bits & TEXT_LONG ? 16u : 1u);
	seg.length = RTE_MIN(seg.length, (uint32_t)MSS);
	options_read(peer, bits, &seg.options);
	if (what == FUZZ_PEER_SENDS_SACK)
		sack_read(peer, in, &seg.options);
	send_segment(f, &seg, bits & CE_MARKED ? 3 : 0);
}

static void go_on(
	struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned variant, struct fuzz_input *in)
{
	struct tcp_segment seg = segment(peer, TCP_FLAG_ACK);

	options_read(peer, peer->ts_known ? HAS_TIMESTAMPS : 0, &seg.options);
	if (variant == 1)
		seg.length = fuzz_byte(in);
	else if (variant == 2)
		seg.flags |= TCP_FLAG_FIN;
	else if (variant == 3)
		seg.wnd = fuzz_byte(in);
	send_segment(f, &seg, 0);
}

static void knock(struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned variant, unsigned flags,
	struct fuzz_input *in)
{
	struct tcp_segment seg;

	if (variant & 1) {
		peer->isn = peer->expected + 100000;
		peer->garbled = false;
	}
	seg = segment(peer, TCP_FLAG_SYN | (uint8_t)flags);
	if (variant & 2)
		options_read(peer, fuzz_byte(in), &seg.options);
	peer->expected = peer->isn + 1;
	send_segment(f, &seg, 0);
}

// A header as it comes, but for the ports.
static void babble(struct fuzz_tcp *f, struct fuzz_peer *peer, struct fuzz_input *in)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	const uint16_t ports[2] = {rte_cpu_to_be_16(peer->port), rte_cpu_to_be_16(FUZZ_PORT)};
	uint32_t seq = rte_cpu_to_be_32(peer->expected), ack = rte_cpu_to_be_32(peer->top);
	struct tcp_segment seg = {.header_length = TCP_HEADER_MIN};
	uint8_t *tcp;

	if (m == NULL)
		return;
	tcp = rte_pktmbuf_mtod_offset(m, uint8_t *, sizeof(struct rte_ipv4_hdr));
	memcpy(tcp, ports, sizeof(ports));
	memcpy(tcp + 4, &seq, sizeof(seq));
	memcpy(tcp + 8, &ack, sizeof(ack));
	for (unsigned i = 12; i < TCP_HEADER_MIN; i++)
		tcp[i] = fuzz_byte(in);
	seg.length = fuzz_byte(in);
	for (unsigned i = 0; i < seg.length; i++)
		tcp[TCP_HEADER_MIN + i] = fuzz_byte(in);
	peer->garbled = true;
	deliver(f, &seg, m, 0);
}

// It quotes something that we may have sent.
static void complain(
	struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned variant, struct fuzz_input *in)
{
	const uint16_t ports[2] = {rte_cpu_to_be_16(FUZZ_PORT), rte_cpu_to_be_16(peer->port)};
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	uint16_t header = f->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	struct net_delivery delivery = {
		.kind = NET_DELIVERY_ICMP_ERROR,
		.m = m,
		.source = f->remote,
		.destination = f->local.address,
		.netif = &f->netif,
		.icmp_type = variant ? (f->ipv6 ? 2 : 3) : fuzz_byte(in),
		.icmp_code = variant ? (f->ipv6 ? 0 : 4) : fuzz_byte(in),
	};
	uint32_t seq = rte_cpu_to_be_32(peer->top - fuzz_u16(in));
	uint16_t length = rte_cpu_to_be_16(fuzz_u16(in));
	uint8_t *ip;

	if (m == NULL)
		return;
	delivery.icmp_mtu = fuzz_u16(in);
	ip = (uint8_t *)rte_pktmbuf_append(m, header + 8);
	memset(ip, 0, header);
	ip[0] = f->ipv6 ? 0x60 : 0x45;
	memcpy(ip + (f->ipv6 ? 4 : 2), &length, sizeof(length));
	memcpy(ip + (f->ipv6 ? 8 : 12), f->local.address.bytes + (f->ipv6 ? 0 : 12),
		f->ipv6 ? 16 : 4);
	memcpy(ip + (f->ipv6 ? 24 : 16), f->remote.bytes + (f->ipv6 ? 0 : 12), f->ipv6 ? 16 : 4);
	memcpy(ip + header, ports, sizeof(ports));
	memcpy(ip + header + 4, &seq, sizeof(seq));
	m->l3_len = header;
	tcp_input(f->stack, &delivery);
}

void fuzz_peer_step(struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned what, unsigned variant,
	struct fuzz_input *in)
{
	switch (what) {
	case FUZZ_PEER_SENDS:
	case FUZZ_PEER_SENDS_SACK:
		any_segment(f, peer, what, in);
		break;
	case FUZZ_PEER_GOES_ON:
		go_on(f, peer, variant, in);
		break;
	case FUZZ_PEER_KNOCKS:
		knock(f, peer, variant, 0, in);
		break;
	case FUZZ_PEER_ANSWERS:
		knock(f, peer, variant, TCP_FLAG_ACK, in);
		break;
	case FUZZ_PEER_BABBLES:
		babble(f, peer, in);
		break;
	default:
		complain(f, peer, variant, in);
	}
}

// --- scarcity ------------------------------------------------------------------------------------

void fuzz_frames_hoard(struct fuzz_tcp *f)
{
	struct rte_mbuf *m;

	while (f->hoard_count < FUZZ_HOARD && (m = rte_pktmbuf_alloc(f->frames)) != NULL)
		f->hoard[f->hoard_count++] = m;
}

void fuzz_frames_release(struct fuzz_tcp *f)
{
	while (f->hoard_count > 0)
		rte_pktmbuf_free(f->hoard[--f->hoard_count]);
}
