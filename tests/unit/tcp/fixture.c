// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The stack under test and its peer; see tcp_tests.h.

#include "tcp_tests.h"

#include "base/wheel.h"
#include "net/checksum.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <stdlib.h>

static struct rte_mempool *frame_pool, *reserve_pool, *receive_pool;
static struct payload_pool *payload_pool;

int fixture_pools_create(void)
{
	const struct payload_pool_config config = {.count = {511, 255, 127, 31}, .socket = -1};

	frame_pool = rte_pktmbuf_pool_create("frames", 511, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	reserve_pool = rte_pktmbuf_pool_create("reserve", 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	receive_pool = rte_pktmbuf_pool_create("receive", 511, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	if (!frame_pool || !reserve_pool || !receive_pool)
		return -1;
	return payload_pool_create("payloads", &config, &payload_pool);
}

static struct net_address ip_address(uint8_t host)
{
	const uint8_t bytes[4] = {198, 18, 0, host};
	uint32_t ipv4;

	memcpy(&ipv4, bytes, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static void capture(void *ctx, struct rte_mbuf *m)
{
	struct fixture *f = ctx;

	assert_true(f->sent_count < SENT_MAX);
	f->sent[f->sent_count++] = m;
}

void fixture_restart(struct fixture *f)
{
	tcp_stack_destroy(f->stack);
	f->listener = NULL;
	assert_int_equal(tcp_stack_create("test", &f->config, f->net, f->payloads, &f->rng,
				 f->now_us, &f->stack),
		0);
}

static void net_start(struct fixture *f)
{
	const struct net_interface_address address = {.address = f->local.address, .prefix = 24};
	const struct net_interface_config interface = {
		.netif = &f->netif, .addresses = &address, .addresses_count = 1};
	struct net_config config;
	const char *error;

	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	assert_int_equal(net_create(&config, &f->rng, f->now_us, &f->net, &error), 0);
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->pool = frame_pool;
	f->reserve = reserve_pool;
	f->receive = receive_pool;
	f->payloads = payload_pool;
	f->now_us = 1000 * SECOND;
	f->local = (struct net_endpoint){.address = ip_address(1), .port = PORT};
	f->remote = (struct net_endpoint){.address = ip_address(2), .port = PEER_PORT};
	f->peer_options = (struct tcp_options){.present = TCP_OPTION_MSS, .mss = MSS};
	f->netif = (struct net_if){
		.name = "test",
		.raw_ip = true,
		.mtu = MTU,
		.tx_pool = f->pool,
		.tx_reserve = f->reserve,
		.tx = capture,
		.ctx = f,
	};
	random_init(&f->rng, 7);
	net_start(f);
	tcp_config_init(&f->config);
	f->config.connections_max = 64;
	f->config.pieces_max = 4096;
	f->config.congestion = TCP_CONGESTION_NEWRENO; // whose numbers are the simpler ones
	fixture_restart(f);
	*state = f;
	return 0;
}

int fixture_setup_ipv6(void **state)
{
	struct fixture *f;

	fixture_setup(state);
	f = *state;
	tcp_stack_destroy(f->stack);
	f->stack = NULL;
	net_destroy(f->net);
	assert_int_equal(net_address_parse("2001:db8:18::1", &f->local.address), 0);
	assert_int_equal(net_address_parse("2001:db8:18::2", &f->remote.address), 0);
	net_start(f);
	fixture_restart(f);
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	hoard_release(f);
	drop_sent(f);
	tcp_stack_check(f->stack);
	tcp_stack_destroy(f->stack);
	net_destroy(f->net);
	assert_int_equal(rte_mempool_in_use_count(f->pool), 0);
	assert_int_equal(rte_mempool_in_use_count(f->reserve), 0);
	assert_int_equal(rte_mempool_in_use_count(f->receive), 0);
	assert_int_equal(payload_pool_pressure(f->payloads), 0);
	free(f);
	return 0;
}

void hoard_frames(struct fixture *f)
{
	struct rte_mbuf *m;

	while ((m = rte_pktmbuf_alloc(f->pool)))
		f->hoard[f->hoard_count++] = m;
}

void hoard_release(struct fixture *f)
{
	while (f->hoard_count > 0)
		rte_pktmbuf_free(f->hoard[--f->hoard_count]);
}

void pass(struct fixture *f, uint64_t us)
{
	flush(f);
	f->now_us += us;
	tcp_advance(f->stack, f->now_us);
	tcp_stack_check(f->stack);
	flush(f);
}

void flush(struct fixture *f)
{
	tcp_flush(f->stack);
	tcp_stack_check(f->stack);
}

unsigned drop_sent(struct fixture *f)
{
	unsigned n = f->sent_count;

	for (unsigned i = 0; i < n; i++)
		rte_pktmbuf_free(f->sent[i]);
	f->sent_count = 0;
	return n;
}

static uint32_t ip_header_length(const struct fixture *f)
{
	return net_address_is_ipv4(&f->local.address) ? 20 : 40;
}

// Both checksums, as a receiver does it.
static void sums_check(const struct fixture *f, const struct rte_mbuf *m)
{
	uint32_t header = ip_header_length(f), length = m->pkt_len - header;

	if (!f->netif.caps.tx_ip_checksum && header == sizeof(struct rte_ipv4_hdr))
		assert_int_equal(net_checksum_chain(m, 0, header, 0), 0xffff);
	if (!f->netif.caps.tx_tcp_checksum)
		assert_int_equal(net_checksum_chain(m, header, length,
					 net_checksum_pseudo(&f->local.address, &f->remote.address,
						 IPPROTO_TCP, length)),
			0xffff);
}

static void take(struct fixture *f)
{
	struct rte_mbuf *m = f->sent[0];
	uint8_t packet[2048];
	uint32_t length = m->pkt_len - ip_header_length(f);
	const uint8_t *tcp = rte_pktmbuf_read(m, ip_header_length(f), length, packet);

	sums_check(f, m);
	assert_true(tcp_segment_decode(tcp, length, length, &f->last));
	memcpy(f->last_text, tcp + f->last.header_length, f->last.length);
	f->last_ecn = rte_pktmbuf_mtod(m, const uint8_t *)[1] & 3; // IPv4
	if (f->last.flags & SYN)
		f->iss = f->last.seq;
	if (f->last.options.present & TCP_OPTION_TIMESTAMPS)
		f->ts_recent = f->last.options.tsval;
	rte_pktmbuf_free(m);
	memmove(f->sent, f->sent + 1, --f->sent_count * sizeof(f->sent[0]));
}

void expect(struct fixture *f, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length)
{
	assert_int_not_equal(f->sent_count, 0);
	take(f);
	assert_int_equal(f->last.flags & ~PSH, flags & ~PSH);
	assert_int_equal(f->last.seq - f->iss, seq);
	if (flags & ACK)
		assert_int_equal(f->last.ack - PEER_ISN, ack);
	assert_int_equal(f->last.length, length);
	for (uint32_t i = 0; i < length; i++)
		assert_int_equal(f->last_text[i], text_octet(seq + i));
}

void expect_nothing(struct fixture *f)
{
	assert_int_equal(f->sent_count, 0);
}

uint32_t events(struct fixture *f, struct tcp_pcb **ret_pcb)
{
	uint32_t bits = 0;

	*ret_pcb = tcp_ready_next(f->stack, &bits);
	return *ret_pcb ? bits : 0;
}

void expect_events(struct fixture *f, struct tcp_pcb *pcb, uint32_t wanted)
{
	struct tcp_pcb *ready;

	assert_int_equal(events(f, &ready), wanted);
	if (wanted)
		assert_ptr_equal(ready, pcb);
}

enum tcp_state state_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info.state;
}

void expect_text(struct fixture *f, struct tcp_pcb *pcb, uint32_t seq, uint32_t length)
{
	struct tcp_span spans[8];
	uint32_t n = 0;
	unsigned count;

	assert_int_equal(tcp_recv_readable(pcb), length);
	while ((count = tcp_recv_peek(pcb, spans, 8)) > 0) {
		uint32_t part = 0;

		for (unsigned i = 0; i < count; i++) {
			for (uint32_t k = 0; k < spans[i].length; k++)
				assert_int_equal(spans[i].data[k], text_octet(seq + n + part + k));
			part += spans[i].length;
		}
		tcp_recv_consume(pcb, part);
		tcp_stack_check(f->stack);
		n += part;
	}
	assert_int_equal(n, length);
}

void send_text(struct fixture *f, struct tcp_pcb *pcb, uint32_t seq, uint32_t length)
{
	uint8_t *text = malloc(length);

	for (uint32_t i = 0; i < length; i++)
		text[i] = text_octet(seq + i);
	assert_int_equal(tcp_send_copy(pcb, text, length), 0);
	tcp_stack_check(f->stack);
	free(text);
}

uint64_t count_of(const struct fixture *f, const char *family, const char *value)
{
	struct counter_set set = tcp_counters(f->stack);
	const uint64_t *slot = set.values;

	for (unsigned i = 0; i < set.families_count; i++) {
		const struct counter_family *c = &set.families[i];

		if (strcmp(c->name, family) == 0)
			for (unsigned k = 0; k < c->slots; k++)
				if (!value || strcmp(c->values[k], value) == 0)
					return slot[k];
		slot += c->slots;
	}
	fail_msg("no counter %s", family);
	return 0;
}
