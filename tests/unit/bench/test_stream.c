// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// However TCP splits and joins a stream, the packets are the same.

#include "bench_tests.h"

#include "base/random.h"
#include "bench/stream.h"

#include <stdlib.h>
#include <string.h>

#define STREAM_SIZE (1u << 18)
#define BUFFER_SIZE 4096u

// What came out: a sum over types, lengths and bytes, in order.
struct sight {
	unsigned packets, stop_at;
	uint64_t sum;
};

static bool sight_see(void *context, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct sight *sight = context;

	assert_int_equal(header->remaining, body.length);
	sight->sum = sight->sum * 31 + header->type;
	sight->sum = sight->sum * 31 + body.length;
	for (uint32_t i = 0; i < body.length; i++)
		sight->sum = sight->sum * 31 + body.data[i];
	return ++sight->packets != sight->stop_at;
}

// Packets of every size around the buffer's and the header's bounds.
static uint32_t stream_make(struct random *random, uint8_t *stream, unsigned *ret_packets)
{
	uint32_t length = 0, remaining;

	for (*ret_packets = 0;; (*ret_packets)++) {
		static const uint32_t bounds[] = {1, 5, 200, 20000};

		remaining = random_below(random, bounds[random_below(random, 4)]);
		if (length + remaining + MQTT_HEADER_MAX > STREAM_SIZE)
			return length;
		length += mqtt_header_encode(MQTT_PUBLISH, 0, remaining, stream + length);
		for (uint32_t i = 0; i < remaining; i++)
			stream[length++] = (uint8_t)random_next(random);
	}
}

// Plays the socket: copies at most `most` bytes into the iov.
static size_t socket_read(const struct iovec *iov, int count, const uint8_t *data, size_t most)
{
	size_t n = 0;

	for (int i = 0; i < count && n < most; i++) {
		size_t part = most - n < iov[i].iov_len ? most - n : iov[i].iov_len;

		memcpy(iov[i].iov_base, data + n, part);
		n += part;
	}
	return n;
}

static void stream_feed(struct random *random, const uint8_t *data, uint32_t length,
	uint32_t chunk_max, struct sight *sight)
{
	uint8_t storage[MQTT_HEADER_MAX + BUFFER_SIZE];
	struct bench_buffer buffer = {storage, BUFFER_SIZE};
	struct bench_stream stream = {0};
	enum mqtt_error error;
	struct iovec iov[2];

	for (uint32_t at = 0; at < length;) {
		uint32_t most = 1 + random_below(random, chunk_max);
		int count = bench_stream_room(&stream, &buffer, iov);
		size_t n =
			socket_read(iov, count, data + at, most < length - at ? most : length - at);

		assert_true(bench_stream_take(&stream, &buffer, n, sight_see, sight, &error));
		at += n;
	}
	assert_int_equal(stream.have, 0);
	bench_stream_fini(&stream);
}

static void test_packets_do_not_depend_on_the_splits(void **state)
{
	static const uint32_t chunks[] = {1, 2, 7, 100, 1460, 5000, 50000};
	uint8_t *data = test_malloc(STREAM_SIZE);
	struct random random;
	uint64_t sum = 0;
	uint32_t length;
	unsigned packets;

	random_init(&random, 5);
	length = stream_make(&random, data, &packets);
	for (unsigned i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct sight sight = {0};

		stream_feed(&random, data, length, chunks[i], &sight);
		assert_int_equal(sight.packets, packets);
		if (i)
			assert_true(sight.sum == sum);
		sum = sight.sum;
	}
	test_free(data);
}

static void test_garbage_is_named(void **state)
{
	uint8_t storage[MQTT_HEADER_MAX + 16] = {0};
	struct bench_buffer buffer = {storage, 16};
	struct bench_stream stream = {0};
	struct sight sight = {0};
	enum mqtt_error error;

	memcpy(storage + MQTT_HEADER_MAX, "\x30\xff\xff\xff\xff\x01", 6);
	assert_false(bench_stream_take(&stream, &buffer, 6, sight_see, &sight, &error));
	assert_int_equal(error, MQTT_ERROR_REMAINING_LENGTH);
	assert_int_equal(sight.packets, 0);
	bench_stream_fini(&stream);
}

static void test_handler_can_stop(void **state)
{
	uint8_t storage[MQTT_HEADER_MAX + 16] = {0};
	struct bench_buffer buffer = {storage, 16};
	struct bench_stream stream = {0};
	struct sight sight = {.stop_at = 2};
	enum mqtt_error error;

	memcpy(storage + MQTT_HEADER_MAX, "\xd0\0\xd0\0\xd0\0", 6);
	assert_false(bench_stream_take(&stream, &buffer, 6, sight_see, &sight, &error));
	assert_int_equal(error, MQTT_OK);
	assert_int_equal(sight.packets, 2);
	bench_stream_fini(&stream);
}

int test_bench_stream(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_do_not_depend_on_the_splits),
		cmocka_unit_test(test_garbage_is_named),
		cmocka_unit_test(test_handler_can_stop),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
