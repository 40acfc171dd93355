// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See wire.h.

#include "wire.h"

#include "base/payload.h"
#include "base/wheel.h"
#include "net/checksum.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include <stdlib.h>
#include <string.h>

#define POOL_SIZE    2047
#define RESERVE_SIZE 63
#define IPV4_LEN     20u

static const uint8_t macs[ENDS][6] = {{2, 0, 0, 0, 0, 7}, {2, 0, 0, 0, 0, 9}};
static const uint8_t ttls[ENDS] = {61, 63};

static struct rte_mempool *frame_pool, *reserve_pool;

int wire_pools_create(void)
{
	frame_pool = rte_pktmbuf_pool_create(
		"frames", POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	reserve_pool = rte_pktmbuf_pool_create(
		"reserve", RESERVE_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return frame_pool != NULL && reserve_pool != NULL ? 0 : -1;
}

static struct net_endpoint end_of(unsigned side, uint16_t client_port)
{
	const uint8_t addresses[ENDS][4] = {{192, 0, 2, 7}, {203, 0, 113, 9}};
	struct net_endpoint end = {.port = side == BROKER ? BROKER_PORT : client_port};
	uint32_t ipv4;

	memcpy(&ipv4, addresses[side], sizeof(ipv4));
	end.address = net_address_from_ipv4(ipv4);
	return end;
}

// --- start and end -------------------------------------------------------------------------------

static void port_transmit(void *ctx, struct rte_mbuf *m)
{
	struct wire_port *port = ctx;

	assert_true(port->count < SENT_MAX);
	port->sent[port->count++] = m;
}

static void net_start(struct wire *w)
{
	struct net_interface_config interfaces[PORTS] = {
		{.netif = &w->netifs[0]}, {.netif = &w->netifs[1]}, {.netif = &w->netifs[2]}};
	struct net_config config;
	const char *error;

	net_config_init(&config);
	config.interfaces = interfaces;
	config.interfaces_count = PORTS;
	config.neighbours_max = 64;
	assert_int_equal(net_create(&config, &w->rng, w->now_us, &w->net, &error), 0);
}

static void tcp_start(struct wire *w)
{
	const struct payload_pool_config payloads = {{511, 255, 127, 63}, -1};
	struct tcp_config config;

	assert_int_equal(payload_pool_create("payloads", &payloads, &w->payloads), 0);
	tcp_config_init(&config);
	config.connections_max = 64;
	config.pieces_max = 4096;
	assert_int_equal(
		tcp_stack_create("tcp", &config, w->net, w->payloads, &w->rng, w->now_us, &w->tcp),
		0);
}

void wire_start(struct wire *w)
{
	struct bridge_config bridge;

	net_start(w);
	tcp_start(w);
	assert_int_equal(
		offload_create(&w->config, w->tcp, w->payloads, &w->rng, w->now_us, &w->offload),
		0);
	assert_int_equal(
		stack_create(&w->config, w->offload, w->tcp, false, NULL, w->now_us, &w->stack), 0);
	bridge_config_init(&bridge);
	bridge.netifs = w->list;
	bridge.netifs_count = PORTS;
	assert_int_equal(bridge_create("bridge", &bridge, &w->rng, &w->bridge), 0);
	assert_int_equal(monitor_create("flows", &w->monitor_config, w->stack, w->net, w->bridge,
				 w->now_us, &w->monitor),
		0);
	monitor_keep(w->monitor, w->records);
	tcp_advance(w->tcp, w->now_us);
	offload_advance(w->offload, w->now_us);
}

static void wire_stop(struct wire *w)
{
	monitor_check(w->monitor);
	stack_destroy(w->stack);
	tcp_flush(w->tcp);
	monitor_destroy(w->monitor);
	bridge_destroy(w->bridge);
	offload_destroy(w->offload);
	tcp_stack_destroy(w->tcp);
	net_destroy(w->net);
	assert_int_equal(payload_pool_pressure(w->payloads), 0);
	payload_pool_destroy(w->payloads);
}

static int setup(void **state, enum offload_ack ack)
{
	struct wire *w = calloc(1, sizeof(*w));

	w->pool = frame_pool;
	w->reserve = reserve_pool;
	w->now_us = 1000 * SECOND;
	for (unsigned side = 0; side < ENDS; side++)
		w->at[side] = side;
	memcpy(w->macs, macs, sizeof(macs));
	memcpy(w->heard, macs, sizeof(macs));
	w->isn[CLIENT] = CLIENT_ISN;
	w->isn[BROKER] = BROKER_ISN;
	random_init(&w->rng, 1);
	for (unsigned i = 0; i < PORTS; i++) {
		w->ports[i].wire = w;
		w->list[i] = &w->netifs[i];
		w->netifs[i] = (struct net_if){.index = i,
			.mtu = 1500,
			.tx_pool = w->pool,
			.tx_reserve = w->reserve,
			.tx = port_transmit,
			.ctx = &w->ports[i]};
		snprintf(w->netifs[i].name, sizeof(w->netifs[i].name), "port%u", i);
	}
	offload_broker_config_init(&w->broker);
	w->broker.name = "broker";
	w->broker.address = w->broker.listen = end_of(BROKER, 0);
	w->broker.knowledge = OFFLOAD_KNOWLEDGE_WIRE;
	w->broker.authorization = OFFLOAD_AUTHORIZATION_OPEN;
	w->broker.ack = ack;
	offload_config_init(&w->config);
	w->config.brokers = &w->broker;
	w->config.brokers_count = 1;
	w->config.clients_max = 16;
	w->config.sessions_max = 16;
	w->config.subscriptions_max = 256;
	w->monitor_config = (struct monitor_config){
		.netifs = w->list,
		.netifs_count = PORTS,
		.flows_max = FLOWS_MAX,
	};
	wire_start(w);
	*state = w;
	return 0;
}

int wire_setup(void **state)
{
	return setup(state, OFFLOAD_ACK_EARLY);
}

int wire_setup_end_to_end(void **state)
{
	return setup(state, OFFLOAD_ACK_END_TO_END);
}

int wire_teardown(void **state)
{
	struct wire *w = *state;

	wire_stop(w);
	for (unsigned port = 0; port < PORTS; port++)
		wire_drop_port(w, port);
	assert_int_equal(rte_mempool_avail_count(w->pool), POOL_SIZE);
	assert_int_equal(rte_mempool_avail_count(w->reserve), RESERVE_SIZE);
	free(w);
	return 0;
}

void wire_crash(struct wire *w)
{
	struct monitor_record left[FLOWS_MAX];
	uint32_t count = 0;

	for (unsigned i = 0; i < FLOWS_MAX; i++)
		if (w->records[i].used)
			left[count++] = w->records[i];
	wire_stop(w);
	for (unsigned side = 0; side < ENDS; side++)
		wire_drop(w, side); // what a crash does not send
	w->monitor_config.left = left;
	w->monitor_config.left_count = count;
	wire_start(w);
	w->monitor_config.left_count = 0;
}

// --- frames in -----------------------------------------------------------------------------------

void wire_turn(struct wire *w)
{
	stack_run(w->stack, w->now_us);
	offload_run(w->offload);
	tcp_flush(w->tcp);
	offload_learn(w->offload);
	tcp_stack_check(w->tcp);
	monitor_check(w->monitor);
	net_check(w->net);
}

static size_t build_tcp(
	const struct wire *w, unsigned side, const struct wire_segment *s, uint8_t *out)
{
	struct net_endpoint from = end_of(side, s->client_port ? s->client_port : CLIENT_PORT);
	struct net_endpoint to = end_of(!side, s->client_port ? s->client_port : CLIENT_PORT);
	const struct tcp_segment header = {
		.source = from.port,
		.destination = to.port,
		.seq = w->isn[side] + s->seq,
		.ack = s->flags & ACK ? w->isn[!side] + s->ack : 0,
		.flags = s->flags,
		.wnd = s->closed ? 0
		       : s->wnd	 ? s->wnd
				 : 50000,
		.options = s->options,
	};
	size_t length = tcp_segment_encode(out, &header);
	struct rte_tcp_hdr *tcp = (void *)out;
	uint32_t sum;

	if (s->raw_option) {
		memcpy(out + length, (uint8_t[]){s->raw_option, 4, 0, 0}, 4);
		length += 4;
		tcp->data_off = (uint8_t)(length / 4 << 4);
	}
	if (s->length > 0)
		memcpy(out + length, s->text, s->length);
	length += s->length;
	sum = net_checksum_pseudo(&from.address, &to.address, IPPROTO_TCP, (uint32_t)length);
	sum += rte_raw_cksum(out, length);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp->cksum = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
	if (s->spoilt)
		out[length - 1] ^= 1;
	return length;
}

static void *added(struct rte_mbuf *m, uint32_t length)
{
	void *room = rte_pktmbuf_append(m, (uint16_t)length);

	assert_non_null(room);
	if (room == NULL)
		abort();
	return room;
}

// The part of the IP payload in a frame; the whole of it when there is no more.
static struct rte_mbuf *build_frame(struct wire *w, unsigned side, const struct wire_segment *s,
	const uint8_t *data, uint32_t offset, uint32_t length, bool more)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);
	struct net_endpoint from = end_of(side, 0), to = end_of(!side, 0);
	struct rte_ether_hdr *ether = added(m, sizeof(*ether));
	bool whole = offset == 0 && !more;
	struct rte_ipv4_hdr *ip;

	memcpy(&ether->dst_addr, w->heard[!side], 6);
	memcpy(&ether->src_addr, w->macs[side], 6);
	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	if (s->vlan) {
		struct rte_vlan_hdr *tag = added(m, sizeof(*tag));

		ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
		tag->vlan_tci = rte_cpu_to_be_16(s->vlan);
		tag->eth_proto = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	}
	ip = added(m, sizeof(*ip));
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = 0xb8,
		.total_length = rte_cpu_to_be_16((uint16_t)(IPV4_LEN + length)),
		.packet_id = rte_cpu_to_be_16(w->ip_id),
		.fragment_offset = rte_cpu_to_be_16(
			whole ? RTE_IPV4_HDR_DF_FLAG
			      : (uint16_t)(offset / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0))),
		.time_to_live = ttls[side],
		.next_proto_id = IPPROTO_TCP,
		.src_addr = net_address_to_ipv4(&from.address),
		.dst_addr = net_address_to_ipv4(&to.address),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	memcpy(added(m, length), data + offset, length);
	return m;
}

void wire_send(struct wire *w, unsigned side, const struct wire_segment *s)
{
	uint8_t data[2048];
	uint32_t length = (uint32_t)build_tcp(w, side, s, data);
	uint32_t step = s->cut ? s->cut : length, count = (length + step - 1) / step;

	w->ip_id++;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = (s->backwards ? count - 1 - i : i) * step;
		uint32_t part = RTE_MIN(step, length - at);
		struct rte_mbuf *m = build_frame(w, side, s, data, at, part, at + part < length);

		monitor_input(w->monitor, &w->netifs[w->at[side]], &m, 1, w->now_us);
	}
	wire_turn(w);
}

void wire_say(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	const void *text, uint32_t length)
{
	wire_send(w, side,
		&(struct wire_segment){
			.flags = flags, .seq = seq, .ack = ack, .text = text, .length = length});
}

static uint64_t next_us(const struct wire *w)
{
	uint64_t next = tcp_next_deadline(w->tcp);

	next = RTE_MIN(next, stack_next_deadline(w->stack));
	next = RTE_MIN(next, offload_next_deadline(w->offload));
	return RTE_MIN(next, monitor_next_deadline(w->monitor));
}

void wire_wait(struct wire *w, uint64_t us)
{
	uint64_t until_us = w->now_us + us;

	for (unsigned steps = 0; w->now_us < until_us; steps++) {
		uint64_t next = next_us(w);

		assert_true(steps < 100000);
		w->now_us = next > w->now_us ? RTE_MIN(next, until_us) : w->now_us + 1000;
		tcp_advance(w->tcp, w->now_us);
		offload_advance(w->offload, w->now_us);
		monitor_timers(w->monitor, w->now_us);
		wire_turn(w);
	}
}

// --- frames out ----------------------------------------------------------------------------------

static struct rte_mbuf *port_take(struct wire_port *port)
{
	struct rte_mbuf *m;

	if (port->taken == port->count)
		return NULL;
	m = port->sent[port->taken++];
	if (port->taken == port->count)
		port->taken = port->count = 0;
	return m;
}

struct rte_mbuf *wire_take(struct wire *w, unsigned side)
{
	return port_take(&w->ports[w->at[side]]);
}

unsigned wire_drop_port(struct wire *w, unsigned port)
{
	struct rte_mbuf *m;
	unsigned count = 0;

	for (; (m = port_take(&w->ports[port])) != NULL; count++)
		rte_pktmbuf_free(m);
	return count;
}

unsigned wire_drop(struct wire *w, unsigned side)
{
	return wire_drop_port(w, w->at[side]);
}

void wire_expect_nothing(struct wire *w)
{
	assert_int_equal(wire_drop(w, CLIENT), 0);
	assert_int_equal(wire_drop(w, BROKER), 0);
}

void wire_expect(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	const void *text, uint32_t length)
{
	const uint8_t mask = FIN | SYN | RST | ACK;
	struct rte_mbuf *m = wire_take(w, side);
	uint8_t scratch[2048];
	struct net_transit t;

	assert_non_null(m);
	net_transit_read(&w->netifs[side], m, &t);
	assert_int_equal(t.kind, NET_TRANSIT_TCP);
	assert_true(net_transit_intact(&w->netifs[side], m, &t));
	net_transit_observe(m, &t, &w->netifs[side], &w->last_seen);
	// It looks like the other end's.
	assert_memory_equal(w->last_seen.source, w->macs[!side], 6);
	assert_memory_equal(w->last_seen.destination, w->macs[side], 6);
	assert_int_equal(w->last_seen.ttl, ttls[!side]);
	assert_int_equal(w->last_seen.tos & 0xfc, 0xb8);
	assert_true(tcp_segment_decode(rte_pktmbuf_mtod_offset(m, uint8_t *, t.l4),
		(uint32_t)m->data_len - t.l4, t.l3 + t.length - t.l4, &w->last));
	assert_int_equal(w->last.flags & mask, flags);
	assert_int_equal(w->last.seq - w->isn[!side], seq);
	if (flags & ACK)
		assert_int_equal(w->last.ack - w->isn[side], ack);
	assert_int_equal(w->last.length, length);
	if (length > 0)
		assert_memory_equal(
			rte_pktmbuf_read(m, t.l4 + w->last.header_length, length, scratch), text,
			length);
	rte_pktmbuf_free(m);
}

// --- ready-made ----------------------------------------------------------------------------------

void wire_handshake(struct wire *w)
{
	const struct tcp_options options = {.present = TCP_OPTION_MSS, .mss = 1460};

	wire_send(w, CLIENT, &(struct wire_segment){.flags = SYN, .options = options});
	wire_expect(w, BROKER, SYN, 0, 0, NULL, 0);
	wire_send(w, BROKER,
		&(struct wire_segment){.flags = SYN | ACK, .ack = 1, .options = options});
	wire_expect(w, CLIENT, SYN | ACK, 0, 1, NULL, 0);
	wire_say(w, CLIENT, ACK, 1, 1, NULL, 0);
	wire_expect(w, BROKER, ACK, 1, 1, NULL, 0);
	wire_expect_nothing(w);
}

void wire_adopt(struct wire *w)
{
	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_say(w, BROKER, ACK, 1, 1 + CONNECT_LENGTH, CONNACK_PACKET, CONNACK_LENGTH);
	wire_drop(w, CLIENT); // an ACK of its own may have gone before
	wire_say(w, CLIENT, ACK, 1 + CONNECT_LENGTH, 1 + CONNACK_LENGTH, NULL, 0);
	wire_wait(w, SECOND);
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER); // delayed ACKs
}

uint64_t wire_count(const struct wire *w, const char *family, const char *value)
{
	struct counter_set set = monitor_counters(w->monitor);
	unsigned slot = 0;

	for (unsigned i = 0; i < set.families_count; i++)
		for (unsigned k = 0; k < set.families[i].slots; k++, slot++)
			if (strcmp(set.families[i].name, family) == 0 &&
				(value == NULL || strcmp(set.families[i].values[k], value) == 0))
				return counter_read(&set.values[slot]);
	fail_msg("no counter %s{%s}", family, value != NULL ? value : "");
	return 0;
}

enum track_state wire_state(const struct wire *w)
{
	struct net_endpoint client = end_of(CLIENT, CLIENT_PORT);
	const struct track_key key = {.client = client.address, .port = client.port};
	const struct track *track = track_find(w->monitor, &key);

	return track == NULL ? TRACK_FREE : track->state;
}
