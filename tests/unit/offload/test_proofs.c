// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Nothing is captured that the broker has not shown to be allowed and complete.

#include "offload_tests.h"

#include <stdio.h>
#include <string.h>

#include "offload/notice.h"
#include "play.h"

static struct twin *start_with(
	void **state, enum offload_knowledge knowledge, enum offload_authorization authorization)
{
	struct bed *bed = bed_new(state);

	bed->broker.knowledge = knowledge;
	bed->broker.authorization = authorization;
	bed_start(bed);
	return twin_new(bed);
}

static struct twin *start(void **state)
{
	return start_with(state, OFFLOAD_KNOWLEDGE_BROKER, OFFLOAD_AUTHORIZATION_BROKER);
}

static uint64_t passed(const struct twin *twin, enum proof_reason reason)
{
	return bed_counters(twin->bed)->passed[reason];
}

static void one_message_asks(void **state)
{
	static const enum offload_knowledge knowledges[] = {
		OFFLOAD_KNOWLEDGE_BROKER, OFFLOAD_KNOWLEDGE_WIRE};
	static const enum offload_authorization authorizations[] = {
		OFFLOAD_AUTHORIZATION_BROKER, OFFLOAD_AUTHORIZATION_OPEN};

	for (unsigned n = 0; n < 12; n++) {
		uint8_t qos = (uint8_t)(n / 4);
		bool open = n % 4 == 3;
		struct twin *twin =
			start_with(state, knowledges[n & 1], authorizations[n >> 1 & 1]);
		uint32_t number = 1;

		twin_connect(twin, 0, false, "s");
		twin_connect(twin, 1, true, "p");
		assert_int_equal(twin->legs[0].joins, !open);
		twin_subscribe(twin, 0, "t1", qos);
		assert_int_equal(twin_until_captured(twin, 1, '1', qos, &number), open ? 0 : 1);
		for (unsigned i = 0; i < 100; i++)
			twin_publish(twin, 1, '1', qos, number++);
		twin_wait(twin, US_IN_MS);
		for (uint32_t i = 1; i < number; i++)
			assert_int_equal(twin_got(twin, 0, i), 1);
		assert_int_equal(twin->legs[1].published, open ? 0 : 1);
		twin_free(twin);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// --- rights --------------------------------------------------------------------------------------

static void who_may_not_write_is_never_captured(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, false, "q");
	twin->legs[2].may_write[1] = false;
	twin_subscribe(twin, 0, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	for (unsigned i = 0; i < 100; i++) {
		twin_publish(twin, 2, '1', i % 3, number + i);
		twin_wait(twin, 20 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, number + i), 0);
	}
	assert_int_equal(twin->legs[2].published, 100);
	assert_true(passed(twin, PROOF_UNWRITTEN) >= 50);
	// What it asked in vain has not harmed the other.
	twin_until_captured(twin, 1, '1', 1, &number);
	twin_free(twin);
}

static void who_may_not_read_is_left_out(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1, from;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, true, "r");
	twin_subscribe(twin, 0, "t1", 0);
	twin_subscribe(twin, 2, "#", 1);
	twin->legs[2].may_read[1] = false;
	assert_true(twin_until_captured(twin, 1, '1', 1, &number) <= 3);
	from = number;
	for (unsigned i = 0; i < 100; i++)
		twin_publish(twin, 1, '1', i % 3, number++);
	twin_wait(twin, US_IN_MS);
	for (uint32_t i = 1; i < number; i++) {
		assert_int_equal(twin_got(twin, 0, i), 1);
		assert_int_equal(twin_got(twin, 2, i), 0);
	}
	assert_true(twin->legs[1].published < from);
	// Only from there.
	assert_true(twin_until_captured(twin, 1, '2', 1, &number) <= 2);
	assert_int_equal(twin_got(twin, 2, number - 1), 1);
	twin_free(twin);
}

static void a_revoked_right_serves_no_longer(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1, before;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, false, "r");
	twin_subscribe(twin, 0, "t1", 0);
	twin_subscribe(twin, 2, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	twin->legs[2].may_read[1] = false;
	twin_revoke(twin);
	before = number;
	for (unsigned i = 0; i < 50; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	for (uint32_t i = before; i < number; i++) {
		assert_int_equal(twin_got(twin, 0, i), 1);
		assert_int_equal(twin_got(twin, 2, i), 0);
	}
	assert_true(twin->legs[1].published < 10);
	// The right to write, and then the other one comes back.
	twin->legs[1].may_write[1] = false;
	twin->legs[2].may_read[1] = true;
	twin_revoke(twin);
	before = number;
	for (unsigned i = 0; i < 50; i++) {
		twin_publish(twin, 1, '1', 0, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	for (uint32_t i = before; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i) + twin_got(twin, 2, i), 0);
	twin->legs[1].may_write[1] = true;
	twin_revoke(twin);
	twin_until_captured(twin, 1, '1', 0, &number);
	assert_int_equal(twin_got(twin, 2, number - 1), 1);
	twin_free(twin);
}

// What the broker had for a client before its right was revoked comes out after that: it shows
// nothing.
static void what_was_queued_before_shows_nothing(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 0);
	twin_until_captured(twin, 1, '1', 0, &number);
	// Revoked, and known; a delivery from before is still to come.
	twin->silent = true;
	twin_revoke(twin);
	twin_publish(twin, 1, '1', 0, 1000);
	twin->legs[0].may_read[1] = false;
	twin_revoke(twin);
	twin->silent = false;
	twin_run(twin);
	assert_int_equal(twin_got(twin, 0, 1000), 1);
	for (unsigned i = 0; i < 50; i++) {
		twin_publish(twin, 1, '1', 0, number);
		twin_wait(twin, 10 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, number++), 0);
	}
	assert_true(twin->legs[1].published < 15);
	twin_free(twin);
}

// A client that comes back under the same identifier may be another user.
static void rights_are_of_a_connection(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 0);
	twin_until_captured(twin, 1, '1', 0, &number);
	bed_close(twin->bed, 1);
	twin_connect(twin, 1, false, "p");
	twin->legs[1].may_write[1] = false;
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', 0, number);
		twin_wait(twin, 10 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, number++), 0);
	}
	assert_int_equal(twin->legs[1].published, 20);
	// And the reader.
	twin->legs[1].may_write[1] = true;
	twin_revoke(twin);
	twin_until_captured(twin, 1, '1', 0, &number);
	bed_close(twin->bed, 0);
	twin_connect(twin, 0, false, "s");
	twin->legs[0].may_read[1] = false;
	twin_subscribe(twin, 0, "t1", 0);
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', 0, number);
		twin_wait(twin, 10 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, number++), 0);
	}
	twin_free(twin);
}

static void taken_over_while_both_are_there(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin_until_captured(twin, 1, '1', 0, &number);
	twin_connect(twin, 2, false, "s");
	twin->legs[0].subscriptions_count = 0; // the broker has ended the old one
	twin->legs[2].may_read[1] = false;
	twin_subscribe(twin, 2, "t1", 1);
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', 1, number);
		twin_wait(twin, 10 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, number) + twin_got(twin, 2, number), 0);
		number++;
	}
	twin_free(twin);
}

#define AUTH(reason) "\xf0\x06" reason "\x04\x15\x00\x01m"

// 4.12.1: the client asks for it, and the broker agrees. Who it then is has other rights.
static void authenticate_again(struct twin *twin, unsigned i)
{
	client_sends(twin->bed, i, BYTES(AUTH("\x19")));
	twin_run(twin);
	broker_sends(twin->bed, i, BYTES(AUTH("\x00")));
}

static void nothing_arrives(struct twin *twin, uint32_t *number)
{
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', i % 3, *number);
		twin_wait(twin, 10 * US_IN_MS);
		assert_int_equal(twin_got(twin, 0, (*number)++), 0);
	}
}

static void who_authenticates_again_may_be_another(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, true, "s");
	twin_connect(twin, 1, true, "p");
	twin_subscribe(twin, 0, "t1", 1);
	for (unsigned n = 0; n < 3; n++) {
		uint32_t published;

		twin_until_captured(twin, 1, '1', 1, &number);
		authenticate_again(twin, 1);
		twin->legs[1].may_write[1] = false;
		published = twin->legs[1].published;
		nothing_arrives(twin, &number);
		assert_int_equal(twin->legs[1].published, published + 20);
		authenticate_again(twin, 1);
		twin->legs[1].may_write[1] = true;
		twin_until_captured(twin, 1, '1', 0, &number);
		authenticate_again(twin, 0);
		twin->legs[0].may_read[1] = false;
		nothing_arrives(twin, &number);
		authenticate_again(twin, 0);
		twin->legs[0].may_read[1] = true;
		twin_wait(twin, 7 * US_IN_S);
	}
	twin_free(twin);
}

// The answer is about who it was when the message passed.
static void an_answer_about_who_it_was(void **state)
{
	for (uint8_t qos = 0; qos < 3; qos++) {
		struct twin *twin = start(state);
		uint32_t number = 1;

		twin_connect(twin, 0, true, "s");
		twin_connect(twin, 1, true, "p");
		twin_subscribe(twin, 0, "t1", 1);
		twin->held = true;
		twin_publish(twin, 1, '1', qos, number++);
		authenticate_again(twin, 1);
		twin->legs[1].may_write[1] = false;
		twin->held = false;
		twin_run(twin);
		assert_int_equal(twin_got(twin, 0, 1), 1);
		nothing_arrives(twin, &number);
		assert_int_equal(twin_captured(twin), 0);
		twin_free(twin);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// A slow reader loses messages of QoS 0 in the broker: that is no refusal.
static void a_lost_message_is_no_refusal(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "#", 0);
	// It has much to read just then.
	twin->silent = true;
	for (unsigned i = 0; i < 100; i++)
		twin_publish(twin, 1, '2', 0, 10000 + i);
	twin->drop_topic = '1';
	twin_publish(twin, 1, '1', 0, number++);
	twin->silent = false;
	twin_wait(twin, 200 * US_IN_MS);
	twin_until_captured(twin, 1, '1', 0, &number);
	for (uint32_t i = 2; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	twin_free(twin);
}

static void own_messages_that_do_not_come_back(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1, from;

	twin_connect(twin, 0, true, "s");
	twin_connect(twin, 1, true, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin_subscribe_not_local(twin, 1, "#", 1);
	assert_true(twin_until_captured(twin, 1, '1', 1, &number) <= 2);
	assert_int_equal(twin_got(twin, 1, number - 1), 0);
	from = number;
	// What the other one publishes comes to it, if it may read that.
	assert_true(twin_until_captured(twin, 0, '1', 1, &number) <= 3);
	for (uint32_t i = from; i < number; i++)
		assert_int_equal(twin_got(twin, 1, i), 1);
	twin->legs[1].may_read[1] = false;
	twin_revoke(twin);
	twin_until_captured(twin, 1, '1', 1, &number);
	from = number;
	twin_until_captured(twin, 0, '1', 1, &number);
	for (uint32_t i = from; i < number; i++) {
		assert_int_equal(twin_got(twin, 0, i), 1);
		assert_int_equal(twin_got(twin, 1, i), 0);
	}
	twin_free(twin);
}

// --- time ----------------------------------------------------------------------------------------

static void what_was_shown_is_shown_again_in_time(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	for (unsigned i = 0; i < 1000; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 100 * US_IN_MS);
	}
	// A hundred seconds.
	assert_in_range(passed(twin, PROOF_REFRESH), 3, 5);
	assert_in_range(twin->legs[1].published, 4, 8);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	for (unsigned i = 1; i < twin->legs[0].got_count; i++)
		assert_true(twin->legs[0].got[i].number > twin->legs[0].got[i - 1].number);
	twin_free(twin);
}

static void while_a_lease_is_missed_everything_passes(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	twin->lease_us = twin->bed->tcp.now_us + 100 * US_IN_MS;
	bed_wait(twin->bed, 99 * US_IN_MS);
	twin_publish(twin, 1, '1', 1, number++);
	assert_int_equal(passed(twin, PROOF_STREAM), 0);
	bed_wait(twin->bed, US_IN_MS);
	twin_publish(twin, 1, '1', 1, number++);
	assert_int_equal(passed(twin, PROOF_STREAM), 1);
	// Prolonged, it is as before: nothing is asked for again.
	twin_wait(twin, US_IN_MS);
	assert_int_equal(twin_until_captured(twin, 1, '1', 1, &number), 0);
	assert_int_equal(passed(twin, PROOF_UNPROVEN), 1);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	twin_free(twin);
}

static void a_stream_that_comes_and_goes(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	for (unsigned n = 0; n < 5; n++) {
		assert_true(twin_until_captured(twin, 1, '1', 1, &number) <= 3);
		offload_stream_down(twin->bed->offload, 0, "for a test");
		for (unsigned i = 0; i < 5; i++)
			twin_publish(twin, 1, '1', 1, number++);
		assert_int_equal(passed(twin, PROOF_STREAM), 5 * (n + 1));
		twin->instance += n & 1;
		twin_stream_up(twin);
	}
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	twin_free(twin);
}

// --- readers -------------------------------------------------------------------------------------

static void readers_that_nobody_knows(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin->no_split = true;
	twin_stream_up(twin);
	twin_subscribe(twin, 0, "t1", 1);
	twin->strangers[twin->strangers_count++] = 4711;
	for (unsigned i = 0; i < 100; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_int_equal(twin->legs[1].published, 100);
	assert_true(passed(twin, PROOF_UNKNOWN_READER) > 80);
	// It goes.
	twin->strangers_count = 0;
	for (unsigned i = 0; i < 10 && twin_captured(twin) == 0; i++) {
		twin_wait(twin, US_IN_S);
		twin_publish(twin, 1, '1', 1, number++);
		twin_publish(twin, 1, '1', 1, number++);
	}
	assert_true(twin_captured(twin) > 0);
	// Another one comes, and the broker says so before anything is asked.
	twin->strangers[twin->strangers_count++] = 4712;
	offload_notice_subscribed(twin->bed->offload, 0, 4712, mqtt_bytes("x", 1),
		&(struct offload_filter){.text = mqtt_bytes("t1", 2)});
	for (unsigned i = 0; i < 10; i++) {
		uint64_t captured = twin_captured(twin);

		twin_publish(twin, 1, '1', 1, number++);
		assert_int_equal(twin_captured(twin), captured);
	}
	twin_free(twin);
}

// The broker delivers to who does not come by here, and leaves out who does.
static void strangers_are_left_to_the_broker(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, true, "r");
	twin->legs[2].may_read[1] = false;
	twin_subscribe(twin, 0, "t1", 1);
	twin_subscribe(twin, 2, "#", 1);
	twin->strangers[twin->strangers_count++] = 4711;
	for (unsigned i = 0; i < 300; i++) {
		twin_publish(twin, 1, '1', i % 3, number++);
		twin_wait(twin, US_IN_MS);
		if (i == 150)
			twin_stream_up(twin);
		if (i == 200)
			twin_revoke(twin);
	}
	assert_true(bed_counters(twin->bed)->split > 120);
	assert_int_equal(twin_captured(twin), 0);
	assert_int_equal(twin->legs[1].published, 300);
	assert_int_equal(twin->strangers_got, 300);
	for (uint32_t i = 1; i < number; i++) {
		assert_int_equal(twin_got(twin, 0, i), 1);
		assert_int_equal(twin_got(twin, 2, i), 0);
	}
	twin_free(twin);
}

// The broker has not noticed yet that a client is gone.
static void a_stranger_on_its_way_out(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, true, "r");
	twin_subscribe(twin, 0, "t1", 1);
	twin->strangers[twin->strangers_count++] = 4711;
	for (unsigned i = 0; i < 10; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 20 * US_IN_MS);
	}
	assert_true(bed_counters(twin->bed)->split > 5);
	twin->strangers_count = 0;
	// One of ours comes and goes: all of ours are known all the same.
	twin_subscribe(twin, 2, "t1", 1);
	twin_unsubscribe(twin, 2, "t1");
	twin_publish(twin, 1, '1', 1, number++);
	assert_true(bed_counters(twin->bed)->split > 6);
	assert_int_equal(twin_captured(twin), 0);
	twin_wait(twin, US_IN_S);
	assert_true(twin_until_captured(twin, 1, '1', 1, &number) <= 2);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	twin_free(twin);
}

// The same client counted twice, another one not at all.
static void a_share_hides_behind_its_number(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin->strangers[twin->strangers_count++] = twin->legs[0].key;
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_int_equal(twin_captured(twin), 0);
	twin_free(twin);
}

// An answer that is not believed any more.
static void late_answers(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin->held = true;
	twin_publish(twin, 1, '1', 1, number++);
	twin_run(twin);
	offload_notice_revoked(twin->bed->offload, 0);
	twin->held = false;
	twin->legs[1].may_write[1] = false;
	twin_run(twin);
	for (unsigned i = 0; i < 20; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_int_equal(twin_captured(twin), 0);
	twin_free(twin);
}

// A subscriber comes, and one goes, between question and answer.
static void a_map_that_changes_on_the_way(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, false, "r");
	twin_subscribe(twin, 0, "t1", 1);
	for (unsigned n = 0; n < 20; n++) {
		uint32_t from = number;

		twin->held = true;
		twin_publish(twin, 1, '1', 1, number++);
		if (n & 1)
			twin_unsubscribe(twin, 2, "t1");
		else
			twin_subscribe(twin, 2, "t1", 1);
		twin_publish(twin, 1, '1', 1, number++);
		twin->held = false;
		twin_wait(twin, 2 * US_IN_S);
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 20 * US_IN_MS);
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 20 * US_IN_MS);
		for (uint32_t i = from; i < number; i++)
			assert_int_equal(twin_got(twin, 0, i), 1);
		for (uint32_t i = from + 1; i < number; i++)
			assert_int_equal(twin_got(twin, 2, i), !(n & 1));
	}
	assert_true(twin_captured(twin) >= 20);
	twin_free(twin);
}

// What the broker confirms on the wire both sides change likewise: who the readers are stays known.
static void what_the_wire_confirms_is_no_doubt(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1, asked;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, true, "r");
	twin_subscribe(twin, 0, "t1", 1);
	twin_subscribe(twin, 2, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	asked = twin->legs[1].published;
	for (unsigned n = 0; n < 10; n++) {
		uint32_t first = number;

		twin_unsubscribe(twin, 2, "t1");
		twin_publish(twin, 1, '1', 1, number++);
		twin_subscribe(twin, 2, "t1", 1);
		twin_publish(twin, 1, '1', 1, number++);
		assert_int_equal(twin_got(twin, 2, first), 0);
		assert_int_equal(twin_got(twin, 2, first + 1), 1);
	}
	assert_int_equal(twin->legs[1].published, asked);
	// More changes elsewhere than are remembered.
	for (unsigned n = 0; n < 2 * SESSION_CHANGES; n++) {
		twin_subscribe(twin, 2, "t2", 1);
		twin_unsubscribe(twin, 2, "t2");
	}
	twin_publish(twin, 1, '1', 1, number++);
	assert_int_equal(twin->legs[1].published, asked);
	// To MQTT 3 an UNSUBACK says nothing of success.
	twin_subscribe(twin, 0, "#", 1);
	twin_unsubscribe(twin, 0, "#");
	twin_publish(twin, 1, '1', 1, number++);
	assert_int_equal(twin->legs[1].published, asked + 1);
	twin_free(twin);
}

// The broker does not let a client of MQTT 3 unsubscribe, and has no way to say so.
static void an_unsubscription_that_was_refused(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, false, "r");
	twin_subscribe(twin, 0, "t1", 1);
	twin_subscribe(twin, 2, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	twin->stubborn = true;
	twin_unsubscribe(twin, 2, "t1");
	for (unsigned i = 0; i < 200; i++) {
		twin_publish(twin, 1, '1', 1, number++);
		twin_wait(twin, 20 * US_IN_MS);
		// What the broker answers is from before: as many, but not the same ones.
		twin->held = true;
		twin_publish(twin, 1, '1', 1, number++);
		if (i == 100)
			twin_subscribe(twin, 2, "#", 1);
		twin->held = false;
		twin_run(twin);
	}
	assert_int_equal(twin_captured(twin), 1);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 2, i), 1);
	twin_free(twin);
}

// At QoS 2 with a time to live: whether the broker still counts it nobody knows then.
static void unaccounted(struct twin *twin, unsigned i)
{
	static const uint8_t packet[] = {
		0x34, 16, 0, 2, 't', '9', 0, 99, 5, 2, 0, 0, 0, 1, 0, 0, 0, 0};

	client_sends(twin->bed, i, packet, sizeof(packet));
	twin_run(twin);
}

// That nobody was asked for leave to read says that nobody reads, where the broker had no reason to
// drop the message.
static void topics_that_nobody_reads(void **state)
{
	for (uint8_t qos = 1; qos <= 2; qos++) {
		struct twin *twin = start(state);
		uint32_t number = 1;

		twin->vague = true;
		twin_connect(twin, 0, true, "s");
		twin_connect(twin, 1, true, "p");
		twin_subscribe(twin, 0, "t2", 2);
		assert_true(twin_until_captured(twin, 1, '1', qos, &number) <= 2);
		twin_subscribe(twin, 0, "t1", 2);
		twin_publish(twin, 1, '1', 2, number++);
		assert_int_equal(twin_got(twin, 0, number - 1), 1);
		twin_connect(twin, 2, true, "q");
		unaccounted(twin, 2);
		for (unsigned i = 0; i < 50; i++) {
			twin_publish(twin, 2, '3', 2, number++);
			twin_wait(twin, 20 * US_IN_MS);
		}
		assert_int_equal(twin->legs[2].published, 51);
		// Another one's shows it, and is good for all.
		assert_true(twin_until_captured(twin, 1, '3', qos, &number) <= 2);
		assert_true(twin_until_captured(twin, 2, '3', 2, &number) <= 2);
		twin_free(twin);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// Where the broker's side cannot say who the readers of a message at QoS 2 are, such messages hold
// nobody up: another's show it, and what is shown serves them too.
static void readers_that_cannot_be_told(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin->vague = true;
	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, true, "p");
	twin_connect(twin, 2, false, "q");
	twin_subscribe(twin, 0, "t1", 2);
	unaccounted(twin, 1);
	for (unsigned i = 0; i < 10; i++) {
		twin_publish(twin, 1, '1', 2, number++);
		twin_wait(twin, 10 * US_IN_MS);
	}
	assert_int_equal(twin_captured(twin), 0);
	assert_int_equal(passed(twin, PROOF_UNKNOWN_READER), 0);
	assert_true(twin_until_captured(twin, 2, '1', 1, &number) <= 2);
	assert_true(twin_until_captured(twin, 1, '1', 2, &number) <= 2);
	// Shown again in time, by messages that cannot say it: it stands.
	for (unsigned i = 0; i < 200; i++) {
		twin_publish(twin, 1, '1', 2, number++);
		twin_wait(twin, US_IN_S);
	}
	assert_true(twin->legs[1].published < 11 + 40);
	for (uint32_t i = 1; i < number; i++)
		assert_int_equal(twin_got(twin, 0, i), 1);
	twin_free(twin);
}

// Who may not write asks in vain, also for a topic that has changed, and holds nobody up.
static void who_may_not_write_holds_nobody_up(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_connect(twin, 2, false, "q");
	twin->legs[2].may_write[1] = false;
	twin_subscribe(twin, 0, "t1", 1);
	twin_until_captured(twin, 1, '1', 1, &number);
	twin_subscribe(twin, 0, "#", 1);
	twin_publish(twin, 2, '1', 1, 1000);
	twin_wait(twin, 10 * US_IN_MS);
	assert_true(twin_until_captured(twin, 1, '1', 1, &number) <= 2);
	twin_free(twin);
}

// Somebody who does not come by a leg subscribes after the broker has routed the message that asks:
// the answer, which does not name it, comes behind that.
static void a_stranger_that_comes_on_the_way(void **state)
{
	struct twin *twin = start(state);
	uint32_t number = 1;

	twin->no_split = true;
	twin_stream_up(twin);
	twin_connect(twin, 0, false, "s");
	twin_connect(twin, 1, false, "p");
	twin_subscribe(twin, 0, "t1", 1);
	twin->held = true;
	twin_publish(twin, 1, '1', 1, number++);
	twin_run(twin);
	twin->strangers[twin->strangers_count++] = 999;
	offload_notice_subscribed(twin->bed->offload, 0, 999, mqtt_bytes("stranger", 8),
		&(struct offload_filter){.text = mqtt_bytes("$share/g/+", 10)});
	twin->held = false;
	for (unsigned i = 0; i < 50; i++) {
		twin_wait(twin, 10 * US_IN_MS);
		twin_publish(twin, 1, '1', 1, number++);
	}
	assert_int_equal(twin_captured(twin), 0);
	assert_true(passed(twin, PROOF_UNKNOWN_READER) > 0);
	twin_free(twin);
}

// --- everything at random ------------------------------------------------------------------------

static void rights_hold_whatever_happens(void **state)
{
	uint64_t all = 0, captured = 0;

	for (unsigned seed = 1; seed <= 10; seed++) {
		struct twin *twin = start(state);

		all += play(twin, seed, 500);
		captured += twin_captured(twin);
		twin_free(twin);
		bed_end(state);
	}
	assert_true(captured > all / 6);
	bed_start(bed_new(state));
}

// --- markers -------------------------------------------------------------------------------------

// The twin fails on a marker that it cannot read.
static void nobody_else_writes_markers(void **state)
{
	static const char qos0[] = "\x30\x18\x00\x13$CONTROL/offramp/v1"
				   "abc";
	static const char qos1[] = "\x32\x1b\x00\x13$CONTROL/offramp/v1"
				   "\x00\x09\x00"
				   "abc";
	struct twin *twin = start(state);
	const uint8_t *got;

	twin_connect(twin, 0, false, "p");
	twin_connect(twin, 1, true, "q");
	client_sends(twin->bed, 0, BYTES(qos0));
	client_sends(twin->bed, 1, BYTES(qos1));
	broker_gets(twin->bed, 0, BYTES(""));
	broker_gets(twin->bed, 1, BYTES(""));
	client_gets(twin->bed, 0, BYTES(""));
	assert_int_equal(got_take(&twin->bed->down[1], &got), 5);
	assert_memory_equal(got, "\x40\x03\x00\x09\x87", 5);
	assert_int_equal(bed_counters(twin->bed)->refused, 2);
	twin_free(twin);
}

int test_proofs(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(one_message_asks, bed_end),
		cmocka_unit_test_teardown(who_may_not_write_is_never_captured, bed_end),
		cmocka_unit_test_teardown(who_may_not_read_is_left_out, bed_end),
		cmocka_unit_test_teardown(a_revoked_right_serves_no_longer, bed_end),
		cmocka_unit_test_teardown(what_was_queued_before_shows_nothing, bed_end),
		cmocka_unit_test_teardown(rights_are_of_a_connection, bed_end),
		cmocka_unit_test_teardown(taken_over_while_both_are_there, bed_end),
		cmocka_unit_test_teardown(who_authenticates_again_may_be_another, bed_end),
		cmocka_unit_test_teardown(an_answer_about_who_it_was, bed_end),
		cmocka_unit_test_teardown(a_lost_message_is_no_refusal, bed_end),
		cmocka_unit_test_teardown(own_messages_that_do_not_come_back, bed_end),
		cmocka_unit_test_teardown(what_was_shown_is_shown_again_in_time, bed_end),
		cmocka_unit_test_teardown(while_a_lease_is_missed_everything_passes, bed_end),
		cmocka_unit_test_teardown(a_stream_that_comes_and_goes, bed_end),
		cmocka_unit_test_teardown(readers_that_nobody_knows, bed_end),
		cmocka_unit_test_teardown(strangers_are_left_to_the_broker, bed_end),
		cmocka_unit_test_teardown(a_stranger_on_its_way_out, bed_end),
		cmocka_unit_test_teardown(a_share_hides_behind_its_number, bed_end),
		cmocka_unit_test_teardown(late_answers, bed_end),
		cmocka_unit_test_teardown(a_map_that_changes_on_the_way, bed_end),
		cmocka_unit_test_teardown(a_stranger_that_comes_on_the_way, bed_end),
		cmocka_unit_test_teardown(what_the_wire_confirms_is_no_doubt, bed_end),
		cmocka_unit_test_teardown(an_unsubscription_that_was_refused, bed_end),
		cmocka_unit_test_teardown(topics_that_nobody_reads, bed_end),
		cmocka_unit_test_teardown(readers_that_cannot_be_told, bed_end),
		cmocka_unit_test_teardown(who_may_not_write_holds_nobody_up, bed_end),
		cmocka_unit_test_teardown(rights_hold_whatever_happens, bed_end),
		cmocka_unit_test_teardown(nobody_else_writes_markers, bed_end),
	};

	return cmocka_run_group_tests_name("proofs", tests, NULL, NULL);
}
