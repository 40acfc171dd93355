// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the tests of the network layer share: one net with an Ethernet interface and
// a raw one, frames built byte by byte, everything transmitted captured, time in the
// test's hands. After each test every mbuf must be back in its pool.
//
//   eth0  198.18.0.1/16  02:00:00:00:00:01   gateway 198.18.0.254 to everywhere
//   raw0  10.0.0.1/24    no Ethernet
//   198.18.0.9 is a static neighbour
//
// fixture6_setup() adds 2001:db8:18::1/64 and 2001:db8:10::1/64, the gateway 2001:db8:18::fe and
// the static neighbour 2001:db8:18::9.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/net.h"

#include <stdbool.h>
#include <sys/types.h>

struct rte_mbuf;
struct rte_mempool;

#define IP(a, b, c, d) \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

#define US     IP(198, 18, 0, 1)
#define PEER   IP(198, 18, 0, 2)
#define STATIC IP(198, 18, 0, 9)
#define RAW_US IP(10, 0, 0, 1)

#define SECOND 1000000ull

#define ETHER_LEN 14
#define IPV4_LEN  20
#define TCP_LEN	  20

#define SENT_MAX      512
#define NET_POOL_SIZE 1023

extern const uint8_t mac_us[6], mac_peer[6], mac_other[6], mac_static[6], mac_all[6];

struct fixture {
	struct rte_mempool *pool, *reserve;
	struct net_if eth, raw;
	struct random rng;
	struct net_config config;
	struct net *net;
	uint64_t now_us;
	bool ipv6;
	struct net_delivery delivery; // the latest
	struct rte_mbuf *sent[SENT_MAX];
	unsigned sent_count;
};

int fixture_pools_create(void);
int fixture_setup(void **state);
int fixture6_setup(void **state); // every address has been probed for and is assigned
int fixture_teardown(void **state);
// Replaces the net by one of f->config and the fixture's interfaces and addresses.
void fixture_net_create(struct fixture *f);

struct net_address ip_address(uint32_t ip);
struct net_address ip6_address(const char *text);

// --- frames --------------------------------------------------------------------------------------

void put16(uint8_t *p, unsigned v);
void put32(uint8_t *p, uint32_t v);
unsigned get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
// RFC 1071 as it is told: 16-bit big-endian words, one by one. Complemented.
uint16_t naive_checksum(const uint8_t *data, size_t length, uint32_t sum);
uint16_t naive_tcp_checksum(const uint8_t *ip, size_t length);

struct packet_spec {
	uint32_t source, destination; // 0: PEER to US
	uint8_t protocol;
	uint8_t tos, ttl;
	uint16_t id, fragment; // flags and offset field
	unsigned options;      // bytes of NOPs
};
// Each returns the length of what it wrote.
size_t build_ether(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], unsigned type);
size_t build_ipv4(
	uint8_t *packet, const struct packet_spec *spec, const void *payload, size_t length);
// A TCP segment with the sum in place, addresses as in spec; returns the IP packet's length.
size_t build_tcp(
	uint8_t *packet, const struct packet_spec *spec, const void *payload, size_t length);
size_t build_icmp(uint8_t *icmp, uint8_t type, uint8_t code, uint32_t rest, const void *payload,
	size_t length);
size_t build_arp(uint8_t *frame, unsigned opcode, const uint8_t sender_mac[6], uint32_t sender,
	uint32_t target);

struct rte_mbuf *frame_mbuf(struct fixture *f, const void *data, size_t length);
// A chain whose segments have at most `segment` bytes.
struct rte_mbuf *frame_chain(struct fixture *f, const void *data, size_t length, size_t segment);
// Puts one frame in; true when something was delivered (f->delivery).
bool receive(struct fixture *f, struct net_if *netif, const void *frame, size_t length);
bool receive_mbuf(struct fixture *f, struct net_if *netif, struct rte_mbuf *m);
// The same in an Ethernet header from the peer to us.
bool receive_ipv4(struct fixture *f, const void *packet, size_t length);
void receive_arp(
	struct fixture *f, unsigned opcode, const uint8_t mac[6], uint32_t sender, uint32_t target);

// --- what came out -------------------------------------------------------------------------------

// Copies transmitted frame i to `frame`; returns its length.
size_t sent_frame(const struct fixture *f, unsigned i, uint8_t *frame);
void sent_clear(struct fixture *f);
void assert_sent_arp(const struct fixture *f, unsigned i, unsigned opcode, const uint8_t to[6],
	uint32_t sender, uint32_t target);
uint64_t counter(const struct fixture *f, const char *family, const char *value);
uint64_t dropped(const struct fixture *f, const char *reason);
// "" when there is none.
const char *neighbour_state(const struct fixture *f, uint32_t ip);
const char *neighbour_state_of(const struct fixture *f, const struct net_address *address);

// Moves time on, firing timers when they are due.
void advance(struct fixture *f, uint64_t by_us);

// A path to `remote`, from the address that suits.
struct net_path open_path(struct fixture *f, uint32_t remote);
// Sends `length` bytes of some protocol down the path.
void send_bytes(struct fixture *f, struct net_path *path, size_t length);

#define net_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#define net6_test(name) cmocka_unit_test_setup_teardown(name, fixture6_setup, fixture_teardown)

int test_net_address(void);
int test_net_arp(void);
int test_net_bridge(void);
int test_net_bridged(void);
int test_net_bridges(void);
int test_net_config(void);
int test_net_datagrams(void);
int test_net_fragments(void);
int test_net_gather(void);
int test_net_icmp(void);
int test_net_input(void);
int test_net_neighbours(void);
int test_net_observed(void);
int test_net_output(void);
int test_net_dad(void);
int test_net_fragments6(void);
int test_net_icmp6(void);
int test_net_input6(void);
int test_net_mld(void);
int test_net_nd(void);
int test_net_output6(void);
int test_net_loop(void);
int test_net_share(void);
int test_net_transit(void);
