// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzz target: rows of datagrams that a hostile process writes, and what comes off the wire for
// them. The input is a list of steps, each a byte that says what, a byte that says how long, and as
// many bytes:
//
//   what & 3   0: octets into a slot's stream, as they are
//              1: a record: the octets are laid over a datagram that could be sent
//              2: a request for a UDP socket: the octets are laid over one that could be had
//              3: a frame: the octets are laid over UDP for such a socket, and its sum is made good
//   what >> 4  the slot
//
// At the end every mbuf and every payload is back.

#include "attach/sockets.h"
#include "base/assert.h"
#include "base/payload.h"
#include "base/random.h"
#include "channel/shared.h"
#include "fuzz.h"
#include "net/net.h"
#include "offload/config.h"

#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <stdlib.h>
#include <string.h>

#define FRAMES 255
#define SLOTS  8
#define CHUNKS 40
#define PORT   5683

struct bed {
	struct net_if eth;
	struct net *net;
	struct payload_pool *payloads;
	struct sockets *sockets;
	void *memory;
	struct lane *daemon, *process;
	int number;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *arguments[] = {"datagrams", "--no-huge", "--no-shconf", "-m", "128", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};

	(void)argc;
	(void)argv;
	ASSERT(rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) >= 0);
	ASSERT(rte_pktmbuf_pool_create(
		       "frames", FRAMES, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY) != NULL);
	return 0;
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	(void)ctx;
	rte_mbuf_sanity_check(m, 1);
	rte_pktmbuf_free(m);
}

static void take(void *ctx, const struct net_delivery *delivery)
{
	struct bed *bed = ctx;

	sockets_datagram(bed->sockets, delivery);
}

static void wake(void *ctx)
{
	(void)ctx;
}

static void bed_net(struct bed *bed, struct random *rng)
{
	struct net_interface_address addresses[2] = {{.prefix = 16}, {.prefix = 64}};
	const struct net_interface_config interface = {&bed->eth, addresses, 2};
	struct net_config config;
	const char *error;

	net_address_parse("198.18.0.1", &addresses[0].address);
	net_address_parse("2001:db8:18::1", &addresses[1].address);
	bed->eth = (struct net_if){
		.name = "eth0",
		.mac = {2, 0, 0, 0, 0, 1},
		.mtu = 1500,
		.tx_pool = rte_mempool_lookup("frames"),
		.tx = transmit,
	};
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	config.neighbours_max = 8;
	config.neighbour_queue = 2;
	config.dad_transmits = 0;
	config.datagram = take;
	config.datagram_ctx = bed;
	config.udp = true;
	ASSERT(net_create(&config, rng, 1, &bed->net, &error) == 0);
}

static void bed_init(struct bed *bed, struct random *rng, const struct net_endpoint *where)
{
	static const struct payload_pool_config payloads = {
		.count = {64, 64, 64, 64}, .socket = -1};
	static const struct offload_broker_config broker;
	static const struct offload_config config = {
		.brokers = &broker, .brokers_count = 1, .clients_max = 1};
	const struct shared_geometry geometry = {SLOTS, CHUNKS};
	size_t bytes = shared_size(&geometry);

	*bed = (struct bed){.memory = aligned_alloc(4096, bytes)};
	memset(bed->memory, 0, bytes);
	bed_net(bed, rng);
	ASSERT(payload_pool_create("fuzz", &payloads, &bed->payloads) == 0);
	ASSERT(sockets_create(&config, NULL, bed->net, NULL, bed->payloads, 1, &bed->sockets) == 0);
	sockets_serve_udp(bed->sockets, where, 2);
	ASSERT(shared_create(bed->memory, &geometry, 1, wake, NULL, &bed->daemon) == 0);
	ASSERT(shared_attach(bed->memory, bytes, &bed->process) == 0);
	bed->number = sockets_attach(
		bed->sockets, &(struct sockets_process){.lane = bed->daemon, .wake = wake});
	ASSERT(bed->number >= 0);
}

static void bed_fini(struct bed *bed)
{
	sockets_detach(bed->sockets, (unsigned)bed->number);
	sockets_destroy(bed->sockets);
	lane_destroy(bed->process);
	lane_destroy(bed->daemon);
	net_destroy(bed->net);
	payload_pool_destroy(bed->payloads); // which finds what is missing
	free(bed->memory);
	ASSERT(rte_mempool_in_use_count(rte_mempool_lookup("frames")) == 0);
}

static void lay_over(void *on, size_t size, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length && i < size; i++)
		((uint8_t *)on)[i] ^= data[i];
}

static void write_octets(struct bed *bed, uint32_t slot, const void *data, size_t length)
{
	const struct lane_span span = {data, (uint32_t)length};

	lane_post(bed->process,
		&(struct lane_item){
			.what = LANE_POST_DATA, .slot = slot, .spans = &span, .spans_count = 1});
}

static void write_record(struct bed *bed, uint32_t slot, const uint8_t *data, size_t length)
{
	struct {
		struct channel_datagram head;
		uint8_t octets[16];
	} record = {.head = {.length = 16,
			    .local.port = PORT,
			    .remote = {.address = {198, 18, 0, 1}, .port = PORT}}};

	lay_over(&record, sizeof(record), data, length);
	write_octets(bed, slot, &record, sizeof(record));
}

static void ask(struct bed *bed, const uint8_t *data, size_t length)
{
	struct {
		uint8_t ipv6, port, flags, socket, cookie, remote;
	} is = {0};
	struct channel_message message = {.kind = CHANNEL_UDP};

	lay_over(&is, sizeof(is), data, length);
	message.udp.socket = is.socket;
	message.udp.local.port = (uint16_t)(PORT + is.port);
	message.udp.local.ipv6 = message.udp.remote.ipv6 = is.ipv6 & 1;
	message.udp.ipv6_only = is.flags & 1;
	message.udp.reuses = is.flags >> 1 & 1;
	message.udp.shares = is.flags >> 2 & 1;
	message.udp.ephemeral = is.flags >> 3 & 1;
	message.udp.cookie = is.cookie;
	message.udp.remote.port = is.remote;
	memcpy(message.udp.remote.address, (uint8_t[]){198, 18, 0, 2}, 4);
	lane_post(
		bed->process, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &message});
}

static void receive(struct bed *bed, const uint8_t *data, size_t length)
{
	const struct rte_ether_hdr ether = {
		.dst_addr = {{2, 0, 0, 0, 0, 1}},
		.src_addr = {{2, 0, 0, 0, 0, 2}},
		.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
	};
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(20 + 8 + 64),
		.time_to_live = 64,
		.next_proto_id = 17,
		.src_addr = rte_cpu_to_be_32(RTE_IPV4(198u, 18u, 0u, 2)),
		.dst_addr = rte_cpu_to_be_32(RTE_IPV4(198u, 18u, 0u, 1)),
	};
	const struct rte_udp_hdr udp = {
		.src_port = rte_cpu_to_be_16(7),
		.dst_port = rte_cpu_to_be_16(PORT),
		.dgram_len = rte_cpu_to_be_16(8 + 64),
	};
	uint8_t packet[sizeof(ip) + sizeof(udp) + 64] = {0};
	struct rte_mbuf *m = rte_pktmbuf_alloc(bed->eth.tx_pool);
	struct net_delivery delivery;

	if (m == NULL)
		return;
	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), &udp, sizeof(udp));
	lay_over(packet, sizeof(packet), data, length);
	memcpy(&ip, packet, sizeof(ip));
	ip.hdr_checksum = 0;
	ip.hdr_checksum = (uint16_t)~rte_raw_cksum(&ip, sizeof(ip));
	memcpy(packet, &ip, sizeof(ip));
	memcpy(rte_pktmbuf_append(m, sizeof(ether)), &ether, sizeof(ether));
	memcpy(rte_pktmbuf_append(m, sizeof(packet)), packet, sizeof(packet));
	net_input(bed->net, &bed->eth, &m, 1, 1, &delivery);
}

static void step(struct bed *bed, uint8_t what, const uint8_t *data, size_t length)
{
	struct lane_news news;
	uint32_t slot = (what >> 4) % SLOTS;

	switch (what & 3) {
	case 0:
		write_octets(bed, slot, data, length);
		break;
	case 1:
		write_record(bed, slot, data, length);
		break;
	case 2:
		ask(bed, data, length);
		break;
	case 3:
		receive(bed, data, length);
		break;
	}
	sockets_receive(bed->sockets);
	for (unsigned i = 0; i < 64; i++) {
		lane_poll(bed->process, &news);
		if (news.what == LANE_NOTHING)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_endpoint where[2] = {{.port = PORT}, {.port = 0}};
	struct random rng;
	struct bed bed;

	net_address_parse("198.18.0.1", &where[0].address);
	net_address_parse("2001:db8:18::1", &where[1].address);
	random_init(&rng, 1);
	bed_init(&bed, &rng, where);
	for (size_t at = 0;
		at + 2 <= size && !sockets_is_broken(bed.sockets, (unsigned)bed.number);) {
		size_t length = data[at + 1] < size - at - 2 ? data[at + 1] : size - at - 2;

		step(&bed, data[at], data + at + 2, length);
		at += 2 + length;
	}
	bed_fini(&bed);
	return 0;
}
