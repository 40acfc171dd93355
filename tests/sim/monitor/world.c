// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A run: everybody acts until the last lives have nothing left to do, then everything that is owed
// must have come; they leave, and nothing may remain.

#include "world.h"

#include "attach/flow.h"
#include "net/net.h"
#include "base/clock.h"
#include "base/wheel.h"

#include <stdarg.h>

#define START_US    1000000u
#define TIME_MAX_US (4 * 3600 * US_IN_S)
#define STEPS_MAX   4000000u
#define CHECK_US    (500 * US_IN_MS)
#define PATIENCE_US (1200 * US_IN_S) // until what is owed has come

void world_fail(const struct world *world, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "seed %lu, at %lu us: %s:%d: ", (unsigned long)world->seed,
		(unsigned long)world->now_us, file, line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	abort();
}

static uint64_t next_us(const struct world *world)
{
	uint64_t next = bump_next_us(world);

	next = least(next, broker_next_us(world));
	for (unsigned h = 0; h < HOSTS; h++) {
		const struct host *host = &world->hosts[h];

		next = least(next, tcp_next_deadline(host->stack));
		next = least(next, net_next_deadline(host->net));
		next = least(next, sim_wire_next_us(&host->in));
		next = least(next, line_next_us(host));
	}
	for (unsigned i = 0; i < world->lives_count; i++)
		next = least(next, life_next_us(&world->lives[i]));
	for (unsigned i = 0; i < world->foreigns_count; i++)
		next = least(next, foreign_next_us(&world->foreigns[i]));
	return least(next, world->check_us);
}

// --- how far it is -------------------------------------------------------------------------------

static bool script_over(const struct world *world)
{
	for (unsigned i = 0; i < world->lives_count; i++) {
		const struct life *life = &world->lives[i];

		if (life->state != LIFE_OVER && (!life_stands(life) || life->steps > 0))
			return false;
	}
	for (unsigned h = 0; h < HOSTS; h++)
		if (world->hosts[h].moved < world->hosts[h].moves_count)
			return false;
	return world->broker_says == 0;
}

static void settle(struct world *world)
{
	if (world->settle_us == 0) {
		if (!script_over(world))
			return;
		world->settle_us = world->now_us;
	}
	if (oracle_complete(world, false)) {
		world->leaving = true;
		for (unsigned i = 0; i < world->lives_count; i++)
			if (life_stands(&world->lives[i]))
				life_leave(&world->lives[i]);
		return;
	}
	if (world->now_us > world->settle_us + PATIENCE_US) {
		oracle_complete(world, true);
		FAIL(world, "not everything that is owed has come");
	}
}

static bool everybody_gone(const struct world *world)
{
	for (unsigned h = 0; h < HOSTS; h++)
		if (host_pcbs(&world->hosts[h]) > (h == HOST_BROKER ? 2 : 0))
			return false;
	for (unsigned i = 0; i < world->foreigns_count; i++)
		if (!foreign_done(&world->foreigns[i]))
			return false;
	return bump_flows(world) == 0;
}

static void stuck_tell(const struct world *world)
{
	for (unsigned i = 0; i < world->lives_count; i++)
		if (world->lives[i].state != LIFE_OVER)
			fprintf(stderr, "life %u is in state %u\n", i, world->lives[i].state);
	for (unsigned h = 0; h < HOSTS; h++)
		fprintf(stderr, "host %u has %u connections\n", h, host_pcbs(&world->hosts[h]));
	fprintf(stderr, "Offramp knows %lu\n", (unsigned long)bump_flows(world));
}

// --- a run ---------------------------------------------------------------------------------------

static void listen(struct world *world)
{
	static const uint16_t ports[] = {PORT_BROKER, PORT_OTHER};

	for (unsigned i = 0; i < 2; i++) {
		const struct net_endpoint local = {
			.address = host_address(HOST_BROKER), .port = ports[i]};

		CHECK(world, tcp_listen(world->hosts[HOST_BROKER].stack, &local, NULL,
				     &world->listeners[i]) == 0);
	}
}

static void step(struct world *world)
{
	host_turn(&world->hosts[HOST_A]);
	host_turn(&world->hosts[HOST_B]);
	bump_turn(world);
	host_turn(&world->hosts[HOST_BROKER]);
	if (!world->leaving && world->now_us >= world->check_us) {
		world->check_us = world->now_us + CHECK_US;
		settle(world);
	}
	if (world->leaving)
		world->check_us = WHEEL_NEVER;
}

static void play(struct world *world)
{
	uint64_t next;

	listen(world);
	while (!world->leaving || !everybody_gone(world)) {
		next = next_us(world);
		if (next == WHEEL_NEVER || next >= TIME_MAX_US || ++world->steps >= STEPS_MAX) {
			stuck_tell(world);
			FAIL(world, "it does not end");
		}
		world->now_us = next <= world->now_us ? world->now_us + 50 : next;
		step(world);
	}
	world->result.virtual_s = world->now_us / US_IN_S;
}

static void sum_up(struct world *world)
{
	world->result.runs = 1;
	world->result.messages = world->messages_count;
	world->result.adopted = world->bump.stack->counters.accepted;
	world->result.trusted = offload_broker_trusted(world->bump.offload, 0);
	for (unsigned i = 0; i < world->lives_count; i++)
		world->result.broken += world->lives[i].broken;
	for (unsigned p = 0; world->bystanders > 0 && p < PORTS; p++)
		CHECK(world,
			world->bump.ports[p].bystanders_expected == world->bystander_number[p]);
}

static void end(struct world *world)
{
	bump_stop(world);
	for (unsigned h = 0; h < HOSTS; h++)
		host_fini(&world->hosts[h]);
	for (unsigned i = 0; i < world->lives_count; i++)
		talker_fini(&world->lives[i].talker);
	for (unsigned i = 0; i < CONNS_MAX; i++)
		talker_fini(&world->conns[i].talker);
	for (unsigned i = 0; i < world->foreigns_count; i++)
		for (unsigned e = 0; e < 2; e++)
			talker_fini(&world->foreigns[i].ends[e].talker);
}

struct world_result world_run(uint64_t seed, uint64_t without, unsigned fault, bool verbose,
	const struct sim_pools *pools)
{
	struct world *world = calloc(1, sizeof(*world));
	struct world_result result;

	world->seed = seed;
	world->without = without;
	world->fault = fault;
	world->verbose = verbose;
	world->pools = pools;
	world->now_us = START_US;
	random_init(&world->rng, seed);
	world_draw(world);
	play(world);
	sum_up(world);
	end(world);
	result = world->result;
	free(world);
	sim_pools_check(pools);
	return result;
}
