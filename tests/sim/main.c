// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// sim [--seeds N | --nightly] [--first S] [--without A,B…] [--fault F] [--verbose]: N runs from
// seed S on; --verbose shows their packets.
// sim --bulk: what loss costs.

#include "campaign.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define SEEDS	      300
#define SEEDS_NIGHTLY 20000

static void run(const struct sim_campaign *campaign, uint64_t seed, const struct sim_pools *pools)
{
	struct sim *sim = sim_create(seed, pools, campaign->verbose);

	sim->fault = campaign->fault;
	sim_draw(sim, campaign->without);
	sim_play(sim, campaign->ctx);
	sim_destroy(sim);
}

// Over many runs, wires that duplicate and shuffle included, most of what is sent again had to be.
static bool frugal(const struct sim_campaign *campaign, const struct sim_result *r)
{
	if (campaign->seeds < SEEDS || 2 * r->dsacks <= r->retransmits)
		return true;
	fprintf(stderr, "sim: %lu of %lu retransmissions were for nothing\n", r->dsacks,
		r->retransmits);
	return false;
}

static bool end(const struct sim_campaign *campaign)
{
	const struct sim_result *r = campaign->ctx;

	printf("%lu octets, %lu segments, %lu lost (%lu too big), %lu s of virtual time, "
	       "%u given up\n",
		r->octets, r->segments, r->lost, r->too_big, r->virtual_us / 1000000, r->given_up);
	printf("%lu sent again: %lu timeouts, %lu recoveries, %lu tail probes; %lu for nothing; "
	       "%lu reductions by ECN\n",
		r->retransmits, r->timeouts, r->recoveries, r->probes, r->dsacks, r->reductions);
	printf("%lu frames cut by the device, %lu connections opened from both ends\n", r->cut,
		r->crossed);
	return frugal(campaign, r);
}

static int bulk(void)
{
	struct sim_pools pools;

	if (!sim_pools_start("sim", &pools))
		return 1;
	sim_bulk(&pools);
	sim_pools_destroy(&pools);
	return 0;
}

int main(int argc, char **argv)
{
	struct sim_result result = {0};
	struct sim_campaign campaign = {
		.name = "sim",
		.dimensions = sim_dimension_names,
		.dimensions_count = SIM_DIMENSIONS,
		.faults = sim_fault_names,
		.faults_count = SIM_FAULTS,
		.seeds = SEEDS,
		.seeds_nightly = SEEDS_NIGHTLY,
		.run = run,
		.end = end,
		.ctx = &result,
	};

	if (argc == 2 && strcmp(argv[1], "--bulk") == 0)
		return bulk();
	return sim_campaign_main(&campaign, argc, argv);
}
