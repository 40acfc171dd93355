// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts the EAL without privileges and runs the groups.

#include "offload_tests.h"

#include <stdlib.h>

#include <rte_eal.h>

struct bed *bed_new(void **state)
{
	struct bed *bed = malloc(sizeof(*bed));

	bed_init(bed);
	*state = bed;
	return bed;
}

int bed_end(void **state)
{
	bed_fini(*state);
	free(*state);
	return 0;
}

int main(void)
{
	char *arguments[] = {"t", "--no-huge", "--no-shconf", "-m", "256", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error"};

	if (rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) < 0)
		return 1;
	return test_alias() + test_announced() + test_capture() + test_exact() + test_fences() +
		       test_filters() + test_handshakes() + test_hooks() + test_ledger() +
		       test_moves() + test_output() + test_owed() + test_peers() + test_pending() +
		       test_proofs() + test_proofs_workers() + test_routes() + test_threads() +
		       test_upstream() !=
	       0;
}
