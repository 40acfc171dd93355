// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two workers in one thread: each is a bed of its own, and only what the test turns
// moves. Clients of worker 0 and of worker 1 have one broker.

#include "offload_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"

#define HELLO              \
	"\x30\x07\x00\x03" \
	"a/bhi"
#define HELLO_QOS1         \
	"\x32\x09\x00\x03" \
	"a/b\x00\x07hi"
#define HELLO_RETAIN       \
	"\x31\x07\x00\x03" \
	"a/bhi"

static void a_message_crosses(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	joins(pair, 1, 1);
	subscribes(pair, 1, 0, "a/b", 0);
	subscribes(pair, 1, 1, "a/#", 1);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES(""));
	client_gets(&pair->beds[1], 0, BYTES(""));
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0, BYTES(HELLO));
	client_gets(&pair->beds[1], 1, BYTES(HELLO));
	assert_int_equal(bed_counters(&pair->beds[0])->captured[0], 1);
	assert_int_equal(bed_counters(&pair->beds[1])->crossed, 1);
}

static void a_suback_waits_for_the_other_worker(void **state)
{
	struct pair *pair = *state;

	joins(pair, 1, 0);
	client_sends(&pair->beds[1], 0,
		BYTES("\x82\x08\x00\x01\x00\x03"
		      "a/b\x00"));
	broker_gets(&pair->beds[1], 0,
		BYTES("\x82\x08\x00\x01\x00\x03"
		      "a/b\x00"));
	broker_sends(&pair->beds[1], 0, BYTES("\x90\x03\x00\x01\x00"));
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0, BYTES("")); // worker 0 has not learned it
	bed_turn(&pair->beds[0]);
	bed_turn(&pair->beds[1]);
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0, BYTES("\x90\x03\x00\x01\x00"));
}

static void a_puback_waits_until_the_message_is_queued(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 0, 1);
	joins(pair, 1, 0);
	subscribes(pair, 0, 1, "x", 1);
	subscribes(pair, 1, 0, "a/b", 1);
	// The second is this worker's own: its PUBACK waits for the first's.
	client_sends(&pair->beds[0], 0, BYTES(HELLO_QOS1 "\x32\x05\x00\x01x\x00\x08"));
	client_gets(&pair->beds[0], 0, BYTES(""));
	client_gets(&pair->beds[0], 1, BYTES("\x32\x05\x00\x01x\x80\x00"));
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0,
		BYTES("\x32\x09\x00\x03"
		      "a/b\x80\x00hi"));
	bed_turn(&pair->beds[0]);
	client_gets(&pair->beds[0], 0, BYTES("\x40\x02\x00\x07\x40\x02\x00\x08"));
}

static void what_passes_waits_for_what_crosses(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "a/b", 0);
	client_sends(&pair->beds[0], 0, BYTES(HELLO HELLO_RETAIN "\xe0\x00"));
	broker_gets(&pair->beds[0], 0, BYTES(""));
	bed_turn(&pair->beds[1]);
	client_gets(&pair->beds[1], 0, BYTES(HELLO));
	bed_turn(&pair->beds[0]);
	broker_gets(&pair->beds[0], 0, BYTES(HELLO_RETAIN "\xe0\x00"));
}

static void an_end_waits_for_what_crosses(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "a/b", 0);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	client_ends(&pair->beds[0], 0);
	bed_turn(&pair->beds[0]);
	assert_false(pair->beds[0].up[0].shut);
	pair_turn(pair);
	assert_true(pair->beds[0].up[0].shut);
	client_gets(&pair->beds[1], 0, BYTES(HELLO));
}

static void a_message_of_many_pieces_is_copied(void **state)
{
	struct pair *pair = *state;
	static uint8_t packet[60000], text[59000];
	size_t length;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "big", 0);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	length = publish_v4(packet, "big", 0, text, sizeof(text));
	for (size_t at = 0; at < length; at += 1000)
		client_sends(
			&pair->beds[0], 0, packet + at, length - at < 1000 ? length - at : 1000);
	pair_turn(pair);
	client_gets(&pair->beds[1], 0, packet, length);
	broker_gets(&pair->beds[0], 0, BYTES(""));
}

static void an_unknown_client_anywhere_makes_the_map_incomplete(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES(""));
	session_map_unknown(pair->beds[1].offload->brokers[0].map);
	pair_turn(pair);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES(HELLO));
	session_map_known_again(pair->beds[1].offload->brokers[0].map);
	pair_turn(pair);
	assert_true(session_map_complete(pair->beds[0].offload->brokers[0].map));
}

// In monitor mode one worker sees that the broker serves a connection that passes.
static void a_broker_that_one_worker_distrusts_is_distrusted_by_all(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	for (unsigned i = 0; i < 3; i++) // it sees so again and again
		offload_broker_distrust(pair->beds[1].offload, 0, "it serves others");
	pair_turn(pair);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES(HELLO));
	assert_int_equal(pair->beds[1].offload->brokers[0].map->unknown, 1);
}

static void a_held_message_waits_for_the_suback(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	client_sends(&pair->beds[1], 0,
		BYTES("\x82\x08\x00\x01\x00\x03"
		      "a/b\x00"));
	broker_gets(&pair->beds[1], 0,
		BYTES("\x82\x08\x00\x01\x00\x03"
		      "a/b\x00"));
	pair_turn(pair);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	pair_turn(pair);
	client_gets(&pair->beds[1], 0, BYTES(""));
	broker_sends(&pair->beds[1], 0, BYTES("\x90\x03\x00\x01\x00"));
	client_gets(&pair->beds[1], 0, BYTES("\x90\x03\x00\x01\x00" HELLO));
}

// --- sessions ------------------------------------------------------------------------------------

static void a_session_moves_to_the_worker_of_its_new_connection(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 5);
	joins(pair, 1, 5);
	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a/b", 0);
	subscribes(pair, 0, 0, "c/+", 0);
	pair_wait(pair, 10 * US_IN_MS);
	arrives_kept(pair, 1, 0, true);
	assert_null(pair->beds[0].clients[0]->session);
	assert_int_equal(pair->beds[0].offload->brokers[0].map->online, 1);
	assert_int_equal(pair->beds[0].offload->brokers[0].map->offline, 0);
	assert_int_equal(pair->beds[1].clients[0]->session->subscriptions_count, 2);
	assert_true(session_map_complete(pair->beds[0].offload->brokers[0].map));
	for (unsigned publisher = 0; publisher < 2; publisher++) {
		client_sends(&pair->beds[publisher], 5, BYTES(HELLO));
		pair_turn(pair);
		client_gets(&pair->beds[1], 0, BYTES(HELLO));
		client_gets(&pair->beds[0], 0, BYTES(""));
	}
}

static void a_new_session_ends_the_old_one_wherever_it_was(void **state)
{
	struct pair *pair = *state;

	joins(pair, 1, 5);
	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a/b", 0);
	arrives_kept(pair, 1, 0, false);
	assert_null(pair->beds[0].clients[0]->session);
	client_sends(&pair->beds[1], 5, BYTES(HELLO));
	pair_turn(pair);
	client_gets(&pair->beds[0], 0, BYTES(""));
	client_gets(&pair->beds[1], 0, BYTES(""));
	assert_int_equal(bed_counters(&pair->beds[1])->captured[0], 1);
}

static void a_session_that_was_away_is_found(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 5);
	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a/b", 0);
	bed_close(&pair->beds[0], 0);
	pair_turn(pair);
	arrives_kept(pair, 1, 0, true);
	client_sends(&pair->beds[0], 5, BYTES(HELLO));
	pair_turn(pair);
	client_gets(&pair->beds[1], 0, BYTES(HELLO));
}

static void many_subscriptions_move_in_pieces(void **state)
{
	struct pair *pair = *state;
	char filter[40];

	arrives_kept(pair, 0, 0, false);
	for (unsigned i = 0; i < 900; i++) {
		snprintf(filter, sizeof(filter), "some/rather/long/filter/%u", i);
		subscribes(pair, 0, 0, filter, 0);
	}
	arrives_kept(pair, 1, 0, true);
	assert_int_equal(pair->beds[1].clients[0]->session->subscriptions_count, 900);
	assert_false(pair->beds[1].clients[0]->session->unknown);
	pair_turn(pair);
	assert_int_equal(slab_used(pair->beds[0].offload->brokers[0].map->subscriptions), 0);
}

static void who_leaves_while_it_moves_leaves_the_session_where_it_was(void **state)
{
	struct pair *pair = *state;

	arrives_kept(pair, 0, 0, false);
	subscribes(pair, 0, 0, "a/b", 0);
	bed_close(&pair->beds[0], 0);
	bed_open(&pair->beds[1], 0);
	client_sends(&pair->beds[1], 0, BYTES(CONNECT_KEPT));
	broker_sends(&pair->beds[1], 0, BYTES("\x20\x02\x01\x00"));
	bed_turn(&pair->beds[0]); // asked
	bed_close(&pair->beds[1], 0);
	pair_turn(pair);
	assert_int_equal(pair->beds[0].offload->brokers[0].map->offline, 1);
	assert_int_equal(pair->beds[1].offload->brokers[0].map->offline, 0);
	arrives_kept(pair, 1, 0, true);
	assert_int_equal(pair->beds[1].clients[0]->session->subscriptions_count, 1);
}

// --- fences, interleavings -----------------------------------------------------------------------

static void a_fence_asks_subscribers_of_the_other_worker(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "a/b", 0);
	client_sends(&pair->beds[0], 0, BYTES(HELLO_RETAIN));
	broker_gets(&pair->beds[0], 0, BYTES(HELLO_RETAIN));
	pair_wait(pair, US_IN_S + US_IN_MS);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES("\xc0\x00"));
	broker_sends(&pair->beds[0], 0, BYTES("\xd0\x00"));
	pair_turn(pair);
	broker_gets(&pair->beds[1], 0, BYTES("\xc0\x00"));
	client_gets(&pair->beds[1], 0, BYTES(""));
	broker_sends(&pair->beds[1], 0, BYTES("\xd0\x00"));
	pair_turn(pair);
	client_gets(&pair->beds[1], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES(""));
	assert_int_equal(bed_counters(&pair->beds[0])->fences[OFFLOAD_FENCE_CLEARED], 1);
}

static void a_fence_that_is_not_answered_ends(void **state)
{
	struct pair *pair = *state;

	joins(pair, 0, 0);
	joins(pair, 1, 0);
	subscribes(pair, 1, 0, "a/b", 0);
	client_sends(&pair->beds[0], 0, BYTES(HELLO_RETAIN));
	broker_gets(&pair->beds[0], 0, BYTES(HELLO_RETAIN));
	pair_wait(pair, US_IN_S + US_IN_MS);
	client_sends(&pair->beds[0], 0, BYTES(HELLO));
	broker_gets(&pair->beds[0], 0, BYTES("\xc0\x00"));
	broker_sends(&pair->beds[0], 0, BYTES("\xd0\x00"));
	pair_wait(pair, 400 * US_IN_MS);
	broker_gets(&pair->beds[0], 0, BYTES(HELLO));
	assert_int_equal(bed_counters(&pair->beds[0])->fences[OFFLOAD_FENCE_TIMED_OUT], 1);
}

// Publishers of both workers, subscribers on both, turns in any order: everything comes once, in
// the order of its publisher.
static void any_interleaving_keeps_the_order(void **state)
{
	struct pair *pair = *state;
	unsigned sent[2] = {0}, got[2][2] = {{0}};
	struct random r;

	random_init(&r, 7);
	for (unsigned w = 0; w < 2; w++) {
		joins(pair, w, 0); // publisher
		joins(pair, w, 1); // subscriber
		subscribes(pair, w, 1, "t", 0);
	}
	pair_turn(pair);
	for (unsigned step = 0; step < 6000; step++) {
		unsigned w = random_below(&r, 2);

		if (step < 5000 && random_below(&r, 3) == 0) {
			uint8_t packet[] = {0x30, 6, 0, 1, 't', (uint8_t)w, (uint8_t)(sent[w] >> 8),
				(uint8_t)sent[w]};

			client_sends(&pair->beds[w], 0, packet, sizeof(packet));
			sent[w]++;
		}
		bed_turn(&pair->beds[w]);
		for (unsigned s = 0; s < 2; s++) {
			const uint8_t *data;
			size_t length = got_take(&pair->beds[s].down[1], &data);

			for (size_t at = 0; at < length; at += 8) {
				unsigned from = data[at + 5];

				assert_int_equal(data[at + 6] << 8 | data[at + 7], got[s][from]);
				got[s][from]++;
			}
		}
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(got[i / 2][i % 2], sent[i % 2]);
	broker_gets(&pair->beds[0], 0, BYTES(""));
	broker_gets(&pair->beds[1], 0, BYTES(""));
}

int test_peers(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(a_message_crosses),
		pair_test(a_suback_waits_for_the_other_worker),
		pair_test(a_puback_waits_until_the_message_is_queued),
		pair_test(what_passes_waits_for_what_crosses),
		pair_test(an_end_waits_for_what_crosses),
		pair_test(a_message_of_many_pieces_is_copied),
		pair_test(an_unknown_client_anywhere_makes_the_map_incomplete),
		pair_test(a_broker_that_one_worker_distrusts_is_distrusted_by_all),
		pair_test(a_held_message_waits_for_the_suback),
		pair_test(a_session_moves_to_the_worker_of_its_new_connection),
		pair_test(a_new_session_ends_the_old_one_wherever_it_was),
		pair_test(a_session_that_was_away_is_found),
		pair_test(many_subscriptions_move_in_pieces),
		pair_test(who_leaves_while_it_moves_leaves_the_session_where_it_was),
		pair_test(a_fence_asks_subscribers_of_the_other_worker),
		pair_test(a_fence_that_is_not_answered_ends),
		pair_test(any_interleaving_keeps_the_order),
	};

	return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
