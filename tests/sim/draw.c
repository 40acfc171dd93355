// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a run is like: everything is drawn from the seed, and then spared what the caller wants
// to do without. What is switched off is drawn all the same, so the rest stays as it was.

#include "host.h"

#include "base/clock.h"

const char *const sim_dimension_names[SIM_DIMENSIONS] = {
	[SIM_LOSS] = "loss",
	[SIM_BURSTS] = "bursts",
	[SIM_DUPLICATES] = "duplicates",
	[SIM_REORDERING] = "reordering",
	[SIM_CORRUPTION] = "corruption",
	[SIM_MARKS] = "marks",
	[SIM_RATE] = "rate",
	[SIM_STALLS] = "stalls",
	[SIM_NARROWINGS] = "narrowings",
	[SIM_BLACK_HOLES] = "black-holes",
	[SIM_SQUEEZES] = "squeezes",
	[SIM_CROSSING] = "crossing",
	[SIM_TOGETHER] = "together",
	[SIM_HALF_CLOSE] = "half-close",
	[SIM_BREAKS] = "breaks",
	[SIM_SLOW_READERS] = "slow-readers",
	[SIM_NAPS] = "naps",
	[SIM_MANUAL_ACKS] = "manual-acks",
	[SIM_SLOW_WRITERS] = "slow-writers",
	[SIM_SMALL_BUFFERS] = "small-buffers",
	[SIM_FICKLE_BUFFERS] = "fickle-buffers",
	[SIM_SMALL_MSS] = "small-mss",
	[SIM_SCARCITY] = "scarcity",
	[SIM_OFFLOADS] = "offloads",
	[SIM_PAIRS_MANY] = "pairs",
	[SIM_NO_SACK] = "no-sack",
	[SIM_NO_TIMESTAMPS] = "no-timestamps",
	[SIM_ECN] = "ecn",
	[SIM_NEWRENO] = "newreno",
};

struct draw {
	struct sim *sim;
	struct random *rng;
	uint64_t without;
};

// A number between 1 and 10^magnitude, all magnitudes alike.
static uint32_t magnitude_draw(struct random *rng, unsigned magnitude)
{
	uint32_t max = 10;

	for (unsigned m = random_below(rng, magnitude); m > 0; m--)
		max *= 10;
	return 1 + random_below(rng, max);
}

static bool one_in(struct draw *d, uint32_t n)
{
	return random_below(d->rng, n) == 0;
}

// Has the run this dimension, given that the seed would have it so?
static bool has(struct draw *d, enum sim_dimension dimension, bool drawn)
{
	if (!drawn || (d->without & 1ull << dimension))
		return false;
	d->sim->active |= 1ull << dimension;
	return true;
}

static uint32_t share(struct draw *d, enum sim_dimension dimension, uint32_t drawn)
{
	return has(d, dimension, drawn > 0) ? drawn : 0;
}

static uint64_t moment_draw(struct draw *d)
{
	return SIM_START_US + magnitude_draw(d->rng, 7);
}

// Between 100 ms and 10 s.
static uint64_t spell_draw(struct draw *d)
{
	return (1 + random_below(d->rng, 10)) * (one_in(d, 2) ? 100 * US_IN_MS : US_IN_S);
}

static void stalls_draw(struct draw *d)
{
	bool stalls = one_in(d, 4);

	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		uint64_t from_us = moment_draw(d), duration_us = spell_draw(d);
		unsigned ways = 1 + random_below(d->rng, 3);
		bool drops = one_in(d, 2);

		for (unsigned h = 0; h < SIM_HOSTS; h++)
			if (has(d, SIM_STALLS, stalls && (ways & 1u << h)))
				d->sim->wires[h].impairment.stalls[i] =
					(struct sim_stall){from_us, from_us + duration_us, drops};
	}
}

// A black hole does not last: nothing could be done about it.
static void narrowings_draw(struct draw *d, struct sim_impairment *impairment)
{
	bool narrow = one_in(d, 3);
	bool silent = one_in(d, 4);

	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		struct sim_narrowing n = {
			.from_us = moment_draw(d),
			.mtu = (uint16_t)(552 + random_below(d->rng, 900)),
			.router = silent ? SIM_ROUTER_SILENT : random_below(d->rng, 2),
		};
		bool lasts = one_in(d, 2);

		n.until_us = n.from_us + spell_draw(d);
		if (lasts && !silent)
			n.until_us = UINT64_MAX;
		if (has(d, silent ? SIM_BLACK_HOLES : SIM_NARROWINGS, narrow))
			impairment->narrowings[i] = n;
	}
}

static void squeezes_draw(struct draw *d, struct sim_impairment *impairment)
{
	bool squeezed = one_in(d, 6);

	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		struct sim_squeeze s = {
			.from_us = moment_draw(d),
			.shift = one_in(d, 2) ? 16 : 1 + random_below(d->rng, 6),
		};

		s.until_us = s.from_us + spell_draw(d);
		if (has(d, SIM_SQUEEZES, squeezed))
			impairment->squeezes[i] = s;
	}
}

static void impairment_draw(struct draw *d, struct sim_impairment *i)
{
	struct random *rng = d->rng;
	bool dirty = !one_in(d, 4);
	bool shuffled = one_in(d, 6);
	bool bursts = one_in(d, 4);
	uint32_t loss = random_below(rng, bursts ? 100 : 1500);
	uint32_t duplicate = random_below(rng, 500);
	uint32_t reorder = random_below(rng, shuffled ? 8000 : 2000);
	uint32_t corrupt = random_below(rng, 200);
	uint32_t burst = random_below(rng, 200);

	*i = (struct sim_impairment){
		.loss = share(d, SIM_LOSS, dirty ? loss : 0),
		.duplicate = share(d, SIM_DUPLICATES, dirty ? duplicate : 0),
		.reorder = share(d, SIM_REORDERING, dirty ? reorder : 0),
		.corrupt = share(d, SIM_CORRUPTION, dirty ? corrupt : 0),
		.burst = share(d, SIM_BURSTS, dirty && bursts ? burst : 0),
		.mark = share(d, SIM_MARKS, random_below(rng, 1000)),
		.delay_us = magnitude_draw(rng, 5),
		.jitter_us = magnitude_draw(rng, 5),
		.bytes_per_ms = 100 + magnitude_draw(rng, 6),
		.queue_us = 20000 + magnitude_draw(rng, 6),
	};
	if (!has(d, SIM_RATE, true))
		i->bytes_per_ms = 1000000, i->queue_us = 1000000;
	narrowings_draw(d, i);
	squeezes_draw(d, i);
}

static void offloads_draw(struct draw *d, struct net_if_caps *ret_caps)
{
	bool chains = one_in(d, 2);
	bool sums = one_in(d, 3);
	bool cuts = one_in(d, 2);

	if (!has(d, SIM_OFFLOADS, chains || sums))
		return;
	ret_caps->multi_segment = chains;
	ret_caps->tx_ip_checksum = ret_caps->tx_tcp_checksum = sums;
	ret_caps->tso = chains && sums && cuts;
}

static void host_config_draw(struct draw *d, struct sim_host_config *config)
{
	static const uint16_t mtus[] = {576, 1280, 1500, 1500};
	static const uint32_t buffers[] = {2000, 20000, 65535};
	struct random *rng = d->rng;
	struct tcp_config *tcp = &config->tcp;
	uint32_t buffer, pieces;

	*config = (struct sim_host_config){0};
	tcp_config_init(tcp);
	tcp->connections_max = 64;
	pieces = one_in(d, 4) ? 40 : 10000;
	buffer = random_below(rng, 4);
	tcp->receive_buffer = has(d, SIM_SMALL_BUFFERS, buffer < 3) ? buffers[buffer] : 262144;
	tcp->sack = !has(d, SIM_NO_SACK, one_in(d, 5));
	tcp->timestamps = !has(d, SIM_NO_TIMESTAMPS, one_in(d, 4));
	tcp->ecn = random_below(rng, 3);
	if (!has(d, SIM_ECN, tcp->ecn != TCP_ECN_OFF))
		tcp->ecn = TCP_ECN_OFF;
	tcp->congestion = random_below(rng, TCP_CONGESTIONS);
	if (!has(d, SIM_NEWRENO, tcp->congestion == TCP_CONGESTION_NEWRENO))
		tcp->congestion = TCP_CONGESTION_CUBIC;
	tcp->syn_retries = 20;
	tcp->retries = 30;
	for (unsigned i = 0; i < sizeof(tcp->secret); i++)
		tcp->secret[i] = (uint8_t)random_next(rng);
	config->tx = random_below(rng, SIM_POOL_SIZES);
	config->payloads = random_below(rng, SIM_POOL_SIZES);
	if (!has(d, SIM_SCARCITY, true)) {
		config->tx = config->payloads = SIM_POOL_AMPLE;
		pieces = 10000;
	}
	tcp->pieces_max = pieces;
	config->mtu = mtus[random_below(rng, 4)];
	offloads_draw(d, &config->caps);
	tcp->reference_least = 1 + random_below(rng, 1000);
}

static void reader_draw(struct draw *d, struct sim_app *app)
{
	struct random *rng = d->rng;
	uint64_t pause_us = magnitude_draw(rng, 5), nap_us = spell_draw(d) * 6;

	app->read_max = magnitude_draw(rng, 6);
	app->read_pause_us = one_in(d, 3) ? pause_us : 0;
	if (!has(d, SIM_SLOW_READERS, true)) {
		app->read_max = 1000000;
		app->read_pause_us = 0;
	}
	app->nap_at = magnitude_draw(rng, 5);
	app->nap_us = has(d, SIM_NAPS, one_in(d, 6)) ? nap_us : 0;
	app->manual = has(d, SIM_MANUAL_ACKS, one_in(d, 4));
	// With all payloads in send queues text can only be read while it arrives: a few octets a
	// turn would then mean a few octets a timeout.
	if (d->sim->scarce)
		app->read_max += 500;
}

static void writer_draw(struct draw *d, struct sim_app *app)
{
	struct random *rng = d->rng;
	bool chatty = one_in(d, 2);

	app->to_send = chatty ? random_below(rng, 3000) : magnitude_draw(rng, 5);
	app->burst = chatty ? 1 + random_below(rng, 60) : 1 + random_below(rng, 8192);
	app->think_us = magnitude_draw(rng, 5);
	if (!has(d, SIM_SLOW_WRITERS, chatty))
		app->think_us = 0;
	app->pieces = one_in(d, 2);
}

static void app_draw(struct draw *d, unsigned host, unsigned pair, bool client)
{
	struct sim_app *app = &d->sim->apps[host][pair];
	bool breaks = one_in(d, 3);
	enum sim_ending ending = random_below(d->rng, SIM_ENDINGS);
	uint32_t mss = 200 + random_below(d->rng, 1000);

	*app = (struct sim_app){.sim = d->sim, .host = host, .pair = pair, .client = client};
	app->ending = has(d, SIM_BREAKS, breaks) ? ending : SIM_END_SHUTDOWN;
	writer_draw(d, app);
	reader_draw(d, app);
	app->fickle = has(d, SIM_FICKLE_BUFFERS, one_in(d, 6));
	app->mss = has(d, SIM_SMALL_MSS, one_in(d, 6)) ? (uint16_t)mss : 0;
	app->abort_at = random_below(d->rng, (uint32_t)app->to_send + 1);
	app->abort_us = moment_draw(d);
}

static void pair_draw(struct draw *d, unsigned pair)
{
	unsigned client = random_below(d->rng, SIM_HOSTS);
	struct sim_app *caller = &d->sim->apps[client][pair];
	struct sim_app *called = &d->sim->apps[!client][pair];
	uint64_t end_us, open_us = SIM_START_US;

	app_draw(d, client, pair, true);
	app_draw(d, !client, pair, false);
	end_us = moment_draw(d);
	if (has(d, SIM_TOGETHER, one_in(d, 4)))
		caller->end_us = called->end_us = end_us;
	if (has(d, SIM_HALF_CLOSE, one_in(d, 5)))
		called->listens_first = true;
	open_us += random_below(d->rng, 2 * d->sim->wires[client].impairment.delay_us);
	called->opens = has(d, SIM_CROSSING, one_in(d, 5));
	called->open_us = open_us;
}

void sim_draw(struct sim *sim, uint64_t without)
{
	struct draw d = {.sim = sim, .rng = &sim->rng, .without = without};
	struct sim_host_config config;
	unsigned pairs;

	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		host_config_draw(&d, &config);
		sim_host_init(&sim->hosts[h], sim, h, &config);
		sim->scarce = sim->scarce || config.payloads == SIM_POOL_TINY;
		impairment_draw(&d, &sim->wires[h].impairment);
		sim->wires[h].rng = &sim->rng;
		sim->wires[h].back = &sim->wires[!h];
	}
	stalls_draw(&d);
	pairs = 1 + random_below(d.rng, SIM_PAIRS);
	for (unsigned p = 0; p < pairs; p++)
		pair_draw(&d, p);
	sim->pairs = has(&d, SIM_PAIRS_MANY, pairs > 1) ? pairs : 1;
	// Those that were drawn and are not played must not be waited for.
	for (unsigned p = sim->pairs; p < SIM_PAIRS; p++)
		sim->apps[0][p].opens = sim->apps[1][p].opens = false;
	for (unsigned p = 0; p < sim->pairs; p++)
		for (unsigned h = 0; h < SIM_HOSTS; h++)
			if (sim->apps[h][p].client)
				sim_app_open(&sim->apps[h][p]);
}
