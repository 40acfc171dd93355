// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the tests of the engine share: one stack on a raw interface and a peer played by
// the test, segment by segment. Sequence numbers are relative to the initial ones: 0 is
// the SYN, 1 the first octet. Everything sent is captured; after each test the stack's
// invariants have been checked after every step and all buffers must be back.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/payload.h"
#include "base/random.h"
#include "net/net.h"
#include "tcp/segment.h"
#include "tcp/tcp.h"

#include <stdbool.h>
#include <string.h>

struct rte_mbuf;
struct rte_mempool;

#define MS     1000ull
#define SECOND 1000000ull

#define PORT	  1883
#define PEER_PORT 40000
#define PEER_ISN  0xfffff000u // wraps early
#define PEER_WND  20000
#define MTU	  1500
#define MSS	  1460

#define FIN TCP_FLAG_FIN
#define SYN TCP_FLAG_SYN
#define RST TCP_FLAG_RST
#define PSH TCP_FLAG_PSH
#define ACK TCP_FLAG_ACK
#define URG TCP_FLAG_URG
#define ECE TCP_FLAG_ECE
#define CWR TCP_FLAG_CWR

#define SENT_MAX 256

struct fixture {
	struct rte_mempool *pool, *reserve, *receive;
	struct payload_pool *payloads;
	struct net_if netif;
	struct random rng;
	struct net *net;
	struct tcp_config config;
	struct tcp_stack *stack;
	uint64_t now_us;
	struct net_endpoint local, remote;
	// The peer.
	struct tcp_options peer_options; // of its SYN, and of segments when timestamps are on
	uint32_t iss;			 // ours, learned from our SYN
	uint32_t ts_recent;		 // the last timestamp of ours
	bool timestamps;		 // put them on the peer's segments
	// What was sent and not expected yet.
	struct rte_mbuf *sent[SENT_MAX];
	unsigned sent_count;
	struct tcp_segment last; // what expect() has taken off
	uint8_t last_text[2048];
	uint8_t last_ecn; // bits of the IP header
	struct tcp_pcb *listener;
	struct rte_mbuf *hoard[8192]; // frames that the test keeps from the stack
	unsigned hoard_count;
};

int fixture_pools_create(void);
int fixture_setup(void **state);
int fixture_setup_ipv6(void **state); // 2001:db8:18::1 and ::2 instead
int fixture_teardown(void **state);
// A new stack with f->config, changed by the test.
void fixture_restart(struct fixture *f);

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

// --- the peer

// One segment; `text` octets are text_octet() of their relative sequence number.
struct peer_segment {
	uint8_t flags;
	uint32_t seq, ack, length;
	uint32_t wnd; // 0: PEER_WND; PEER_WND_ZERO: 0
	// SACK blocks, relative to our ISN; the option is there when there are any.
	uint8_t sack_count;
	struct tcp_sack_block sack[TCP_SACK_BLOCKS_MAX];
	uint8_t ecn; // bits of the IP header
};
#define PEER_WND_ZERO 0x10000u
void peer_send(struct fixture *f, const struct peer_segment *segment);
// The same, in few words.
void peer(struct fixture *f, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length);
// The octet of the stream at a relative sequence number.
uint8_t text_octet(uint32_t seq);

// --- the engine

// The turn ends, time passes, timers fire, and that turn ends as well.
void pass(struct fixture *f, uint64_t us);
void flush(struct fixture *f);
// The next segment sent has these flags (PSH does not matter), relative numbers and length.
// ACKs of segments without the flag are not compared.
void expect(struct fixture *f, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length);
void expect_nothing(struct fixture *f);
// Takes off whatever was sent; returns how many.
unsigned drop_sent(struct fixture *f);
// Events of the one pcb that is ready; 0 when none is.
uint32_t events(struct fixture *f, struct tcp_pcb **ret_pcb);
void expect_events(struct fixture *f, struct tcp_pcb *pcb, uint32_t wanted);
enum tcp_state state_of(const struct tcp_pcb *pcb);
// Everything readable is the stream from `seq` on, `length` octets; consumes it.
void expect_text(struct fixture *f, struct tcp_pcb *pcb, uint32_t seq, uint32_t length);
// Sends the stream's octets from `seq` on.
void send_text(struct fixture *f, struct tcp_pcb *pcb, uint32_t seq, uint32_t length);
uint64_t count_of(const struct fixture *f, const char *family, const char *value);
void hoard_frames(struct fixture *f);
void hoard_release(struct fixture *f);

// --- ready-made

void listen_here(struct fixture *f);
// SYN in, TCP_EVENT_SYN out.
struct tcp_pcb *knock(struct fixture *f);
struct tcp_pcb *established_passive(struct fixture *f);
struct tcp_pcb *connecting(struct fixture *f, const struct tcp_connect_options *options);
struct tcp_pcb *established_active(struct fixture *f);
// With SACK and window scale, after a handshake that took this long.
#define SACK_RTT (40 * MS)
struct tcp_pcb *established_sack(struct fixture *f);
// An ACK with up to two SACK blocks.
void peer_sack(struct fixture *f, uint32_t ack, uint32_t start1, uint32_t end1, uint32_t start2,
	uint32_t end2);

// --- the groups
int test_tcp_segment(void);
int test_tcp_sendq(void);
int test_tcp_lookup(void);
int test_tcp_open(void);
int test_tcp_connect(void);
int test_tcp_states(void);
int test_tcp_receive(void);
int test_tcp_manual_ack(void);
int test_tcp_send(void);
int test_tcp_frame(void);
int test_tcp_loss(void);
int test_tcp_window(void);
int test_tcp_sack(void);
int test_tcp_rack(void);
int test_tcp_undo(void);
int test_tcp_congestion(void);
int test_tcp_ecn(void);
int test_tcp_close(void);
int test_tcp_attack(void);
int test_tcp_ipv6(void);
int test_tcp_memory(void);
int test_tcp_options(void);
int test_tcp_cookie(void);
int test_tcp_adopt(void);
int test_tcp_time_wait(void);
