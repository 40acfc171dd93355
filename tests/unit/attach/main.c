// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts an EAL without hugepages, then runs the groups.

#include "wire.h"

#include <rte_eal.h>

int main(void)
{
	char *arguments[] = {"attach", "--no-huge", "--no-shconf", "-m", "128", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};

	if (rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) < 0 ||
		wire_pools_create() != 0)
		return 1;
	return test_opening() + test_adopted() + test_pictures() + test_moves() + test_shared() +
		       test_end_to_end() !=
	       0;
}
