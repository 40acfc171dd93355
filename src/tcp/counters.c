// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Names and help of the engine's counters. Written by the worker, read by anyone.

#include "tcp/counters.h"

#include "base/assert.h"
#include "tcp/tcp.h"

static const char *const states[TCP_STATES] = {
	"CLOSED",
	"LISTEN",
	"SYN_DEFERRED",
	"SYN_SENT",
	"SYN_RECEIVED",
	"ESTABLISHED",
	"FIN_WAIT_1",
	"FIN_WAIT_2",
	"CLOSE_WAIT",
	"CLOSING",
	"LAST_ACK",
	"TIME_WAIT",
};
_Static_assert(TCP_TIME_WAIT + 1 == TCP_STATES, "a name for each state");

static const char *const drops[TCP_DROPS] = {
	[TCP_DROP_MALFORMED] = "tcp_malformed",
	[TCP_DROP_NO_CONNECTION] = "tcp_no_connection",
	[TCP_DROP_OUT_OF_WINDOW] = "tcp_out_of_window",
	[TCP_DROP_OLD_TIMESTAMP] = "tcp_old_timestamp",
	[TCP_DROP_NO_TIMESTAMP] = "tcp_no_timestamp",
	[TCP_DROP_BAD_ACK] = "tcp_bad_ack",
	[TCP_DROP_BAD_RST] = "tcp_bad_rst",
	[TCP_DROP_UNEXPECTED] = "tcp_unexpected",
	[TCP_DROP_NO_PAYLOAD] = "tcp_no_payload",
	[TCP_DROP_REASSEMBLY] = "tcp_reassembly_full",
	[TCP_DROP_BAD_SACK] = "tcp_bad_sack",
	[TCP_DROP_ICMP] = "tcp_icmp_ignored",
};

static const char *const syn_drops[TCP_SYN_DROPS] = {
	[TCP_SYN_DROP_BACKLOG] = "backlog",
	[TCP_SYN_DROP_CONNECTIONS] = "connections_max",
	[TCP_SYN_DROP_NO_ROUTE] = "no_route",
	[TCP_SYN_DROP_REPEATED] = "repeated",
};

static const char *const undone[TCP_UNDONES] = {
	[TCP_UNDONE_TIMESTAMPS] = "timestamps",
	[TCP_UNDONE_DUPLICATES] = "duplicates",
	[TCP_UNDONE_FRTO] = "f_rto",
};

// In the order of enum tcp_counter.
static const struct counter_family families[] = {
	{"tcp_connections", "Connections by state.", "state", states, TCP_STATES, COUNTER_GAUGE},
	{"tcp_pieces", "Pieces in all send queues.", NULL, NULL, 1, COUNTER_GAUGE},
	{"tcp_segments_in_total", "Segments received.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_segments_out_total", "Segments sent.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_tso_frames_total", "Frames of several segments, for the device to cut.", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"tcp_retransmits_total", "Segments sent again.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_timeouts_total", "Expiries of the retransmission timer.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_fast_retransmits_total", "Losses noticed by what was acknowledged behind them.", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_tail_probes_total", "Tail loss probes (RFC 8985).", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_dsacks_received_total", "Duplicates that peers reported (RFC 2883).", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_recoveries_undone_total", "Reductions of the window undone: nothing was lost.",
		"reason", undone, TCP_UNDONES, COUNTER_MONOTONIC},
	{"tcp_sacks_forgotten_total", "SACKed ranges forgotten because of too many holes.", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_ecn_reductions_total", "Windows reduced because a router said so (RFC 3168).", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_zero_window_probes_total", "Probes of closed windows.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_keep_alives_total", "Keep-alive probes sent.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_resets_sent_total", "RST sent.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_resets_received_total", "RST that ended a connection.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_resets_suppressed_total", "RST not sent because of the rate limit or lack of frames.",
		NULL, NULL, 1, COUNTER_MONOTONIC},
	{"tcp_challenge_acks_total", "Challenge ACKs (RFC 5961).", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_challenge_acks_suppressed_total", "Challenge ACKs not sent: rate limit.", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"tcp_connect_retries_total", "SYNs repeated at once after an unacceptable ACK.", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_syn_cookies_sent_total", "SYNs past the backlog, answered with a cookie.", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"tcp_syn_cookies_accepted_total", "Cookies that came back.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_syn_cookies_failed_total", "Segments of no connection that brought no cookie.", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_time_wait_reused_total", "TIME-WAITs that gave way to a new connection.", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"tcp_time_wait_recycled_total", "TIME-WAITs cut short because connections ran out.", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"tcp_no_frame_total", "Flushes cut short because no frame was free.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"tcp_syn_dropped_total", "SYNs ignored.", "reason", syn_drops, TCP_SYN_DROPS,
		COUNTER_MONOTONIC},
	{"packets_dropped_total", "Packets without effect.", "reason", drops, TCP_DROPS,
		COUNTER_MONOTONIC},
};

const char *tcp_state_name(enum tcp_state state)
{
	ASSERT(state < TCP_STATES);
	return states[state];
}

struct counter_set tcp_counter_set(const uint64_t values[TCP_COUNTERS])
{
	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = values,
	};
}
