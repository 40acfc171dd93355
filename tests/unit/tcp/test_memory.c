// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Without payload memory nothing acknowledged is lost: what cannot be settled is forgotten
// before its ACK leaves. Chains from reassembled packets are read as any other text.

#include "tcp_tests.h"

#include <rte_mbuf.h>

#include <errno.h>

#define HOARD_MAX 2000

struct hoard {
	struct payload *payloads[HOARD_MAX];
	unsigned count;
};

static void hoard_payloads(struct fixture *f, struct hoard *hoard)
{
	struct payload *p;

	hoard->count = 0;
	while (hoard->count < HOARD_MAX && (p = payload_alloc(f->payloads, 1)))
		hoard->payloads[hoard->count++] = p;
}

static void give_back(struct hoard *hoard)
{
	while (hoard->count > 0)
		payload_put(hoard->payloads[--hoard->count]);
}

static void unread_text_without_memory_is_not_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	peer(f, ACK, 1, 1, 100);
	flush(f);
	hoard_payloads(f, &hoard);
	peer(f, ACK, 101, 1, 1000);
	assert_int_equal(tcp_recv_readable(pcb), 1100);
	flush(f);
	// The chunk that was there took a part of it; the rest has to come again.
	assert_in_range(tcp_recv_readable(pcb), 100, 1099);
	expect(f, ACK, 1, 1 + tcp_recv_readable(pcb), 0);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_no_payload"), 1);
	give_back(&hoard);
	peer(f, ACK, 101, 1, 1000);
	flush(f);
	expect_text(f, pcb, 1, 1100);
	drop_sent(f);
}

static void text_that_is_read_in_its_turn_needs_no_memory(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	hoard_payloads(f, &hoard);
	for (unsigned i = 0; i < 20; i++) {
		peer(f, ACK, 1 + i * 1000, 1, 1000);
		expect_text(f, pcb, 1 + i * 1000, 1000);
		flush(f);
	}
	give_back(&hoard);
	drop_sent(f);
}

static void a_fin_without_memory_for_its_text_comes_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	hoard_payloads(f, &hoard);
	peer(f, ACK | FIN, 1, 1, 100);
	assert_false(tcp_recv_eof(pcb));
	flush(f);
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
	give_back(&hoard);
	peer(f, ACK | FIN, 1, 1, 100);
	assert_true(tcp_recv_eof(pcb));
	flush(f);
	expect(f, ACK, 1, 102, 0);
	expect_text(f, pcb, 1, 100);
}

static void a_fin_is_taken_once_its_text_was_read_without_memory(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	hoard_payloads(f, &hoard);
	peer(f, ACK | FIN, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 102, 0);
	assert_true(tcp_recv_eof(pcb));
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	assert_true(tcp_next_deadline(f->stack) > f->now_us);
	give_back(&hoard);
}

static void early_text_joins_once_there_is_memory(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	peer(f, ACK, 101, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	hoard_payloads(f, &hoard);
	peer(f, ACK, 1, 1, 100);
	assert_int_equal(tcp_recv_readable(pcb), 100); // it cannot be joined yet
	expect_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 201, 0);
	expect_text(f, pcb, 101, 100);
	give_back(&hoard);
}

static void early_text_gives_way_to_text_in_sequence(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;

	for (unsigned i = 0; i < 8; i++) // far apart: a chunk each
		peer(f, ACK, 1001 + 2000 * i, 1, 100);
	hoard_payloads(f, &hoard);
	peer(f, ACK | PSH, 1, 1, 1000);
	flush(f); // not read in its turn, and yet kept
	assert_int_equal(tcp_recv_readable(pcb), 1000);
	drop_sent(f);
	peer(f, ACK, 9001, 1, 100); // nothing new of that kind
	flush(f);
	give_back(&hoard);
	for (unsigned i = 0; i < 10; i++)
		peer(f, ACK, 1001 + 1000 * i, 1, 1000);
	expect_text(f, pcb, 1, 11000);
	flush(f);
	drop_sent(f);
}

static void a_copy_without_memory_is_refused_whole(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct hoard hoard;
	static uint8_t much[2000];

	send_text(f, pcb, 1, 20);
	hoard_payloads(f, &hoard);
	assert_int_equal(tcp_send_copy(pcb, much, sizeof(much)), -ENOMEM);
	assert_int_equal(tcp_send_queued(pcb), 20);
	tcp_stack_check(f->stack);
	give_back(&hoard);
	send_text(f, pcb, 21, 2000);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	drop_sent(f);
}

static void a_chain_is_read_like_any_other_text(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_segment header = {.source = PEER_PORT,
		.destination = PORT,
		.seq = PEER_ISN + 1,
		.ack = f->iss + 1,
		.flags = ACK,
		.wnd = PEER_WND};
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	struct net_delivery delivery = {.kind = NET_DELIVERY_TCP,
		.m = m,
		.source = f->remote.address,
		.destination = f->local.address};
	uint32_t seq = 1;

	m->l3_len = 20;
	m->data_len = m->pkt_len = 40;
	tcp_segment_encode(rte_pktmbuf_mtod_offset(m, uint8_t *, 20), &header);
	for (unsigned i = 0; i < 4; i++) {
		struct rte_mbuf *part = rte_pktmbuf_alloc(f->receive);

		for (unsigned k = 0; k < 300; k++)
			rte_pktmbuf_mtod(part, uint8_t *)[k] = text_octet(seq++);
		part->data_len = part->pkt_len = 300;
		assert_int_equal(rte_pktmbuf_chain(m, part), 0);
	}
	tcp_input(f->stack, &delivery);
	tcp_stack_check(f->stack);
	expect_text(f, pcb, 1, 1200);
}

static void the_stack_frees_everything_when_it_goes(void **state)
{
	enum { COUNT = 10 };
	struct fixture *f = *state;
	struct tcp_pcb *pcbs[COUNT];
	uint32_t iss[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		f->remote.port++;
		pcbs[i] = established_passive(f);
		iss[i] = f->iss;
	}
	for (unsigned i = 0; i < COUNT; i++) {
		send_text(f, pcbs[i], 1, 3000);
		f->remote.port = tcp_pcb_remote(pcbs[i]).port;
		f->iss = iss[i];
		peer(f, ACK, 1, 1, 100);
		peer(f, ACK, 201, 1, 100);
		if (i % 2)
			flush(f);
		if (i % 3)
			tcp_abort_after_send(pcbs[i]);
		drop_sent(f);
	}
	tcp_close(f->listener);
	tcp_stack_check(f->stack);
	// The teardown counts the buffers.
}

int test_tcp_memory(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(unread_text_without_memory_is_not_acknowledged),
		FIXTURE_TEST(text_that_is_read_in_its_turn_needs_no_memory),
		FIXTURE_TEST(a_fin_without_memory_for_its_text_comes_again),
		FIXTURE_TEST(a_fin_is_taken_once_its_text_was_read_without_memory),
		FIXTURE_TEST(early_text_joins_once_there_is_memory),
		FIXTURE_TEST(early_text_gives_way_to_text_in_sequence),
		FIXTURE_TEST(a_copy_without_memory_is_refused_whole),
		FIXTURE_TEST(a_chain_is_read_like_any_other_text),
		FIXTURE_TEST(the_stack_frees_everything_when_it_goes),
	};

	return cmocka_run_group_tests_name("tcp_memory", tests, NULL, NULL);
}
