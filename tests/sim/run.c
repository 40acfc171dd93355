// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One run: everything is drawn from the seed, played in virtual time, and counted up at
// the end.

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

// A number between 1 and 10^magnitude, all magnitudes alike.
static uint32_t magnitude_draw(struct random *rng, unsigned magnitude)
{
	uint32_t max = 10;

	for (unsigned m = random_below(rng, magnitude); m > 0; m--)
		max *= 10;
	return 1 + random_below(rng, max);
}

static void impairment_draw(struct random *rng, struct sim_impairment *i)
{
	bool clean = random_below(rng, 4) == 0;
	bool shuffled = random_below(rng, 6) == 0;
	bool bursts = random_below(rng, 4) == 0;

	*i = (struct sim_impairment){
		.loss = clean ? 0 : random_below(rng, bursts ? 100 : 1500),
		.duplicate = clean ? 0 : random_below(rng, 500),
		.reorder = clean ? 0 : random_below(rng, shuffled ? 8000 : 2000),
		.corrupt = clean ? 0 : random_below(rng, 200),
		.burst = clean || !bursts ? 0 : random_below(rng, 200),
		.mark = random_below(rng, 1000),
		.delay_us = magnitude_draw(rng, 5),
		.jitter_us = magnitude_draw(rng, 5),
		.bytes_per_ms = 100 + magnitude_draw(rng, 6),
		.queue_us = 20000 + magnitude_draw(rng, 6),
	};
}

static void host_config_draw(struct random *rng, struct sim_host_config *config)
{
	static const uint16_t mtus[] = {576, 1280, 1500, 1500};
	static const uint32_t buffers[] = {2000, 20000, 65535, 262144};

	tcp_config_init(&config->tcp);
	config->tcp.connections_max = 64;
	config->tcp.pieces_max = random_below(rng, 4) == 0 ? 40 : 10000;
	config->tcp.receive_buffer = buffers[random_below(rng, 4)];
	config->tcp.sack = random_below(rng, 5) > 0;
	config->tcp.timestamps = random_below(rng, 4) > 0;
	config->tcp.ecn = random_below(rng, 3);
	config->tcp.congestion = random_below(rng, TCP_CONGESTIONS);
	config->tcp.syn_retries = 20;
	config->tcp.retries = 30;
	for (unsigned i = 0; i < sizeof(config->tcp.secret); i++)
		config->tcp.secret[i] = (uint8_t)random_next(rng);
	config->tx = random_below(rng, SIM_POOL_SIZES);
	config->payloads = random_below(rng, SIM_POOL_SIZES);
	config->mtu = mtus[random_below(rng, 4)];
	config->chains = random_below(rng, 2) == 0;
	config->tcp.reference_least = 1 + random_below(rng, 1000);
}

static enum sim_ending ending_draw(struct random *rng)
{
	return random_below(rng, 3) > 0 ? SIM_END_SHUTDOWN : random_below(rng, SIM_ENDINGS);
}

static void app_draw(struct sim *sim, unsigned host, unsigned pair, bool client)
{
	struct random *rng = &sim->rng;
	struct sim_app *app = &sim->apps[host][pair];
	bool chatty = random_below(rng, 2) == 0;

	*app = (struct sim_app){
		.sim = sim,
		.host = host,
		.pair = pair,
		.client = client,
		.ending = ending_draw(rng),
		.to_send = chatty ? random_below(rng, 3000) : magnitude_draw(rng, 5),
		.burst = chatty ? 1 + random_below(rng, 60) : 1 + random_below(rng, 8192),
		.think_us = chatty ? magnitude_draw(rng, 5) : 0,
		.read_max = magnitude_draw(rng, 6),
		.read_pause_us = random_below(rng, 3) == 0 ? magnitude_draw(rng, 5) : 0,
		.pieces = random_below(rng, 2) == 0,
	};
	if (app->burst > 8192)
		app->burst = 8192;
	// With all payloads in send queues text can only be read while it arrives: a few octets a
	// turn would then mean a few octets a timeout.
	if (sim->scarce)
		app->read_max += 500;
	app->abort_at = random_below(rng, (uint32_t)app->to_send + 1);
}

static void sim_draw(struct sim *sim)
{
	struct sim_host_config config;

	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		host_config_draw(&sim->rng, &config);
		sim_host_init(&sim->hosts[h], sim, h, &config);
		sim->scarce = sim->scarce || config.payloads == SIM_POOL_TINY;
		impairment_draw(&sim->rng, &sim->wires[h].impairment);
		sim->wires[h].rng = &sim->rng;
	}
	sim->pairs = 1 + random_below(&sim->rng, SIM_PAIRS);
	for (unsigned p = 0; p < sim->pairs; p++) {
		unsigned client = random_below(&sim->rng, SIM_HOSTS);

		app_draw(sim, client, p, true);
		app_draw(sim, !client, p, false);
		sim_app_open(&sim->apps[client][p]);
	}
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
			if (sim->apps[h][p].pcb)
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
	for (unsigned p = 0; p < sim->pairs; p++)
		pair_check(sim, p, result);
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		struct tcp_usage usage;

		tcp_stack_usage(sim->hosts[h].stack, &usage);
		SIM_CHECK(sim, usage.pcbs == 1 && usage.pieces == 0);
		tcp_close(sim->hosts[h].listener);
		tcp_stack_usage(sim->hosts[h].stack, &usage);
		SIM_CHECK(sim, usage.pcbs == 0);
		counters_add(sim->hosts[h].stack, result);
		sim_host_fini(&sim->hosts[h]);
		for (unsigned p = 0; p < sim->pairs; p++)
			result->segments += sim->taps[h][p].segments,
				sim_tap_fini(&sim->taps[h][p]);
	}
	for (unsigned h = 0; h < SIM_HOSTS; h++)
		result->lost += sim->wires[h].lost, sim_wire_fini(&sim->wires[h]);
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

void sim_run(uint64_t seed, const struct sim_pools *pools, bool verbose, struct sim_result *result)
{
	struct sim *sim = sim_create(seed, pools, verbose);

	sim_draw(sim);
	sim_play(sim, result);
	sim_destroy(sim);
}
