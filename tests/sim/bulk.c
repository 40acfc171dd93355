// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What loss costs: one stream over a wire of 4 MB/s and 20 ms, with random loss, by what the
// ends can do about it. A table of kB/s of virtual time and, as a ratio, what SACK and its kin
// bring over NewReno alone. No test: to be read before and after a change (`sim --bulk`).

#include "host.h"

#include <stdio.h>

#define BULK_OCTETS 4000000
#define BULK_SEEDS  8

struct variant {
	const char *name;
	bool sack;
	enum tcp_congestion congestion;
};

static void bulk_draw(struct sim *sim, const struct variant *variant, uint32_t loss)
{
	struct sim_host_config config = {
		.tx = SIM_POOL_AMPLE, .payloads = SIM_POOL_AMPLE, .mtu = 1500};

	tcp_config_init(&config.tcp);
	config.tcp.connections_max = 8;
	config.tcp.pieces_max = 10000;
	config.tcp.sack = variant->sack;
	config.tcp.congestion = variant->congestion;
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		sim_host_init(&sim->hosts[h], sim, h, &config);
		sim->wires[h].impairment = (struct sim_impairment){
			.loss = loss,
			.delay_us = 10000,
			.bytes_per_ms = 4000,
			.queue_us = 50000,
		};
		sim->wires[h].rng = &sim->rng;
	}
	sim->pairs = 1;
	for (unsigned h = 0; h < SIM_HOSTS; h++)
		sim->apps[h][0] = (struct sim_app){
			.sim = sim,
			.host = h,
			.client = h == 0,
			.ending = SIM_END_SHUTDOWN,
			.to_send = h == 0 ? BULK_OCTETS : 0,
			.burst = 8192,
			.read_max = UINT32_MAX,
		};
	sim_app_open(&sim->apps[0][0]);
}

// kB/s, on average.
static uint64_t bulk_rate(
	const struct sim_pools *pools, const struct variant *variant, uint32_t loss)
{
	uint64_t sum = 0;

	for (uint64_t seed = 1; seed <= BULK_SEEDS; seed++) {
		struct sim *sim = sim_create(seed, pools, false);
		struct sim_result result = {0};

		bulk_draw(sim, variant, loss);
		sim_play(sim, &result);
		sum += BULK_OCTETS * 1000ull / sim->apps[1][0].eof_us;
		sim_destroy(sim);
	}
	return sum / BULK_SEEDS;
}

void sim_bulk(const struct sim_pools *pools)
{
	static const struct variant variants[] = {
		{"newreno", false, TCP_CONGESTION_NEWRENO},
		{"cubic", false, TCP_CONGESTION_CUBIC},
		{"newreno, sack", true, TCP_CONGESTION_NEWRENO},
		{"cubic, sack", true, TCP_CONGESTION_CUBIC},
	};
	static const uint32_t losses[] = {0, 10, 100, 200, 500};

	for (unsigned l = 0; l < sizeof(losses) / sizeof(losses[0]); l++) {
		uint64_t base = 0;

		for (unsigned v = 0; v < sizeof(variants) / sizeof(variants[0]); v++) {
			uint64_t rate = bulk_rate(pools, &variants[v], losses[l]);

			if (v == 0)
				base = rate;
			printf("loss %4.1f %%  %-14s %6lu kB/s  %5.2f\n", losses[l] / 100.0,
				variants[v].name, (unsigned long)rate, (double)rate / base);
		}
	}
}
