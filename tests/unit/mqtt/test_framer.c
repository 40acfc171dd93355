// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The framer over streams cut at every place, against the naive walk of framer_twin.c.

#include "mqtt_tests.h"

#include <stdlib.h>
#include <string.h>

#include "framer_twin.h"

struct stream_row {
	const char *what, *bytes;
	uint32_t gather_max;
};

static const struct stream_row streams[] = {
	{"nothing", "", 100},
	{"one ping", "c000", 100},
	{"pings", "c000 d000 c000", 100},
	{"publishes and acks", "30 05 0001'a' 'xy' 32 06 0001'b' 0001 'z' 40 02 0001", 100},
	{"long header", "30 808000 c000", 100},
	{"gathering to the limit", "30 04 0001'a' 'x' c000", 6},
	{"above the limit", "30 04 0001'a' 'x' c000", 5},
	{"all above the limit", "30 04 0001'a' 'x' c000 30 03 0001'a'", 0},
	{"header only, above the limit", "c000 c000", 1},
	{"packet cut short", "c000 30 05 0001'a'", 100},
	{"long packet cut short", "c000 30 05 0001'a'", 5},
	{"reserved type", "c000 00 'garbage' c000", 100},
	{"QoS 3", "c000 36 05 0001'a' 'xy'", 100},
	{"length of five bytes", "c000 30 ffffffff 01 'garbage'", 100},
	{"huge length", "c000 30 ffffff7f 'garbage'", 100},
	{"an HTTP request", "'GET / HTTP/1.1'", 100},
};

static void test_every_cut_shows_the_same_packets(void **state)
{
	struct payload_pool pool = {.left = UINT32_MAX};
	struct framer_run run;

	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		struct mqtt_bytes b = bytes_parse(streams[i].bytes);

		for (unsigned memory_ends = 0; memory_ends < 2; memory_ends++) {
			for (uint32_t one = 0; one <= b.length; one++) {
				for (uint32_t two = one; two <= b.length; two++) {
					framer_run_init(&run, &pool, streams[i].gather_max, b.data,
						b.length);
					framer_run_push(&run, one, memory_ends);
					framer_run_push(&run, two - one, memory_ends);
					framer_run_push(&run, b.length - two, memory_ends);
					framer_run_fini(&run);
				}
			}
			framer_run_init(&run, &pool, streams[i].gather_max, b.data, b.length);
			for (uint32_t n = 0; n < b.length; n++)
				framer_run_push(&run, 1, memory_ends);
			framer_run_fini(&run);
		}
		bytes_free(b);
	}
}

static void test_whole_packets_are_shown_in_place(void **state)
{
	struct payload_pool pool = {.left = 0};
	struct mqtt_bytes b = bytes_parse("c000 30 05 0001'a' 'xy' 30 04 0001'a' 'x'");
	struct framer_run run;

	// The limit is for gathering: what lies whole needs none.
	framer_run_init(&run, &pool, 2, b.data, b.length);
	framer_run_push(&run, b.length, false);
	assert_int_equal(run.packets, 3);
	assert_int_equal(run.in_stream, 0);
	assert_int_equal(run.out_of_memory, 0);
	framer_run_fini(&run);
	bytes_free(b);
}

static void test_broken_streams_stay_broken_and_say_why(void **state)
{
	static const struct {
		const char *bytes;
		enum mqtt_error error;
	} rows[] = {
		{"00", MQTT_ERROR_TYPE},
		{"c1 00", MQTT_ERROR_FLAGS},
		{"36 00", MQTT_ERROR_QOS},
		{"30 ffffffff", MQTT_ERROR_REMAINING_LENGTH},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes b = bytes_parse(rows[i].bytes);
		struct payload_pool pool = {.left = UINT32_MAX};
		struct mqtt_framer framer;
		struct mqtt_stream stream;
		struct mqtt_frame frame;
		size_t used;

		mqtt_framer_init(&framer, &pool, 100);
		assert_int_equal(
			mqtt_framer_push(&framer, b.data, b.length, &used, &frame, &stream),
			MQTT_FRAMER_STREAM);
		assert_int_equal(framer.error, rows[i].error);
		assert_true(stream.first);
		assert_int_equal(mqtt_framer_push(&framer, (const uint8_t *)"\xc0", 1, &used,
					 &frame, &stream),
			MQTT_FRAMER_STREAM);
		assert_false(stream.first || stream.last || mqtt_framer_idle(&framer));
		mqtt_framer_fini(&framer);
		bytes_free(b);
	}
}

// PUBLISHes of given lengths, one after the other.
static uint8_t *long_stream(const uint32_t *lengths, size_t count, size_t *ret_size)
{
	uint8_t *data, *at;
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += lengths[i];
	at = data = malloc(size);
	assert_non_null(data);
	for (size_t i = 0; i < count; i++) {
		uint32_t remaining = lengths[i] - 2;
		unsigned header;

		while (1 + mqtt_varint_size(remaining) + remaining > lengths[i])
			remaining--;
		header = mqtt_header_encode(MQTT_PUBLISH, 0, remaining, at);
		for (uint32_t k = header; k < lengths[i]; k++)
			at[k] = (uint8_t)(k * 31 + k / 251);
		at += header + remaining;
	}
	*ret_size = (size_t)(at - data);
	return data;
}

static void test_long_packets_are_gathered_into_many_payloads(void **state)
{
	static const uint32_t lengths[] = {5, PAYLOAD_LARGEST - 1, PAYLOAD_LARGEST,
		PAYLOAD_LARGEST + 1, 2 * PAYLOAD_LARGEST, 3 * PAYLOAD_LARGEST + 7, 161, 160,
		70 * PAYLOAD_LARGEST, 200};
	static const uint32_t limits[] = {
		MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST, PAYLOAD_LARGEST, 4096};
	static const size_t cuts[] = {1460, 65536, 16352, 16353, 7, 33000};
	struct payload_pool pool = {.left = UINT32_MAX};
	size_t size;
	uint8_t *data = long_stream(lengths, COUNT_OF(lengths), &size);

	for (size_t l = 0; l < COUNT_OF(limits); l++) {
		for (size_t c = 0; c < COUNT_OF(cuts) * 2; c++) {
			size_t cut = cuts[c / 2];
			struct framer_run run;

			framer_run_init(&run, &pool, limits[l], data, size);
			for (size_t at = 0; at < size; at += cut)
				framer_run_push(&run, at + cut < size ? cut : size - at, c % 2);
			assert_true(run.packets > 0);
			if (l == 0)
				assert_int_equal(run.packets, COUNT_OF(lengths));
			framer_run_fini(&run);
		}
	}
	free(data);
}

static void test_payloads_can_outlive_the_packet(void **state)
{
	struct mqtt_bytes b = bytes_parse("30 05 0001'a' 'xy'");
	struct payload_pool pool = {.left = UINT32_MAX};
	struct mqtt_framer framer;
	struct mqtt_stream stream;
	struct mqtt_frame frame;
	struct payload *kept;
	size_t used;

	mqtt_framer_init(&framer, &pool, 100);
	assert_int_equal(
		mqtt_framer_push(&framer, b.data, 3, &used, &frame, &stream), MQTT_FRAMER_MORE);
	assert_int_equal(
		mqtt_framer_push(&framer, b.data + 3, b.length - 3, &used, &frame, &stream),
		MQTT_FRAMER_PACKET);
	assert_int_equal(frame.parts_count, 1);
	assert_int_equal(frame.parts[0]->capacity, 160); // the smallest that fits
	kept = payload_get(frame.parts[0]);
	assert_true(mqtt_framer_idle(&framer));
	assert_int_equal(mqtt_framer_push(&framer, b.data, b.length, &used, &frame, &stream),
		MQTT_FRAMER_PACKET);
	assert_int_equal(kept->refs, 1);
	assert_memory_equal(kept->data, b.data, b.length);
	payload_put(kept);
	mqtt_framer_fini(&framer);
	assert_int_equal(pool.in_use, 0);
	bytes_free(b);
}

static void test_a_stalled_packet_holds_little(void **state)
{
	uint8_t header[MQTT_HEADER_MAX];
	unsigned size = mqtt_header_encode(MQTT_PUBLISH, 0, 1000000, header);
	struct payload_pool pool = {.left = UINT32_MAX};
	struct mqtt_framer framer;
	struct mqtt_stream stream;
	struct mqtt_frame frame;
	size_t used;

	mqtt_framer_init(&framer, &pool, MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST);
	assert_int_equal(
		mqtt_framer_push(&framer, header, size, &used, &frame, &stream), MQTT_FRAMER_MORE);
	assert_int_equal(pool.in_use, 2); // the table and the first part
	mqtt_framer_fini(&framer);
	assert_int_equal(pool.in_use, 0);
}

int test_mqtt_framer(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut_shows_the_same_packets),
		cmocka_unit_test(test_whole_packets_are_shown_in_place),
		cmocka_unit_test(test_broken_streams_stay_broken_and_say_why),
		cmocka_unit_test(test_long_packets_are_gathered_into_many_payloads),
		cmocka_unit_test(test_payloads_can_outlive_the_packet),
		cmocka_unit_test(test_a_stalled_packet_holds_little),
	};

	return cmocka_run_group_tests_name("framer", tests, NULL, NULL);
}
