// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Adopted connections: the engine goes on in the place of an end that it never was, segment by
// segment. tests/sim/adopt.c puts two halves between two engines.

#include "tcp_tests.h"

#include <rte_mbuf.h>

#include <errno.h>

#define SELF_ISN 0x7ffffff0u

static struct tcp_adoption handshake(const struct fixture *f)
{
	return (struct tcp_adoption){
		.self = {.endpoint = f->local,
			.isn = SELF_ISN,
			.right_edge = PEER_ISN + 1 + 30000,
			.tsval = 5000,
			.mss = 1400,
			.wscale = 2},
		.peer = {.endpoint = f->remote,
			.isn = PEER_ISN,
			.right_edge = SELF_ISN + 1 + 10000,
			.tsval = 70000,
			.mss = 1000,
			.wscale = 4},
	};
}

static struct net_path path_of(const struct fixture *f)
{
	struct net_path path;

	assert_int_equal(net_path_open(f->net, &f->local.address, &f->remote.address, &path), 0);
	path.ttl = 37;
	path.tos = 0x48;
	return path;
}

static struct tcp_pcb *adopt(struct fixture *f, const struct tcp_adoption *adoption)
{
	const struct net_path path = path_of(f);
	struct tcp_pcb *pcb;

	assert_int_equal(tcp_adopt(f->stack, adoption, &path, f, &pcb), 0);
	tcp_stack_check(f->stack);
	f->iss = SELF_ISN;
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
	assert_null(tcp_pcb_listener(pcb));
	expect_events(f, NULL, 0);
	flush(f);
	expect_nothing(f);
	return pcb;
}

static void the_sequence_space_goes_on(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);

	peer(f, ACK | PSH, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 100);
	send_text(f, pcb, 1, 2000);
	flush(f);
	expect(f, ACK, 1, 101, 1000); // the peer's MSS
	drop_sent(f);
	peer(f, ACK, 101, 2001, 0);
	assert_int_equal(tcp_send_queued(pcb), 0);
	assert_int_equal(count_of(f, "tcp_retransmits_total", NULL), 0);
}

static void ttl_and_dscp_are_the_path_s(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);
	const uint8_t *ip;

	send_text(f, pcb, 1, 10);
	flush(f);
	ip = rte_pktmbuf_mtod(f->sent[0], const uint8_t *);
	assert_int_equal(ip[8], 37);
	assert_int_equal(ip[1] & 0xfc, 0x48);
}

static void ecn_goes_on_when_both_ends_do_it(void **state)
{
	struct fixture *f = *state;
	struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb;
	struct tcp_info info;

	f->config.ecn = TCP_ECN_OFF; // it was for others to decide
	fixture_restart(f);
	adoption.self.ecn = true;
	pcb = adopt(f, &adoption);
	tcp_pcb_info(pcb, &info);
	assert_false(info.ecn);
	tcp_abort(pcb);
	drop_sent(f);
	adoption.peer.ecn = true;
	pcb = adopt(f, &adoption);
	tcp_pcb_info(pcb, &info);
	assert_true(info.ecn);
	send_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	assert_int_equal(f->last_ecn, 2); // ECT(0)
	peer_send(f,
		&(struct peer_segment){.flags = ACK, .seq = 1, .ack = 101, .length = 10, .ecn = 3});
	expect_text(f, pcb, 1, 10);
	pass(f, SECOND);
	expect(f, ACK | ECE, 101, 11, 0);
	peer(f, ACK | CWR, 11, 101, 10);
	expect_text(f, pcb, 11, 10);
	pass(f, SECOND);
	expect(f, ACK, 101, 21, 0);
}

static void windows_are_those_advertised(void **state)
{
	struct fixture *f = *state;
	struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb;
	struct tcp_info info;

	adoption.self.has_wscale = adoption.peer.has_wscale = true;
	pcb = adopt(f, &adoption);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.rcv_wnd, 30000);
	assert_int_equal(info.snd_wnd, 10000);
	peer_send(f, &(struct peer_segment){.flags = ACK, .seq = 1, .ack = 1, .wnd = 700});
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.snd_wnd, 700 << 4); // the peer's scale
	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	pass(f, f->config.delayed_ack_us + MS);
	expect(f, ACK, 1, 101, 0);
	// The impersonated end's scale; the edge never goes back.
	assert_true(101 + (f->last.wnd << 2) >= 1 + 30000);
}

static void one_sided_options_are_none(void **state)
{
	struct fixture *f = *state;
	struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb;
	struct tcp_info info;

	adoption.self.timestamps = true;
	adoption.peer.has_wscale = true;
	pcb = adopt(f, &adoption);
	peer_send(f, &(struct peer_segment){.flags = ACK, .seq = 1, .ack = 1, .wnd = 700});
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.snd_wnd, 700);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	assert_int_equal(f->last.options.present, 0);
}

static void repeats_of_the_handshake_draw_an_ack(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);

	peer(f, SYN, 0, 0, 0); // the peer was the client
	flush(f);
	expect(f, ACK, 1, 1, 0);
	pass(f, SECOND);
	peer(f, SYN | ACK, 0, 1, 0); // or the server
	flush(f);
	expect(f, ACK, 1, 1, 0);
	peer(f, ACK, 1, 1, 0); // the last of it again
	flush(f);
	expect_nothing(f);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

// Two halves, each the peer of an end that the test plays: the fixture's remote is the client, its
// local address is the broker's.
static void timestamps_follow_the_impersonated_clock(void **state)
{
	struct fixture *f = *state;
	struct tcp_adoption adoption = handshake(f);
	struct tcp_adoption other;
	struct net_path path;
	struct tcp_pcb *to_client, *to_broker;

	adoption.self.timestamps = adoption.peer.timestamps = true;
	to_client = adopt(f, &adoption);
	other = (struct tcp_adoption){
		.self = adoption.peer, .peer = adoption.self, .twin = to_client};
	path = path_of(f);
	assert_int_equal(tcp_adopt(f->stack, &other, &path, f, &to_broker), 0);
	f->timestamps = true;
	f->peer_options.tsval = 70100; // the client's
	peer(f, ACK, 1, 1, 10);
	expect_events(f, to_client, TCP_EVENT_READABLE);
	expect_text(f, to_client, 1, 10);
	pass(f, 3600 * SECOND);
	expect(f, ACK, 1, 11, 0);
	assert_int_equal(f->last.options.tsval, 5000); // not a tick ahead of the broker's clock
	assert_int_equal(f->last.options.tsecr, 70100);
	tcp_adopted_clock(to_client, 5500);
	tcp_adopted_clock(to_client, 5400); // seen late
	send_text(f, to_client, 1, 10);
	flush(f);
	expect(f, ACK, 1, 11, 10);
	assert_int_equal(f->last.options.tsval, 5500);
	// What the client said is what the other half says.
	send_text(f, to_broker, 1, 10);
	flush(f);
	f->iss = PEER_ISN;
	assert_int_equal(f->sent_count, 1);
	f->iss = PEER_ISN;
	expect(f, ACK, 1, SELF_ISN + 1 - PEER_ISN, 10);
	assert_int_equal(f->last.options.tsval, 70100);
	assert_int_equal(f->last.options.tsecr, 5000);
	// One half outlives the other.
	tcp_abort(to_broker);
	drop_sent(f);
	f->iss = SELF_ISN;
	f->peer_options.tsval = 70200;
	peer(f, ACK, 11, 11, 10);
	expect_events(f, to_client, TCP_EVENT_READABLE | TCP_EVENT_WRITABLE);
}

static void a_lost_segment_is_no_measure_of_time(void **state)
{
	struct fixture *f = *state;
	struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb;
	struct tcp_info info;

	adoption.self.timestamps = adoption.peer.timestamps = true;
	pcb = adopt(f, &adoption);
	f->timestamps = true;
	f->peer_options.tsval = 70000;
	send_text(f, pcb, 1, 10);
	pass(f, 1100 * MS); // once again
	assert_int_equal(drop_sent(f), 2);
	f->ts_recent = 5000;
	peer(f, ACK, 1, 11, 0);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.srtt_us, 0);
}

static void it_ends_like_any_other(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);
	struct net_path path = path_of(f);
	struct tcp_pcb *again;

	assert_int_equal(tcp_adopt(f->stack, &adoption, &path, f, &again), -EADDRINUSE);
	net_path_close(&path);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	peer(f, ACK, 1, 2, 50); // half-closed
	expect_events(f, pcb, TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 50);
	peer(f, FIN | ACK, 51, 2, 0);
	expect_events(f, pcb, TCP_EVENT_EOF);
	flush(f);
	expect(f, ACK, 2, 52, 0);
	assert_int_equal(state_of(pcb), TCP_TIME_WAIT);
	tcp_close(pcb);
}

static void only_an_exact_reset_ends_it(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);

	peer(f, RST, 2, 0, 0);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	peer(f, RST, 1, 0, 0);
	expect_events(f, pcb, TCP_EVENT_RESET);
	tcp_close(pcb);
}

static void who_has_it_is_told_and_it_can_be_forgotten(void **state)
{
	struct fixture *f = *state;
	const struct tcp_adoption adoption = handshake(f);
	struct tcp_pcb *pcb = adopt(f, &adoption);

	assert_int_equal(tcp_presence(f->stack, &f->remote, &f->local), TCP_ABSENT);
	assert_int_equal(tcp_presence(f->stack, &f->local, &f->remote), TCP_OWNED);
	tcp_close(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	assert_int_equal(tcp_presence(f->stack, &f->local, &f->remote), TCP_ORPHAN);
	peer(f, FIN | ACK, 1, 2, 0);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	tcp_forget(f->stack, &f->local, &f->remote); // out of TIME-WAIT
	assert_int_equal(tcp_presence(f->stack, &f->local, &f->remote), TCP_ABSENT);
	tcp_forget(f->stack, &f->local, &f->remote);
	adopt(f, &adoption);
	tcp_forget(f->stack, &f->local, &f->remote);
	flush(f);
	expect_nothing(f);
	assert_int_equal(tcp_presence(f->stack, &f->local, &f->remote), TCP_ABSENT);
}

// A segment as nobody's connection sends it: an ACK with text.
static struct rte_mbuf *stray(struct fixture *f, uint8_t flags, struct net_delivery *ret_delivery)
{
	const struct tcp_segment seg = {
		.source = f->remote.port,
		.destination = f->local.port,
		.seq = 1000,
		.ack = 70,
		.flags = flags,
	};
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);

	m->l3_len = 20;
	m->data_len =
		(uint16_t)(20 + 10 +
			   tcp_segment_encode(rte_pktmbuf_mtod_offset(m, uint8_t *, 20), &seg));
	m->pkt_len = m->data_len;
	*ret_delivery = (struct net_delivery){.kind = NET_DELIVERY_TCP, .m = m};
	return m;
}

static void strays_are_asked_and_reset(void **state)
{
	struct fixture *f = *state;
	struct net_path path = path_of(f);
	struct net_delivery delivery;
	struct rte_mbuf *m;

	tcp_stray_ask(f->stack, &path, f->local.port, f->remote.port);
	assert_int_equal(f->sent_count, 1);
	f->iss = 0;
	m = stray(f, ACK, &delivery);
	drop_sent(f);
	tcp_stray_reset(f->stack, &path, &delivery);
	rte_pktmbuf_free(m);
	expect(f, RST, 70, 0, 0); // just where its sender expects it
	m = stray(f, RST, &delivery);
	tcp_stray_reset(f->stack, &path, &delivery);
	rte_pktmbuf_free(m);
	expect_nothing(f);
	net_path_close(&path);
}

int test_tcp_adopt(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(the_sequence_space_goes_on),
		FIXTURE_TEST(ttl_and_dscp_are_the_path_s),
		FIXTURE_TEST(ecn_goes_on_when_both_ends_do_it),
		FIXTURE_TEST(windows_are_those_advertised),
		FIXTURE_TEST(one_sided_options_are_none),
		FIXTURE_TEST(repeats_of_the_handshake_draw_an_ack),
		FIXTURE_TEST(timestamps_follow_the_impersonated_clock),
		FIXTURE_TEST(a_lost_segment_is_no_measure_of_time),
		FIXTURE_TEST(it_ends_like_any_other),
		FIXTURE_TEST(only_an_exact_reset_ends_it),
		FIXTURE_TEST(who_has_it_is_told_and_it_can_be_forgotten),
		FIXTURE_TEST(strays_are_asked_and_reset),
	};

	return cmocka_run_group_tests_name("tcp_adopt", tests, NULL, NULL);
}
