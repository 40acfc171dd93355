// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// sim [--seeds N | --nightly] [--first S] [--verbose]: N runs from seed S on. A seed that
// fails is printed; `--first SEED --seeds 1 --verbose` shows its packets.
// sim --bulk: what loss costs.

#include "sim.h"

#include <rte_eal.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEEDS	      300
#define SEEDS_NIGHTLY 20000

static volatile uint64_t current_seed;

// An assertion of the engine aborts as well: the seed must be seen then, too.
static void on_abort(int signal_number)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "sim: seed %lu failed\n", (unsigned long)current_seed);

	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(2);
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
}

static int eal_start(void)
{
	char *argv[] = {"sim", "--no-huge", "--no-shconf", "-m", "256", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};

	return rte_eal_init(sizeof(argv) / sizeof(argv[0]) - 1, argv);
}

static void report(const struct sim_result *r)
{
	printf("%lu octets, %lu segments, %lu lost, %lu s of virtual time, %u given up\n",
		r->octets, r->segments, r->lost, r->virtual_us / 1000000, r->given_up);
	printf("%lu sent again: %lu timeouts, %lu recoveries, %lu tail probes; %lu for nothing; "
	       "%lu reductions by ECN\n",
		r->retransmits, r->timeouts, r->recoveries, r->probes, r->dsacks, r->reductions);
}

// Over many runs, wires that duplicate and shuffle included, most of what is sent again had to be.
static bool frugal(const struct sim_result *r, uint64_t seeds)
{
	if (seeds < SEEDS || 2 * r->dsacks <= r->retransmits)
		return true;
	fprintf(stderr, "sim: %lu of %lu retransmissions were for nothing\n", r->dsacks,
		r->retransmits);
	return false;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"nightly", no_argument, NULL, 'N'},
		{"bulk", no_argument, NULL, 'b'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	struct sim_pools pools;
	struct sim_result result = {0};
	uint64_t seeds = SEEDS;
	uint64_t first = 1;
	bool verbose = false;
	bool bulk = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			seeds = strtoull(optarg, NULL, 0);
		else if (option == 'f')
			first = strtoull(optarg, NULL, 0);
		else if (option == 'N')
			seeds = SEEDS_NIGHTLY;
		else if (option == 'b')
			bulk = true;
		else if (option == 'v')
			verbose = true;
		else
			return 2;
	}
	if (eal_start() < 0 || sim_pools_create(&pools)) {
		fprintf(stderr, "sim: no memory\n");
		return 1;
	}
	signal(SIGABRT, on_abort);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (bulk) {
		sim_bulk(&pools);
		sim_pools_destroy(&pools);
		return 0;
	}
	for (current_seed = first; current_seed < first + seeds; current_seed++)
		sim_run(current_seed, &pools, verbose, &result);
	report(&result);
	sim_pools_destroy(&pools);
	return frugal(&result, seeds) ? 0 : 1;
}
