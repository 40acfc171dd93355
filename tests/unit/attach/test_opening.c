// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which connections are adopted, when, and as what; and which are left alone.

#include "wire.h"

#include <rte_mbuf.h>

static void test_the_first_octet_of_a_connect_is_adopted(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	// From here on it is the half that sends it.
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_wait(w, SECOND);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH, NULL, 0);
	assert_true(wire_drop(w, BROKER) > 0); // again, for nobody has acknowledged it
}

static void test_half_of_a_connect_will_do(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, 1);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_say(w, CLIENT, ACK, 2, 1, &CONNECT_PACKET[1], CONNECT_LENGTH - 1);
	wire_drop(w, BROKER);
	wire_drop(w, CLIENT);
}

static void test_a_lost_ack_of_the_handshake_does_not_matter(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_say(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	// The broker has not heard of it yet: its half answers.
	wire_say(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	wire_expect(w, BROKER, ACK, 1 + CONNECT_LENGTH, 1, NULL, 0);
	// And the client's half, a SYN that is late.
	wire_drop(w, CLIENT);
	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH, NULL, 0);
	wire_expect_nothing(w);
}

static void say_at(struct wire *w, unsigned side, uint8_t flags, uint32_t seq, uint32_t ack,
	uint32_t tsval, const char *text, uint32_t length)
{
	wire_send(w, side,
		&(struct wire_segment){.flags = flags,
			.seq = seq,
			.ack = ack,
			.text = text,
			.length = length,
			.options = {.present = TCP_OPTION_TIMESTAMPS, .tsval = tsval}});
	wire_drop(w, !side);
}

static void test_a_syn_ack_that_comes_late_does_not_turn_the_clock_back(void **state)
{
	struct wire *w = *state;

	say_at(w, CLIENT, SYN, 0, 0, 100, NULL, 0);
	say_at(w, BROKER, SYN | ACK, 0, 1, 500, NULL, 0);
	say_at(w, CLIENT, ACK, 1, 1, 101, NULL, 0);
	say_at(w, BROKER, ACK, 1, 1, 900, NULL, 0);
	say_at(w, BROKER, SYN | ACK, 0, 1, 500, NULL, 0); // a copy that took longer
	say_at(w, CLIENT, ACK, 1, 1, 102, CONNECT_PACKET, CONNECT_LENGTH);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH, NULL, 0);
	assert_int_equal(w->last.options.tsval, 900);
	wire_drop(w, BROKER);
}

static void test_text_that_overtakes_the_first_octet_waits_for_it(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 1 + CONNECT_LENGTH, 1, "\xc0\x00", 2);
	wire_expect_nothing(w);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH + 2, NULL, 0); // both have come
	wire_drop(w, BROKER);
}

static void test_an_end_that_overtakes_the_first_octet_waits_too(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, FIN | ACK, 1 + CONNECT_LENGTH, 1, NULL, 0);
	wire_expect_nothing(w);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH + 1, NULL, 0);
	wire_drop(w, BROKER);
}

static void test_text_that_waited_goes_on_when_it_is_not_mqtt(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 4, 1, "def", 3);
	wire_expect_nothing(w);
	wire_say(w, CLIENT, ACK, 1, 1, "abc", 3);
	wire_expect(w, BROKER, ACK, 4, 1, "def", 3);
	wire_expect(w, BROKER, ACK, 1, 1, "abc", 3);
	assert_int_equal(wire_state(w), TRACK_FREE);
	assert_int_equal(wire_count(w, "flows_passed_total", "not_mqtt"), 1);
}

static void test_what_waits_is_bounded(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	for (unsigned i = 0; i < 6; i++)
		wire_say(w, CLIENT, ACK, 100 + 3 * i, 1, "abc", 3);
	wire_expect_nothing(w);
	assert_int_equal(wire_count(w, "packets_dropped_total", "flow_early_text"), 2);
}

static void passes(struct wire *w, const char *reason)
{
	assert_int_equal(wire_state(w), TRACK_FREE);
	assert_int_equal(wire_count(w, "flows_passed_total", reason), 1);
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER);
	wire_say(w, CLIENT, ACK, 500, 500, "more", 4);
	wire_expect(w, BROKER, ACK, 500, 500, "more", 4);
	wire_say(w, BROKER, ACK, 500, 504, NULL, 0);
	wire_expect(w, CLIENT, ACK, 500, 504, NULL, 0);
}

static void test_tls_passes(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 1, 1, "\x16\x03\x01", 3);
	wire_expect(w, BROKER, ACK, 1, 1, "\x16\x03\x01", 3);
	passes(w, "not_mqtt");
	assert_true(offload_broker_trusted(w->offload, 0));
	// But whom the broker answers there, it may deliver to.
	wire_say(w, BROKER, ACK, 600, 504, "hello", 5);
	wire_expect(w, CLIENT, ACK, 600, 504, "hello", 5);
	assert_false(offload_broker_trusted(w->offload, 0));
}

static void test_who_is_spoken_to_first_passes(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, BROKER, ACK, 1, 1, "220 hello", 9);
	wire_expect(w, CLIENT, ACK, 1, 1, "220 hello", 9);
	passes(w, "broker_first");
}

static void test_text_on_a_syn_passes(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, CONNECT_PACKET, CONNECT_LENGTH);
	passes(w, "early_text");
}

static void test_options_that_bind_octets_pass(void **state)
{
	static const uint8_t kinds[] = {19, 29, 30}; // MD5, AO, MPTCP
	struct wire *w = *state;

	for (unsigned i = 0; i < sizeof(kinds); i++) {
		wire_send(w, CLIENT, &(struct wire_segment){.flags = SYN, .raw_option = kinds[i]});
		assert_int_equal(wire_state(w), TRACK_FREE);
	}
	// Or the broker wants them.
	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_send(
		w, BROKER, &(struct wire_segment){.flags = SYN | ACK, .ack = 1, .raw_option = 30});
	assert_int_equal(wire_count(w, "flows_passed_total", "option"), 4);
	assert_int_equal(wire_drop(w, BROKER), 4);
	assert_int_equal(wire_drop(w, CLIENT), 1);
}

static void test_who_says_nothing_passes_in_the_end(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_say(w, CLIENT, FIN | ACK, 1, 1, NULL, 0);
	passes(w, "ended");
	w->isn[CLIENT] += 1000;
	wire_handshake(w);
	wire_wait(w, 299 * SECOND);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_wait(w, 2 * SECOND);
	passes(w, "idle");
}

static void test_what_was_there_before_passes(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_FREE);
}

static void test_the_answer_that_went_another_way(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	passes(w, "one_direction");
}

// The port was another connection's a moment ago, and of that one something is still on its way.
static void test_stragglers_of_an_earlier_connection_change_nothing(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_say(w, BROKER, ACK, 7000, 9000, NULL, 0);
	wire_say(w, BROKER, FIN | ACK, 7000, 9000, "old", 3);
	assert_int_equal(wire_drop(w, CLIENT), 2);
	assert_int_equal(wire_drop(w, BROKER), 1);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_say(w, BROKER, SYN | ACK, 0, 1, NULL, 0);
	wire_say(w, BROKER, FIN | ACK, 7000, 9000, "old", 3);
	wire_say(w, CLIENT, ACK, 9000, 7003, "older", 5);
	assert_int_equal(wire_drop(w, CLIENT), 2);
	assert_int_equal(wire_drop(w, BROKER), 1);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	assert_true(offload_broker_trusted(w->offload, 0));
	wire_drop(w, CLIENT);
}

static void test_a_refusal_ends_it_and_a_forged_one_does_not(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_say(w, BROKER, RST | ACK, 0, 777, NULL, 0);
	assert_int_equal(wire_state(w), TRACK_OPENING);
	wire_say(w, BROKER, RST | ACK, 0, 1, NULL, 0);
	assert_int_equal(wire_state(w), TRACK_FREE);
	assert_int_equal(wire_drop(w, CLIENT), 2);
	wire_drop(w, BROKER);
}

static void test_spoilt_segments_are_not_believed(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = 1,
			.ack = 1,
			.text = CONNECT_PACKET,
			.length = CONNECT_LENGTH,
			.spoilt = true});
	assert_int_equal(wire_state(w), TRACK_OPENING);
	assert_int_equal(wire_drop(w, BROKER), 1); // the broker will not believe it either
}

static void test_another_syn_from_the_same_port_begins_anew(void **state)
{
	struct wire *w = *state;

	wire_say(w, CLIENT, SYN, 0, 0, NULL, 0);
	wire_drop(w, BROKER);
	w->isn[CLIENT] += 5000;
	wire_handshake(w);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
}

static void test_a_flood_of_syns_gets_the_places_of_its_own(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	for (unsigned i = 0; i < 200; i++)
		wire_send(w, CLIENT,
			&(struct wire_segment){.flags = SYN, .client_port = (uint16_t)(1000 + i)});
	assert_int_equal(wire_drop(w, BROKER), 200);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	assert_int_equal(wire_count(w, "flows", "opening"), 31);
	assert_int_equal(wire_count(w, "flows_passed_total", "full"), 200 - 31);
}

static void test_a_connect_in_fragments_is_adopted(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = 1,
			.ack = 1,
			.text = CONNECT_PACKET,
			.length = CONNECT_LENGTH,
			.cut = 24,
			.backwards = true});
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH); // whole
	assert_int_equal(wire_count(w, "flow_packets_reassembled_total", NULL), 1);
}

static void test_fragments_of_others_go_on_as_they_came(void **state)
{
	static const char text[100] = "\x16";
	struct wire *w = *state;

	for (unsigned backwards = 0; backwards < 2; backwards++) {
		wire_send(w, CLIENT,
			&(struct wire_segment){.flags = ACK,
				.seq = 1,
				.ack = 1,
				.text = text,
				.length = sizeof(text),
				.cut = 48,
				.backwards = backwards});
		assert_int_equal(wire_drop(w, BROKER), 3);
	}
	// And of one that turns out not to be MQTT.
	wire_handshake(w);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = 1,
			.ack = 1,
			.text = text,
			.length = sizeof(text),
			.cut = 48});
	assert_int_equal(wire_drop(w, BROKER), 3);
	assert_int_equal(wire_count(w, "flows_passed_total", "not_mqtt"), 1);
}

static void test_vlans_have_flows_of_their_own(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	// The same addresses and ports in a VLAN: other hosts. They pass.
	wire_send(w, CLIENT, &(struct wire_segment){.flags = SYN, .vlan = 7});
	assert_int_equal(wire_drop(w, BROKER), 1);
	wire_send(w, BROKER, &(struct wire_segment){.flags = SYN | ACK, .ack = 1, .vlan = 7});
	assert_int_equal(wire_drop(w, CLIENT), 1);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = 1,
			.ack = 1,
			.text = CONNECT_PACKET,
			.length = CONNECT_LENGTH,
			.vlan = 7});
	assert_int_equal(wire_drop(w, BROKER), 1);
	assert_int_equal(wire_count(w, "flows_passed_total", "full"), 1);
	assert_int_equal(wire_state(w), TRACK_ADOPTED);
}

static void test_a_tag_is_kept_by_both_halves(void **state)
{
	const uint16_t tag = 3 << 13 | 42;
	struct wire *w = *state;

	wire_send(w, CLIENT, &(struct wire_segment){.flags = SYN, .vlan = tag});
	wire_send(w, BROKER, &(struct wire_segment){.flags = SYN | ACK, .ack = 1, .vlan = tag});
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER);
	wire_send(w, CLIENT,
		&(struct wire_segment){.flags = ACK,
			.seq = 1,
			.ack = 1,
			.text = CONNECT_PACKET,
			.length = CONNECT_LENGTH,
			.vlan = tag});
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT_PACKET, CONNECT_LENGTH);
	assert_true(w->last_seen.tagged);
	assert_int_equal(w->last_seen.tag, tag);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH, NULL, 0);
	assert_int_equal(w->last_seen.tag, tag);
}

// Unless it was spoilt on its way, and so may be of anybody.
static void test_text_on_a_connection_that_nobody_saw_begin_ends_trust(void **state)
{
	struct wire *w = *state;
	struct wire_segment segment = {
		.flags = ACK, .seq = 1, .ack = 1, .text = "text", .length = 4, .spoilt = true};

	wire_send(w, BROKER, &segment);
	assert_int_equal(wire_drop(w, CLIENT), 1);
	assert_true(offload_broker_trusted(w->offload, 0));
	segment.spoilt = false;
	wire_send(w, BROKER, &segment);
	assert_int_equal(wire_drop(w, CLIENT), 1);
	assert_false(offload_broker_trusted(w->offload, 0));
}

int test_opening(void)
{
	const struct CMUnitTest tests[] = {
		wire_test(test_the_first_octet_of_a_connect_is_adopted),
		wire_test(test_half_of_a_connect_will_do),
		wire_test(test_a_lost_ack_of_the_handshake_does_not_matter),
		wire_test(test_a_syn_ack_that_comes_late_does_not_turn_the_clock_back),
		wire_test(test_text_that_overtakes_the_first_octet_waits_for_it),
		wire_test(test_an_end_that_overtakes_the_first_octet_waits_too),
		wire_test(test_text_that_waited_goes_on_when_it_is_not_mqtt),
		wire_test(test_what_waits_is_bounded),
		wire_test(test_tls_passes),
		wire_test(test_who_is_spoken_to_first_passes),
		wire_test(test_text_on_a_syn_passes),
		wire_test(test_options_that_bind_octets_pass),
		wire_test(test_who_says_nothing_passes_in_the_end),
		wire_test(test_what_was_there_before_passes),
		wire_test(test_the_answer_that_went_another_way),
		wire_test(test_stragglers_of_an_earlier_connection_change_nothing),
		wire_test(test_a_refusal_ends_it_and_a_forged_one_does_not),
		wire_test(test_spoilt_segments_are_not_believed),
		wire_test(test_text_on_a_connection_that_nobody_saw_begin_ends_trust),
		wire_test(test_another_syn_from_the_same_port_begins_anew),
		wire_test(test_a_flood_of_syns_gets_the_places_of_its_own),
		wire_test(test_a_connect_in_fragments_is_adopted),
		wire_test(test_fragments_of_others_go_on_as_they_came),
		wire_test(test_vlans_have_flows_of_their_own),
		wire_test(test_a_tag_is_kept_by_both_halves),
	};

	return cmocka_run_group_tests_name("opening", tests, NULL, NULL);
}
