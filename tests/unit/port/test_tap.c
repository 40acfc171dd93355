// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Taps: what is copied of what comes and goes, in order; what is filtered away; what a full ring
// loses; several at once; and the ring by itself against a list.

#include "port_tests.h"

#include "base/clock.h"
#include "base/random.h"
#include "port/port.h"
#include "port/tap.h"

#include <pcap/pcap.h>
#include <rte_mbuf.h>

#include <string.h>

#define FRAMES	 8192u
#define RING	 (256u * 1024)
#define LENGTH	 60u
#define SNAP_ALL 65536u

static struct rte_mempool *pool;

static int setup(void **state)
{
	pool = port_frame_pool_create("tap", FRAMES, 0);
	return pool == NULL;
}

static int teardown(void **state)
{
	rte_mempool_free(pool);
	return 0;
}

static struct port *port_make(const char *device)
{
	const struct port_config config = {.name = "p", .device = device};
	struct port *port = NULL;

	assert_int_equal(port_open(&config, 1, &pool, &port), 0);
	assert_int_equal(port_start(port), 0);
	return port;
}

static struct port_tap *tap_make(
	size_t ring, uint32_t snap_length, const struct bpf_program *wanted)
{
	struct port_tap *tap = calloc(1, sizeof(*tap));

	assert_non_null(tap);
	tap->ring = tap_ring_create(ring);
	assert_non_null(tap->ring);
	tap->snap_length = snap_length;
	tap->filter = wanted;
	tap->flat = malloc(TAP_FLAT_MAX);
	assert_non_null(tap->flat);
	tap->port = 7;
	return tap;
}

static void tap_free(struct port_tap *tap)
{
	tap_ring_destroy(tap->ring);
	free(tap->flat);
	free(tap);
}

static struct rte_mbuf *frame_make(uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	memset(rte_pktmbuf_append(m, LENGTH), 0xee, LENGTH);
	memcpy(rte_pktmbuf_mtod(m, void *), &number, sizeof(number));
	return m;
}

static unsigned receive_all(struct port *port)
{
	struct rte_mbuf *frames[32];
	unsigned total = 0, n;

	while ((n = port_rx(port, 0, frames, 32)) > 0) {
		rte_pktmbuf_free_bulk(frames, n);
		total += n;
	}
	return total;
}

static uint32_t number_of(const struct tap_record *record)
{
	uint32_t number;

	memcpy(&number, record->bytes, sizeof(number));
	return number;
}

// Takes what is there: all of that direction, numbered from `first` on. Returns how many.
static unsigned take_in_order(
	struct port_tap *tap, enum port_direction direction, uint32_t first, uint32_t captured)
{
	const struct tap_record *record;
	unsigned count = 0;
	uint64_t last_ns = 0;

	while ((record = tap_ring_peek(tap->ring)) != NULL && record->direction == direction &&
		record->length == LENGTH) {
		assert_int_equal(number_of(record), first + count);
		assert_int_equal(record->captured, captured);
		assert_int_equal(record->port, 7);
		assert_true(record->time_ns >= last_ns);
		last_ns = record->time_ns;
		tap_ring_take(tap->ring);
		count++;
	}
	return count;
}

static void test_what_goes_out_and_comes_in_is_seen_once_each(void **state)
{
	struct port *port = port_make("net_ring12");
	struct port_tap *tap = tap_make(RING, SNAP_ALL, NULL);
	uint64_t before_ns = clock_wall_ns();

	port_tap_add(port, 0, tap);
	for (uint32_t i = 0; i < 100; i++)
		port_tx(port, 0, frame_make(i));
	port_flush(port, 0);
	assert_true(tap_ring_peek(tap->ring)->time_ns >= before_ns);
	assert_int_equal(take_in_order(tap, PORT_OUT, 0, LENGTH), 100);
	assert_null(tap_ring_peek(tap->ring));
	assert_int_equal(receive_all(port), 100);
	assert_int_equal(take_in_order(tap, PORT_IN, 0, LENGTH), 100);
	port_tap_remove(port, 0, tap);
	port_tx(port, 0, frame_make(0));
	port_flush(port, 0);
	assert_int_equal(receive_all(port), 1);
	assert_null(tap_ring_peek(tap->ring));
	assert_int_equal(tap->seen, 200);
	assert_int_equal(tap->wanted, 200);
	assert_int_equal(tap->lost, 0);
	port_close(port);
	tap_free(tap);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_what_the_device_does_not_take_is_not_seen(void **state)
{
	struct port *port = port_make("net_ring9");
	struct port_tap *tap = tap_make(1024 * 1024, SNAP_ALL, NULL);
	unsigned received;

	port_tap_add(port, 0, tap);
	for (uint32_t i = 0; i < 3000; i++)
		port_tx(port, 0, frame_make(i));
	port_flush(port, 0);
	port_tap_remove(port, 0, tap);
	received = receive_all(port);
	assert_in_range(received, 512, 2999);
	assert_int_equal(take_in_order(tap, PORT_OUT, 0, LENGTH), received);
	assert_null(tap_ring_peek(tap->ring));
	assert_int_equal(tap->seen, received);
	assert_int_equal(tap->lost, 0);
	port_close(port);
	tap_free(tap);
}

static void test_a_full_ring_loses_and_counts_and_goes_on(void **state)
{
	struct port *port = port_make("net_ring10");
	struct port_tap *tap = tap_make(4096, SNAP_ALL, NULL);
	unsigned taken;

	port_tap_add(port, 0, tap);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 500; i++)
			port_tx(port, 0, frame_make(i));
		port_flush(port, 0);
		taken = take_in_order(tap, PORT_OUT, 0, LENGTH);
		assert_in_range(taken, 30, 499);
		assert_int_equal(tap->lost, 500 * (round + 1) - taken * (round + 1));
		port_tap_remove(port, 0, tap);
		assert_int_equal(receive_all(port), 500);
		port_tap_add(port, 0, tap);
	}
	assert_int_equal(tap->seen, 1500);
	port_close(port);
	tap_free(tap);
}

static void test_long_frames_are_cut_and_chains_joined(void **state)
{
	struct port *port = port_make("net_ring11");
	struct port_tap *cut = tap_make(RING, 10, NULL), *whole = tap_make(RING, SNAP_ALL, NULL);
	struct rte_mbuf *head = frame_make(1), *tail = frame_make(2);
	const struct tap_record *record;

	port_tap_add(port, 0, cut);
	port_tap_add(port, 0, whole);
	port_tx(port, 0, frame_make(0));
	assert_int_equal(rte_pktmbuf_chain(head, tail), 0);
	port_tx(port, 0, head);
	port_flush(port, 0);
	assert_int_equal(take_in_order(cut, PORT_OUT, 0, 10), 1);
	record = tap_ring_peek(cut->ring);
	assert_int_equal(record->captured, 10);
	assert_int_equal(record->length, 2 * LENGTH);
	assert_int_equal(take_in_order(whole, PORT_OUT, 0, LENGTH), 1);
	record = tap_ring_peek(whole->ring);
	assert_int_equal(record->captured, 2 * LENGTH);
	assert_int_equal(number_of(record), 1);
	assert_int_equal(record->bytes[LENGTH], 2);
	assert_int_equal(record->bytes[2 * LENGTH - 1], 0xee);
	// One goes, the other stays.
	port_tap_remove(port, 0, cut);
	port_tap_remove(port, 0, cut);
	assert_int_equal(receive_all(port), 2);
	assert_int_equal(whole->seen, 4);
	assert_int_equal(cut->seen, 2);
	port_tap_remove(port, 0, whole);
	port_close(port);
	tap_free(cut);
	tap_free(whole);
}

// "The first byte is odd, and the last one is 0xee": what a filter asks of a chain's later parts
// counts too.
static struct bpf_insn code[] = {
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 3),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 2 * LENGTH - 1),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xee, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, 1),
	BPF_STMT(BPF_RET | BPF_K, 0),
};
static const struct bpf_program filter = {.bf_len = RTE_DIM(code), .bf_insns = code};

static void test_a_filter_chooses_and_what_it_leaves_takes_no_room(void **state)
{
	struct port *port = port_make("net_ring13");
	struct port_tap *tap = tap_make(RING, SNAP_ALL, &filter);
	const struct tap_record *record;

	port_tap_add(port, 0, tap);
	for (uint32_t i = 0; i < 200; i++) {
		struct rte_mbuf *head = frame_make(i);

		assert_int_equal(rte_pktmbuf_chain(head, frame_make(0)), 0);
		port_tx(port, 0, head);
	}
	port_tx(port, 0, frame_make(1)); // too short
	port_flush(port, 0);
	for (uint32_t i = 0; i < 100; i++) {
		record = tap_ring_peek(tap->ring);
		assert_int_equal(number_of(record), 2 * i + 1);
		tap_ring_take(tap->ring);
	}
	assert_null(tap_ring_peek(tap->ring));
	assert_int_equal(tap->seen, 201);
	assert_int_equal(tap->wanted, 100);
	port_tap_remove(port, 0, tap);
	receive_all(port);
	port_close(port);
	tap_free(tap);
}

// A queue of what must come out, beside the ring, under random use.
static void test_the_ring_does_what_a_list_does(void **state)
{
	struct tap_ring *ring = tap_ring_create(1024);
	uint32_t list[4096], first = 0, last = 0, next = 0;
	unsigned refused = 0;
	struct random rng;

	assert_non_null(ring);
	random_init(&rng, 5);
	for (unsigned step = 0; step < 200000; step++) {
		unsigned burst = (unsigned)random_below(&rng, 5), kept = 0, made = 0;
		uint64_t positions[5] = {tap_ring_position(ring)};
		const struct tap_record *taken;

		for (; made < burst; made++) {
			uint32_t length = 4 + (uint32_t)random_below(&rng, 300);
			struct tap_record *record = tap_ring_reserve(ring, length);

			if (record == NULL) {
				refused++;
				break;
			}
			record->direction = PORT_IN;
			memset(record->bytes, (uint8_t)(next + made), length);
			memcpy(record->bytes, &(uint32_t){next + made}, 4);
			positions[made + 1] = tap_ring_position(ring);
		}
		kept = (unsigned)random_below(&rng, made + 1);
		tap_ring_publish(ring, positions[kept]);
		for (unsigned i = 0; i < kept; i++)
			list[last++ % 4096] = next + i;
		next += kept;
		for (unsigned i = (unsigned)random_below(&rng, 5); i > 0; i--) {
			taken = tap_ring_peek(ring);
			assert_int_equal(taken == NULL, first == last);
			if (taken == NULL)
				break;
			assert_int_equal(number_of(taken), list[first++ % 4096]);
			for (uint32_t j = 4; j < taken->captured; j++)
				assert_int_equal(taken->bytes[j], (uint8_t)number_of(taken));
			tap_ring_take(ring);
		}
	}
	assert_true(refused > 1000 && next > 10000);
	assert_null(tap_ring_reserve(ring, 1024));
	tap_ring_destroy(ring);
}

int test_port_tap(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_goes_out_and_comes_in_is_seen_once_each),
		cmocka_unit_test(test_what_the_device_does_not_take_is_not_seen),
		cmocka_unit_test(test_a_full_ring_loses_and_counts_and_goes_on),
		cmocka_unit_test(test_long_frames_are_cut_and_chains_joined),
		cmocka_unit_test(test_a_filter_chooses_and_what_it_leaves_takes_no_room),
		cmocka_unit_test(test_the_ring_does_what_a_list_does),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
