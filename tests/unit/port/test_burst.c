// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bursts through a ring that loops what is sent: order, flushing, a full ring, and no mbuf lost.

#include "port_tests.h"

#include "port/port.h"

#include <rte_mbuf.h>

#include <string.h>

#define FRAMES 4096u

static struct rte_mempool *pool;

static int pool_setup(void **state)
{
	pool = port_frame_pool_create("burst", FRAMES, 0);
	return pool == NULL;
}

static int pool_teardown(void **state)
{
	rte_mempool_free(pool);
	return 0;
}

static struct port *port_make(const char *device, unsigned workers)
{
	const struct port_config config = {.name = "p", .device = device};
	struct rte_mempool *pools[] = {pool, pool};
	struct port *port = NULL;

	assert_int_equal(port_open(&config, workers, pools, &port), 0);
	assert_int_equal(port_start(port), 0);
	return port;
}

static struct rte_mbuf *frame_make(uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	*(uint32_t *)(void *)rte_pktmbuf_append(m, 60) = number;
	return m;
}

static uint64_t counter_of(struct port *port, const char *family, const char *label)
{
	struct counter_set set = port_counters(port);
	const uint64_t *value = set.values;

	port_counters_update(port);
	for (unsigned f = 0; f < set.families_count; f++)
		for (unsigned s = 0; s < set.families[f].slots; s++, value++)
			if (strcmp(set.families[f].name, family) == 0 &&
				strcmp(set.families[f].values[s], label) == 0)
				return counter_read(value);
	fail_msg("no counter %s{%s}", family, label);
	return 0;
}

// Frees what arrives; each queue's frames are numbered from `first` on.
static unsigned receive_in_order(struct port *port, unsigned queue, uint32_t first)
{
	struct rte_mbuf *frames[32];
	unsigned count = 0, n;

	while ((n = port_rx(port, queue, frames, 32)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(*rte_pktmbuf_mtod(frames[i], uint32_t *), first + count);
			rte_pktmbuf_free(frames[i]);
			count++;
		}
	}
	return count;
}

static void test_frames_wait_for_the_flush_or_a_full_burst(void **state)
{
	struct port *port = port_make("net_ring0", 1);
	unsigned burst = port_get_caps(port)->burst;

	for (uint32_t i = 0; i < burst - 1; i++)
		port_tx(port, 0, frame_make(i));
	assert_int_equal(receive_in_order(port, 0, 0), 0);
	port_flush(port, 0);
	port_flush(port, 0);
	assert_int_equal(receive_in_order(port, 0, 0), burst - 1);
	for (uint32_t i = 0; i < burst; i++)
		port_tx(port, 0, frame_make(i));
	assert_int_equal(receive_in_order(port, 0, 0), burst);
	assert_int_equal(counter_of(port, "port_tx_packets_total", "p"), 2 * burst - 1);
	assert_int_equal(counter_of(port, "port_rx_packets_total", "p"), 2 * burst - 1);
	assert_int_equal(counter_of(port, "link_up", "p"), 1);
	port_close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_what_a_full_ring_does_not_take_is_freed_and_counted(void **state)
{
	struct port *port = port_make("net_ring1", 1);
	unsigned received;

	for (uint32_t i = 0; i < 3000; i++)
		port_tx(port, 0, frame_make(i));
	port_flush(port, 0);
	received = receive_in_order(port, 0, 0);
	assert_in_range(received, 512, 2999);
	assert_int_equal(counter_of(port, "packets_dropped_total", "tx_full"), 3000 - received);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	// It works on, and a close takes what still waits.
	port_tx(port, 0, frame_make(5));
	port_flush(port, 0);
	assert_int_equal(receive_in_order(port, 0, 5), 1);
	port_tx(port, 0, frame_make(6));
	port_close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_queues_do_not_mix(void **state)
{
	struct port *port = port_make("net_ring3", 2);

	for (uint32_t i = 0; i < 10; i++) {
		port_tx(port, 0, frame_make(i));
		port_tx(port, 1, frame_make(100 + i));
	}
	port_flush(port, 1);
	assert_int_equal(receive_in_order(port, 0, 0), 0);
	assert_int_equal(receive_in_order(port, 1, 100), 10);
	port_flush(port, 0);
	assert_int_equal(receive_in_order(port, 0, 0), 10);
	port_close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_a_sink_takes_everything(void **state)
{
	struct port *port = port_make("net_null0", 1);
	struct rte_mbuf *frames[16];
	unsigned n;

	for (uint32_t i = 0; i < 1000; i++)
		port_tx(port, 0, frame_make(i));
	port_flush(port, 0);
	assert_int_equal(counter_of(port, "packets_dropped_total", "tx_full"), 0);
	n = port_rx(port, 0, frames, 16);
	assert_true(n > 0);
	rte_pktmbuf_free_bulk(frames, n);
	port_close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

int test_port_burst(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_wait_for_the_flush_or_a_full_burst),
		cmocka_unit_test(test_what_a_full_ring_does_not_take_is_freed_and_counted),
		cmocka_unit_test(test_queues_do_not_mix),
		cmocka_unit_test(test_a_sink_takes_everything),
	};

	return cmocka_run_group_tests_name("burst", tests, pool_setup, pool_teardown);
}
