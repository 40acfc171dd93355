// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One run: played in virtual time, and counted up at the end.

#include "host.h"

#include "base/clock.h"
#include "base/wheel.h"
#include "tcp/counters.h"
#include "tcp/segment.h"

#include <stdarg.h>
#include <stdio.h>

// No run may take longer than this: what lasts so long has stalled.
#define TIME_MAX_US (4 * 3600 * US_IN_S)
#define STEPS_MAX   1000000u

void sim_fail(const struct sim *sim, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "seed %lu, %lu us: ", (unsigned long)sim->seed, (unsigned long)sim->now_us);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

void sim_trace(const struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg)
{
	const uint32_t seq0 = sim->taps[host][pair].isn;
	const uint32_t ack0 = sim->taps[!host][pair].isn;

	printf("%10lu h%u p%u %s%s%s%s seq %u +%u ack %u wnd %u\n", (unsigned long)sim->now_us,
		host, pair, seg->flags & TCP_FLAG_SYN ? "S" : "",
		seg->flags & TCP_FLAG_FIN ? "F" : "", seg->flags & TCP_FLAG_RST ? "R" : "",
		seg->flags & TCP_FLAG_ACK ? "." : "", seg->seq - seq0, seg->length, seg->ack - ack0,
		seg->wnd);
	for (unsigned i = 0;
		i < (seg->options.present & TCP_OPTION_SACK ? seg->options.sack_count : 0u); i++)
		printf("                sack %u to %u\n", seg->options.sack[i].start - ack0,
			seg->options.sack[i].end - ack0);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_us(const struct sim *sim)
{
	uint64_t next = WHEEL_NEVER;

	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		next = min_u64(next, sim_wire_next_us(&sim->wires[h]));
		next = min_u64(next, tcp_next_deadline(sim->hosts[h].stack));
		for (unsigned p = 0; p < sim->pairs; p++)
			next = min_u64(next, sim_app_next_us(&sim->apps[h][p]));
	}
	return next;
}

// Done: the apps have ended and the engines hold nothing but their listeners.
static bool finished(const struct sim *sim)
{
	struct tcp_usage usage;

	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		for (unsigned p = 0; p < sim->pairs; p++)
			if (sim->apps[h][p].pcb || sim->apps[h][p].opens)
				return false;
		tcp_stack_usage(sim->hosts[h].stack, &usage);
		if (usage.pcbs > 1)
			return false;
	}
	return true;
}

// Resets that never got as far as the wire: no frame was free.
static uint64_t resets_suppressed(const struct sim_host *host)
{
	struct counter_set set = tcp_counters(host->stack);
	const uint64_t *slot = set.values;

	for (unsigned i = 0; i < set.families_count; slot += set.families[i++].slots)
		if (strcmp(set.families[i].name, "tcp_resets_suppressed_total") == 0)
			return *slot;
	return 0;
}

// A reset that got lost leaves a peer that only listens waiting for ever: what keep-alives are for.
// Nobody else may be left when nothing is going to happen any more.
static void half_open_end(struct sim *sim)
{
	for (unsigned h = 0; h < SIM_HOSTS; h++)
		for (unsigned p = 0; p < sim->pairs; p++) {
			struct sim_app *app = &sim->apps[h][p];

			if (!app->pcb)
				continue;
			SIM_CHECK(sim, sim->apps[!h][p].done);
			SIM_CHECK(sim,
				sim->taps[!h][p].dead || resets_suppressed(&sim->hosts[!h]) > 0);
			SIM_CHECK(sim, tcp_send_queued(app->pcb) == 0);
			tcp_abort(app->pcb);
			app->pcb = NULL;
			app->done = app->abandoned = true;
		}
}

static void play(struct sim *sim)
{
	while (!finished(sim)) {
		uint64_t next = next_us(sim);

		if (next == WHEEL_NEVER) {
			half_open_end(sim);
			continue;
		}
		// Without free frames the loop polls, as a worker would.
		if (next <= sim->now_us)
			next = sim->now_us + 50;
		sim->now_us = next;
		SIM_CHECK(sim, sim->now_us < TIME_MAX_US);
		SIM_CHECK(sim, ++sim->steps < STEPS_MAX);
		for (unsigned h = 0; h < SIM_HOSTS; h++)
			sim_host_turn(&sim->hosts[h]);
	}
}

// What both ends did must fit together.
static void pair_check(const struct sim *sim, unsigned pair, struct sim_result *result)
{
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		const struct sim_app *app = &sim->apps[h][pair];
		const struct sim_app *peer = &sim->apps[!h][pair];

		result->octets += app->received;
		if (app->terminal & TCP_EVENT_TIMEOUT)
			result->given_up++;
		if (app->eof)
			SIM_CHECK(sim, app->received == peer->to_send);
		// When both end in an orderly way, nothing may go wrong.
		if (app->ending == SIM_END_SHUTDOWN && peer->ending == SIM_END_SHUTDOWN)
			SIM_CHECK(sim, app->eof && !app->terminal && !app->abandoned);
	}
}

static void counters_add(const struct tcp_stack *stack, struct sim_result *result)
{
	const uint64_t *values = tcp_counters(stack).values;

	result->retransmits += values[TCP_COUNTER_RETRANSMITS];
	result->timeouts += values[TCP_COUNTER_TIMEOUTS];
	result->recoveries += values[TCP_COUNTER_FAST_RETRANSMITS];
	result->probes += values[TCP_COUNTER_TAIL_PROBES];
	result->dsacks += values[TCP_COUNTER_DSACKS_RECEIVED];
	result->reductions += values[TCP_COUNTER_ECN_REDUCTIONS];
}

static void conclude(struct sim *sim, struct sim_result *result)
{
	for (unsigned p = 0; p < sim->pairs; p++) {
		pair_check(sim, p, result);
		result->crossed += sim->taps[0][p].knocked && sim->taps[1][p].knocked;
	}
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		struct tcp_usage usage;

		tcp_stack_usage(sim->hosts[h].stack, &usage);
		SIM_CHECK(sim, usage.pcbs == 1 && usage.pieces == 0);
		tcp_close(sim->hosts[h].listener);
		tcp_stack_usage(sim->hosts[h].stack, &usage);
		SIM_CHECK(sim, usage.pcbs == 0);
		counters_add(sim->hosts[h].stack, result);
		result->cut += sim->hosts[h].cut;
		sim_host_fini(&sim->hosts[h]);
		for (unsigned p = 0; p < sim->pairs; p++)
			result->segments += sim->taps[h][p].segments,
				sim_tap_fini(&sim->taps[h][p]);
	}
	for (unsigned h = 0; h < SIM_HOSTS; h++)
		result->lost += sim->wires[h].lost, result->too_big += sim->wires[h].too_big,
			sim_wire_fini(&sim->wires[h]);
	result->virtual_us += sim->now_us;
}

struct sim *sim_create(uint64_t seed, const struct sim_pools *pools, bool verbose)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	sim->seed = seed;
	sim->verbose = verbose;
	sim->pools = pools;
	sim->now_us = SIM_START_US;
	random_init(&sim->rng, seed);
	return sim;
}

void sim_play(struct sim *sim, struct sim_result *result)
{
	play(sim);
	conclude(sim, result);
}

void sim_destroy(struct sim *sim)
{
	sim_pools_check(sim->pools);
	free(sim);
}
