// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The worker's side of a port in the test build (-Dimpair=true): a bad wire lies between it and the
// device, each way, for each queue. Instead of port_burst.c and impair_off.c. The worker's loop
// does not know of frames that are held, and need not: it never naps for long.

#include "port/port.h"

#include "base/clock.h"
#include "base/log.h"
#include "port/burst.h"

#include <rte_malloc.h>
#include <rte_mempool.h>

#include <errno.h>
#include <stdio.h>

struct port_impair {
	struct rte_mempool *copies;
	struct port_impair_queue {
		struct impair *rx, *tx; // NULL: a good wire
	} queues[];
};

// --- the worker's side ---------------------------------------------------------------------------

unsigned port_rx(struct port *port, unsigned queue, struct rte_mbuf **frames, unsigned max)
{
	struct impair *rx = port->impair != NULL ? port->impair->queues[queue].rx : NULL;
	unsigned count = burst_rx(port, queue, frames, max);
	uint64_t now_us;

	if (rx == NULL)
		return count;
	now_us = clock_now_us();
	for (unsigned i = 0; i < count; i++)
		impair_put(rx, frames[i], now_us);
	for (count = 0; count < max; count++) {
		frames[count] = impair_take(rx, now_us);
		if (frames[count] == NULL)
			break;
	}
	return count;
}

void port_tx(struct port *port, unsigned queue, struct rte_mbuf *m)
{
	struct impair *tx = port->impair != NULL ? port->impair->queues[queue].tx : NULL;

	if (tx == NULL)
		burst_tx(port, queue, m);
	else
		impair_put(tx, m, clock_now_us());
}

void port_flush(struct port *port, unsigned queue)
{
	struct impair *tx = port->impair != NULL ? port->impair->queues[queue].tx : NULL;
	struct rte_mbuf *m;

	if (tx != NULL) {
		uint64_t now_us = clock_now_us();

		while ((m = impair_take(tx, now_us)) != NULL)
			burst_tx(port, queue, m);
	}
	burst_flush(port, queue);
}

// --- open and close ------------------------------------------------------------------------------

static bool queue_init(struct port *port, const struct port_config *config, unsigned queue)
{
	struct port_impair_queue *q = &port->impair->queues[queue];
	uint64_t stream = 2 * ((uint64_t)port->id * UINT16_MAX + queue);

	if (impair_wanted(&config->impair_rx)) {
		q->rx = impair_create(&config->impair_rx, stream, port->impair->copies);
		if (q->rx == NULL)
			return false;
	}
	if (impair_wanted(&config->impair_tx)) {
		q->tx = impair_create(&config->impair_tx, stream + 1, port->impair->copies);
		if (q->tx == NULL)
			return false;
	}
	return true;
}

static void log_impairment(
	const char *name, const char *direction, const struct impair_config *config)
{
	if (impair_wanted(config))
		log_warning("port",
			"%s: %s is impaired: of a million frames %u are lost, %u doubled, %u "
			"reordered, %u corrupted; %llu us late, %llu bit/s; seed %llu",
			name, direction, config->loss, config->duplicate, config->reorder,
			config->corrupt, (unsigned long long)config->delay_us,
			(unsigned long long)config->rate, (unsigned long long)config->seed);
}

int port_impair_open(
	struct port *port, const struct port_config *config, const struct rte_mempool *rx_pool)
{
	struct port_caps *caps = &port->caps;
	uint32_t frames = port_impair_frames(config);
	char name[RTE_MEMPOOL_NAMESIZE];

	if (frames == 0)
		return 0;
	port->impair = rte_zmalloc("port impair",
		sizeof(*port->impair) + port->pairs * sizeof(port->impair->queues[0]), 0);
	if (port->impair == NULL)
		return -ENOMEM;
	snprintf(name, sizeof(name), "impair%u", port->id);
	port->impair->copies = port_frame_pool_create(
		name, frames, rte_pktmbuf_data_room_size((struct rte_mempool *)rx_pool));
	if (port->impair->copies == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < port->pairs; i++)
		if (!queue_init(port, config, i))
			return -ENOMEM;
	// A sum that the device makes or has checked would hide what is corrupted here.
	caps->rx_checksum = caps->tx_ip_checksum = caps->tx_tcp_checksum = false;
	caps->tso = caps->tso_ipv6 = false;
	log_impairment(port->name, "receiving", &config->impair_rx);
	log_impairment(port->name, "sending", &config->impair_tx);
	return 0;
}

void port_impair_close(struct port *port)
{
	if (port->impair == NULL)
		return;
	for (unsigned i = 0; i < port->pairs; i++) {
		impair_destroy(port->impair->queues[i].rx);
		impair_destroy(port->impair->queues[i].tx);
	}
	rte_mempool_free(port->impair->copies);
	rte_free(port->impair);
}

uint64_t port_impair_count(const struct port *port, enum impair_kind kind)
{
	uint64_t sum = 0;

	for (unsigned i = 0; port->impair != NULL && i < port->pairs; i++) {
		const struct port_impair_queue *q = &port->impair->queues[i];

		sum += q->rx != NULL ? impair_count(q->rx, kind) : 0;
		sum += q->tx != NULL ? impair_count(q->tx, kind) : 0;
	}
	return sum;
}
