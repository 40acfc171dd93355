// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text in frames: copied or referred to, and who holds what until the device has sent it. The
// fixture holds the frames as a device does; every segment it takes off has its checksums verified.

#include "tcp_tests.h"

#include "tcp/counters.h"

#include <rte_mbuf.h>

#define LEAST 500

static struct payload *payload_of(struct fixture *f, uint32_t seq, uint32_t length)
{
	struct payload *p = payload_alloc(f->payloads, length);

	for (uint32_t i = 0; i < length; i++)
		p->data[i] = text_octet(seq + i);
	p->length = length;
	return p;
}

// An interface that takes chains, and parts of LEAST octets referred to.
static struct tcp_pcb *chained(struct fixture *f)
{
	f->netif.caps.multi_segment = true;
	f->config.reference_least = LEAST;
	fixture_restart(f);
	return established_passive(f);
}

// The payload's octets from 0 on are the stream's from `seq` on.
static void send_range(struct tcp_pcb *pcb, struct payload *p, uint32_t offset, uint32_t length)
{
	const struct tcp_piece piece = {.payload = p, .offset = offset, .length = length};

	assert_int_equal(tcp_send(pcb, &piece, 1), 0);
}

static bool lies_in(const struct rte_mbuf *m, const struct payload *p)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

	return RTE_MBUF_HAS_EXTBUF(m) && data >= p->data &&
	       data + m->data_len <= p->data + p->length;
}

static void large_parts_are_referred_to_and_small_ones_copied(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = chained(f);
	struct payload *p = payload_of(f, 1, 1300);
	const struct rte_mbuf *m;

	send_range(pcb, p, 0, 101); // odd lengths: what follows is summed with its bytes swapped
	send_range(pcb, p, 101, 600);
	send_range(pcb, p, 701, 50);
	send_range(pcb, p, 751, 49);
	send_range(pcb, p, 800, 500);
	assert_int_equal(p->refs, 6);
	flush(f);
	m = f->sent[0];
	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->nb_segs, 4);
	assert_int_equal(p->refs, 8);
	assert_false(lies_in(m, p));
	m = m->next;
	assert_true(lies_in(m, p));
	assert_int_equal(m->data_len, 600);
	m = m->next;
	assert_false(lies_in(m, p));
	assert_int_equal(m->data_len, 99);
	m = m->next;
	assert_true(lies_in(m, p));
	assert_int_equal(m->data_len, 500);
	expect(f, ACK, 1, 1, 1300);
	assert_int_equal(p->refs, 6); // sent: the frame's are back
	peer(f, ACK, 1, 1301, 0);
	assert_int_equal(p->refs, 1);
	payload_put(p);
}

static void what_a_device_holds_outlives_its_acknowledgement(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = chained(f);
	struct payload *p = payload_of(f, 1, 1000);

	send_range(pcb, p, 0, 1000);
	payload_put(p);
	flush(f);
	peer(f, ACK, 1, 1001, 0);
	assert_int_equal(tcp_send_queued(pcb), 0);
	assert_int_equal(p->refs, 1); // the frame's
	expect(f, ACK, 1, 1, 1000);
	assert_int_equal(payload_pool_pressure(f->payloads), 0);
}

static void a_retransmission_is_built_beside_the_frame_that_is_still_held(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = chained(f);
	struct payload *p = payload_of(f, 1, 1000);

	send_range(pcb, p, 0, 1000);
	payload_put(p);
	pass(f, 3 * SECOND);
	assert_int_equal(f->sent_count, 2);
	assert_int_equal(p->refs, 3);
	expect(f, ACK, 1, 1, 1000);
	peer(f, ACK, 1, 301, 0); // part of it, while the second is held
	pass(f, 20 * SECOND);
	expect(f, ACK, 1, 1, 1000);
	expect(f, ACK, 301, 1, 700);
	drop_sent(f);
	tcp_abort(pcb);
	drop_sent(f);
	assert_int_equal(payload_pool_pressure(f->payloads), 0);
}

static void without_frames_for_a_chain_the_text_is_copied(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = chained(f);
	struct payload *p = payload_of(f, 1, 1000);

	send_range(pcb, p, 0, 1000);
	hoard_frames(f);
	rte_pktmbuf_free(f->hoard[--f->hoard_count]); // one is left
	flush(f);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->sent[0]->nb_segs, 1);
	assert_int_equal(p->refs, 2);
	expect(f, ACK, 1, 1, 1000);
	hoard_release(f);
	peer(f, ACK, 1, 1001, 0);
	payload_put(p);
}

static void an_interface_without_chains_gets_copies(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	struct payload *p;

	f->config.reference_least = 1;
	fixture_restart(f);
	pcb = established_passive(f);
	p = payload_of(f, 1, 1000);
	send_range(pcb, p, 0, 1000);
	flush(f);
	assert_int_equal(f->sent[0]->nb_segs, 1);
	expect(f, ACK, 1, 1, 1000);
	peer(f, ACK, 1, 1001, 0);
	payload_put(p);
}

static void a_frame_of_too_many_parts_is_copied(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	struct payload *p = payload_of(f, 1, 1400);

	f->netif.caps.multi_segment = true;
	f->config.reference_least = 100;
	fixture_restart(f);
	pcb = established_passive(f);
	for (uint32_t i = 0; i < 1400; i += 100)
		send_range(pcb, p, i, 100);
	flush(f);
	assert_int_equal(f->sent[0]->nb_segs, 1);
	expect(f, ACK, 1, 1, 1400);
	peer(f, ACK, 1, 1401, 0);
	payload_put(p);
}

// Pieces of any kind and length, sums remembered or not, timestamps or not, against the receiver's
// own sum and the stream.
static void any_mixture_of_pieces_arrives_with_right_sums(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t seq = 1;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	pcb = chained(f);
	tcp_set_no_delay(pcb, true);
	for (unsigned round = 0; round < 300; round++) {
		uint32_t queued = 0;

		while (queued < 1200) {
			uint32_t length = 1 + (uint32_t)(random_next(&f->rng) % 900);
			uint32_t offset = (uint32_t)(random_next(&f->rng) % 30);
			struct payload *p =
				payload_of(f, seq + queued - offset, offset + length + 9);

			send_range(pcb, p, offset, length);
			if (random_next(&f->rng) % 2 == 0) { // is in another queue as well
				payload_get(p);
				payload_sum(p, 0, p->length);
				payload_put(p);
			}
			payload_put(p);
			queued += length;
			if (random_next(&f->rng) % 2 == 0) {
				send_text(f, pcb, seq + queued, 7);
				queued += 7;
			}
		}
		flush(f);
		while (queued > 0) {
			uint32_t part = queued < MSS - 12 ? queued : MSS - 12;

			expect(f, ACK, seq, 1, part);
			seq += part;
			queued -= part;
		}
		peer(f, ACK, 1, seq, 0);
	}
}

static void sums_are_left_to_hardware_that_makes_them(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	f->netif.caps.tx_ip_checksum = f->netif.caps.tx_tcp_checksum = true;
	send_text(f, pcb, 1, 100);
	flush(f);
	assert_true(f->sent[0]->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
	assert_true(f->sent[0]->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	assert_int_equal(f->sent[0]->l4_len, 20);
	expect(f, ACK, 1, 1, 100);
	peer(f, ACK, 1, 101, 0);
}

// The device cuts; we say where.
static void long_text_goes_out_in_one_frame_for_the_device_to_cut(void **state)
{
	struct fixture *f = *state;
	struct payload *p;
	struct tcp_pcb *pcb;
	const struct rte_mbuf *m;
	uint8_t text[8 * MSS];
	const uint8_t *octets;

	f->netif.caps = (struct net_if_caps){.tx_ip_checksum = true,
		.tx_tcp_checksum = true,
		.multi_segment = true,
		.tso = true};
	f->config.reference_least = LEAST;
	fixture_restart(f);
	pcb = established_passive(f);
	tcp_set_no_delay(pcb, true);
	p = payload_of(f, 1, 5 * MSS + 400);
	send_range(pcb, p, 0, 300); // copied
	send_range(pcb, p, 300, 5 * MSS);
	send_range(pcb, p, 5 * MSS + 300, 100);
	payload_put(p);
	flush(f);
	assert_int_equal(f->sent_count, 2);
	m = f->sent[0];
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	assert_int_equal(m->tso_segsz, MSS);
	assert_int_equal(tcp_counters(f->stack).values[TCP_COUNTER_TSO_FRAMES], 1);
	assert_int_equal(m->nb_segs, 2);
	assert_int_equal(m->pkt_len, 40 + 5 * MSS);
	octets = rte_pktmbuf_read(m, 40, 5 * MSS, text);
	for (uint32_t i = 0; i < 5 * MSS; i++)
		assert_int_equal(octets[i], text_octet(1 + i));
	assert_int_equal(rte_pktmbuf_mtod(m, const uint8_t *)[33] & PSH, 0);
	assert_int_equal(count_of(f, "tcp_segments_out_total", NULL), 1 + 5 + 1);
	rte_pktmbuf_free(f->sent[0]);
	f->sent[0] = f->sent[1];
	f->sent_count = 1;
	expect(f, ACK, 1 + 5 * MSS, 1, 400);
	assert_int_equal(f->last.flags & PSH, PSH);
	// What was lost is sent again one segment at a time.
	pass(f, 3 * SECOND);
	expect(f, ACK, 1, 1, MSS);
	drop_sent(f);
	peer(f, ACK, 1, 1 + 5 * MSS + 400, 0);
	assert_int_equal(tcp_send_queued(pcb), 0);
}

// A probe is one segment, however much waits and the device could cut.
static void a_tail_loss_probe_of_new_text_is_one_segment(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->netif.caps = (struct net_if_caps){.tx_ip_checksum = true,
		.tx_tcp_checksum = true,
		.multi_segment = true,
		.tso = true};
	fixture_restart(f);
	pcb = established_sack(f);
	for (uint32_t i = 0; i < 30 * MSS; i += MSS)
		send_text(f, pcb, 1 + i, MSS);
	flush(f);
	drop_sent(f);
	pass(f, SACK_RTT * 3);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->sent[0]->pkt_len, 40 + MSS);
	drop_sent(f);
	tcp_abort(pcb);
	drop_sent(f);
}

// Small pieces are copied into as many mbufs as it takes; short of those the frame is shorter.
static void long_text_of_small_pieces_is_copied_into_a_chain(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->netif.caps = (struct net_if_caps){.tx_ip_checksum = true,
		.tx_tcp_checksum = true,
		.multi_segment = true,
		.tso = true};
	f->config.reference_least = 100000;
	fixture_restart(f);
	pcb = established_passive(f);
	for (uint32_t i = 0; i < 6 * MSS; i += 20)
		send_text(f, pcb, 1 + i, 20);
	flush(f);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->sent[0]->pkt_len, 40 + 6 * MSS);
	assert_in_range(f->sent[0]->nb_segs, 5, 6);
	drop_sent(f);
	hoard_frames(f);
	for (unsigned i = 0; i < 3; i++)
		rte_pktmbuf_free(f->hoard[--f->hoard_count]);
	peer(f, ACK, 1, 1 + 6 * MSS, 0);
	for (uint32_t i = 0; i < 6 * MSS; i += 20)
		send_text(f, pcb, 1 + 6 * MSS + i, 20);
	flush(f);
	assert_true(f->sent_count >= 1);
	assert_int_equal(f->sent[0]->pkt_len, 40 + 3 * MSS);
	drop_sent(f);
	hoard_release(f);
	tcp_abort(pcb);
	drop_sent(f);
}

int test_tcp_frame(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(large_parts_are_referred_to_and_small_ones_copied),
		FIXTURE_TEST(what_a_device_holds_outlives_its_acknowledgement),
		FIXTURE_TEST(a_retransmission_is_built_beside_the_frame_that_is_still_held),
		FIXTURE_TEST(without_frames_for_a_chain_the_text_is_copied),
		FIXTURE_TEST(an_interface_without_chains_gets_copies),
		FIXTURE_TEST(a_frame_of_too_many_parts_is_copied),
		FIXTURE_TEST(any_mixture_of_pieces_arrives_with_right_sums),
		FIXTURE_TEST(sums_are_left_to_hardware_that_makes_them),
		FIXTURE_TEST(long_text_goes_out_in_one_frame_for_the_device_to_cut),
		FIXTURE_TEST(a_tail_loss_probe_of_new_text_is_one_segment),
		FIXTURE_TEST(long_text_of_small_pieces_is_copied_into_a_chain),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
