// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Adopted connections: what either end may do to them, how they end, and what is said to those who
// do not know it yet.

#include "wire.h"

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <string.h>

#define UP   (1 + CONNECT_LENGTH) // the client's next octet
#define DOWN (1 + CONNACK_LENGTH) // the broker's

#define PING	"\xc0\x00"
#define PINGED	"\xd0\x00"
#define RETAINS "\x31\x05\x00\x01t+-" // passes

static void test_what_passes_keeps_the_numbers(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 2, PINGED, 2);
	wire_say(w, CLIENT, ACK, UP + 2, DOWN + 2, RETAINS, 7);
	wire_expect(w, BROKER, ACK, UP + 2, DOWN + 2, RETAINS, 7);
	wire_wait(w, SECOND / 10);
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER);
}

static void test_a_captured_publish_never_reaches_the_broker(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, "\x30\x05\x00\x01t+-", 7);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 7, NULL, 0);
	assert_int_equal(wire_drop(w, BROKER), 0);
	// The numbers towards the broker are behind now, and stay so.
	wire_say(w, CLIENT, ACK, UP + 7, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 9, PINGED, 2);
}

static void end_from(struct wire *w, unsigned side)
{
	uint32_t at[ENDS] = {UP, DOWN};

	wire_say(w, side, FIN | ACK, at[side], at[!side], NULL, 0);
	wire_expect(w, !side, FIN | ACK, at[side], at[!side], NULL, 0);
	wire_say(w, !side, ACK, at[!side], at[side] + 1, NULL, 0);
	wire_wait(w, SECOND / 10);
	wire_expect(w, side, ACK, at[!side], at[side] + 1, NULL, 0);
	// Half-closed, and the other has not gone.
	wire_expect_nothing(w);
	wire_say(w, !side, FIN | ACK, at[!side], at[side] + 1, NULL, 0);
	wire_expect(w, side, FIN | ACK, at[!side], at[side] + 1, NULL, 0);
	wire_say(w, side, ACK, at[side] + 1, at[!side] + 1, NULL, 0);
	wire_wait(w, SECOND / 10);
	wire_expect(w, !side, ACK, at[side] + 1, at[!side] + 1, NULL, 0);
	wire_expect_nothing(w);
}

static void test_ends_are_carried_through(void **state)
{
	struct wire *w = *state;

	for (unsigned side = 0; side < ENDS; side++) {
		wire_adopt(w);
		end_from(w, side);
		wire_wait(w, 70 * SECOND); // TIME-WAIT
		assert_int_equal(wire_state(w), TRACK_GONE);
		wire_wait(w, 151 * SECOND);
		assert_int_equal(wire_state(w), TRACK_FREE);
		w->isn[CLIENT] += 100000;
		w->isn[BROKER] += 100000;
	}
}

static void test_a_port_used_again_begins_anew(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	end_from(w, CLIENT);
	// The broker's half is in TIME-WAIT still; the client is not the one that was.
	w->isn[CLIENT] += 100000;
	w->isn[BROKER] += 100000;
	wire_adopt(w);
	assert_int_equal(wire_count(w, "flows", "adopted"), 1);
}

static void test_a_late_syn_does_not_begin_anew(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0); // the same
	wire_expect(w, CLIENT, ACK, DOWN, UP, NULL, 0);
	w->isn[CLIENT] += 100000;
	wire_wait(w, 2 * SECOND);
	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0); // another, or a forged one
	w->isn[CLIENT] -= 100000;
	wire_expect(w, CLIENT, ACK, DOWN, UP, NULL, 0);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	// It was another: the client knows nothing of the old one, and says so.
	wire_say(w, CLIENT, RST, UP, 0, NULL, 0);
	wire_expect(w, BROKER, RST | ACK, UP, DOWN, NULL, 0);
}

static void test_a_reset_is_carried_through_if_it_is_exact(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, RST, UP + 100, 0, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP, NULL, 0); // RFC 5961: come again
	wire_say(w, CLIENT, RST, UP, 0, NULL, 0);
	wire_expect(w, BROKER, RST | ACK, UP, DOWN, NULL, 0);
	wire_expect_nothing(w);
}

static void test_who_still_sends_is_reset(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, RST, UP, 0, NULL, 0);
	wire_drop(w, BROKER); // is lost
	wire_say(w, BROKER, ACK, DOWN, UP, PINGED, 2);
	wire_expect(w, BROKER, RST, UP, 0, NULL, 0);
	assert_int_equal(wire_state(w), TRACK_GONE);
	wire_expect_nothing(w);
	assert_int_equal(wire_count(w, "flow_strays_total", NULL), 1);
	wire_say(w, BROKER, RST, DOWN, 0, NULL, 0); // is not answered
	wire_expect_nothing(w);
	assert_true(offload_broker_trusted(w->offload, 0));
}

static void test_after_a_crash_both_ends_are_asked_and_reset(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_crash(w);
	assert_int_equal(wire_state(w), TRACK_GONE);
	wire_expect_nothing(w);
	wire_wait(w, SECOND / 10);
	// A question to each; the answers show where they stand.
	assert_int_equal(wire_drop(w, CLIENT), 1);
	assert_int_equal(wire_drop(w, BROKER), 1);
	wire_say(w, CLIENT, ACK, UP + 40, DOWN + 50, NULL, 0);
	wire_expect(w, CLIENT, RST, DOWN + 50, 0, NULL, 0);
	wire_say(w, BROKER, ACK, DOWN, UP, NULL, 0);
	wire_expect(w, BROKER, RST, UP, 0, NULL, 0);
	// One who has come back already is not asked any more.
	w->isn[CLIENT] += 100000;
	wire_adopt(w);
}

static void test_the_file_knows_only_those_that_are_adopted(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_crash(w);
	assert_int_equal(wire_state(w), TRACK_FREE);
	w->isn[CLIENT] += 100000;
	wire_adopt(w);
	end_from(w, BROKER);
	wire_wait(w, 300 * SECOND);
	wire_crash(w);
	assert_int_equal(wire_state(w), TRACK_FREE);
}

static void test_fragments_are_put_together(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = UP,
			.ack = DOWN,
			.text = RETAINS,
			.length = 7,
			.cut = 24});
	wire_expect(w, BROKER, ACK, UP, DOWN, RETAINS, 7);
	wire_send(w, BROKER,
		&(struct wire_segment){.flags = ACK,
			.seq = DOWN,
			.ack = UP + 7,
			.text = "\x30\x05\x00\x01t+-",
			.length = 7,
			.cut = 24,
			.backwards = true});
	wire_expect(w, CLIENT, ACK, DOWN, UP + 7, "\x30\x05\x00\x01t+-", 7);
	wire_expect_nothing(w);
}

// An error of a router about what the half in the broker's place has sent.
static void send_error(struct wire *w, struct rte_mbuf *about, uint16_t mtu)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);
	const uint8_t *frame = rte_pktmbuf_mtod(about, uint8_t *);
	uint8_t *out = (void *)rte_pktmbuf_append(m, 14 + 20 + 8 + 28);
	struct rte_ipv4_hdr *ip = (void *)(out + 14);
	struct rte_icmp_hdr *icmp = (void *)(out + 34);

	assert_non_null(out);
	if (out == NULL)
		return;
	memcpy(out, frame + 6, 6);
	memcpy(out + 6, frame, 6);
	memcpy(out + 12, frame + 12, 2);
	*ip = *(const struct rte_ipv4_hdr *)(const void *)(frame + 14);
	ip->dst_addr = ip->src_addr;
	ip->src_addr = rte_cpu_to_be_32(0xc0000201);
	ip->next_proto_id = IPPROTO_ICMP;
	ip->total_length = rte_cpu_to_be_16(20 + 8 + 28);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*icmp = (struct rte_icmp_hdr){
		.icmp_type = 3, .icmp_code = 4, .icmp_seq_nb = rte_cpu_to_be_16(mtu)};
	memcpy(icmp + 1, frame + 14, 28);
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, 8 + 28);
	monitor_input(w->monitor, &w->netifs[CLIENT], &m, 1, w->now_us);
	tcp_flush(w->tcp);
}

static void test_errors_are_the_half_s_that_they_concern(void **state)
{
	static const char publish[1200] = "\x30\xad\x09\x00\x01t";
	struct wire *w = *state;
	struct rte_mbuf *m;

	wire_adopt(w);
	wire_say(w, BROKER, ACK, DOWN, UP, publish, sizeof(publish));
	m = wire_take(w, CLIENT);
	assert_non_null(m);
	wire_drop(w, BROKER); // acknowledged
	assert_int_equal(wire_drop(w, CLIENT), 0);
	send_error(w, m, 700);
	rte_pktmbuf_free(m);
	// Nothing reaches the broker, and the client gets it in smaller segments.
	assert_int_equal(wire_drop(w, BROKER), 0);
	assert_int_equal(wire_drop(w, CLIENT), 2);
}

// --- whatever comes ------------------------------------------------------------------------------

static uint32_t number_near(struct wire *w)
{
	static const uint32_t around[] = {0, 1, UP, DOWN, UP + 7, 100000, 100001};
	uint32_t number = around[random_below(&w->rng, sizeof(around) / sizeof(around[0]))];

	return random_below(&w->rng, 4) == 0 ? number + random_below(&w->rng, 40) - 20 : number;
}

static void send_anything(struct wire *w)
{
	static const uint8_t flags[] = {SYN, SYN | ACK, ACK, ACK, ACK, ACK | FIN, RST, RST | ACK};
	static const char *const texts[] = {CONNECT_PACKET, PING, RETAINS, CONNACK_PACKET, "\x16"};
	static const uint32_t lengths[] = {CONNECT_LENGTH, 2, 7, CONNACK_LENGTH, 1};
	unsigned text = random_below(&w->rng, 5);

	wire_send(w, random_below(&w->rng, ENDS),
		&(struct wire_segment){
			.flags = flags[random_below(&w->rng, sizeof(flags))],
			.seq = number_near(w),
			.ack = number_near(w),
			.text = texts[text],
			.length = random_below(&w->rng, 2) ? lengths[text] : 0,
			.client_port = (uint16_t)(CLIENT_PORT + random_below(&w->rng, 3)),
			.vlan = random_below(&w->rng, 8) == 0 ? 7 : 0,
			.wnd = random_below(&w->rng, 8) == 0 ? 10 : 0,
			.raw_option = random_below(&w->rng, 32) == 0 ? 30 : 0,
			.spoilt = random_below(&w->rng, 16) == 0,
			.cut = random_below(&w->rng, 8) == 0 ? 24 : 0,
			.backwards = random_below(&w->rng, 2) == 0,
		});
}

// What leads to an adopted connection, where nothing is in its way.
static void say_hello(struct wire *w)
{
	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_say(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_say(w, BROKER, ACK, 1, UP, CONNACK_PACKET, CONNACK_LENGTH);
}

// wire_send() and wire_wait() look at the invariants of every floor after each step.
static void test_whatever_comes_nothing_is_lost_or_broken(void **state)
{
	struct wire *w = *state;

	for (unsigned i = 0; i < 20000; i++) {
		switch (random_below(&w->rng, 64)) {
		case 0:
			wire_wait(w, random_below(&w->rng, 100) * SECOND);
			break;
		case 1:
			wire_wait(w, random_below(&w->rng, 1000000));
			break;
		case 2:
			w->isn[CLIENT] += 100000;
			say_hello(w);
			break;
		case 3:
			say_hello(w);
			break;
		default:
			send_anything(w);
			break;
		}
		wire_drop(w, CLIENT);
		wire_drop(w, BROKER);
	}
	assert_true(wire_count(w, "flow_strays_total", NULL) > 0);
	assert_true(wire_count(w, "flow_packets_reassembled_total", NULL) > 0);
}

int test_adopted(void)
{
	const struct CMUnitTest tests[] = {
		wire_test(test_what_passes_keeps_the_numbers),
		wire_test(test_a_captured_publish_never_reaches_the_broker),
		wire_test(test_ends_are_carried_through),
		wire_test(test_a_port_used_again_begins_anew),
		wire_test(test_a_late_syn_does_not_begin_anew),
		wire_test(test_a_reset_is_carried_through_if_it_is_exact),
		wire_test(test_who_still_sends_is_reset),
		wire_test(test_after_a_crash_both_ends_are_asked_and_reset),
		wire_test(test_the_file_knows_only_those_that_are_adopted),
		wire_test(test_fragments_are_put_together),
		wire_test(test_errors_are_the_half_s_that_they_concern),
		wire_test(test_whatever_comes_nothing_is_lost_or_broken),
	};

	return cmocka_run_group_tests_name("adopted", tests, NULL, NULL);
}
