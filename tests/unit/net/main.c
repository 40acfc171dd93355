// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts an EAL without hugepages, then runs the groups.

#include "net_tests.h"

#include <rte_eal.h>

#include <stdio.h>

int main(void)
{
	char *arguments[] = {"net", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};
	int failed = 0;

	if (rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) < 0 ||
		fixture_pools_create() != 0) {
		fprintf(stderr, "EAL does not start\n");
		return 1;
	}
	failed += test_net_address();
	failed += test_net_config();
	failed += test_net_input();
	failed += test_net_arp();
	failed += test_net_bridge();
	failed += test_net_bridged();
	failed += test_net_bridges();
	failed += test_net_neighbours();
	failed += test_net_output();
	failed += test_net_observed();
	failed += test_net_fragments();
	failed += test_net_gather();
	failed += test_net_icmp() + test_net_datagrams();
	failed += test_net_input6();
	failed += test_net_nd();
	failed += test_net_dad();
	failed += test_net_mld();
	failed += test_net_output6() + test_net_loop() + test_net_share() + test_net_transit();
	failed += test_net_fragments6();
	failed += test_net_icmp6();
	rte_eal_cleanup();
	return failed != 0;
}
