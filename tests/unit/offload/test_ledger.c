// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What persistent sessions are owed, over an orderly stop: what is written is what is read, and
// whatever else is read does no harm.

#include "offload_tests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offload/ledger.h"
#include "offload/ledger_format.h"

#define PUBLISHER 1
#define STOPPED_S 1000000000ull // the time of day at the stop

// A file in memory.
struct file {
	uint8_t data[1 << 20];
	size_t length, refused_above;
};

static int file_write(void *ctx, const void *data, size_t length)
{
	struct file *file = ctx;

	if (file->length + length > file->refused_above)
		return -ENOSPC;
	memcpy(file->data + file->length, data, length);
	file->length += length;
	return 0;
}

static struct ledger_writer file_writer(struct file *file)
{
	file->length = 0;
	file->refused_above = sizeof(file->data);
	return (struct ledger_writer){
		.write = file_write,
		.ctx = file,
		.wall_s = STOPPED_S,
		.room = sizeof(file->data),
	};
}

static struct ledger *file_read(const struct bed *bed, const uint8_t *data, size_t length,
	uint64_t away_s, struct ledger_found *ret_found)
{
	const struct ledger_config config = {
		.brokers = bed->config.brokers,
		.brokers_count = bed->config.brokers_count,
		.wall_s = STOPPED_S + away_s,
		.now_us = bed->tcp.now_us,
	};
	uint8_t *copy = malloc(length + 1);
	struct ledger *ledger;

	memcpy(copy, data, length);
	assert_int_equal(ledger_create(&config, copy, length, ret_found, &ledger), 0);
	return ledger;
}

static void stop(struct bed *bed, struct file *file)
{
	struct ledger_writer writer = file_writer(file);

	offload_leave(bed->offload);
	offload_bequeath(bed->offload, &writer);
	assert_int_equal(writer.error, 0);
	ledger_write_fini(&writer);
	bed_fini(bed);
}

static struct ledger *start(struct bed *bed, const struct file *file, uint64_t away_s)
{
	struct ledger_found found;
	struct ledger *ledger;

	bed_init(bed);
	bed_start(bed);
	ledger = file_read(bed, file->data, file->length, away_s, &found);
	assert_false(found.foreign || found.damaged || found.unsound);
	offload_recall(bed->offload, ledger);
	return ledger;
}

static const struct ledger_owner owner = {
	.broker = "broker",
	.client_id = {(const uint8_t *)"k", 1},
	.expiry_s = 300,
};

static void write_publish(struct ledger_writer *writer, const char *publish, size_t length)
{
	ledger_write_publish(writer, (uint8_t)(publish[0] & 15), (uint32_t)length - 2);
	ledger_write_bytes(writer, publish + 2, length - 2);
}

#define SENT               \
	"\x3a\x07\x00\x01" \
	"a\x80\x05\x00"    \
	"1"
#define WAITING             \
	"\x32\x0c\x00\x01"  \
	"a\x00\x01\x05\x02" \
	"\x00\x00\x00\x64"  \
	"2"

// A ledger of three clients: k, kk and l.
static void write_three(struct file *file)
{
	struct ledger_writer writer = file_writer(file);
	struct ledger_owner other = owner;

	for (unsigned i = 0; i < 3; i++) {
		other.client_id = mqtt_bytes(i < 2 ? "kk" : "l", i == 1 ? 2 : 1);
		ledger_write_begin(&writer, &other);
		write_publish(&writer, BYTES(SENT));
		write_publish(&writer, BYTES(WAITING));
		ledger_write_end(&writer);
	}
	assert_int_equal(writer.sessions, 3);
	assert_int_equal(writer.deliveries, 6);
	ledger_write_fini(&writer);
}

// --- over a stop ---------------------------------------------------------------------------------

// A session that stays, with a subscription to a; a publisher of three messages, of which the
// client may take two at a time.
static void begin(struct bed *bed, enum mqtt_version version)
{
	static const char message[] = "\x32\x0e\x00\x01"
				      "a\x00\x09\x07\x02\x00\x00\x00\x64\x01\x01"
				      "!";

	bed->broker.client.inflight = 2;
	bed_start(bed);
	connect_session(bed, 0, version, false, false, mqtt_bytes(EXPIRY, 5));
	if (version == MQTT_VERSION_5)
		subscribe_v5(bed, 0, "a", 1, 7);
	else
		subscribe_v4(bed, 0, "a", 1);
	connect_v5(bed, PUBLISHER);
	for (unsigned i = 0; i < 3; i++) {
		client_sends(bed, PUBLISHER, message, 16);
		client_gets(bed, PUBLISHER, BYTES("\x40\x02\x00\x09"));
	}
	assert_int_equal(bed_counters(bed)->captured[1], 3);
}

static void what_is_owed_comes_first_after_a_start(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger *ledger;

	begin(bed, MQTT_VERSION_3_1_1);
	bed_wait(bed, 10 * US_IN_S);
	stop(bed, file);
	ledger = start(bed, file, 20);
	bed_wait(bed, 30 * US_IN_S);
	resume_v4(bed, 0);
	client_gets(bed, 0,
		BYTES("\x3a\x06\x00\x01"
		      "a\x80\x00!\x3a\x06\x00\x01"
		      "a\x80\x01!\x32\x06\x00\x01"
		      "a\x80\x02!"));
	assert_int_equal(bed_counters(bed)->resent, 2);
	assert_int_equal(bed_counters(bed)->deliveries[1], 1);
	bed_close(bed, 0);
	// Once: from now on it is this run's.
	assert_false(ledger_has(ledger, 0, mqtt_bytes("k", 1)));
	resume_v5(bed, 0, BYTES(EXPIRY));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00\x40\x02\x80\x01\x40\x02\x80\x02"));
	assert_int_equal(bed->offload->owed_count, 0);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(""));
	ledger_destroy(ledger);
	free(file);
}

// 10 s before the stop, 20 s until the start and 30 s until the client comes.
static void properties_are_kept_and_the_expiry_counts(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger *ledger;

	begin(bed, MQTT_VERSION_5);
	bed_wait(bed, 10 * US_IN_S);
	stop(bed, file);
	ledger = start(bed, file, 20);
	bed_wait(bed, 30 * US_IN_S);
	resume_v5(bed, 0, BYTES(EXPIRY "\x21\x00\x01"));
	client_gets(bed, 0,
		BYTES("\x3a\x10\x00\x01"
		      "a\x80\x00\x09\x02\x00\x00\x00\x28\x01\x01\x0b\x07!"));
	bed_close(bed, 0);
	resume_v4(bed, 0); // in the form of another version
	client_gets(bed, 0,
		BYTES("\x3a\x06\x00\x01"
		      "a\x80\x00!\x3a\x06\x00\x01"
		      "a\x80\x01!\x32\x06\x00\x01"
		      "a\x80\x02!"));
	ledger_destroy(ledger);
	free(file);
}

static void the_expiry_of_a_message_sent_under_version_3_counts(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger *ledger;

	begin(bed, MQTT_VERSION_3_1_1);
	bed_wait(bed, 10 * US_IN_S);
	stop(bed, file);
	ledger = start(bed, file, 20);
	resume_v5(bed, 0, BYTES(EXPIRY "\x21\x00\x01"));
	client_gets(bed, 0,
		BYTES("\x3a\x0c\x00\x01"
		      "a\x80\x00\x05\x02\x00\x00\x00\x46!"));
	stop(bed, file);
	ledger_destroy(ledger);
	ledger = start(bed, file, 70);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 3);
	ledger_destroy(ledger);
	free(file);
}

static void a_large_message_survives(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	uint8_t *big = calloc(1, 100100), *text = malloc(100000);
	struct ledger *ledger;
	const uint8_t *got;
	size_t length;

	for (unsigned i = 0; i < 100000; i++)
		text[i] = (uint8_t)(i / 251);
	bed_start(bed);
	connect_session(bed, 0, MQTT_VERSION_3_1_1, false, false, mqtt_bytes(NULL, 0));
	subscribe_v4(bed, 0, "a", 1);
	connect_v4(bed, PUBLISHER);
	length = publish_v4(big, "a", 2, text, 100000);
	for (size_t at = 0; at < length; at += 10000) // as segments come
		client_sends(bed, PUBLISHER, big + at, length - at < 10000 ? length - at : 10000);
	assert_int_equal(got_take(&bed->down[0], &got), length);
	stop(bed, file);
	ledger = start(bed, file, 0);
	resume_v4(bed, 0);
	assert_int_equal(got_take(&bed->down[0], &got), length);
	assert_int_equal(got[0], 0x3a);
	assert_memory_equal(got + length - 100000, text, 100000);
	ledger_destroy(ledger);
	free(text);
	free(big);
	free(file);
}

static void a_session_that_is_not_present_is_owed_nothing(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger *ledger;

	begin(bed, MQTT_VERSION_3_1_1);
	stop(bed, file);
	ledger = start(bed, file, 0);
	connect_session(bed, 0, MQTT_VERSION_3_1_1, false, false, mqtt_bytes(NULL, 0));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_SESSION], 3);
	bed_close(bed, 0);
	resume_v4(bed, 0);
	client_gets(bed, 0, BYTES(""));
	ledger_destroy(ledger);
	free(file);
}

// MQTT 3.1 never hears of a session that is present.
static void version_3_1_is_owed_what_offramp_knows_of(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger *ledger;

	begin(bed, MQTT_VERSION_3_1);
	stop(bed, file);
	ledger = start(bed, file, 0);
	connect_session(bed, 0, MQTT_VERSION_3_1, false, false, mqtt_bytes(NULL, 0));
	assert_int_equal(bed_counters(bed)->resent, 2);
	ledger_destroy(ledger);
	free(file);
}

// It stays owed, and the client comes again.
static void without_memory_it_is_given_back(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	uint32_t count, taken = 0;
	struct ledger *ledger;
	void **all;

	begin(bed, MQTT_VERSION_3_1_1);
	stop(bed, file);
	ledger = start(bed, file, 0);
	count = slab_count(bed->offload->deliveries);
	all = calloc(count, sizeof(all[0]));
	while (taken < count - 2)
		all[taken++] = slab_take(bed->offload->deliveries);
	bed_open(bed, 0);
	client_sends(bed, 0, BYTES("\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01k"));
	broker_sends(bed, 0, BYTES("\x20\x02\x01\x00"));
	assert_true(bed->failed[0]);
	assert_true(ledger_has(ledger, 0, mqtt_bytes("k", 1)));
	while (taken > 0)
		slab_give(bed->offload->deliveries, all[--taken]);
	resume_v4(bed, 0);
	assert_int_equal(bed_counters(bed)->resent, 2);
	assert_int_equal(bed_counters(bed)->deliveries[1], 1);
	free(all);
	ledger_destroy(ledger);
	free(file);
}

static void what_nobody_takes_goes_on(void **state)
{
	struct file *file = malloc(sizeof(*file)), *again = malloc(sizeof(*again));
	struct ledger_writer writer = file_writer(again);
	struct bed *bed = bed_new(state);
	struct ledger_found found;
	struct ledger *ledger;

	bed_start(bed);
	write_three(file);
	ledger = file_read(bed, file->data, file->length, 5, &found);
	ledger_write_rest(&writer, ledger);
	assert_int_equal(again->length, file->length);
	assert_non_null(ledger_take(ledger, 0, mqtt_bytes("kk", 2)));
	assert_null(ledger_take(ledger, 0, mqtt_bytes("kk", 2)));
	ledger_destroy(ledger);
	ledger = file_read(bed, again->data, again->length, 5, &found);
	assert_int_equal(found.sessions, 3);
	assert_int_equal(found.deliveries, 6);
	assert_non_null(ledger_take(ledger, 0, mqtt_bytes("kk", 2)));
	writer = file_writer(again);
	writer.wall_s += 100; // since when they wait does not change
	ledger_write_rest(&writer, ledger);
	assert_int_equal(writer.sessions, 2);
	ledger_destroy(ledger);
	ledger = file_read(bed, again->data, again->length, 5, &found);
	assert_null(ledger_take(ledger, 0, mqtt_bytes("kk", 2)));
	assert_int_equal(ledger_waited_s(ledger, ledger_take(ledger, 0, mqtt_bytes("l", 1)),
				 bed->tcp.now_us + 2 * US_IN_S),
		7);
	ledger_destroy(ledger);
	free(again);
	free(file);
}

static void sessions_that_nobody_has_are_left_out(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_writer writer = file_writer(file);
	struct ledger_owner other = owner;
	struct ledger_found found;

	bed_start(bed);
	other.broker = "another";
	ledger_write_begin(&writer, &other);
	write_publish(&writer, BYTES(SENT));
	ledger_write_end(&writer);
	ledger_write_begin(&writer, &owner);
	write_publish(&writer, BYTES(SENT));
	ledger_write_end(&writer);
	ledger_write_begin(&writer, &owner); // of whom nothing is written
	ledger_write_end(&writer);
	ledger_write_fini(&writer);
	ledger_destroy(file_read(bed, file->data, file->length, 300, &found));
	assert_int_equal(found.sessions, 1);
	assert_int_equal(found.strangers, 1);
	ledger_destroy(file_read(bed, file->data, file->length, 400, &found));
	assert_int_equal(found.sessions, 0);
	assert_int_equal(found.ended, 2);
	free(file);
}

static void more_than_there_is_room_for_is_left_out(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_writer writer;

	bed_start(bed);
	write_three(file);
	writer = file_writer(file);
	writer.room = 100;
	for (unsigned i = 0; i < 3; i++) {
		ledger_write_begin(&writer, &owner);
		write_publish(&writer, BYTES(SENT));
		ledger_write_end(&writer);
	}
	assert_int_equal(writer.sessions, 1);
	assert_int_equal(writer.left_out, 2);
	assert_in_range(file->length, 1, 100);
	ledger_write_fini(&writer);
	writer = file_writer(file);
	file->refused_above = 50; // a full disk
	ledger_write_begin(&writer, &owner);
	write_publish(&writer, BYTES(SENT));
	ledger_write_end(&writer);
	assert_int_equal(writer.error, -ENOSPC);
	ledger_write_fini(&writer);
	free(file);
}

// --- what is not sound ---------------------------------------------------------------------------

// Everything that is left in it can be taken and read.
static void use_all(struct bed *bed, const uint8_t *data, size_t length, struct ledger_found *found)
{
	struct ledger *ledger = file_read(bed, data, length, 5, found);
	uint32_t deliveries = 0;

	for (unsigned i = 0; i < 3; i++) {
		struct mqtt_bytes id = mqtt_bytes(i < 2 ? "kk" : "l", i == 1 ? 2 : 1);
		const struct ledger_entry *entry = ledger_take(ledger, 0, id);
		struct mqtt_bytes left;
		struct ledger_publish publish;

		if (entry == NULL)
			continue;
		left = entry->publishes;
		while (ledger_next(&left, &publish))
			deliveries++;
		assert_int_equal(left.length, 0);
	}
	assert_in_range(deliveries, 0, found->deliveries);
	ledger_destroy(ledger);
}

static void of_a_file_cut_short_whole_sessions_are_used(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_found found;
	unsigned before = 0;

	bed_start(bed);
	write_three(file);
	for (size_t length = 0; length <= file->length; length++) {
		use_all(bed, file->data, length, &found);
		assert_int_equal(found.foreign, length < LEDGER_MAGIC_SIZE);
		assert_int_equal(found.unsound + found.strangers + found.ended, 0);
		assert_int_equal(found.deliveries, found.sessions * 2);
		assert_true(found.sessions == before || found.sessions == before + 1);
		before = found.sessions;
	}
	assert_int_equal(found.sessions, 3);
	assert_false(found.damaged);
	free(file);
}

static void a_changed_byte_is_found(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_found found;

	bed_start(bed);
	write_three(file);
	for (size_t at = 0; at < file->length; at++) {
		file->data[at] ^= (uint8_t)(1 + at % 255);
		use_all(bed, file->data, file->length, &found);
		assert_true(found.foreign || found.damaged);
		assert_in_range(found.sessions, 0, 2);
		file->data[at] ^= (uint8_t)(1 + at % 255);
	}
	free(file);
}

// As of a program that writes nonsense: the checksum is right.
static void what_makes_no_sense_is_left_out(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_found found;
	uint8_t *record = file->data + LEDGER_MAGIC_SIZE;
	unsigned unsound = 0;
	struct random rng;
	uint32_t length;

	bed_start(bed);
	random_init(&rng, 11);
	write_three(file);
	length = (uint32_t)(record[2] << 8 | record[3]);
	for (unsigned n = 0; n < 20000; n++) {
		uint32_t at = LEDGER_RECORD_HEADER + random_below(&rng, length);
		uint8_t was = record[at];
		uint64_t checksum;

		record[at] = (uint8_t)random_next(&rng);
		checksum = ledger_checksum(record + LEDGER_RECORD_HEADER, length);
		for (unsigned i = 0; i < 8; i++)
			record[4 + i] = (uint8_t)(checksum >> (56 - 8 * i));
		use_all(bed, file->data, file->length, &found);
		assert_false(found.foreign || found.damaged);
		assert_int_equal(found.sessions + found.unsound + found.strangers + found.ended, 3);
		unsound += found.unsound;
		record[at] = was;
	}
	assert_in_range(unsound, 1000, 19999);
	free(file);
}

static void garbage_is_nothing(void **state)
{
	struct file *file = malloc(sizeof(*file));
	struct bed *bed = bed_new(state);
	struct ledger_found found;
	struct random rng;

	bed_start(bed);
	random_init(&rng, 7);
	for (unsigned n = 0; n < 2000; n++) {
		size_t length = random_below(&rng, 300);

		for (size_t i = 0; i < length; i++)
			file->data[i] = (uint8_t)random_next(&rng);
		if (n % 2 == 0)
			memcpy(file->data, LEDGER_MAGIC, LEDGER_MAGIC_SIZE);
		if (n % 4 == 0)
			memset(file->data + LEDGER_MAGIC_SIZE, 0, 3);
		use_all(bed, file->data, length, &found);
		assert_int_equal(found.sessions, 0);
	}
	free(file);
}

#define LEDGER_TEST(name) cmocka_unit_test_teardown(name, bed_end)

int test_ledger(void)
{
	const struct CMUnitTest tests[] = {
		LEDGER_TEST(what_is_owed_comes_first_after_a_start),
		LEDGER_TEST(properties_are_kept_and_the_expiry_counts),
		LEDGER_TEST(the_expiry_of_a_message_sent_under_version_3_counts),
		LEDGER_TEST(a_large_message_survives),
		LEDGER_TEST(a_session_that_is_not_present_is_owed_nothing),
		LEDGER_TEST(version_3_1_is_owed_what_offramp_knows_of),
		LEDGER_TEST(without_memory_it_is_given_back),
		LEDGER_TEST(what_nobody_takes_goes_on),
		LEDGER_TEST(sessions_that_nobody_has_are_left_out),
		LEDGER_TEST(more_than_there_is_room_for_is_left_out),
		LEDGER_TEST(of_a_file_cut_short_whole_sessions_are_used),
		LEDGER_TEST(a_changed_byte_is_found),
		LEDGER_TEST(what_makes_no_sense_is_left_out),
		LEDGER_TEST(garbage_is_nothing),
	};

	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
