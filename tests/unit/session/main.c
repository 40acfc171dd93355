// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts the EAL without privileges and runs the groups.

#include "session_tests.h"

#include <rte_eal.h>

int main(void)
{
	char *arguments[] = {"t", "--no-huge", "--no-shconf", "-m", "128", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error"};

	if (rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) < 0)
		return 1;
	return test_acks() + test_aliases() + test_changes() + test_exchanges() + test_holders() +
		       test_identifiers() + test_pings() + test_replica() + test_map() !=
	       0;
}
