// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What an attacker or a confused router may try: RFC 5961 (challenge ACKs and their rates),
// RFC 5927 (ICMP), malformed segments, memory.

#include "tcp_tests.h"

#include <rte_byteorder.h>
#include <rte_mbuf.h>

static void challenge_acks_are_limited_per_connection(void **state)
{
	struct fixture *f = *state;

	established_passive(f);
	for (unsigned i = 0; i < 10; i++) {
		peer(f, RST, 50 + i, 0, 0);
		flush(f);
	}
	expect(f, ACK, 1, 1, 0);
	expect_nothing(f);
	assert_int_equal(count_of(f, "tcp_challenge_acks_total", NULL), 1);
	assert_int_equal(count_of(f, "tcp_challenge_acks_suppressed_total", NULL), 9);
	pass(f, 200 * MS);
	peer(f, SYN, 50, 0, 0);
	flush(f);
	expect(f, ACK, 1, 1, 0);
}

// A host that has forgotten the connection begins anew, perhaps without timestamps. Silence would
// leave us half open for ever; other segments without them are dropped (RFC 7323 3.2).
static void a_syn_without_timestamps_is_challenged(void **state)
{
	struct fixture *f = *state;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = 1000;
	established_passive(f);
	assert_true(f->timestamps);
	f->timestamps = false;
	f->peer_options.present = 0;
	peer(f, ACK, 1, 1, 10);
	flush(f);
	expect_nothing(f);
	peer(f, SYN, 5000, 0, 0);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_no_timestamp"), 1);
}

static void challenge_acks_are_limited_in_all(void **state)
{
	struct fixture *f = *state;
	unsigned sent = 0;

	f->config.challenge_acks_per_s = 5;
	fixture_restart(f);
	for (unsigned i = 0; i < 8; i++) {
		f->remote.port++;
		established_passive(f);
		peer(f, RST, 50, 0, 0);
		flush(f);
		sent += drop_sent(f);
	}
	assert_in_range(sent, 3, 5); // how many exactly is nobody's business
}

static void much_too_old_acks_are_challenged(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK, 1, (uint32_t)-1000, 10); // within a window: merely old
	assert_int_equal(tcp_recv_readable(pcb), 10);
	peer(f, ACK, 11, (uint32_t)-1000000, 10); // blind data injection
	assert_int_equal(tcp_recv_readable(pcb), 10);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_bad_ack"), 1);
	flush(f);
	expect(f, ACK, 1, 11, 0);
}

static void malformed_segments_are_counted(void **state)
{
	struct fixture *f = *state;

	for (unsigned length = 0; length < 30; length++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
		struct net_delivery delivery = {.kind = NET_DELIVERY_TCP,
			.m = m,
			.source = f->remote.address,
			.destination = f->local.address};

		memset(rte_pktmbuf_mtod(m, void *), 0xf0, 60);
		m->l3_len = 20;
		m->data_len = (uint16_t)(20 + length);
		m->pkt_len = m->data_len;
		tcp_input(f->stack, &delivery);
	}
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_malformed"), 30);
}

// An ICMP error that quotes the segment at a relative sequence number.
static void icmp(struct fixture *f, uint8_t code, uint32_t seq, uint16_t quoted, uint16_t mtu)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	struct net_delivery delivery = {.kind = NET_DELIVERY_ICMP_ERROR,
		.m = m,
		.icmp_type = 3,
		.icmp_code = code,
		.icmp_mtu = mtu};
	const uint16_t fields[] = {
		rte_cpu_to_be_16(f->local.port), rte_cpu_to_be_16(f->remote.port)};
	const uint32_t addresses[] = {
		net_address_to_ipv4(&f->local.address), net_address_to_ipv4(&f->remote.address)};
	uint32_t number = rte_cpu_to_be_32(f->iss + seq);

	memset(ip, 0, 28);
	ip[0] = 0x45;
	ip[2] = (uint8_t)(quoted >> 8);
	ip[3] = (uint8_t)quoted;
	memcpy(ip + 12, addresses, 8);
	memcpy(ip + 20, fields, 4);
	memcpy(ip + 24, &number, 4);
	m->data_len = 28;
	m->pkt_len = 28;
	tcp_input(f->stack, &delivery);
	tcp_stack_check(f->stack);
}

static void unreachable_ends_only_an_attempt(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	icmp(f, 1, 77, 44, 0); // not of our flight
	expect_events(f, NULL, 0);
	icmp(f, 1, 0, 44, 0);
	expect_events(f, pcb, TCP_EVENT_UNREACHABLE);
	assert_int_equal(tcp_pcb_unreachable(pcb), TCP_UNREACHABLE_HOST);
	tcp_close(pcb);
	f->remote.port++;
	pcb = established_active(f);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	icmp(f, 3, 1, 50, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

static void unreachable_says_what_is(void **state)
{
	static const struct {
		uint8_t code;
		enum tcp_unreachable what;
	} cases[] = {
		{0, TCP_UNREACHABLE_NET},
		{1, TCP_UNREACHABLE_HOST},
		{2, TCP_UNREACHABLE_PROTOCOL},
		{3, TCP_UNREACHABLE_PORT},
		{9, TCP_UNREACHABLE_NET},
		{10, TCP_UNREACHABLE_HOST},
		{13, TCP_UNREACHABLE_HOST},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tcp_pcb *pcb = connecting(f, NULL);

		icmp(f, cases[i].code, 0, 44, 0);
		expect_events(f, pcb, TCP_EVENT_UNREACHABLE);
		assert_int_equal(tcp_pcb_unreachable(pcb), cases[i].what);
		tcp_close(pcb);
		f->remote.port++;
	}
}

static void fragmentation_needed_lowers_the_mss(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_info info;

	send_text(f, pcb, 1, 4 * MSS);
	flush(f);
	drop_sent(f);
	icmp(f, 4, 1 + 100000, MTU, 1000); // not in flight
	icmp(f, 4, 1, 600, 1000);	   // what it quotes would have fitted
	icmp(f, 4, 1, MTU, 1600);	   // no news
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, MSS);
	icmp(f, 4, 1, MTU, 1000);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 960);
	flush(f);
	expect(f, ACK, 1, 1, 960);
	expect(f, ACK, 961, 1, 960);
	drop_sent(f);
	icmp(f, 4, 1, 1000, 68); // an attack, or a link of another age
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 512);
	drop_sent(f);
}

static void early_text_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct payload_pool_usage usage;
	uint32_t in_use = 0;

	established_passive(f);
	for (unsigned i = 0; i < 2000; i++)
		peer(f, ACK, 3 + 2 * i, 1, 1);
	payload_pool_usage(f->payloads, &usage);
	for (unsigned c = 0; c < PAYLOAD_CLASSES; c++)
		in_use += usage.in_use[c];
	assert_in_range(in_use, 1, 256);
	assert_true(count_of(f, "packets_dropped_total", "tcp_reassembly_full") > 1700);
	for (unsigned i = 0; i < 8; i++)
		drop_sent(f);
}

int test_tcp_attack(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(challenge_acks_are_limited_per_connection),
		FIXTURE_TEST(a_syn_without_timestamps_is_challenged),
		FIXTURE_TEST(challenge_acks_are_limited_in_all),
		FIXTURE_TEST(much_too_old_acks_are_challenged),
		FIXTURE_TEST(malformed_segments_are_counted),
		FIXTURE_TEST(unreachable_ends_only_an_attempt),
		FIXTURE_TEST(unreachable_says_what_is),
		FIXTURE_TEST(fragmentation_needed_lowers_the_mss),
		FIXTURE_TEST(early_text_is_bounded),
	};

	return cmocka_run_group_tests_name("tcp_attack", tests, NULL, NULL);
}
