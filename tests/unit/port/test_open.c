// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Opening ports: what is refused, and what an open port says of itself.

#include "port_tests.h"

#include "port/port.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <errno.h>
#include <string.h>

static struct rte_mempool *pool;

static int pool_setup(void **state)
{
	pool = port_frame_pool_create("open", 2048, 0);
	return pool == NULL;
}

static int pool_teardown(void **state)
{
	rte_mempool_free(pool);
	return 0;
}

static void test_what_cannot_work_is_refused(void **state)
{
	const struct {
		const char *device;
		uint16_t mtu;
		int result;
	} cases[] = {
		{"net_af_packet7,iface=none", 0, -ENODEV},
		{"0000:03:00.0", 0, -ENODEV},
		{"net_null0", 9000, -EINVAL}, // the pool's buffers are too small for it
		{"net_null0", 20, -EINVAL},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct port_config config = {
			.name = "clients", .device = cases[i].device, .mtu = cases[i].mtu};
		struct port *port = NULL;

		assert_int_equal(port_open(&config, 1, &pool, &port), cases[i].result);
		assert_null(port);
	}
}

static void test_a_port_has_no_more_queues_than_its_device(void **state)
{
	struct port_config config = {.name = "clients", .device = "net_ring8"};
	struct rte_mempool *pools[17];
	struct port *port;

	for (unsigned i = 0; i < 17; i++)
		pools[i] = pool;
	assert_int_equal(port_open(&config, 17, pools, &port), 0);
	assert_int_equal(port_queues(port), 16);
	port_close(port);
}

static void test_an_open_port_describes_itself(void **state)
{
	struct rte_mempool *pools[] = {pool, pool};
	struct port_config config = {.name = "clients", .device = "net_ring2,arguments=no,matter"};
	const struct port_caps *caps;
	struct counter_set counters;
	uint8_t mac[6] = {0};
	struct port *port;

	assert_int_equal(port_open(&config, 2, pools, &port), 0);
	assert_int_equal(port_start(port), 0);
	assert_string_equal(port_name(port), "clients");
	assert_int_equal(port_mtu(port), 1500);
	assert_int_equal(port_queues(port), 2);
	port_mac(port, mac);
	assert_int_equal(mac[0] & 1, 0);
	caps = port_get_caps(port);
	assert_true(caps->multi_segment);
	assert_false(caps->tso || caps->tx_tcp_checksum || caps->rx_checksum);
	assert_in_range(caps->burst, 32, 64);
	assert_true(port_link_up(port));

	counters = port_counters(port);
	assert_int_equal(counter_set_slots(&counters), 19);
	for (unsigned i = 0; i < counters.families_count; i++) {
		const struct counter_family *family = &counters.families[i];

		if (strcmp(family->label, "port") == 0)
			assert_string_equal(family->values[0], "clients");
		else
			assert_string_equal(family->name, "packets_dropped_total");
	}
	port_close(port);
	port_close(NULL);
}

static void test_pools_have_the_size_and_room_asked_for(void **state)
{
	struct rte_mempool *large = port_frame_pool_create("large", 64, 9300);

	assert_non_null(large);
	assert_int_equal(rte_mempool_avail_count(large), 64);
	assert_null(port_frame_pool_create("large", 64, 0));
	assert_null(port_frame_pool_create("too many", 10 * 1000 * 1000, 0));
	rte_mempool_free(large);
}

struct extent {
	uintptr_t first, end;
};

static void widen(struct rte_mempool *frames, void *arg, void *object, unsigned index)
{
	uint32_t size = rte_mempool_calc_obj_size(frames->elt_size, frames->flags, NULL);
	uintptr_t at = (uintptr_t)object - frames->header_size;
	struct extent *extent = arg;

	(void)index;
	extent->first = at < extent->first ? at : extent->first;
	extent->end = at + size > extent->end ? at + size : extent->end;
}

// What the driver of af_xdp registers is their number times their size, from the first one on.
static void test_frames_of_af_xdp_have_no_gaps_between_them(void **state)
{
	uint16_t room = port_frame_room("net_af_xdp0,iface=eth1", 1518);
	struct rte_mempool *frames = port_frame_pool_create("af_xdp", 3000, room);
	struct extent extent = {UINTPTR_MAX, 0};

	assert_non_null(frames);
	rte_mempool_obj_iter(frames, widen, &extent);
	assert_int_equal(extent.end - extent.first, 3000 * 4096);
	assert_int_equal(rte_pktmbuf_data_room_size(frames), room);
	rte_mempool_free(frames);
	assert_true(port_frame_room("net_af_packet0,iface=eth1", 1518) < room);
	assert_int_equal(port_frame_room("net_af_packet0,framesz=9216", 9216), 9344);
}

int test_port_open(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_cannot_work_is_refused),
		cmocka_unit_test(test_a_port_has_no_more_queues_than_its_device),
		cmocka_unit_test(test_an_open_port_describes_itself),
		cmocka_unit_test(test_pools_have_the_size_and_room_asked_for),
		cmocka_unit_test(test_frames_of_af_xdp_have_no_gaps_between_them),
	};

	return cmocka_run_group_tests_name("open", tests, pool_setup, pool_teardown);
}
