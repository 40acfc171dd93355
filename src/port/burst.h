// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bursts out of and into the device; the worker that owns the queue. Inline, for whoever stands
// between it and the worker: port_burst.c, or port_burst_impaired.c in the test build.

#pragma once

#include "base/assert.h"
#include "base/counters.h"
#include "port/port_state.h"
#include "port/tap.h"

#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

// Calls of the driver in a row that take nothing before the rest of a burst is given up. Each one
// also makes the driver collect what was sent, so a ring that is merely behind has room again.
#define BURST_ATTEMPTS 8u

static inline unsigned burst_rx(
	struct port *port, unsigned queue, struct rte_mbuf **frames, unsigned max)
{
	struct port_tap *taps = port->queues[queue].taps;
	unsigned count;

	DASSERT(queue < port->pairs);
	count = rte_eth_rx_burst(
		port->id, (uint16_t)queue, frames, (uint16_t)RTE_MIN(max, (unsigned)UINT16_MAX));
	if (unlikely(taps != NULL))
		port_taps_received(taps, frames, count);
	return count;
}

// Drivers that leave checksums to the device want pseudo-headers set first. A frame that cannot be
// sent with the offloads it asks for is a bug of its maker's; it goes, the others stay.
static inline void burst_prepare(const struct port *port, unsigned queue, struct port_queue *q)
{
	uint16_t ready = 0;

	while (ready < q->count) {
		ready += rte_eth_tx_prepare(
			port->id, (uint16_t)queue, q->frames + ready, (uint16_t)(q->count - ready));
		if (ready == q->count)
			return;
		rte_pktmbuf_free(q->frames[ready]);
		counter_inc(&q->tx_invalid);
		q->count--;
		for (uint16_t i = ready; i < q->count; i++)
			q->frames[i] = q->frames[i + 1];
	}
}

static inline void burst_flush(struct port *port, unsigned queue)
{
	struct port_queue *q = &port->queues[queue];
	unsigned attempts = 0;
	uint16_t sent = 0;

	DASSERT(queue < port->pairs);
	if (q->count == 0)
		return;
	if (port->tx_prepare)
		burst_prepare(port, queue, q);
	if (unlikely(q->taps != NULL))
		port_taps_offer(q->taps, q->frames, q->count);
	while (sent < q->count && attempts < BURST_ATTEMPTS) {
		uint16_t n = rte_eth_tx_burst(
			port->id, (uint16_t)queue, q->frames + sent, (uint16_t)(q->count - sent));

		sent += n;
		if (n == 0) {
			attempts++;
			rte_pause();
		} else {
			attempts = 0;
		}
	}
	if (unlikely(q->taps != NULL))
		port_taps_sent(q->taps, sent);
	if (sent < q->count) {
		counter_add(&q->tx_full, q->count - sent);
		rte_pktmbuf_free_bulk(q->frames + sent, q->count - sent);
	}
	q->count = 0;
}

static inline void burst_tx(struct port *port, unsigned queue, struct rte_mbuf *m)
{
	struct port_queue *q = &port->queues[queue];

	DASSERT(queue < port->pairs && q->count < port->burst);
	DASSERT(m->nb_segs == 1 || port->caps.multi_segment);
	q->frames[q->count++] = m;
	if (q->count == port->burst)
		burst_flush(port, queue);
}
