// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One direction of the wire: rate, queue, stalls, loss, duplication, corruption, delay and
// reordering. It holds the sender's frames until they arrive, as a NIC and its queue do.

#include "sim.h"

#include "base/wheel.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#include <stdlib.h>

// A burst of losses takes all packets of this long at most.
#define BURST_MAX_US 30000

static void heap_push(struct sim_wire *wire, struct sim_packet packet)
{
	unsigned i;

	if (wire->count == wire->capacity) {
		wire->capacity = wire->capacity ? 2 * wire->capacity : 64;
		wire->packets = realloc(wire->packets, wire->capacity * sizeof(packet));
	}
	for (i = wire->count++; i > 0 && wire->packets[(i - 1) / 2].due_us > packet.due_us;
		i = (i - 1) / 2)
		wire->packets[i] = wire->packets[(i - 1) / 2];
	wire->packets[i] = packet;
}

static struct sim_packet heap_pop(struct sim_wire *wire)
{
	struct sim_packet top = wire->packets[0];
	struct sim_packet last = wire->packets[--wire->count];
	unsigned i = 0;

	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= wire->count)
			break;
		if (child + 1 < wire->count &&
			wire->packets[child + 1].due_us < wire->packets[child].due_us)
			child++;
		if (wire->packets[child].due_us >= last.due_us)
			break;
		wire->packets[i] = wire->packets[child];
		i = child;
	}
	wire->packets[i] = last;
	return top;
}

static bool happens(struct sim_wire *wire, uint32_t per_10000)
{
	return random_below(wire->rng, 10000) < per_10000;
}

static void put(struct sim_wire *wire, struct rte_mbuf *m)
{
	uint64_t due = wire->free_us + wire->impairment.delay_us;

	if (happens(wire, wire->impairment.reorder))
		due += random_below(wire->rng, wire->impairment.jitter_us + 1);
	heap_push(wire, (struct sim_packet){.due_us = due, .m = m});
}

void sim_wire_put(struct sim_wire *wire, struct rte_mbuf *m, uint64_t now_us)
{
	heap_push(wire, (struct sim_packet){.due_us = now_us + wire->impairment.delay_us, .m = m});
}

// In a copy: the bytes of one frame may stand in many.
static struct rte_mbuf *corrupted(
	struct sim_wire *wire, struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);

	if (!copy)
		return m;
	rte_pktmbuf_free(m);
	rte_pktmbuf_mtod(copy, uint8_t *)[random_below(wire->rng, copy->pkt_len)] ^=
		(uint8_t)(1u << random_below(wire->rng, 8));
	return copy;
}

static bool is_lost(struct sim_wire *wire, uint64_t now_us)
{
	if (happens(wire, wire->impairment.burst))
		wire->burst_until_us = now_us + random_below(wire->rng, BURST_MAX_US);
	return now_us < wire->burst_until_us || happens(wire, wire->impairment.loss);
}

// What a router with active queue management does (RFC 3168 5).
static void mark(struct sim_wire *wire, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);

	if ((ip->type_of_service & RTE_IPV4_HDR_ECN_MASK) == 0 ||
		!happens(wire, wire->impairment.mark))
		return;
	ip->type_of_service |= RTE_IPV4_HDR_ECN_CE;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static const struct sim_stall *stall_of(const struct sim_wire *wire, uint64_t now_us)
{
	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		const struct sim_stall *stall = &wire->impairment.stalls[i];

		if (now_us >= stall->from_us && now_us < stall->until_us)
			return stall;
	}
	return NULL;
}

// Is there room in the queue, which does not move during a stall?
static bool queue_takes(const struct sim_wire *wire, const struct sim_stall *stall, uint64_t now_us)
{
	uint64_t moves_us = stall ? stall->until_us : now_us;

	return wire->free_us <= moves_us || wire->free_us - moves_us <= wire->impairment.queue_us;
}

void sim_wire_send(
	struct sim_wire *wire, struct rte_mbuf *m, struct rte_mempool *pool, uint64_t now_us)
{
	uint64_t duration = m->pkt_len * 1000ull / wire->impairment.bytes_per_ms;
	const struct sim_stall *stall = stall_of(wire, now_us);
	const struct sim_narrowing *narrowing = sim_router_narrowing(wire, m, now_us);
	struct rte_mbuf *copy;

	if (wire->free_us < now_us)
		wire->free_us = now_us;
	if (is_lost(wire, now_us) || (stall && stall->drops) || !queue_takes(wire, stall, now_us) ||
		narrowing) {
		wire->lost++;
		wire->too_big += narrowing != NULL;
		if (narrowing && !stall)
			sim_router_complain(wire, narrowing, m, pool, now_us);
		rte_pktmbuf_free(m);
		return;
	}
	if (stall && wire->free_us < stall->until_us)
		wire->free_us = stall->until_us;
	sim_router_squeeze(wire, m, now_us);
	mark(wire, m);
	wire->free_us += duration;
	if (happens(wire, wire->impairment.corrupt))
		m = corrupted(wire, m, pool);
	if (happens(wire, wire->impairment.duplicate)) {
		copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
		if (copy)
			put(wire, copy);
	}
	put(wire, m);
}

uint64_t sim_wire_next_us(const struct sim_wire *wire)
{
	return wire->count > 0 ? wire->packets[0].due_us : WHEEL_NEVER;
}

struct rte_mbuf *sim_wire_receive(struct sim_wire *wire, uint64_t now_us)
{
	if (wire->count == 0 || wire->packets[0].due_us > now_us)
		return NULL;
	return heap_pop(wire).m;
}

void sim_wire_fini(struct sim_wire *wire)
{
	for (unsigned i = 0; i < wire->count; i++)
		rte_pktmbuf_free(wire->packets[i].m);
	free(wire->packets);
}
