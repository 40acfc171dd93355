// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is believed of a device's announcements, and which MTU comes of them.

#include "port_tests.h"

#include "port/kernel_interface.h"
#include "port/port_state.h"

#include <errno.h>
#include <net/if.h>

#define TX_CHECKSUMS (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define TSO	     RTE_ETH_TX_OFFLOAD_TCP_TSO
#define CHAINS	     RTE_ETH_TX_OFFLOAD_MULTI_SEGS

static const struct {
	const char *driver;
	uint64_t rx, tx;
	uint16_t burst, mtu;
	struct port_caps caps;
} caps_cases[] = {
	{"net_null", 0, 0, 0, 1500, {.burst = 64}},
	{"net_null", RTE_ETH_RX_OFFLOAD_TCP_CKSUM, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, 32, 1500,
		{.tx_ip_checksum = true, .burst = 32}},
	{"net_mlx5", RX_CHECKSUMS, TX_CHECKSUMS | TSO | CHAINS, 256, 1500,
		{.rx_checksum = true,
			.tx_ip_checksum = true,
			.tx_tcp_checksum = true,
			.tso = true,
			.tso_ipv6 = true,
			.multi_segment = true,
			.burst = 64}},
	// Segmentation offload is of no use without chains or checksums.
	{"net_x", 0, TSO | CHAINS, 1, 1500, {.multi_segment = true, .burst = 64}},
	{"net_x", 0, TSO | TX_CHECKSUMS, 48, 1500,
		{.tx_ip_checksum = true, .tx_tcp_checksum = true, .burst = 48}},
	{"net_virtio", 0, TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | CHAINS, 64, 1500,
		{.tx_tcp_checksum = true,
			.tso = true,
			.tso_ipv6 = true,
			.multi_segment = true,
			.burst = 64}},
	// Room for the Ethernet header is missing.
	{"net_tap", 0, TSO | TX_CHECKSUMS | CHAINS, 64, 1487,
		{.tx_ip_checksum = true,
			.tx_tcp_checksum = true,
			.multi_segment = true,
			.burst = 64}},
	{"net_tap", 0, TSO | TX_CHECKSUMS | CHAINS, 64, 1486,
		{.tx_ip_checksum = true,
			.tx_tcp_checksum = true,
			.tso = true,
			.multi_segment = true,
			.burst = 64}},
	{"net_af_xdp", 0, CHAINS, 64, 1500, {.burst = 64}},
	{"net_af_packet", 0, CHAINS, 0, 1500, {.multi_segment = true, .burst = 64}},
};

static void test_only_what_works_is_believed(void **state)
{
	for (unsigned i = 0; i < sizeof(caps_cases) / sizeof(*caps_cases); i++) {
		const struct port_caps *expected = &caps_cases[i].caps;
		struct rte_eth_dev_info info = {
			.driver_name = caps_cases[i].driver,
			.rx_offload_capa = caps_cases[i].rx,
			.tx_offload_capa = caps_cases[i].tx,
			.default_txportconf.burst_size = caps_cases[i].burst,
		};
		struct port_caps caps;

		port_caps_detect(&info, caps_cases[i].mtu, &caps);
		assert_int_equal(caps.rx_checksum, expected->rx_checksum);
		assert_int_equal(caps.tx_ip_checksum, expected->tx_ip_checksum);
		assert_int_equal(caps.tx_tcp_checksum, expected->tx_tcp_checksum);
		assert_int_equal(caps.tso, expected->tso);
		assert_int_equal(caps.tso_ipv6, expected->tso_ipv6);
		assert_int_equal(caps.multi_segment, expected->multi_segment);
		assert_int_equal(caps.burst, expected->burst);
	}
}

static const struct {
	const char *driver, *device;
	uint16_t configured;
	uint16_t device_max;
	int result;
	uint16_t mtu;
} mtu_cases[] = {
	{"net_x", "0000:03:00.0", 0, 9000, 0, 1500},
	{"net_x", "0000:03:00.0", 9000, 9000, 0, 9000},
	{"net_x", "0000:03:00.0", 9001, 9000, -EINVAL, 0},
	{"net_x", "0000:03:00.0", 60, 9000, -EINVAL, 0},
	{"net_x", "0000:03:00.0", 0, 1400, 0, 1400},
	{"net_tap", "net_tap0", 0, UINT16_MAX, 0, 1500},
	{"net_tap", "net_tap0", 1501, UINT16_MAX, -EINVAL, 0},
};

static void test_the_mtu_is_within_what_the_device_carries(void **state)
{
	for (unsigned i = 0; i < sizeof(mtu_cases) / sizeof(*mtu_cases); i++) {
		struct port_config config = {
			.name = "p", .device = mtu_cases[i].device, .mtu = mtu_cases[i].configured};
		struct rte_eth_dev_info info = {.driver_name = mtu_cases[i].driver,
			.min_mtu = 68,
			.max_mtu = mtu_cases[i].device_max};
		uint16_t mtu = 0;

		assert_int_equal(port_mtu_choose(&config, &info, &mtu), mtu_cases[i].result);
		assert_int_equal(mtu, mtu_cases[i].mtu);
	}
}

// Loopback stands in for the host's interfaces: it is there everywhere, and it runs or it does not.
static void test_the_kernel_is_asked_about_its_interfaces(void **state)
{
	unsigned lo = if_nametoindex("lo");

	assert_int_equal(kernel_interface_mtu(UINT16_MAX), 0);
	assert_false(kernel_interface_running(UINT16_MAX));
	if (lo == 0)
		skip();
	assert_true(kernel_interface_mtu(lo) == 0 || kernel_interface_mtu(lo) >= 1280);
}

static void test_af_packet_carries_what_its_ring_holds(void **state)
{
	const struct {
		const char *device;
		uint16_t mtu;
		int result;
	} cases[] = {
		{"net_af_packet0,iface=a", 1964, 0},
		{"net_af_packet0,iface=a", 1965, -EINVAL},
		{"net_af_packet0,iface=a,framesz=16384,blocksz=65536", 9000, 0},
		{"net_af_packet0,iface=a,framesz=64", 100, -EINVAL},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct port_config config = {
			.name = "p", .device = cases[i].device, .mtu = cases[i].mtu};
		struct rte_eth_dev_info info = {
			.driver_name = "net_af_packet", .min_mtu = 68, .max_mtu = UINT16_MAX};
		uint16_t mtu;

		assert_int_equal(port_mtu_choose(&config, &info, &mtu), cases[i].result);
	}
}

int test_port_caps(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_works_is_believed),
		cmocka_unit_test(test_the_mtu_is_within_what_the_device_carries),
		cmocka_unit_test(test_the_kernel_is_asked_about_its_interfaces),
		cmocka_unit_test(test_af_packet_carries_what_its_ring_holds),
	};

	return cmocka_run_group_tests_name("capabilities", tests, NULL, NULL);
}
