// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the engine counts: the slots of one stack, in the order of the families.

#pragma once

#include <stdint.h>

#include "base/counters.h"

#define TCP_STATES 12

// packets_dropped_total{reason}: segments (or parts of them) that had no effect.
enum tcp_drop {
	TCP_DROP_MALFORMED,	// header or options cut short
	TCP_DROP_NO_CONNECTION, // answered with RST, where the rate allows
	TCP_DROP_OUT_OF_WINDOW, // RFC 9293 3.10.7.4, first
	TCP_DROP_OLD_TIMESTAMP, // PAWS, RFC 7323 5
	TCP_DROP_NO_TIMESTAMP,	// negotiated, yet missing (RFC 7323 3.2)
	TCP_DROP_BAD_ACK,	// of data never sent, or much too old (RFC 5961 5)
	TCP_DROP_BAD_RST,	// not at RCV.NXT (RFC 5961 3)
	TCP_DROP_UNEXPECTED,	// kind of segment that the state has no use for
	TCP_DROP_NO_PAYLOAD,	// no memory for text; it was not acknowledged
	TCP_DROP_REASSEMBLY,	// the out-of-order queue is full
	TCP_DROP_BAD_SACK,	// a block of what was never sent, or much too old
	TCP_DROP_ICMP,		// an ICMP error that does not fit any connection's flight
	TCP_DROPS,
};

// tcp_syn_dropped_total{reason}
enum tcp_syn_drop {
	TCP_SYN_DROP_BACKLOG,
	TCP_SYN_DROP_CONNECTIONS, // connections_max
	TCP_SYN_DROP_NO_ROUTE,
	TCP_SYN_DROP_REPEATED, // while the decision is open
	TCP_SYN_DROPS,
};

// tcp_recoveries_undone_total{reason}: nothing was lost, as was shown by …
enum tcp_undone {
	TCP_UNDONE_TIMESTAMPS, // RFC 3522
	TCP_UNDONE_DUPLICATES, // RFC 3708
	TCP_UNDONE_FRTO,       // RFC 5682
	TCP_UNDONES,
};

enum tcp_counter {
	TCP_COUNTER_CONNECTIONS, // one slot a state
	TCP_COUNTER_PIECES = TCP_COUNTER_CONNECTIONS + TCP_STATES,
	TCP_COUNTER_SEGMENTS_IN,
	TCP_COUNTER_SEGMENTS_OUT,
	TCP_COUNTER_TSO_FRAMES,
	TCP_COUNTER_RETRANSMITS,
	TCP_COUNTER_TIMEOUTS,
	TCP_COUNTER_FAST_RETRANSMITS,
	TCP_COUNTER_TAIL_PROBES,
	TCP_COUNTER_DSACKS_RECEIVED,
	TCP_COUNTER_UNDONE,
	TCP_COUNTER_SACKS_FORGOTTEN = TCP_COUNTER_UNDONE + TCP_UNDONES,
	TCP_COUNTER_ECN_REDUCTIONS,
	TCP_COUNTER_ZERO_WINDOW_PROBES,
	TCP_COUNTER_KEEP_ALIVES,
	TCP_COUNTER_RESETS_SENT,
	TCP_COUNTER_RESETS_RECEIVED,
	TCP_COUNTER_RESETS_SUPPRESSED,
	TCP_COUNTER_CHALLENGE_ACKS,
	TCP_COUNTER_CHALLENGE_ACKS_SUPPRESSED,
	TCP_COUNTER_CONNECT_RETRIES,
	TCP_COUNTER_SYN_COOKIES_SENT,
	TCP_COUNTER_SYN_COOKIES_ACCEPTED,
	TCP_COUNTER_SYN_COOKIES_FAILED,
	TCP_COUNTER_TIME_WAIT_REUSED,
	TCP_COUNTER_TIME_WAIT_RECYCLED,
	TCP_COUNTER_NO_FRAME,
	TCP_COUNTER_SYN_DROPPED,
	TCP_COUNTER_DROPPED = TCP_COUNTER_SYN_DROPPED + TCP_SYN_DROPS,
	TCP_COUNTERS = TCP_COUNTER_DROPPED + TCP_DROPS,
};

struct counter_set tcp_counter_set(const uint64_t values[TCP_COUNTERS]);
