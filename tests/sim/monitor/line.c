// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Between the wires, which carry IP, and Offramp's ports, which are Ethernet: addresses, VLAN tags,
// fragments, and hosts that move to another port or get another address while connections stand.

#include "world.h"

#include "attach/track.h"
#include "base/wheel.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

#define BURST 32u
#define ARP   0x0806

// The last octet of an address: the host above, how often it has changed below.
static unsigned host_of_mac(uint8_t mac)
{
	return mac >> 4;
}

static unsigned host_of_ip(uint32_t ipv4)
{
	return (rte_be_to_cpu_32(ipv4) & 0xff) - 1;
}

// --- towards Offramp -----------------------------------------------------------------------------

static void ethernet_prepend(
	const struct world *world, struct rte_mbuf *m, uint8_t to, uint8_t from, uint16_t type)
{
	uint32_t length = world->vlan ? 18 : 14;
	uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(m, (uint16_t)length);
	const uint8_t tag[4] = {0x81, 0, (uint8_t)(world->vlan >> 8), (uint8_t)world->vlan};
	const uint8_t kind[2] = {(uint8_t)(type >> 8), (uint8_t)type};

	CHECK(world, frame);
	memset(frame, to == 0xff ? 0xff : 0, 6);
	memset(frame + 6, 0, 6);
	frame[0] |= 2;
	frame[5] = to;
	frame[6] = 2;
	frame[11] = from;
	if (world->vlan)
		memcpy(frame + 12, tag, sizeof(tag));
	memcpy(frame + length - 2, kind, sizeof(kind));
}

static void arrive(struct host *host, struct rte_mbuf *m)
{
	struct world *world = host->world;
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	unsigned to = host_of_ip(ip->dst_addr);

	if (to >= HOSTS || to == host->index)
		to = host->index == HOST_BROKER ? HOST_A : HOST_BROKER; // spoilt on the way
	ethernet_prepend(world, m, world->hosts[to].mac_heard, host->mac, RTE_ETHER_TYPE_IPV4);
	monitor_input(world->bump.monitor, &world->bump.netifs[host->port], &m, 1, world->now_us);
}

// One fragment of the packet: `length` octets of what follows its header, from `offset` on.
static void fragment_arrive(struct host *host, const struct rte_mbuf *packet, uint32_t offset,
	uint32_t length, bool more)
{
	struct world *world = host->world;
	struct rte_mbuf *m = rte_pktmbuf_copy(packet, world->pools->rx, 0, 20);
	struct rte_mbuf *rest = rte_pktmbuf_copy(packet, world->pools->rx, 20 + offset, length);
	struct rte_ipv4_hdr *ip;

	if (m && rest) {
		ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
		ip->total_length = rte_cpu_to_be_16((uint16_t)(20 + length));
		ip->fragment_offset = rte_cpu_to_be_16(
			(uint16_t)(offset / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0)));
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		memcpy(rte_pktmbuf_append(m, (uint16_t)length),
			rte_pktmbuf_mtod(rest, const void *), length);
		arrive(host, m);
		m = NULL;
	}
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(rest);
}

// Cut once or twice, the last piece first sometimes, and one may be lost.
static void fragments_arrive(struct host *host, struct rte_mbuf *m)
{
	struct random *rng = &host->world->rng;
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	uint32_t length = m->pkt_len - 20, step = 8 + 8 * random_below(rng, length / 8);
	uint32_t count = (length + step - 1) / step;
	bool backwards = random_below(rng, 2), loses = random_below(rng, 10) == 0;

	if (count > 6) {
		step = (length / 6 + 8) & ~7u;
		count = (length + step - 1) / step;
	}
	ip->packet_id = (uint16_t)random_next(rng);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = (backwards ? count - 1 - i : i) * step;
		uint32_t part = length - at < step ? length - at : step;

		if (!loses || i > 0)
			fragment_arrive(host, m, at, part, at + part < length);
	}
	rte_pktmbuf_free(m);
}

static bool is_sound(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	return ip->version_ihl == RTE_IPV4_VHL_DEF &&
	       ip->fragment_offset == rte_cpu_to_be_16(0x4000) &&
	       rte_be_to_cpu_16(ip->total_length) == m->pkt_len && m->pkt_len > 36 &&
	       rte_raw_cksum(ip, sizeof(*ip)) == 0xffff;
}

void line_turn(struct world *world)
{
	for (unsigned h = 0; h < HOSTS; h++) {
		struct host *host = &world->hosts[h];
		struct rte_mbuf *m;

		while ((m = sim_wire_receive(&host->out, world->now_us))) {
			struct rte_mbuf *copy =
				rte_pktmbuf_copy(m, world->pools->rx, 0, UINT32_MAX);

			rte_pktmbuf_free(m);
			if (random_below(&world->rng, 10000) < world->bystanders)
				bystander_send(world);
			if (!copy)
				continue;
			if (random_below(&world->rng, 10000) < host->fragments && is_sound(copy))
				fragments_arrive(host, copy);
			else
				arrive(host, copy);
		}
	}
}

// --- from Offramp --------------------------------------------------------------------------------

static struct host *host_at(struct world *world, unsigned port, uint8_t mac)
{
	for (unsigned h = 0; h < HOSTS; h++)
		if (world->hosts[h].port == port && world->hosts[h].mac == mac)
			return &world->hosts[h];
	return NULL;
}

static void packet_send(struct bump_port *port, struct rte_mbuf *m, uint32_t at)
{
	struct world *world = port->world;
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct host *host = host_at(world, port->index, frame[5]);
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, at);

	if (!host) { // of nobody's here (any more)
		rte_pktmbuf_free(m);
		return;
	}
	if (rte_raw_cksum(ip, sizeof(*ip)) == 0xffff) {
		CHECK(world, host_of_mac(frame[5]) == host_of_ip(ip->dst_addr));
		CHECK(world, host_of_mac(frame[11]) == host_of_ip(ip->src_addr));
	}
	rte_pktmbuf_adj(m, (uint16_t)at);
	tap_half(world, host->index == HOST_BROKER ? BROKER : CLIENT, m);
	sim_wire_send(&host->in, m, world->pools->rx, world->now_us);
}

void line_send(void *ctx, struct rte_mbuf *m)
{
	struct bump_port *port = ctx;
	struct world *world = port->world;
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t at = frame[12] == 0x81 ? 18 : 14;
	bool lost = world->fault != FAULT_NONE && fault_apply(world, m, at);

	CHECK(world, m->nb_segs == 1 && m->pkt_len <= 1500 + at);
	if (lost || bystander_check(port, m) || frame[at - 2] != 8 || frame[at - 1] != 0) {
		rte_pktmbuf_free(m);
		return;
	}
	CHECK(world, (at == 18 ? (frame[14] & 0xf) << 8 | frame[15] : 0) == world->vlan);
	packet_send(port, m, at);
}

// --- moves ---------------------------------------------------------------------------------------

// A gratuitous ARP, as far as a bridge looks at it.
static void announce(struct host *host)
{
	struct world *world = host->world;
	struct rte_mbuf *m = rte_pktmbuf_alloc(world->pools->rx);

	if (!m)
		return;
	memset(rte_pktmbuf_append(m, 46), 0, 46);
	ethernet_prepend(world, m, 0xff, host->mac, ARP);
	monitor_input(world->bump.monitor, &world->bump.netifs[host->port], &m, 1, world->now_us);
}

void line_move(struct host *host)
{
	const struct world *world = host->world;
	const struct move *next = &host->moves[host->moved];
	const struct move *last = next - 1;

	if (host->moved < host->moves_count && world->now_us >= next->at_us) {
		host->port = next->port;
		host->mac = next->mac;
		host->moved++;
		host->world->result.moves++;
		if (next->announced)
			announce(host);
		last = next;
	}
	if (host->moved > 0 && world->now_us >= last->heard_us)
		host->mac_heard = host->mac;
}

uint64_t line_next_us(const struct host *host)
{
	uint64_t next = WHEEL_NEVER;

	if (host->moved < host->moves_count)
		next = host->moves[host->moved].at_us;
	if (host->mac_heard != host->mac)
		next = least(next, host->moves[host->moved - 1].heard_us);
	return next;
}
