// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A bump in the wire between two ends that the test plays, frame by frame:
//
//   client 192.0.2.7:40000 ══ port 0 ─ monitor ─ port 1 ══ broker 203.0.113.9:1883
//                                    port 2
//
// Ends may move to another port, and get another address.
// Bridge, network layer, TCP and offload are the real ones. Segments are told by what is behind the
// ISN of their sender, so sequence number 1 is the first octet. What comes out of a port is taken
// off in order; after each test nothing is left, and every buffer is back.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attach/monitor.h"
#include "attach/stack.h"
#include "attach/track.h"
#include "base/random.h"
#include "net/bridge.h"
#include "net/net.h"
#include "offload/offload.h"
#include "tcp/segment.h"
#include "tcp/tcp.h"

struct rte_mbuf;
struct rte_mempool;

#define FIN TCP_FLAG_FIN
#define SYN TCP_FLAG_SYN
#define RST TCP_FLAG_RST
#define ACK TCP_FLAG_ACK

#define CLIENT_ISN  0xfffffff0u // wraps early
#define BROKER_ISN  0x12345678u
#define CLIENT_PORT 40000
#define BROKER_PORT 1883
#define SECOND	    1000000ull

#define CONNECT_PACKET "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01k"
#define CONNECT_LENGTH 15
#define CONNACK_PACKET "\x20\x02\x00\x00"
#define CONNACK_LENGTH 4

struct wire_segment {
	uint8_t flags;
	uint32_t seq, ack; // behind the ISNs
	const void *text;
	uint32_t length;
	uint16_t client_port; // 0: CLIENT_PORT
	uint16_t vlan;	      // 0: untagged
	uint16_t wnd;	      // 0: 50000
	bool closed;	      // a window of nothing
	struct tcp_options options;
	uint8_t raw_option; // kind of an option of four octets behind the others; 0: none
	bool spoilt;	    // a wrong sum
	uint32_t cut;	    // IP fragments of so many octets; 0: whole
	bool backwards;	    // the last of them first
};

#define PORTS	  3
#define SENT_MAX  256
#define FLOWS_MAX 32

struct wire {
	struct rte_mempool *pool, *reserve;
	struct net_if netifs[PORTS];
	struct net_if *list[PORTS];
	struct wire_port {
		struct wire *wire;
		struct rte_mbuf *sent[SENT_MAX];
		unsigned count, taken;
	} ports[PORTS];
	unsigned at[ENDS]; // the ports where the ends are
	uint8_t macs[ENDS][6];
	uint8_t heard[ENDS][6]; // as the other end believes
	struct random rng;
	struct payload_pool *payloads;
	struct net *net;
	struct tcp_stack *tcp;
	struct offload_broker_config broker;
	struct offload_config config;
	struct offload *offload;
	struct stack *stack;
	struct bridge *bridge;
	struct monitor_config monitor_config;
	struct monitor_record records[FLOWS_MAX];
	struct monitor *monitor;
	uint64_t now_us;
	uint32_t isn[2];
	struct tcp_segment last; // what wire_expect() has taken off
	struct net_observed last_seen;
	uint16_t ip_id;
};

int wire_pools_create(void);
int wire_setup(void **state);
int wire_setup_end_to_end(void **state); // with `ack: end-to-end`
int wire_teardown(void **state);
#define wire_test(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)
// Everything but the table's file is made anew, as after a crash.
void wire_crash(struct wire *w);
void wire_start(struct wire *w);

// `side` sends; a turn is taken.
void wire_send(struct wire *w, unsigned side, const struct wire_segment *segment);
void wire_say(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	const void *text, uint32_t length);
// After frames came in some other way.
void wire_turn(struct wire *w);
// Time passes, from deadline to deadline.
void wire_wait(struct wire *w, uint64_t us);

// The next frame out towards `side` is a segment like that; its text is as told.
void wire_expect(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	const void *text, uint32_t length);
void wire_expect_nothing(struct wire *w);
// Of frames that are not looked at: how many have come out towards `side`.
unsigned wire_drop(struct wire *w, unsigned side);
unsigned wire_drop_port(struct wire *w, unsigned port);
struct rte_mbuf *wire_take(struct wire *w, unsigned side); // NULL: none; the caller's

// SYN, SYN-ACK, ACK, all of them forwarded.
void wire_handshake(struct wire *w);
// ... and CONNECT and CONNACK, acknowledged: the connection is adopted.
void wire_adopt(struct wire *w);
uint64_t wire_count(const struct wire *w, const char *family, const char *value);
enum track_state wire_state(const struct wire *w); // of the one flow from CLIENT_PORT, untagged

int test_adopted(void);
int test_end_to_end(void);
int test_moves(void);
int test_opening(void);
int test_pictures(void);
int test_shared(void);
