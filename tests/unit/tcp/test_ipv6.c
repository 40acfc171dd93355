// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is different over IPv6: sizes of segments, packet too big (RFC 8201), the other
// numbers of ICMPv6 (RFC 4443). Everything else knows no family.

#include "tcp_tests.h"

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#define MSS_IPV6 1440

// An ICMPv6 error that quotes the segment at a relative sequence number, `quoted` octets long with
// its IP header.
static void icmp6(
	struct fixture *f, uint8_t type, uint8_t code, uint32_t seq, uint16_t quoted, uint16_t mtu)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	struct net_delivery delivery = {.kind = NET_DELIVERY_ICMP_ERROR,
		.m = m,
		.icmp_type = type,
		.icmp_code = code,
		.icmp_mtu = mtu};
	const uint16_t ports[] = {
		rte_cpu_to_be_16(f->local.port), rte_cpu_to_be_16(f->remote.port)};
	uint16_t payload = rte_cpu_to_be_16((uint16_t)(quoted - 40));
	uint32_t number = rte_cpu_to_be_32(f->iss + seq);

	memset(ip, 0, 48);
	ip[0] = 0x60;
	memcpy(ip + 4, &payload, 2);
	ip[6] = 6;
	memcpy(ip + 8, f->local.address.bytes, 16);
	memcpy(ip + 24, f->remote.address.bytes, 16);
	memcpy(ip + 40, ports, 4);
	memcpy(ip + 44, &number, 4);
	m->l3_len = 40;
	m->data_len = 48;
	m->pkt_len = 48;
	tcp_input(f->stack, &delivery);
	tcp_stack_check(f->stack);
}

static void segments_leave_room_for_the_longer_header(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(f->last.options.mss, MSS_IPV6);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	send_text(f, pcb, 1, 2 * MSS_IPV6);
	flush(f);
	expect(f, ACK, 1, 1, MSS_IPV6);
	expect(f, ACK, 1 + MSS_IPV6, 1, MSS_IPV6);
	expect_nothing(f);
	peer(f, ACK, 1, 1 + 2 * MSS_IPV6, 0);
}

static void without_the_option_a_peer_takes_1220(void **state)
{
	struct fixture *f = *state;
	struct tcp_info info;
	struct tcp_pcb *pcb;

	f->peer_options.present = 0;
	pcb = established_active(f);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 1220); // RFC 9293 3.7.1
}

static void packet_too_big_lowers_the_mss_to_1220_at_least(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_info info;

	send_text(f, pcb, 1, 4 * MSS_IPV6);
	flush(f);
	drop_sent(f);
	icmp6(f, 2, 0, 1 + 100000, MTU, 1400); // not in flight
	icmp6(f, 2, 0, 1, 600, 1400);	       // what it quotes would have fitted
	icmp6(f, 2, 0, 1, MTU, 1600);	       // no news
	icmp6(f, 3, 4, 1, MTU, 1400);	       // IPv4's numbers
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, MSS_IPV6);
	icmp6(f, 2, 0, 1, MTU, 1400);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 1340);
	flush(f);
	expect(f, ACK, 1, 1, 1340);
	expect(f, ACK, 1341, 1, 1340);
	drop_sent(f);
	icmp6(f, 2, 0, 1, 1400, 1280);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 1220);
	drop_sent(f);
	icmp6(f, 2, 0, 1, 1280, 600); // net lets none through
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.mss, 1220);
	drop_sent(f);
}

static void unreachable_ends_only_an_attempt(void **state)
{
	static const struct {
		uint8_t type, code;
		bool ends;
		enum tcp_unreachable what;
	} cases[] = {
		{1, 0, true, TCP_UNREACHABLE_NET},
		{1, 1, true, TCP_UNREACHABLE_PROHIBITED},
		{1, 3, true, TCP_UNREACHABLE_HOST},
		{1, 4, true, TCP_UNREACHABLE_PORT},
		{1, 5, true, TCP_UNREACHABLE_PROHIBITED},
		{1, 6, true, TCP_UNREACHABLE_PROHIBITED},
		{4, 1, true, TCP_UNREACHABLE_PROTOCOL}, // TCP is not known there
		{4, 0, false, 0},			// a field is wrong
		{3, 0, false, 0},			// hop limit
		{129, 0, false, 0},
	};
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		pcb = connecting(f, NULL);
		icmp6(f, 1, 4, 77, 64, 0); // not of our flight
		expect_events(f, NULL, 0);
		icmp6(f, cases[i].type, cases[i].code, 0, 64, 0);
		expect_events(
			f, cases[i].ends ? pcb : NULL, cases[i].ends ? TCP_EVENT_UNREACHABLE : 0);
		if (cases[i].ends)
			assert_int_equal(tcp_pcb_unreachable(pcb), cases[i].what);
		if (cases[i].ends)
			tcp_close(pcb);
		else
			tcp_abort(pcb);
		drop_sent(f);
		f->remote.port++;
	}
	pcb = established_active(f);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	icmp6(f, 1, 4, 1, 70, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

static void a_wildcard_listener_takes_both_families(void **state)
{
	struct fixture *f = *state;
	struct net_endpoint anywhere = {.port = PORT};
	struct tcp_pcb *pcb;

	assert_int_equal(tcp_listen(f->stack, &anywhere, f, &f->listener), 0);
	peer(f, SYN, 0, 0, 0);
	assert_int_equal(events(f, &pcb), TCP_EVENT_SYN);
	tcp_abort(pcb);
	drop_sent(f);
}

int test_tcp_ipv6(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(segments_leave_room_for_the_longer_header,
			fixture_setup_ipv6, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			without_the_option_a_peer_takes_1220, fixture_setup_ipv6, fixture_teardown),
		cmocka_unit_test_setup_teardown(packet_too_big_lowers_the_mss_to_1220_at_least,
			fixture_setup_ipv6, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			unreachable_ends_only_an_attempt, fixture_setup_ipv6, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_wildcard_listener_takes_both_families,
			fixture_setup_ipv6, fixture_teardown),
	};

	return cmocka_run_group_tests_name("ipv6", tests, NULL, NULL);
}
