// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One monitor of several: the connections of others go to them as they came, and what others have
// received of its own is as if it had come here. In these tests a client with an odd port is
// somebody else's.

#include "wire.h"

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define OTHERS	 1 // worker
#define OTHER	 (CLIENT_PORT + 1)
#define HEADERS	 (14 + 20)
#define HAND_MAX 64

static struct {
	struct monitor_frame frames[HAND_MAX];
	unsigned count;
} handed;

static unsigned owner_by_port(
	void *ctx, const struct net_endpoint *broker, const struct net_endpoint *client)
{
	assert_ptr_equal(ctx, &handed);
	assert_int_equal(broker->port, BROKER_PORT);
	return client->port % 2 == 0 ? 0 : OTHERS;
}

static void note_handed(void *ctx, unsigned owner, const struct monitor_frame *frame)
{
	assert_ptr_equal(ctx, &handed);
	assert_int_equal(owner, OTHERS);
	assert_true(handed.count < HAND_MAX);
	handed.frames[handed.count++] = *frame;
}

static void forget_handed(void)
{
	while (handed.count > 0)
		rte_pktmbuf_free(handed.frames[--handed.count].m);
}

// As the worker that owns what `self` gets.
static void share(struct wire *w, unsigned self)
{
	forget_handed();
	w->monitor_config.share = (struct monitor_share){self, owner_by_port, note_handed, &handed};
	wire_crash(w);
}

static int shared_setup(void **state)
{
	int rc = wire_setup(state);

	share(*state, 0);
	return rc;
}

static int shared_teardown(void **state)
{
	forget_handed();
	return wire_teardown(state);
}

// What was handed over by one monitor arrives at the one that stands in its place now.
static void take_handed(struct wire *w)
{
	unsigned count = handed.count;

	handed.count = 0;
	monitor_take(w->monitor, handed.frames, count, w->now_us);
	wire_turn(w);
}

static void send_other(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	const void *text, uint32_t length)
{
	wire_send(w, side,
		&(struct wire_segment){.flags = flags,
			.seq = seq,
			.ack = ack,
			.text = text,
			.length = length,
			.client_port = OTHER});
}

static void append(struct rte_mbuf *m, const void *data, uint16_t length)
{
	void *room = rte_pktmbuf_append(m, length);

	assert_non_null(room);
	if (room == NULL)
		abort();
	memcpy(room, data, length);
}

static void test_segments_of_others_go_to_them_as_they_came(void **state)
{
	struct wire *w = *state;

	send_other(w, CLIENT, SYN, 0, 0, NULL, 0);
	send_other(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	send_other(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect_nothing(w);
	assert_int_equal(handed.count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(handed.frames[i].from, i == 1 ? BROKER : CLIENT);
	// The bridge knew nobody when the SYN came, and then everybody.
	assert_int_equal(handed.frames[1].ports, 1 << CLIENT);
	assert_int_equal(handed.frames[2].ports, 1 << BROKER);
	assert_int_equal(handed.frames[2].m->pkt_len, HEADERS + 20 + CONNECT_LENGTH);
	assert_int_equal(wire_count(w, "flows", "opening"), 0);
}

static void test_its_own_do_not_leave_it(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	assert_int_equal(handed.count, 0);
	assert_int_equal(wire_count(w, "flows", "adopted"), 1);
}

static void test_what_others_have_received_is_as_if_it_had_come_here(void **state)
{
	struct wire *w = *state;

	// All that passes at the one is taken by the other, in order.
	send_other(w, CLIENT, SYN, 0, 0, NULL, 0);
	send_other(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	send_other(w, CLIENT, ACK, 1, 1, NULL, 0);
	send_other(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	w->monitor_config.share.self = OTHERS;
	wire_crash(w);
	take_handed(w);
	assert_int_equal(wire_count(w, "flows", "adopted"), 1);
	assert_in_range(wire_drop(w, CLIENT), 1, 2); // SYN-ACK, an ACK of its own
	assert_int_equal(wire_drop(w, BROKER), 3);   // SYN, ACK, CONNECT
	assert_int_equal(handed.count, 0);
}

static void test_everything_else_goes_on_from_where_it_was_received(void **state)
{
	struct wire *w = *state;
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);
	const uint8_t arp[60] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7, 0x08, 0x06};

	append(m, arp, sizeof(arp));
	monitor_input(w->monitor, &w->netifs[CLIENT], &m, 1, w->now_us);
	assert_int_equal(wire_drop(w, BROKER), 1);
	assert_int_equal(handed.count, 0);
}

static void test_fragments_of_others_go_to_them_when_all_are_there(void **state)
{
	for (unsigned backwards = 0; backwards < 2; backwards++) {
		struct wire *w = *state;

		wire_send(w, CLIENT,
			&(struct wire_segment){.flags = ACK,
				.seq = 1,
				.ack = 1,
				.text = "0123456789012345678901234567890123456789",
				.length = 40,
				.client_port = OTHER,
				.cut = 24,
				.backwards = backwards});
		wire_expect_nothing(w);
		assert_int_equal(handed.count, 3);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(handed.frames[i].m->pkt_len,
				HEADERS + (i == (backwards ? 0u : 2u) ? 12 : 24));
		// Their owner knows no such connection: they pass, one by one.
		w->monitor_config.share.self = OTHERS;
		wire_crash(w);
		take_handed(w);
		assert_int_equal(wire_drop(w, BROKER), 3);
		assert_int_equal(handed.count, 0);
		w->monitor_config.share.self = 0;
		wire_crash(w);
	}
}

static void test_errors_go_to_the_owner_of_what_they_quote(void **state)
{
	struct wire *w = *state;
	struct monitor_frame quoted;
	struct rte_icmp_hdr icmp = {.icmp_type = 3, .icmp_code = 1};
	struct rte_mbuf *m;
	uint8_t *bytes;

	send_other(w, BROKER, ACK, 1, 1, NULL, 0);
	assert_int_equal(handed.count, 1);
	quoted = handed.frames[0];
	m = rte_pktmbuf_alloc(w->pool);
	bytes = (uint8_t *)rte_pktmbuf_append(m, HEADERS + 8 + 28);
	memcpy(bytes, rte_pktmbuf_mtod(quoted.m, void *), HEADERS);
	((struct rte_ipv4_hdr *)(void *)(bytes + 14))->next_proto_id = IPPROTO_ICMP;
	((struct rte_ipv4_hdr *)(void *)(bytes + 14))->total_length = rte_cpu_to_be_16(20 + 8 + 28);
	memcpy(bytes + HEADERS, &icmp, 8);
	memcpy(bytes + HEADERS + 8, rte_pktmbuf_mtod_offset(quoted.m, void *, 14), 28);
	monitor_input(w->monitor, &w->netifs[CLIENT], &m, 1, w->now_us);
	wire_expect_nothing(w);
	assert_int_equal(handed.count, 2);
	assert_ptr_equal(handed.frames[1].m, m);
}

static void test_after_a_crash_each_resets_its_own(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	// The one who owns it now had another number before.
	w->monitor_config.share.self = OTHERS;
	wire_crash(w);
	wire_wait(w, SECOND / 2);
	wire_expect_nothing(w);
	assert_int_equal(wire_count(w, "flows", "gone"), 0);
}

static void test_after_a_crash_the_new_owner_resets(void **state)
{
	struct wire *w = *state;

	w->monitor_config.share = (struct monitor_share){0};
	wire_crash(w);
	wire_adopt(w);
	share(w, 0); // several of them now
	assert_int_equal(wire_count(w, "flows", "gone"), 1);
	wire_wait(w, SECOND / 2);
	assert_int_equal(wire_drop(w, CLIENT), 1);
	assert_int_equal(wire_drop(w, BROKER), 1);
}

int test_shared(void)
{
#define shared_test(name) cmocka_unit_test_setup_teardown(name, shared_setup, shared_teardown)
	const struct CMUnitTest tests[] = {
		shared_test(test_segments_of_others_go_to_them_as_they_came),
		shared_test(test_its_own_do_not_leave_it),
		shared_test(test_what_others_have_received_is_as_if_it_had_come_here),
		shared_test(test_everything_else_goes_on_from_where_it_was_received),
		shared_test(test_fragments_of_others_go_to_them_when_all_are_there),
		shared_test(test_errors_go_to_the_owner_of_what_they_quote),
		shared_test(test_after_a_crash_each_resets_its_own),
		shared_test(test_after_a_crash_the_new_owner_resets),
	};

	return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
