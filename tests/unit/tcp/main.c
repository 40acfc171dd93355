// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts an EAL without hugepages, then runs the groups.

#include "tcp_tests.h"

#include <rte_eal.h>

#include <stdio.h>

int main(void)
{
	char *arguments[] = {"tcp", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};
	int failed = 0;

	if (rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) < 0 ||
		fixture_pools_create() != 0) {
		fprintf(stderr, "EAL does not start\n");
		return 1;
	}
	failed += test_tcp_segment();
	failed += test_tcp_sendq();
	failed += test_tcp_lookup();
	failed += test_tcp_open();
	failed += test_tcp_connect();
	failed += test_tcp_states();
	failed += test_tcp_receive();
	failed += test_tcp_manual_ack();
	failed += test_tcp_send();
	failed += test_tcp_frame();
	failed += test_tcp_loss();
	failed += test_tcp_window();
	failed += test_tcp_sack();
	failed += test_tcp_rack();
	failed += test_tcp_undo();
	failed += test_tcp_congestion();
	failed += test_tcp_ecn();
	failed += test_tcp_close();
	failed += test_tcp_attack();
	failed += test_tcp_ipv6();
	failed += test_tcp_memory();
	failed += test_tcp_options();
	failed += test_tcp_cookie();
	failed += test_tcp_adopt();
	failed += test_tcp_time_wait();
	rte_eal_cleanup();
	return failed != 0;
}
