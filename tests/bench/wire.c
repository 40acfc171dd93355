// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See wire.h.

#include "wire.h"

#include "base/assert.h"
#include "base/clock.h"
#include "tcp/segment.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS	     (sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr))
#define FIRST_PORT   1024u
#define PORTS	     60000u // a remote address has so many
#define RING_BYTES   (1u << 20)
#define WINDOW_SCALE 7

static const struct rte_ether_addr our_mac = {{2, 0, 0, 0, 0, 1}};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

static uint32_t ipv4(uint8_t host)
{
	const uint8_t bytes[4] = {198, 18, 0, host};
	uint32_t address;

	memcpy(&address, bytes, sizeof(address));
	return address;
}

void wire_eal_init(void)
{
	char *argv[] = {"bench", "--no-huge", "--no-shconf", "-m", "1024", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};

	ASSERT(rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) >= 0);
}

// --- the far side --------------------------------------------------------------------------------

// As a device with a ring in memory of its own does.
static void ring_write(struct wire *wire, const struct rte_mbuf *m)
{
	if (wire->ring_at + m->pkt_len > RING_BYTES)
		wire->ring_at = 0;
	for (; m; m = m->next) {
		memcpy(wire->ring + wire->ring_at, rte_pktmbuf_mtod(m, void *), m->data_len);
		wire->ring_at += m->data_len;
	}
}

static void burst_end(struct wire *wire)
{
	rte_pktmbuf_free_bulk(wire->burst, wire->burst_count);
	wire->burst_count = 0;
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	struct wire *wire = ctx;
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(
		m, const struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
	const uint8_t *tcp = (const uint8_t *)(ip + 1);
	uint32_t header = (tcp[12] >> 4) * 4u;
	uint16_t port;
	uint32_t seq, tsval;
	struct wire_peer *peer;

	if (ip->next_proto_id == IPPROTO_TCP) {
		memcpy(&port, tcp + 2, sizeof(port));
		memcpy(&seq, tcp + 4, sizeof(seq));
		peer = &wire->peers[rte_be_to_cpu_16(port) - FIRST_PORT +
				    (rte_be_to_cpu_32(ip->dst_addr) % 256 - 2) * PORTS];
		peer->rcv_nxt = rte_be_to_cpu_32(seq) + m->pkt_len - (uint32_t)HEADERS - header +
				((tcp[13] & TCP_FLAG_SYN) != 0);
		if (peer->timestamps && header == TCP_HEADER_MIN + TCP_TIMESTAMPS_SIZE) {
			memcpy(&tsval, tcp + TCP_HEADER_MIN + 4, sizeof(tsval));
			peer->ts_recent = rte_be_to_cpu_32(tsval);
		}
	}
	wire->frames++;
	wire->bytes += m->pkt_len;
	wire->segments += m->nb_segs;
	if (wire->config.copies)
		ring_write(wire, m);
	wire->burst[wire->burst_count++] = m;
	if (wire->burst_count == WIRE_BURST)
		burst_end(wire);
}

static struct rte_mbuf *segment_make(struct wire *wire, unsigned i, const struct tcp_segment *seg,
	const void *data, size_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(wire->rx_pool);
	struct rte_ether_hdr *ether;
	struct rte_ipv4_hdr *ip;
	unsigned header;

	ASSERT(m);
	ether = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	ip = (struct rte_ipv4_hdr *)(ether + 1);
	*ether = (struct rte_ether_hdr){
		.dst_addr = our_mac, .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)};
	memcpy(&ether->src_addr, peer_mac, sizeof(peer_mac));
	header = tcp_segment_encode((uint8_t *)(ip + 1), seg);
	memcpy((uint8_t *)(ip + 1) + header, data, length);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + header + length)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = ipv4((uint8_t)(2 + i / PORTS)),
		.dst_addr = ipv4(1),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	m->data_len = (uint16_t)(HEADERS + header + length);
	m->pkt_len = m->data_len;
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return m;
}

static struct tcp_segment segment_of(struct wire *wire, unsigned i, uint8_t flags)
{
	struct wire_peer *peer = &wire->peers[i];
	struct tcp_segment seg = {
		.source = (uint16_t)(FIRST_PORT + i % PORTS),
		.destination = WIRE_PORT,
		.seq = peer->snd_nxt,
		.ack = flags & TCP_FLAG_ACK ? peer->rcv_nxt : 0,
		.flags = flags,
		.wnd = UINT16_MAX,
	};

	if (peer->timestamps)
		seg.options.present |= TCP_OPTION_TIMESTAMPS;
	if (flags & TCP_FLAG_SYN) {
		seg.options.present |=
			TCP_OPTION_MSS | TCP_OPTION_WSCALE | TCP_OPTION_SACK_PERMITTED;
		seg.options.mss = (uint16_t)(wire->config.mtu - 40);
		seg.options.wscale = WINDOW_SCALE;
	}
	seg.options.tsval = (uint32_t)(wire->now_us / US_IN_MS);
	seg.options.tsecr = peer->ts_recent;
	peer->acked = peer->rcv_nxt;
	return seg;
}

static void arrive(struct wire *wire, struct rte_mbuf **frames, unsigned count)
{
	struct net_delivery deliveries[WIRE_BURST];
	unsigned n = net_input(wire->net, &wire->netif, frames, count, wire->now_us, deliveries);

	for (unsigned i = 0; i < n; i++)
		tcp_input(wire->stack, &deliveries[i]);
}

void wire_peer_sends(struct wire *wire, unsigned peer, const void *data, size_t length)
{
	struct tcp_segment seg = segment_of(wire, peer, TCP_FLAG_ACK | TCP_FLAG_PSH);
	struct rte_mbuf *m = segment_make(wire, peer, &seg, data, length);

	wire->peers[peer].snd_nxt += (uint32_t)length;
	arrive(wire, &m, 1);
}

void wire_acknowledge(struct wire *wire)
{
	struct rte_mbuf *frames[WIRE_BURST];
	unsigned count = 0;

	for (unsigned i = 0; i < wire->config.peers; i++) {
		struct tcp_segment seg;

		if (wire->peers[i].acked == wire->peers[i].rcv_nxt)
			continue;
		seg = segment_of(wire, i, TCP_FLAG_ACK);
		frames[count++] = segment_make(wire, i, &seg, "", 0);
		if (count == WIRE_BURST) {
			arrive(wire, frames, count);
			count = 0;
		}
	}
	arrive(wire, frames, count);
}

// --- the near side -------------------------------------------------------------------------------

static void net_start(struct wire *wire)
{
	const struct net_interface_address address = {
		.address = net_address_from_ipv4(ipv4(1)), .prefix = 24};
	const struct net_interface_config interface = {
		.netif = &wire->netif, .addresses = &address, .addresses_count = 1};
	struct net_neighbour_config neighbours[4];
	struct net_config config;
	const char *error;

	for (uint8_t i = 0; i < 4; i++) {
		neighbours[i].address = net_address_from_ipv4(ipv4(2 + i));
		memcpy(neighbours[i].mac, peer_mac, sizeof(peer_mac));
	}
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	config.neighbours = neighbours;
	config.neighbours_count = 4;
	ASSERT(net_create(&config, &wire->rng, wire->now_us, &wire->net, &error) == 0);
}

static void tcp_start(struct wire *wire)
{
	const struct net_endpoint local = {
		.address = net_address_from_ipv4(ipv4(1)), .port = WIRE_PORT};
	struct tcp_config config;

	tcp_config_init(&config);
	config.connections_max = wire->config.peers + 16;
	config.pieces_max = 64 * wire->config.peers + 4096;
	config.backlog = wire->config.peers + 16;
	ASSERT(tcp_stack_create("bench", &config, wire->net, wire->payloads, &wire->rng,
		       wire->now_us, &wire->stack) == 0);
	ASSERT(tcp_listen(wire->stack, &local, NULL, &wire->listener) == 0);
}

void wire_init(struct wire *wire, const struct wire_config *config)
{
	const struct payload_pool_config payloads = {
		.count = {4 * config->peers + 8191, 8191, 4095, 1023}, .socket = -1};
	uint16_t room = (uint16_t)(RTE_MAX(config->mtu, 1500) + 512);

	*wire = (struct wire){.config = *config, .now_us = 1000 * US_IN_S};
	ASSERT(config->peers <= 4 * PORTS);
	wire->tx_pool = rte_pktmbuf_pool_create("tx", 16383, 256, 0, room, -1);
	wire->rx_pool = rte_pktmbuf_pool_create("rx", 4095, 256, 0, room, -1);
	wire->peers = calloc(config->peers, sizeof(*wire->peers));
	wire->ring = malloc(RING_BYTES);
	ASSERT(wire->tx_pool && wire->rx_pool && wire->peers && wire->ring);
	ASSERT(payload_pool_create("bench", &payloads, &wire->payloads) == 0);
	memset(wire->ring, 0, RING_BYTES);
	wire->netif = (struct net_if){
		.name = "wire",
		.mtu = config->mtu,
		.caps = config->caps,
		.tx_pool = wire->tx_pool,
		.tx = transmit,
		.ctx = wire,
	};
	memcpy(wire->netif.mac, &our_mac, sizeof(wire->netif.mac));
	random_init(&wire->rng, 1);
	net_start(wire);
	tcp_start(wire);
	tcp_advance(wire->stack, wire->now_us);
}

void wire_fini(struct wire *wire)
{
	tcp_stack_check(wire->stack);
	tcp_stack_destroy(wire->stack);
	net_destroy(wire->net);
	burst_end(wire);
	ASSERT(rte_mempool_in_use_count(wire->tx_pool) == 0);
	ASSERT(rte_mempool_in_use_count(wire->rx_pool) == 0);
	payload_pool_check(wire->payloads);
	payload_pool_destroy(wire->payloads);
	rte_mempool_free(wire->tx_pool);
	rte_mempool_free(wire->rx_pool);
	free(wire->peers);
	free(wire->ring);
}

static void peer_connect(struct wire *wire, unsigned i)
{
	struct wire_peer *peer = &wire->peers[i];
	struct tcp_segment seg;
	struct rte_mbuf *m;
	uint32_t events;

	peer->snd_nxt = (uint32_t)random_next(&wire->rng);
	peer->timestamps = wire->config.timestamps;
	seg = segment_of(wire, i, TCP_FLAG_SYN);
	m = segment_make(wire, i, &seg, "", 0);
	peer->snd_nxt++;
	arrive(wire, &m, 1);
	peer->pcb = tcp_ready_next(wire->stack, &events);
	ASSERT(peer->pcb && events == TCP_EVENT_SYN);
	tcp_accept(peer->pcb);
	tcp_flush(wire->stack);
	seg = segment_of(wire, i, TCP_FLAG_ACK);
	m = segment_make(wire, i, &seg, "", 0);
	arrive(wire, &m, 1);
	ASSERT(tcp_ready_next(wire->stack, &events) == peer->pcb);
	ASSERT(events == TCP_EVENT_ESTABLISHED);
	tcp_set_no_delay(peer->pcb, true);
	tcp_flush(wire->stack);
}

void wire_connect(struct wire *wire)
{
	for (unsigned i = 0; i < wire->config.peers; i++)
		peer_connect(wire, i);
}

void wire_turn_begin(struct wire *wire, uint64_t us)
{
	wire->now_us += us;
	tcp_advance(wire->stack, wire->now_us);
}

void wire_turn_end(struct wire *wire)
{
	tcp_flush(wire->stack);
	if (wire->now_us >= net_next_deadline(wire->net))
		net_timers(wire->net, wire->now_us);
	burst_end(wire);
}

// --- the clock -----------------------------------------------------------------------------------

void wire_cost_add(struct wire_cost *cost, uint64_t cycles)
{
	if (cost->least == 0 || cycles < cost->least)
		cost->least = cycles;
}

double wire_cost_ns(const struct wire_cost *cost, double per)
{
	return (double)cost->least * 1e9 / (double)rte_get_tsc_hz() / per;
}
