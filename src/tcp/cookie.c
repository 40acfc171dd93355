// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// SYN cookies (RFC 4987 3.6): past the backlog a SYN is answered and forgotten. What has to be
// known comes back with the peer's ACK: in the acknowledged ISN the MSS and a MAC over the tuple,
// under a key that changes every period; in the echoed timestamp what else the SYN offered.
//
//   ISN     ┌───────────────────── MAC ─────────────────────┬─ MSS ─┐   MSS: index of the table
//           31                                              3      0
//   TSval   ┌──────────────── clock ────────────────┬─ 0 ─┬─S─┬─ wscale ─┐   S: SACK-permitted
//           31                                      6     5   4         0   wscale: 15 = none
//
// Without timestamps window scale and SACK are not offered; ECN never is. Runs on the worker.

#include "tcp/input.h"

#include "base/clock.h"
#include "base/random.h"
#include "net/net.h"
#include "tcp/stack.h"

#include <string.h>

#define PERIOD_US (64 * US_IN_S)
#define MSS_BITS  3u
#define MSS_MASK  ((1u << MSS_BITS) - 1)

#define TS_BITS	       6u
#define TS_MASK	       ((1u << TS_BITS) - 1)
#define TS_WSCALE      0x0fu
#define TS_WSCALE_NONE 0x0fu
#define TS_SACK	       0x10u
#define TS_ABSENT      0x40u // of the SYN: no timestamps at all

// In front of common tunnels and links: IPv4's and IPv6's least, PPPoE, Ethernet, jumbo frames.
static const uint16_t mss_table[1u << MSS_BITS] = {64, 536, 1220, 1360, 1440, 1460, 4016, 8940};

static unsigned mss_index(const struct tcp_options *options)
{
	uint16_t mss = options->present & TCP_OPTION_MSS ? options->mss : mss_table[1];
	unsigned i = MSS_MASK;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return i;
}

// What the MAC covers: no padding.
struct subject {
	struct net_address local, remote;
	uint16_t local_port, remote_port;
	uint32_t peer_isn;
	uint32_t mss;
	uint32_t options;
};

static uint32_t mac(const struct tcp_stack *stack, const struct subject *subject, uint64_t period)
{
	const uint64_t purposes[2][2] = {{period, 0}, {period, 1}};
	uint64_t key[2];

	for (unsigned i = 0; i < 2; i++)
		key[i] = siphash_2_4(stack->cookie_secret, purposes[i], sizeof(purposes[i]));
	return (uint32_t)siphash_2_4((const uint8_t *)key, subject, sizeof(*subject)) & ~MSS_MASK;
}

static struct subject subject_of(const struct tcp_arrival *a, uint32_t peer_isn)
{
	return (struct subject){
		.local = a->local.address,
		.remote = a->remote.address,
		.local_port = a->local.port,
		.remote_port = a->remote.port,
		.peer_isn = peer_isn,
	};
}

static uint32_t options_pack(const struct tcp_options *options)
{
	uint32_t bits = options->present & TCP_OPTION_WSCALE ? options->wscale : TS_WSCALE_NONE;

	if (!(options->present & TCP_OPTION_TIMESTAMPS))
		return TS_ABSENT;
	return options->present & TCP_OPTION_SACK_PERMITTED ? bits | TS_SACK : bits;
}

static void options_unpack(uint32_t bits, struct tcp_options *options)
{
	if ((bits & TS_WSCALE) != TS_WSCALE_NONE) {
		options->present |= TCP_OPTION_WSCALE;
		options->wscale = bits & TS_WSCALE;
	}
	if (bits & TS_SACK)
		options->present |= TCP_OPTION_SACK_PERMITTED;
}

// The latest timestamp with these bits that is not in the future.
static uint32_t timestamp_with(uint32_t now, uint32_t bits)
{
	uint32_t ts = (now & ~TS_MASK) | bits;

	return seq_gt(ts, now) ? ts - (TS_MASK + 1) : ts;
}

// A pcb that is in no book, good for one segment.
static bool shadow_init(struct tcp_pcb *pcb, struct tcp_stack *stack,
	const struct tcp_pcb *listener, const struct tcp_arrival *a)
{
	memset(pcb, 0, sizeof(*pcb));
	pcb->stack = stack;
	if (tcp_input_child_open(pcb, listener, a))
		return false;
	tcp_pcb_choose_isn(pcb, NULL);
	pcb->state = TCP_SYN_RECEIVED;
	return true;
}

void tcp_cookie_answer(
	struct tcp_stack *stack, const struct tcp_pcb *listener, const struct tcp_arrival *a)
{
	struct tcp_emission e = {.flags = TCP_FLAG_SYN | TCP_FLAG_ACK};
	struct subject subject = subject_of(a, a->seg.seq);
	struct tcp_segment syn = a->seg;
	struct tcp_pcb pcb;

	if (!shadow_init(&pcb, stack, listener, a)) {
		tcp_count_syn_drop(stack, TCP_SYN_DROP_NO_ROUTE);
		return;
	}
	if (!stack->config.timestamps)
		syn.options.present &= (uint8_t)~TCP_OPTION_TIMESTAMPS;
	subject.mss = mss_index(&syn.options);
	subject.options = options_pack(&syn.options);
	if (subject.options == TS_ABSENT)
		syn.options.present &= TCP_OPTION_MSS;
	else
		pcb.ts_offset = timestamp_with(stack->now_ms + pcb.ts_offset, subject.options) -
				stack->now_ms;
	syn.flags = TCP_FLAG_SYN;
	tcp_pcb_learn_syn(&pcb, &syn);
	stack->cookie_period = stack->now_us / PERIOD_US;
	e.seq = pcb.iss = mac(stack, &subject, stack->cookie_period) | subject.mss;
	if (tcp_emit(&pcb, &e))
		tcp_count(stack, TCP_COUNTER_SYN_COOKIES_SENT);
	net_path_close(&pcb.path);
}

bool tcp_cookie_expected(const struct tcp_stack *stack)
{
	return stack->cookie_period != 0 && stack->now_us / PERIOD_US - stack->cookie_period <= 1;
}

// Is what the segment acknowledges a cookie of ours? Then the SYN as far as it is remembered.
static bool cookie_check(
	const struct tcp_stack *stack, const struct tcp_arrival *a, struct tcp_segment *ret_syn)
{
	const struct tcp_segment *seg = &a->seg;
	struct subject subject = subject_of(a, seg->seq - 1);
	uint64_t period = stack->now_us / PERIOD_US;
	uint32_t cookie = seg->ack - 1;

	subject.mss = cookie & MSS_MASK;
	subject.options = seg->options.present & TCP_OPTION_TIMESTAMPS
				  ? seg->options.tsecr & TS_MASK
				  : TS_ABSENT;
	if (mac(stack, &subject, period) != (cookie & ~MSS_MASK) &&
		mac(stack, &subject, period - 1) != (cookie & ~MSS_MASK))
		return false;
	*ret_syn = (struct tcp_segment){
		.seq = seg->seq - 1,
		.wnd = seg->wnd,
		.flags = TCP_FLAG_SYN,
		.options = {.present = TCP_OPTION_MSS, .mss = mss_table[subject.mss]},
	};
	if (subject.options != TS_ABSENT) {
		ret_syn->options.present |= TCP_OPTION_TIMESTAMPS;
		ret_syn->options.tsval = seg->options.tsval;
		options_unpack(subject.options, &ret_syn->options);
	}
	return true;
}

bool tcp_cookie_accept(struct tcp_stack *stack, struct tcp_pcb *listener, struct tcp_arrival *a)
{
	struct tcp_segment syn;
	struct tcp_pcb *pcb;

	if ((a->seg.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) != TCP_FLAG_ACK)
		return false;
	if (!cookie_check(stack, a, &syn)) {
		tcp_count(stack, TCP_COUNTER_SYN_COOKIES_FAILED);
		return false;
	}
	// Without a pcb the segment is dropped: the peer will repeat its text, perhaps in better
	// times.
	pcb = tcp_input_child_alloc(stack, listener, a);
	if (!pcb)
		return true;
	tcp_count(stack, TCP_COUNTER_SYN_COOKIES_ACCEPTED);
	tcp_pcb_choose_isn(pcb, NULL);
	pcb->iss = pcb->snd_una = a->seg.ack - 1;
	pcb->snd_nxt = pcb->snd_max = a->seg.ack;
	tcp_pcb_learn_syn(pcb, &syn);
	tcp_pcb_set_state(pcb, TCP_SYN_RECEIVED);
	pcb->rcv_adv = pcb->rcv_nxt + tcp_window_of_syn(pcb);
	tcp_table_insert(pcb);
	tcp_pcb_raise(pcb, TCP_EVENT_COOKIE);
	tcp_input_synchronized(pcb, a);
	return true;
}
