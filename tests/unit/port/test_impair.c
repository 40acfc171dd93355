// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The bad wire: how much it harms, how it repeats itself, what it leaves alone, and that every
// frame comes out or is freed.

#include "port_tests.h"

#include "port/impair.h"
#include "port/port.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define FRAMES	    4096u
#define FRAME_BYTES 100u
#define MANY	    20000u

static struct rte_mempool *pool, *copies;

static int pools_setup(void **state)
{
	pool = port_frame_pool_create("wire", FRAMES, 0);
	copies = port_frame_pool_create("copies", FRAMES, 0);
	return pool == NULL || copies == NULL;
}

static int pools_teardown(void **state)
{
	rte_mempool_free(pool);
	rte_mempool_free(copies);
	return 0;
}

static struct rte_mbuf *frame_make(uint32_t number, uint16_t ether_type)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *ether;

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, FRAME_BYTES));
	ether = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	memset(ether, 0, FRAME_BYTES);
	ether->ether_type = rte_cpu_to_be_16(ether_type);
	memcpy(ether->dst_addr.addr_bytes, &number, sizeof(number));
	return m;
}

static uint32_t number_of(const struct rte_mbuf *m)
{
	uint32_t number;

	memcpy(&number, rte_pktmbuf_mtod(m, const uint8_t *), sizeof(number));
	return number;
}

static unsigned bits_of(const struct rte_mbuf *m)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned bits = 0;

	for (unsigned i = sizeof(struct rte_ether_hdr); i < FRAME_BYTES; i++)
		bits += (unsigned)__builtin_popcount(bytes[i]);
	return bits;
}

static struct impair *wire_make(const struct impair_config *config, uint64_t stream)
{
	struct impair *wire = impair_create(config, stream, copies);

	assert_non_null(wire);
	return wire;
}

static void wire_end(struct impair *wire)
{
	impair_check(wire);
	impair_destroy(wire);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	assert_int_equal(rte_mempool_in_use_count(copies), 0);
}

// Sends frames 0 to count - 1 of a type at 10 us each and writes down who comes out, in order.
struct record {
	uint32_t numbers[2 * MANY];
	unsigned count, wrong; // wrong: with one bit changed
};

static void send_many(
	struct impair *wire, unsigned count, uint16_t ether_type, struct record *record)
{
	struct rte_mbuf *m;

	record->count = record->wrong = 0;
	for (uint64_t i = 0; i <= count; i++) {
		uint64_t now_us = i < count ? 10 * i : UINT32_MAX;

		if (i < count)
			impair_put(wire, frame_make((uint32_t)i, ether_type), now_us);
		impair_check(wire);
		while ((m = impair_take(wire, now_us)) != NULL) {
			record->numbers[record->count++] = number_of(m);
			assert_in_range(bits_of(m), 0, 1);
			record->wrong += bits_of(m);
			rte_pktmbuf_free(m);
		}
	}
}

static void test_a_good_wire_changes_nothing(void **state)
{
	const struct impair_config good = {.seed = 7};
	struct impair *wire = wire_make(&good, 0);
	struct record *record = malloc(sizeof(*record));

	assert_false(impair_wanted(&good));
	send_many(wire, MANY, RTE_ETHER_TYPE_IPV4, record);
	assert_int_equal(record->count, MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(record->numbers[i], i);
	assert_int_equal(record->wrong, 0);
	for (unsigned kind = 0; kind < IMPAIR_KINDS; kind++)
		assert_int_equal(impair_count(wire, kind), 0);
	free(record);
	wire_end(wire);
}

// Within a third of what was asked for.
static void expect_share(const struct impair *wire, enum impair_kind kind, unsigned million)
{
	unsigned expected = (unsigned)((uint64_t)MANY * million / IMPAIR_MILLION);

	assert_in_range(impair_count(wire, kind), expected - expected / 3, expected + expected / 3);
}

static const struct impair_config bad = {
	.loss = 50000,
	.duplicate = 30000,
	.reorder = 40000,
	.corrupt = 20000,
	.seed = 7,
};

static void test_harm_is_done_as_often_as_asked_for(void **state)
{
	struct impair *wire = wire_make(&bad, 0);
	struct record *record = malloc(sizeof(*record));

	send_many(wire, MANY, RTE_ETHER_TYPE_IPV6, record);
	expect_share(wire, IMPAIR_LOST, bad.loss);
	expect_share(wire, IMPAIR_DUPLICATED, bad.duplicate);
	expect_share(wire, IMPAIR_REORDERED, bad.reorder);
	expect_share(wire, IMPAIR_CORRUPTED, bad.corrupt);
	assert_int_equal(impair_count(wire, IMPAIR_OVERFLOWED), 0);
	assert_int_equal(record->count,
		MANY - impair_count(wire, IMPAIR_LOST) + impair_count(wire, IMPAIR_DUPLICATED));
	// A corrupted frame may be doubled.
	assert_in_range(record->wrong, impair_count(wire, IMPAIR_CORRUPTED),
		impair_count(wire, IMPAIR_CORRUPTED) * 11 / 10);
	free(record);
	wire_end(wire);
}

static void test_a_seed_repeats_itself_and_another_does_not(void **state)
{
	struct impair_config other = bad;
	const struct {
		const struct impair_config *config;
		uint64_t stream;
		bool same;
	} cases[] = {{&bad, 0, true}, {&bad, 1, false}, {&other, 0, false}};
	struct record *first = malloc(sizeof(*first)), *record = malloc(sizeof(*record));
	struct impair *wire = wire_make(&bad, 0);

	other.seed++;
	send_many(wire, 2000, RTE_ETHER_TYPE_IPV4, first);
	wire_end(wire);
	for (unsigned i = 0; i < 3; i++) {
		wire = wire_make(cases[i].config, cases[i].stream);
		send_many(wire, 2000, RTE_ETHER_TYPE_IPV4, record);
		assert_int_equal(cases[i].same,
			record->count == first->count &&
				memcmp(record->numbers, first->numbers, 4ull * first->count) == 0);
		wire_end(wire);
	}
	free(record);
	free(first);
}

static void test_a_reordered_frame_is_overtaken_by_few(void **state)
{
	const struct impair_config config = {.reorder = 100000, .seed = 3};
	struct impair *wire = wire_make(&config, 0);
	struct record *record = malloc(sizeof(*record));
	unsigned displaced = 0;

	send_many(wire, MANY, RTE_ETHER_TYPE_IPV4, record);
	assert_int_equal(record->count, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		int distance = abs((int)record->numbers[i] - (int)i);

		// Those laid aside do not count towards each other's places.
		assert_in_range(distance, 0, IMPAIR_OVERTAKING + IMPAIR_ASIDE);
		displaced += distance != 0;
	}
	assert_true(displaced > MANY / 10);
	free(record);
	wire_end(wire);
}

static void test_the_last_frame_is_not_kept_for_ever(void **state)
{
	const struct impair_config config = {.reorder = IMPAIR_MILLION};
	struct impair *wire = wire_make(&config, 0);
	struct rte_mbuf *m;

	impair_put(wire, frame_make(1, RTE_ETHER_TYPE_IPV4), 1000);
	assert_null(impair_take(wire, 1000));
	m = impair_take(wire, 10000);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	wire_end(wire);
}

static void test_what_no_checksum_covers_is_not_corrupted(void **state)
{
	const struct impair_config config = {.corrupt = IMPAIR_MILLION};
	struct impair *wire = wire_make(&config, 0);
	struct record *record = malloc(sizeof(*record));

	send_many(wire, 100, RTE_ETHER_TYPE_ARP, record);
	assert_int_equal(record->wrong, 0);
	send_many(wire, 100, RTE_ETHER_TYPE_IPV4, record);
	assert_int_equal(record->wrong, 100);
	free(record);
	wire_end(wire);
}

// What is sent may be shared with other frames: the original stays as it is.
static void test_a_corrupted_frame_is_a_copy(void **state)
{
	const struct impair_config config = {.corrupt = IMPAIR_MILLION};
	struct impair *wire = wire_make(&config, 0);
	struct rte_mbuf *original = frame_make(1, RTE_ETHER_TYPE_IPV4), *m;

	rte_mbuf_refcnt_update(original, 1);
	impair_put(wire, original, 0);
	m = impair_take(wire, 0);
	assert_non_null(m);
	assert_int_equal(bits_of(m), 1);
	assert_int_equal(bits_of(original), 0);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(original);
	wire_end(wire);
}

static void test_delay_and_rate_say_when(void **state)
{
	// 100 bytes at 8 Mbit/s: 100 us.
	const struct impair_config config = {.delay_us = 1000, .rate = 8000000};
	struct impair *wire = wire_make(&config, 0);

	for (uint32_t i = 0; i < 10; i++)
		impair_put(wire, frame_make(i, RTE_ETHER_TYPE_IPV4), 5000);
	for (uint32_t i = 0; i < 10; i++) {
		uint64_t due_us = 5000 + 100 * (i + 1) + 1000;
		struct rte_mbuf *m;

		assert_null(impair_take(wire, due_us - 1));
		m = impair_take(wire, due_us);
		assert_non_null(m);
		assert_int_equal(number_of(m), i);
		rte_pktmbuf_free(m);
	}
	assert_null(impair_take(wire, UINT32_MAX));
	wire_end(wire);
}

static void test_what_is_held_is_bounded(void **state)
{
	const struct impair_config config = {.delay_us = 1000};
	struct impair *wire = wire_make(&config, 0);

	for (uint32_t i = 0; i < IMPAIR_HELD + 10; i++)
		impair_put(wire, frame_make(i, RTE_ETHER_TYPE_IPV4), 0);
	assert_int_equal(impair_count(wire, IMPAIR_OVERFLOWED), 10);
	assert_int_equal(rte_mempool_in_use_count(pool), IMPAIR_HELD);
	wire_end(wire); // frees the rest
}

// --- through a port ------------------------------------------------------------------------------

static struct port *port_make(
	const char *device, const struct impair_config *rx, const struct impair_config *tx)
{
	const struct port_config config = {
		.name = "p", .device = device, .impair_rx = *rx, .impair_tx = *tx};
	struct port *port = NULL;

	assert_int_equal(port_open(&config, 1, &pool, &port), 0);
	assert_int_equal(port_start(port), 0);
	return port;
}

static unsigned send_and_receive(struct port *port, unsigned count)
{
	struct rte_mbuf *frames[32];
	unsigned received = 0, n;

	for (unsigned i = 0; i < count; i++) {
		port_tx(port, 0, frame_make(i, RTE_ETHER_TYPE_IPV4));
		port_flush(port, 0);
		n = port_rx(port, 0, frames, 32);
		received += n;
		rte_pktmbuf_free_bulk(frames, n);
	}
	return received;
}

static uint64_t lost(struct port *port)
{
	struct counter_set set = port_counters(port);
	const uint64_t *value = set.values;

	port_counters_update(port);
	for (unsigned f = 0; f < set.families_count; value += set.families[f++].slots)
		if (strcmp(set.families[f].name, "packets_impaired_total") == 0)
			return counter_read(&value[IMPAIR_LOST]);
	return 0;
}

static void test_either_direction_of_a_port_loses(void **state)
{
	const struct impair_config good = {0}, lossy = {.loss = 100000, .seed = 1};
	const struct {
		const char *device;
		const struct impair_config *rx, *tx;
		unsigned least, most; // of 2000 frames come through
	} cases[] = {
		{"net_ring4", &good, &good, 2000, 2000},
		{"net_ring5", &lossy, &good, 1750, 1850},
		{"net_ring6", &good, &lossy, 1750, 1850},
		{"net_ring7", &lossy, &lossy, 1550, 1690},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct port *port = port_make(cases[i].device, cases[i].rx, cases[i].tx);
		unsigned received = send_and_receive(port, 2000);

		assert_in_range(received, cases[i].least, cases[i].most);
		assert_int_equal(lost(port), 2000 - received);
		port_close(port);
		assert_int_equal(rte_mempool_in_use_count(pool), 0);
	}
}

int test_port_impair(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_wire_changes_nothing),
		cmocka_unit_test(test_harm_is_done_as_often_as_asked_for),
		cmocka_unit_test(test_a_seed_repeats_itself_and_another_does_not),
		cmocka_unit_test(test_a_reordered_frame_is_overtaken_by_few),
		cmocka_unit_test(test_the_last_frame_is_not_kept_for_ever),
		cmocka_unit_test(test_what_no_checksum_covers_is_not_corrupted),
		cmocka_unit_test(test_a_corrupted_frame_is_a_copy),
		cmocka_unit_test(test_delay_and_rate_say_when),
		cmocka_unit_test(test_what_is_held_is_bounded),
		cmocka_unit_test(test_either_direction_of_a_port_loses),
	};

	return cmocka_run_group_tests_name("impair", tests, pools_setup, pools_teardown);
}
