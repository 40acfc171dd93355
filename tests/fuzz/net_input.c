// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzz target: what comes off the wire into net_input(). The input is a list of frames:
//
//   flags (1 byte)  length (2 bytes, big-endian)  frame …
//
//   bit 0      sums are good (as hardware would say; ICMP's is put in)
//   bit 1      comes in on the raw interface
//   bit 2      an answer goes to the source of what was delivered, down a path
//   bits 3–7   n: 2^n ms pass before
//
// After each frame the invariants hold; at the end every mbuf is back.

#include "base/assert.h"
#include "base/random.h"
#include "fuzz.h"
#include "net/net.h"

#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

#define FRAMES	  255
#define FRAME_MAX 1900

enum {
	FLAG_SUMMED = 1 << 0,
	FLAG_RAW = 1 << 1,
	FLAG_ANSWER = 1 << 2,
	FLAG_TIME_SHIFT = 3,
};

struct fuzz_net {
	struct rte_mempool *pool;
	struct net_if eth, raw;
	struct net *net;
	uint64_t now_us;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *arguments[] = {"net_input", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};

	ASSERT(rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) >= 0);
	ASSERT(rte_pktmbuf_pool_create(
		       "frames", FRAMES, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY) != NULL);
	return 0;
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	rte_mbuf_sanity_check(m, 1);
	rte_pktmbuf_free(m);
}

static void fuzz_net_init(struct fuzz_net *f, struct random *rng)
{
	struct net_interface_address addresses[4] = {
		{.prefix = 16}, {.prefix = 64}, {.prefix = 24}, {.prefix = 64}};
	const struct net_interface_config interfaces[] = {
		{&f->eth, &addresses[0], 2},
		{&f->raw, &addresses[2], 2},
	};
	struct net_config config;
	const char *error;

	net_address_parse("198.18.0.1", &addresses[0].address);
	net_address_parse("2001:db8:18::1", &addresses[1].address);
	net_address_parse("10.0.0.1", &addresses[2].address);
	net_address_parse("2001:db8:10::1", &addresses[3].address);
	f->pool = rte_mempool_lookup("frames");
	f->eth = (struct net_if){
		.name = "eth0",
		.mac = {2, 0, 0, 0, 0, 1},
		.mtu = 1500,
		.caps.rx_checksum = true,
		.tx_pool = f->pool,
		.tx = transmit,
	};
	f->raw = f->eth;
	f->raw.raw_ip = true;
	f->now_us = 1;
	random_init(rng, 1);
	net_config_init(&config);
	config.interfaces = interfaces;
	config.interfaces_count = 2;
	config.neighbours_max = 8;
	config.fragments_max = 8;
	config.neighbour_queue = 2;
	ASSERT(net_create(&config, rng, f->now_us, &f->net, &error) == 0);
}

// ICMPv6 stands first or behind hop-by-hop options.
static void icmp6_resum(uint8_t *ip, size_t length)
{
	size_t at = sizeof(struct rte_ipv6_hdr), total = at + ((size_t)ip[4] << 8 | ip[5]);
	struct rte_ipv6_hdr pseudo;
	uint8_t protocol = ip[6];
	uint16_t sum;

	if (protocol == IPPROTO_HOPOPTS && total >= at + 8) {
		protocol = ip[at];
		at += (1u + ip[at + 1]) * 8;
	}
	if (protocol != IPPROTO_ICMPV6 || total > length || total < at + 8)
		return;
	memcpy(&pseudo, ip, sizeof(pseudo));
	pseudo.proto = IPPROTO_ICMPV6;
	pseudo.payload_len = rte_cpu_to_be_16((uint16_t)(total - at));
	memset(ip + at + 2, 0, sizeof(sum));
	sum = rte_ipv6_udptcp_cksum(&pseudo, ip + at);
	memcpy(ip + at + 2, &sum, sizeof(sum));
}

// Makes an ICMP sum good, which a fuzzer cannot guess; what else is wrong stays.
static void icmp_resum(uint8_t *ip, size_t length)
{
	size_t header, total;
	uint16_t sum;

	if (length >= sizeof(struct rte_ipv6_hdr) + 8 && ip[0] >> 4 == 6)
		icmp6_resum(ip, length);
	if (length < sizeof(struct rte_ipv4_hdr) || ip[0] >> 4 == 6)
		return;
	header = (ip[0] & 15u) * 4;
	total = (size_t)ip[2] << 8 | ip[3];
	if (ip[9] != IPPROTO_ICMP || total > length || total < header + 8)
		return;
	memset(ip + header + 2, 0, sizeof(sum));
	sum = (uint16_t)~rte_raw_cksum(ip + header, total - header);
	memcpy(ip + header + 2, &sum, sizeof(sum));
}

static void answer(struct fuzz_net *f, const struct net_delivery *delivery)
{
	struct net_path path;
	struct rte_mbuf *m;

	if (net_path_open(f->net, &delivery->destination, &delivery->source, &path) != 0)
		return;
	m = rte_pktmbuf_alloc(f->pool);
	if (m != NULL) {
		memset(rte_pktmbuf_append(m, 20), 0, 20);
		m->l4_len = 20;
		net_path_send(&path, m, IPPROTO_TCP, 0, f->now_us);
	}
	net_path_close(&path);
}

static void frame_input(struct fuzz_net *f, unsigned flags, const uint8_t *data, size_t length)
{
	struct net_if *netif = flags & FLAG_RAW ? &f->raw : &f->eth;
	size_t ip = flags & FLAG_RAW ? 0 : RTE_ETHER_HDR_LEN;
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->pool);
	struct net_delivery delivery;

	if (m == NULL)
		return;
	memcpy(rte_pktmbuf_append(m, (uint16_t)length), data, length);
	if (flags & FLAG_SUMMED) {
		m->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		if (length > ip)
			icmp_resum(rte_pktmbuf_mtod_offset(m, uint8_t *, ip), length - ip);
	}
	if (net_input(f->net, netif, &m, 1, f->now_us, &delivery) == 0)
		return;
	ASSERT(delivery.m->data_len >= delivery.m->l3_len + 8);
	if (flags & FLAG_ANSWER)
		answer(f, &delivery);
	if (delivery.kind == NET_DELIVERY_TCP)
		net_unreachable(f->net, delivery.m, netif, 3, f->now_us);
	else
		rte_pktmbuf_free(delivery.m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct random rng;
	struct fuzz_net f;

	fuzz_net_init(&f, &rng);
	while (size >= 3) {
		unsigned flags = data[0];
		size_t length = (size_t)data[1] << 8 | data[2];

		data += 3;
		size -= 3;
		length = RTE_MIN(length, RTE_MIN(size, (size_t)FRAME_MAX));
		f.now_us += 1000ull << (flags >> FLAG_TIME_SHIFT);
		net_timers(f.net, f.now_us);
		frame_input(&f, flags, data, length);
		net_check(f.net);
		data += length;
		size -= length;
	}
	net_destroy(f.net);
	ASSERT(rte_mempool_avail_count(f.pool) == FRAMES);
	return 0;
}
