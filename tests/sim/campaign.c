// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Seeds in a child process, and what is done about one that fails.

#include "campaign.h"

#include "sim.h"

#include <rte_eal.h>

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// One run takes milliseconds: what takes this long counts as something else.
#define SHRINK_LIMIT_S 60

bool sim_pools_start(const char *name, struct sim_pools *ret_pools)
{
	char program[32];
	char *argv[] = {program, "--no-huge", "--no-shconf", "-m", "256", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};

	snprintf(program, sizeof(program), "%s", name);
	if (rte_eal_init(sizeof(argv) / sizeof(argv[0]) - 1, argv) >= 0 &&
		sim_pools_create(ret_pools) == 0)
		return true;
	fprintf(stderr, "%s: no memory\n", name);
	return false;
}

// Plays in this process; `seed` tells the parent how far it has come, 0: behind the last one.
static int seeds_play(const struct sim_campaign *campaign, volatile uint64_t *seed)
{
	struct sim_pools pools;
	int failed;

	if (!sim_pools_start(campaign->name, &pools))
		return 1;
	for (uint64_t n = 0; n < campaign->seeds; n++) {
		*seed = campaign->first + n;
		campaign->run(campaign, campaign->first + n, &pools);
	}
	*seed = 0;
	failed = !campaign->end(campaign);
	sim_pools_destroy(&pools);
	return failed;
}

static void silence(void)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
}

// The same in a child; true when it came to its end, and found all well.
static bool seeds_play_apart(
	const struct sim_campaign *campaign, volatile uint64_t *seed, bool quietly)
{
	int status;
	pid_t pid;

	*seed = campaign->first;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (quietly) {
			silence();
			alarm(SHRINK_LIMIT_S);
		}
		setvbuf(stdout, NULL, _IOLBF, 0);
		exit(seeds_play(campaign, seed));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror(campaign->name);
		exit(1);
	}
	if (quietly && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return true;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void dimensions_print(const struct sim_campaign *campaign, uint64_t which)
{
	const char *between = "";

	for (unsigned i = 0; i < campaign->dimensions_count; i++)
		if (which & 1ull << i) {
			fprintf(stderr, "%s%s", between, campaign->dimensions[i]);
			between = ",";
		}
}

static void shrink(const struct sim_campaign *campaign, uint64_t failed, volatile uint64_t *seed)
{
	const uint64_t all = ~0ull >> (64 - campaign->dimensions_count);
	struct sim_campaign one = *campaign;

	one.first = failed;
	one.seeds = 1;
	one.verbose = false;
	// Many at a time first: most do not matter.
	for (unsigned size = campaign->dimensions_count; size > 0; size /= 2)
		for (unsigned i = 0; i < campaign->dimensions_count; i += size) {
			uint64_t before = one.without;

			one.without |= (~0ull >> (64 - size)) << i & all;
			if (one.without != before && seeds_play_apart(&one, seed, true))
				one.without = before;
		}
	fprintf(stderr, "%s: seed %lu takes only: ", campaign->name, (unsigned long)failed);
	dimensions_print(campaign, all & ~one.without);
	fprintf(stderr, "\n%s: to see it: --first %lu --seeds 1 --verbose", campaign->name,
		(unsigned long)failed);
	if (campaign->fault != 0)
		fprintf(stderr, " --fault %s", campaign->faults[campaign->fault]);
	if (one.without != 0)
		fprintf(stderr, " --without ");
	dimensions_print(campaign, one.without);
	fprintf(stderr, "\n");
}

static int campaign_play(const struct sim_campaign *campaign)
{
	volatile uint64_t *seed = mmap(
		NULL, sizeof(*seed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t failed;

	if (seed == MAP_FAILED) {
		perror(campaign->name);
		return 1;
	}
	if (seeds_play_apart(campaign, seed, false))
		return 0;
	failed = *seed;
	if (failed == 0)
		return 1;
	fprintf(stderr, "%s: seed %lu failed\n", campaign->name, (unsigned long)failed);
	if (!campaign->verbose)
		shrink(campaign, failed, seed);
	return 1;
}

// The index of a name; -1.
static int index_of(const char *const *names, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

static bool without_parse(struct sim_campaign *campaign, char *list)
{
	char *rest;

	for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		int i = index_of(campaign->dimensions, campaign->dimensions_count, name);

		if (i < 0)
			return false;
		campaign->without |= 1ull << i;
	}
	return true;
}

static bool fault_parse(struct sim_campaign *campaign, const char *name)
{
	int i = index_of(campaign->faults, campaign->faults_count, name);

	campaign->fault = i < 0 ? 0 : (unsigned)i;
	return i >= 0;
}

static bool option_take(struct sim_campaign *campaign, int option)
{
	switch (option) {
	case 'n':
		campaign->seeds = strtoull(optarg, NULL, 0);
		return true;
	case 'f':
		campaign->first = strtoull(optarg, NULL, 0);
		return true;
	case 'N':
		campaign->seeds = campaign->seeds_nightly;
		return true;
	case 'w':
		return without_parse(campaign, optarg);
	case 'x':
		return fault_parse(campaign, optarg);
	case 'v':
		campaign->verbose = true;
		return true;
	default:
		return false;
	}
}

int sim_campaign_main(struct sim_campaign *campaign, int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"nightly", no_argument, NULL, 'N'},
		{"without", required_argument, NULL, 'w'},
		{"fault", required_argument, NULL, 'x'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int option;

	campaign->first = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!option_take(campaign, option)) {
			fprintf(stderr, "%s: what can be switched off: ", campaign->name);
			dimensions_print(campaign, ~0ull);
			fprintf(stderr, "\n");
			return 2;
		}
	return campaign_play(campaign);
}
