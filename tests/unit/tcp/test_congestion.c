// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// CUBIC (RFC 9438) against its formulas in floating point, and the choice between it and
// NewReno. The functions are driven directly: what they are told is theirs alone to weigh.

#include "tcp_tests.h"

#include "tcp/congestion.h"
#include "tcp/pcb.h"

#include <math.h>

#define RTT_MS 100

static struct tcp_pcb *with_cubic(struct fixture *f, uint32_t cwnd)
{
	struct tcp_pcb *pcb;

	f->config.congestion = TCP_CONGESTION_CUBIC;
	fixture_restart(f);
	pcb = established_sack(f);
	assert_string_equal(tcp_congestion(pcb)->name, "cubic");
	pcb->srtt_us = RTT_MS * MS;
	pcb->cwnd = cwnd;
	return pcb;
}

// One round trip in which a whole window is acknowledged, every second segment.
static void round_trip(struct fixture *f, struct tcp_pcb *pcb)
{
	unsigned acks = 1 + pcb->cwnd / (2 * MSS);

	for (unsigned i = 0; i < acks; i++) {
		f->now_us += RTT_MS * MS / acks;
		tcp_advance(f->stack, f->now_us);
		tcp_congestion(pcb)->acked(pcb, 2 * MSS, pcb->cwnd);
	}
}

static void a_loss_leaves_seven_tenths(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 100 * MSS);

	tcp_congestion(pcb)->lost(pcb, 100 * MSS);
	assert_int_equal(pcb->ssthresh, 70 * MSS);
	tcp_congestion(pcb)->lost(pcb, MSS);
	assert_int_equal(pcb->ssthresh, 2 * MSS);
}

static void the_window_follows_the_curve(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 1000 * MSS);
	const double w_max = 1000, c = 0.4;
	const double k = cbrt((w_max - 700) / c);
	double t = 0;

	tcp_congestion(pcb)->lost(pcb, 1000 * MSS);
	pcb->cwnd = pcb->ssthresh;
	while (t < k + 6) {
		round_trip(f, pcb);
		t += RTT_MS / 1000.0;
		if (t > 1) { // then Reno is slower
			double expected = w_max + c * pow(t - k, 3);

			assert_true(fabs(pcb->cwnd / (double)MSS - expected) < 0.03 * expected);
		}
	}
	assert_true(pcb->cwnd > 1000 * MSS);
}

static void it_is_no_slower_than_reno(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 20 * MSS);
	double reno = 14;

	pcb->srtt_us = RTT_MS * MS;
	tcp_congestion(pcb)->lost(pcb, 20 * MSS);
	pcb->cwnd = pcb->ssthresh;
	for (unsigned i = 0; i < 10; i++) { // K is 2.5 s: the curve is flat as yet
		round_trip(f, pcb);
		reno += 0.529;
		assert_true(pcb->cwnd / (double)MSS > reno - 1.5);
	}
}

static void a_flow_that_had_to_shrink_makes_way(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 100 * MSS);

	tcp_congestion(pcb)->lost(pcb, 100 * MSS);
	pcb->cwnd = 80 * MSS;
	tcp_congestion(pcb)->lost(pcb, 80 * MSS);
	assert_int_equal(pcb->congestion_state.cubic.w_max, 80 * MSS * 85 / 100);
	pcb->cwnd = 90 * MSS;
	tcp_congestion(pcb)->lost(pcb, 90 * MSS);
	assert_int_equal(pcb->congestion_state.cubic.w_max, 90 * MSS);
}

static void idle_time_is_no_reason_to_grow(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 100 * MSS);
	uint32_t before;

	tcp_congestion(pcb)->lost(pcb, 100 * MSS);
	pcb->cwnd = pcb->ssthresh;
	for (unsigned i = 0; i < 20; i++)
		round_trip(f, pcb);
	before = pcb->cwnd;
	for (unsigned i = 0; i < 100; i++) { // little is sent for minutes
		f->now_us += SECOND;
		tcp_advance(f->stack, f->now_us);
		tcp_congestion(pcb)->acked(pcb, MSS, MSS);
	}
	assert_int_equal(pcb->cwnd, before);
	round_trip(f, pcb);
	assert_true(pcb->cwnd < before + 5 * MSS);
}

static void after_a_timeout_nothing_is_remembered(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_cubic(f, 100 * MSS);

	tcp_congestion(pcb)->lost(pcb, 100 * MSS);
	tcp_congestion(pcb)->timeout(pcb);
	pcb->cwnd = MSS;
	while (pcb->cwnd < pcb->ssthresh)
		round_trip(f, pcb);
	round_trip(f, pcb);
	assert_int_equal(pcb->congestion_state.cubic.k_ms, 0);
	assert_in_range(pcb->congestion_state.cubic.w_max, 70 * MSS, 140 * MSS);
}

static void each_connection_may_choose(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb, *child;
	struct tcp_info info;

	listen_here(f);
	tcp_set_congestion(f->listener, TCP_CONGESTION_CUBIC);
	child = established_passive(f);
	tcp_pcb_info(child, &info);
	assert_int_equal(info.congestion, TCP_CONGESTION_CUBIC);
	tcp_set_congestion(child, TCP_CONGESTION_NEWRENO);
	tcp_pcb_info(child, &info);
	assert_int_equal(info.congestion, TCP_CONGESTION_NEWRENO);
	assert_string_equal(tcp_congestion_name(info.congestion), "newreno");
	tcp_abort(child);
	drop_sent(f);
	pcb = established_active(f);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.congestion, f->config.congestion);
}

int test_tcp_congestion(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_loss_leaves_seven_tenths),
		FIXTURE_TEST(the_window_follows_the_curve),
		FIXTURE_TEST(it_is_no_slower_than_reno),
		FIXTURE_TEST(a_flow_that_had_to_shrink_makes_way),
		FIXTURE_TEST(idle_time_is_no_reason_to_grow),
		FIXTURE_TEST(after_a_timeout_nothing_is_remembered),
		FIXTURE_TEST(each_connection_may_choose),
	};

	return cmocka_run_group_tests_name("tcp_congestion", tests, NULL, NULL);
}
