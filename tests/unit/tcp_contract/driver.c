// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A host around the engine: pools, a raw IP interface, net and stack. It includes
// nothing but the headers that are installed.

#include "driver.h"

#include "base/payload.h"
#include "base/random.h"
#include "net/net.h"

#include <rte_mbuf.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE 256u

struct driver {
	struct rte_mempool *pool;
	struct payload_pool *payloads;
	struct net_if netif;
	struct net *net;
	struct random rng;
	struct tcp_stack *stack;
	uint64_t now_us;
	struct rte_mbuf *sent[QUEUE];
	unsigned first, count;
};

static void transmit(void *ctx, struct rte_mbuf *m)
{
	struct driver *d = ctx;

	if (d->count == QUEUE) {
		rte_pktmbuf_free(m);
		return;
	}
	d->sent[(d->first + d->count++) % QUEUE] = m;
}

static int pools_init(struct driver *d, const char *address)
{
	const struct payload_pool_config payloads = {.count = {255, 255, 63, 15}, .socket = -1};
	char name[32];

	snprintf(name, sizeof(name), "d%s", address);
	d->pool = rte_pktmbuf_pool_create(name, 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	snprintf(name, sizeof(name), "p%s", address);
	return d->pool ? payload_pool_create(name, &payloads, &d->payloads) : -1;
}

static int net_init(struct driver *d, const char *address)
{
	struct net_interface_address own = {.prefix = 24};
	const struct net_interface_config interface = {
		.netif = &d->netif, .addresses = &own, .addresses_count = 1};
	struct net_config config;
	const char *error;

	if (net_address_parse(address, &own.address))
		return -1;
	d->netif = (struct net_if){.name = "driver",
		.raw_ip = true,
		.mtu = 1500,
		.tx_pool = d->pool,
		.tx = transmit,
		.ctx = d};
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	return net_create(&config, &d->rng, d->now_us, &d->net, &error);
}

struct driver *driver_create(const char *address, uint64_t now_us)
{
	struct driver *d = calloc(1, sizeof(*d));
	struct tcp_config config;

	tcp_config_init(&config);
	config.connections_max = 64;
	config.pieces_max = 4096;
	d->now_us = now_us;
	random_init(&d->rng, now_us);
	if (pools_init(d, address) || net_init(d, address) ||
		tcp_stack_create(
			"driver", &config, d->net, d->payloads, &d->rng, now_us, &d->stack)) {
		driver_destroy(d);
		return NULL;
	}
	return d;
}

void driver_destroy(struct driver *d)
{
	if (!d)
		return;
	for (; d->count > 0; d->count--)
		rte_pktmbuf_free(d->sent[d->first++ % QUEUE]);
	tcp_stack_destroy(d->stack);
	if (d->net)
		net_destroy(d->net);
	payload_pool_destroy(d->payloads);
	rte_mempool_free(d->pool);
	free(d);
}

struct tcp_stack *driver_stack(struct driver *d)
{
	return d->stack;
}

void driver_inject(struct driver *d, const void *packet, size_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(d->pool);
	struct net_delivery delivery;
	char *data = m ? rte_pktmbuf_append(m, (uint16_t)length) : NULL;

	if (!data) {
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(data, packet, length);
	if (net_input(d->net, &d->netif, &m, 1, d->now_us, &delivery) > 0)
		tcp_input(d->stack, &delivery);
}

size_t driver_take(struct driver *d, void *ret_packet, size_t size)
{
	struct rte_mbuf *m;
	size_t length;

	if (d->count == 0)
		return 0;
	m = d->sent[d->first++ % QUEUE];
	d->count--;
	length = m->pkt_len < size ? m->pkt_len : size;
	if (rte_pktmbuf_read(m, 0, (uint32_t)length, ret_packet) != ret_packet)
		memcpy(ret_packet, rte_pktmbuf_mtod(m, void *), length);
	rte_pktmbuf_free(m);
	return length;
}

uint64_t driver_advance(struct driver *d, uint64_t now_us)
{
	uint64_t tcp, net;

	d->now_us = now_us;
	net_timers(d->net, now_us);
	tcp_advance(d->stack, now_us);
	tcp_flush(d->stack);
	tcp = tcp_next_deadline(d->stack);
	net = net_next_deadline(d->net);
	return tcp < net ? tcp : net;
}

struct net_endpoint driver_endpoint(const char *text)
{
	struct net_endpoint endpoint = {.port = 0};

	if (net_endpoint_parse(text, &endpoint))
		abort();
	return endpoint;
}
