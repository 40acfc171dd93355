// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Many runs, each from its seed. They are played in a child process, so that whatever kills it
// is survived: the seed is printed, and shrunk: of all that can be switched off in a run as much
// as possible is, one after the other, as long as it still fails.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sim_pools;

struct sim_campaign {
	const char *name;	       // of the program
	const char *const *dimensions; // what can be switched off
	unsigned dimensions_count;     // at most 64
	const char *const *faults;     // what can be done wrong on purpose, "none" first; NULL
	unsigned faults_count;
	uint64_t seeds, seeds_nightly;
	// One run without the dimensions of the bits; must not return when anything is wrong.
	void (*run)(
		const struct sim_campaign *campaign, uint64_t seed, const struct sim_pools *pools);
	// Behind the last run: reports; false when they were wrong as a whole.
	bool (*end)(const struct sim_campaign *campaign);
	void *ctx;
	// Set from the command line:
	uint64_t first, without;
	unsigned fault;
	bool verbose;
};

// NAME [--seeds N | --nightly] [--first S] [--without A,B…] [--fault F] [--verbose]: the exit code.
int sim_campaign_main(struct sim_campaign *campaign, int argc, char **argv);
// Memory for a process that simulates; false without.
bool sim_pools_start(const char *name, struct sim_pools *ret_pools);
