// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames copied into rings; the worker that owns the queue.

#include "port/tap.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/counters.h"

#include <pcap/pcap.h>
#include <rte_mbuf.h>

#include <string.h>

static bool wants(const struct port_tap *tap, const struct rte_mbuf *m)
{
	struct pcap_pkthdr header = {
		.caplen = RTE_MIN(m->pkt_len, TAP_FLAT_MAX),
		.len = m->pkt_len,
	};

	return tap->filter == NULL ||
	       pcap_offline_filter(
		       tap->filter, &header, rte_pktmbuf_read(m, 0, header.caplen, tap->flat)) != 0;
}

static void copy(const struct rte_mbuf *m, uint8_t *to, uint32_t length)
{
	const void *bytes = rte_pktmbuf_read(m, 0, length, to);

	if (bytes != to) // in one piece: it has not been copied
		memcpy(to, bytes, length);
}

// False: the ring is full.
static bool record(const struct port_tap *tap, const struct rte_mbuf *m,
	enum port_direction direction, uint64_t time_ns)
{
	struct tap_record *r = tap_ring_reserve(tap->ring, RTE_MIN(m->pkt_len, tap->snap_length));

	if (r == NULL)
		return false;
	r->port = tap->port;
	r->direction = (uint8_t)direction;
	r->length = m->pkt_len;
	r->time_ns = time_ns;
	copy(m, r->bytes, r->captured);
	return true;
}

static void offer(struct port_tap *tap, struct rte_mbuf *const *frames, unsigned count,
	enum port_direction direction, uint64_t time_ns)
{
	DASSERT(count <= TAP_BURST_MAX);
	tap->start = tap_ring_position(tap->ring);
	for (unsigned i = 0; i < count; i++) {
		bool wanted = wants(tap, frames[i]);

		tap->burst[i].wanted = wanted;
		tap->burst[i].lost = wanted && !record(tap, frames[i], direction, time_ns);
		tap->burst[i].position = tap_ring_position(tap->ring);
	}
}

// The first `count` frames of those offered did go that way.
static void settle(struct port_tap *tap, unsigned count)
{
	unsigned wanted = 0, lost = 0;

	for (unsigned i = 0; i < count; i++) {
		wanted += tap->burst[i].wanted;
		lost += tap->burst[i].lost;
	}
	counter_add(&tap->seen, count);
	counter_add(&tap->wanted, wanted);
	counter_add(&tap->lost, lost);
	tap_ring_publish(tap->ring, count > 0 ? tap->burst[count - 1].position : tap->start);
}

void port_taps_received(struct port_tap *taps, struct rte_mbuf *const *frames, unsigned count)
{
	uint64_t time_ns = clock_wall_ns();

	for (struct port_tap *tap = taps; tap != NULL; tap = tap->next)
		for (unsigned done = 0, n; done < count; done += n) {
			n = RTE_MIN(count - done, TAP_BURST_MAX);
			offer(tap, frames + done, n, PORT_IN, time_ns);
			settle(tap, n);
		}
}

void port_taps_offer(struct port_tap *taps, struct rte_mbuf *const *frames, unsigned count)
{
	uint64_t time_ns = clock_wall_ns();

	for (struct port_tap *tap = taps; tap != NULL; tap = tap->next)
		offer(tap, frames, count, PORT_OUT, time_ns);
}

void port_taps_sent(struct port_tap *taps, unsigned count)
{
	for (struct port_tap *tap = taps; tap != NULL; tap = tap->next)
		settle(tap, count);
}
