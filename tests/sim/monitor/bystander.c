// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames between others, of all kinds: each must come out at the port where its receiver is, as it
// was and in order. And what is done wrong on purpose.

#include "world.h"

#include "tcp/segment.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include <string.h>

#define STATION	  0xf0u // and the port where it is, as the last octet of its address
#define FRAME_MAX 1514u
#define KINDS	  5u

const char *const world_fault_names[FAULTS] = {
	[FAULT_NONE] = "none",
	[FAULT_OCTET] = "octet",
	[FAULT_ACK] = "ack",
	[FAULT_CLOCK] = "clock",
	[FAULT_WINDOW] = "window",
	[FAULT_LOST] = "lost",
};

// The n-th frame from one port to another; returns its length.
static uint32_t frame_write(unsigned from, unsigned to, uint32_t n, uint8_t *out)
{
	// UDP, TCP to a port that is not the broker's, a fragment; IPv6; something else.
	static const uint8_t types[KINDS][2] = {{8, 0}, {8, 0}, {8, 0}, {0x86, 0xdd}, {0x88, 0xb5}};
	static const uint8_t protocols[KINDS] = {17, 6, 17};
	uint32_t length = 60 + n * 37 % (FRAME_MAX - 60), kind = n % KINDS;

	for (uint32_t i = 0; i < length; i++)
		out[i] = (uint8_t)(n * 7 + i * 3 + from);
	memset(out, 0, 12);
	out[0] = out[6] = 2;
	out[5] = (uint8_t)(STATION + to);
	out[11] = (uint8_t)(STATION + from);
	memcpy(out + 12, types[kind], 2);
	out[14] = kind == 3 ? 0x60 : 0x45;
	if (kind < 3) {
		out[16] = (uint8_t)((length - 14) >> 8);
		out[17] = (uint8_t)(length - 14);
		out[20] = kind == 2 ? 0x20 : 0x40;
		out[21] = kind == 2 ? 5 : 0;
		out[23] = protocols[kind];
		memcpy(out + 26, (uint8_t[]){198, 18, 0, 1, 198, 18, 0, 3}, 8);
		memcpy(out + 34, (uint8_t[]){0x30, 0x39, 0, 80}, 4);
		out[46] = 0x50;
	}
	return length;
}

void bystander_send(struct world *world)
{
	static const unsigned ways[][2] = {{0, 2}, {2, 0}, {1, 3}, {3, 1}};
	const unsigned *way = ways[random_below(&world->rng, 4)];
	struct rte_mbuf *m = rte_pktmbuf_alloc(world->pools->rx);
	uint8_t frame[FRAME_MAX];
	uint32_t length;

	if (!m)
		return;
	length = frame_write(way[0], way[1], world->bystander_number[way[1]]++, frame);
	memcpy(rte_pktmbuf_append(m, (uint16_t)length), frame, length);
	monitor_input(world->bump.monitor, &world->bump.netifs[way[0]], &m, 1, world->now_us);
}

bool bystander_check(struct bump_port *port, const struct rte_mbuf *m)
{
	const struct world *world = port->world;
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t expected[FRAME_MAX];
	uint32_t length;

	if (frame[0] != 2 || frame[5] < STATION)
		return false;
	if (frame[5] != STATION + port->index) // flooded
		return true;
	length = frame_write(port->index ^ 2, port->index, port->bystanders_expected, expected);
	if (m->pkt_len != length || memcmp(frame, expected, length) != 0)
		FAIL(world, "port %u: a bystander's frame %u is missing, or not as it was",
			port->index, port->bystanders_expected);
	port->bystanders_expected++;
	return true;
}

// --- faults --------------------------------------------------------------------------------------

// Not the first ones: the handshake passes.
#define FAULT_BEHIND 20u

bool fault_apply(struct world *world, struct rte_mbuf *m, uint32_t at)
{
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + at);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
	uint32_t header = at + 20 + (tcp->data_off >> 4) * 4u;
	struct tcp_segment seg;

	if (frame[5] >= STATION)
		return world->fault == FAULT_LOST && ++world->faults == 3;
	if (frame[at - 2] != 8 || ip->next_proto_id != IPPROTO_TCP || header > m->pkt_len ||
		tcp->src_port == rte_cpu_to_be_16(PORT_OTHER) ||
		!tcp_segment_decode(
			(uint8_t *)tcp, m->pkt_len - at - 20, m->pkt_len - at - 20, &seg) ||
		world->fault == FAULT_LOST || ++world->faults <= FAULT_BEHIND)
		return false;
	if (world->fault == FAULT_OCTET && m->pkt_len > header)
		frame[m->pkt_len - 1] ^= 1;
	else if (world->fault == FAULT_ACK)
		seg.ack += 100000;
	else if (world->fault == FAULT_CLOCK)
		seg.options.tsval += 1000000;
	else if (world->fault == FAULT_WINDOW && seg.length > 0)
		seg.wnd = 0;
	else
		return false;
	tcp_segment_encode((uint8_t *)tcp, &seg);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	return false;
}
