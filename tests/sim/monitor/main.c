// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// sim-monitor [--seeds N | --nightly] [--first S] [--without A,B…] [--fault F] [--verbose]: many
// runs of monitor mode, each from its seed.

#include "../campaign.h"
#include "world.h"

#include <stdio.h>

static void run(const struct sim_campaign *campaign, uint64_t seed, const struct sim_pools *pools)
{
	struct world_result *sum = campaign->ctx;
	const struct world_result result =
		world_run(seed, campaign->without, campaign->fault, campaign->verbose, pools);

	sum->runs += result.runs;
	sum->messages += result.messages;
	sum->captured += result.captured;
	sum->passed += result.passed;
	sum->deliveries += result.deliveries;
	sum->segments += result.segments;
	sum->adopted += result.adopted;
	sum->moves += result.moves;
	sum->virtual_s += result.virtual_s;
	sum->broken += result.broken;
	sum->trusted += result.trusted;
}

// Where nothing is captured, nothing is shown.
static bool end(const struct sim_campaign *campaign)
{
	const struct world_result *sum = campaign->ctx;

	printf("seeds %lu to %lu: %lu s, %lu connections adopted, %lu lives broken, %lu moves, "
	       "%lu segments, %lu messages: %lu captured, %lu passed, %lu deliveries; in %lu of "
	       "%lu runs everybody was known\n",
		(unsigned long)campaign->first,
		(unsigned long)(campaign->first + campaign->seeds - 1),
		(unsigned long)sum->virtual_s, (unsigned long)sum->adopted,
		(unsigned long)sum->broken, (unsigned long)sum->moves, (unsigned long)sum->segments,
		(unsigned long)sum->messages, (unsigned long)sum->captured,
		(unsigned long)sum->passed, (unsigned long)sum->deliveries,
		(unsigned long)sum->trusted, (unsigned long)sum->runs);
	return sum->runs < 20 || sum->captured * 4 > sum->messages;
}

int main(int argc, char **argv)
{
	struct world_result sum = {0};
	struct sim_campaign campaign = {
		.name = "sim-monitor",
		.dimensions = world_dimension_names,
		.dimensions_count = DIMENSIONS,
		.faults = world_fault_names,
		.faults_count = FAULTS,
		.seeds = 150,
		.seeds_nightly = 20000,
		.run = run,
		.end = end,
		.ctx = &sum,
	};

	return sim_campaign_main(&campaign, argc, argv);
}
