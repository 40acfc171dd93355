// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// CUBIC (RFC 9438): after a loss the window returns to what it was along a cubic curve,
// lingers there and then probes beyond, by the clock instead of by round trips; never
// slower than Reno would. In octets and milliseconds, integers only. Runs on the worker.

#include "tcp/congestion.h"
#include "tcp/pcb.h"
#include "tcp/stack.h"

// C = 0.4 segments a cubic second, beta = 0.7, alpha = 3 (1 - beta) / (1 + beta) (4.1, 4.3).
#define BETA_PERCENT   70u
#define ALPHA_PERMILLE 529u
// Further from K the curve is beyond any window.
#define OFFSET_MAX_MS 200000

static uint32_t cube_root(uint64_t x)
{
	uint32_t root = 0;

	for (int bit = 20; bit >= 0; bit--) {
		uint64_t candidate = root | 1u << bit;

		if (candidate * candidate * candidate <= x)
			root = (uint32_t)candidate;
	}
	return root;
}

static void cubic_init(struct tcp_pcb *pcb)
{
	pcb->congestion_state = (union tcp_congestion_state){0};
}

// A stage of congestion avoidance begins (4.2, figure 2).
static void epoch_begin(struct tcp_pcb *pcb)
{
	uint32_t cwnd = pcb->cwnd;
	uint32_t w_max = pcb->congestion_state.cubic.w_max;

	pcb->congestion_state.cubic.epoch_ms = pcb->stack->now_ms | 1; // 0 means that there is none
	pcb->congestion_state.cubic.w_est = cwnd;
	pcb->congestion_state.cubic.k_ms = 0;
	if (w_max > cwnd) // K = cbrt((W_max - cwnd) / C), in ms: 10^9 / 0.4
		pcb->congestion_state.cubic.k_ms =
			cube_root((w_max - cwnd) * 2500000000ull / pcb->mss);
	else
		pcb->congestion_state.cubic.w_max = cwnd;
}

// W_cubic(t) of figure 1, in octets.
static int64_t w_cubic(const struct tcp_pcb *pcb, uint32_t t_ms)
{
	int64_t offset = (int64_t)t_ms - pcb->congestion_state.cubic.k_ms;

	if (offset > OFFSET_MAX_MS)
		offset = OFFSET_MAX_MS;
	if (offset < -OFFSET_MAX_MS)
		offset = -OFFSET_MAX_MS;
	// 0.4 * mss * (t / 1000)^3
	return pcb->congestion_state.cubic.w_max +
	       offset * offset * offset / 2500 * pcb->mss / 1000000;
}

// 4.3: Reno's window, with the slope that makes up for the smaller reduction until W_max.
static void w_est_grow(struct tcp_pcb *pcb, uint32_t acked)
{
	uint32_t *w_est = &pcb->congestion_state.cubic.w_est;
	uint64_t grown = (uint64_t)acked * pcb->mss / pcb->cwnd;

	if (*w_est < pcb->congestion_state.cubic.w_max)
		grown = grown * ALPHA_PERMILLE / 1000;
	*w_est += (uint32_t)grown;
}

static void cubic_acked(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight)
{
	int64_t cwnd = pcb->cwnd;
	int64_t target, limit;
	uint32_t t;

	// Time in which nothing was tried does not count (RFC 9438 4.2, 5.8).
	if (tcp_congestion_unused(pcb, flight) || tcp_congestion_slow_start(pcb, acked)) {
		pcb->congestion_state.cubic.epoch_ms = 0;
		return;
	}
	if (pcb->congestion_state.cubic.epoch_ms == 0)
		epoch_begin(pcb);
	t = pcb->stack->now_ms - pcb->congestion_state.cubic.epoch_ms;
	if ((int32_t)t < 0) // the epoch's odd millisecond is still to come
		t = 0;
	w_est_grow(pcb, acked);
	if (w_cubic(pcb, t) < pcb->congestion_state.cubic.w_est) { // the Reno-friendly region
		if (pcb->congestion_state.cubic.w_est > pcb->cwnd)
			pcb->cwnd = pcb->congestion_state.cubic.w_est;
		return;
	}
	// 4.4 and 4.5: on the way to where the curve is one round trip from now.
	target = w_cubic(pcb, t + pcb->srtt_us / 1000);
	limit = cwnd + cwnd / 2;
	if (target > limit)
		target = limit;
	if (target > cwnd)
		pcb->cwnd += (uint32_t)((target - cwnd) * acked / cwnd);
}

// 4.6 and 4.7. A window that did not reach the last one's size makes way for others.
static void cubic_lost(struct tcp_pcb *pcb, uint32_t flight)
{
	uint64_t reduced = (uint64_t)flight * BETA_PERCENT / 100;
	uint32_t least = 2u * pcb->mss;

	if (pcb->cwnd < pcb->congestion_state.cubic.w_max)
		pcb->congestion_state.cubic.w_max =
			(uint32_t)((uint64_t)pcb->cwnd * (100 + BETA_PERCENT) / 200);
	else
		pcb->congestion_state.cubic.w_max = pcb->cwnd;
	pcb->congestion_state.cubic.epoch_ms = 0;
	pcb->ssthresh = reduced > least ? (uint32_t)reduced : least;
}

// 4.8: what W_max was is not to be trusted any more.
static void cubic_timeout(struct tcp_pcb *pcb)
{
	pcb->congestion_state.cubic.w_max = 0;
}

const struct tcp_congestion_ops tcp_congestion_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.acked = cubic_acked,
	.lost = cubic_lost,
	.timeout = cubic_timeout,
};
