// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts an EAL without hugepages, then runs the groups.

#include "daemon_tests.h"

#include <rte_eal.h>

#include <stdio.h>

int main(void)
{
	char *arguments[] = {"daemon", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};
	int failed;

	if (rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) < 0) {
		fprintf(stderr, "EAL does not start\n");
		return 1;
	}
	failed = test_daemon_bridging();
	failed += test_daemon_echo_right();
	failed += test_daemon_flows_file();
	failed += test_daemon_idle();
	failed += test_daemon_ledger_file();
	failed += test_daemon_steering();
	rte_eal_cleanup();
	return failed != 0;
}
