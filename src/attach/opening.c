// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From the SYN to the first octet: the handshake passes from end to end and is
// remembered (RFC 9293 3.5, RFC 7323 2.2, RFC 3168 6.1.1), then the connection is
// adopted or let go for good. Until then nothing but bare ACKs is forwarded of it, so
// nothing is in flight when the halves begin. Runs on the worker.

#include "attach/track.h"

#include "net/bridge.h"
#include "tcp/seq.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#define MQTT_CONNECT 0x10

// Lets go of a connection: it passes, and what waited for it goes first.
static void let_pass(struct monitor *monitor, struct track *track, enum track_pass reason)
{
	counter_inc(&monitor->counters.passed[reason]);
	for (unsigned i = 0; i < track->held_count; i++)
		bridge_send(
			monitor->bridge, track->held[i], 1u << track->ends[BROKER].netif->index);
	monitor->held -= track->held_count;
	track->held_count = 0;
	track_remove(monitor, track);
}

// --- what is remembered --------------------------------------------------------------------------

// ECN-setup SYN: ECE and CWR; SYN-ACK: ECE alone.
static bool offers_ecn(uint8_t flags)
{
	uint8_t ecn = flags & (TCP_FLAG_ECE | TCP_FLAG_CWR);

	return ecn == (flags & TCP_FLAG_ACK ? TCP_FLAG_ECE : TCP_FLAG_ECE | TCP_FLAG_CWR);
}

// The end that has sent this SYN or SYN-ACK.
static void remember_end(struct track *track, const struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;
	struct track_end *end = &track->ends[passer->side];
	bool again = end->known && end->tcp.isn == seg->seq;

	*end = (struct track_end){
		.tcp =
			{
				.endpoint = passer->transit.source,
				.isn = seg->seq,
				.right_edge = end->tcp.right_edge,
				// A repeated SYN-ACK may have been overtaken.
				.tsval = again ? seq_max(end->tcp.tsval, seg->options.tsval)
					       : seg->options.tsval,
				.mss = seg->options.mss,
				.wscale = seg->options.wscale,
				.has_wscale = (seg->options.present & TCP_OPTION_WSCALE) != 0,
				.sack_permitted =
					(seg->options.present & TCP_OPTION_SACK_PERMITTED) != 0,
				.timestamps = (seg->options.present & TCP_OPTION_TIMESTAMPS) != 0,
				.ecn = offers_ecn(seg->flags),
			},
		.netif = passer->from,
		.known = true,
	};
	net_transit_observe(passer->m, &passer->transit, passer->from, &end->seen);
}

// The window and the clock of the end that has sent a segment.
static void remember_segment(struct track *track, const struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;
	struct tcp_adopted_end *end = &track->ends[passer->side].tcp;
	bool scaled = end->has_wscale && track->ends[!passer->side].tcp.has_wscale &&
		      !(seg->flags & TCP_FLAG_SYN);
	uint32_t edge = seg->ack + ((uint32_t)seg->wnd << (scaled ? end->wscale : 0));

	if (seg->flags & TCP_FLAG_ACK) {
		end->right_edge =
			track->edge_known[passer->side] ? seq_max(end->right_edge, edge) : edge;
		track->edge_known[passer->side] = true;
	}
	if (seg->options.present & TCP_OPTION_TIMESTAMPS)
		end->tsval = seq_max(end->tsval, seg->options.tsval);
}

// --- adoption ------------------------------------------------------------------------------------

// The half that speaks to the end on `side`, in the place of the other.
static int adopt_half(struct monitor *monitor, const struct track *track, unsigned side,
	struct tcp_pcb *twin, struct tcp_pcb **ret_pcb)
{
	const struct tcp_adoption adoption = {
		.self = track->ends[!side].tcp,
		.peer = track->ends[side].tcp,
		.twin = twin,
	};
	struct net_path path;
	int rc = track_path(monitor, track, side, &path);

	if (rc < 0)
		return rc;
	rc = tcp_adopt(monitor->stack->tcp, &adoption, &path, NULL, ret_pcb);
	if (rc < 0)
		net_path_close(&path);
	return rc;
}

static int adopt(struct monitor *monitor, const struct track *track)
{
	struct tcp_stack *tcp = monitor->stack->tcp;
	const struct net_endpoint *client = &track->ends[CLIENT].tcp.endpoint;
	const struct net_endpoint *broker = &track->ends[BROKER].tcp.endpoint;
	struct tcp_pcb *down, *up;
	int rc = adopt_half(monitor, track, CLIENT, NULL, &down);

	if (rc < 0)
		return rc;
	rc = adopt_half(monitor, track, BROKER, down, &up);
	if (rc < 0) {
		tcp_forget(tcp, broker, client);
		return rc;
	}
	rc = stack_adopt(monitor->stack, track->key.broker, down, up);
	if (rc < 0) {
		tcp_forget(tcp, broker, client);
		tcp_forget(tcp, client, broker);
	}
	return rc;
}

// What came ahead of the first octet comes behind it now.
static void deliver_held(struct monitor *monitor, struct track *track)
{
	struct passer passer = {.from = track->ends[CLIENT].netif, .side = CLIENT};

	for (unsigned i = 0; i < track->held_count; i++) {
		passer.m = track->held[i];
		net_transit_read(passer.from, passer.m, &passer.transit);
		monitor_deliver(monitor, &passer);
	}
	monitor->held -= track->held_count;
	track->held_count = 0;
}

static void first_octet(struct monitor *monitor, struct track *track, struct passer *passer)
{
	uint32_t at = passer->transit.l4 + passer->segment.header_length;
	uint8_t scratch;
	const uint8_t *octet = rte_pktmbuf_read(passer->m, at, 1, &scratch);

	if (octet == NULL || *octet != MQTT_CONNECT || adopt(monitor, track) < 0) {
		let_pass(monitor, track,
			octet == NULL || *octet != MQTT_CONNECT ? PASS_NOT_MQTT : PASS_FULL);
		monitor_forward(monitor, passer);
		return;
	}
	track_set_state(monitor, track, TRACK_ADOPTED);
	track_record(monitor, track);
	wheel_disarm(&monitor->timers, &track->timer);
	track_touch(monitor, track);
	monitor_deliver(monitor, passer);
	deliver_held(monitor, track);
}

// Text ahead of the first octet, or the end behind it, is put aside: forwarded, it could not be
// taken over any more.
static void hold(struct monitor *monitor, struct track *track, struct passer *passer)
{
	if (track->held_count == TRACK_HELD || monitor->held == TRACKS_HELD) {
		counter_inc(&monitor->counters.dropped[MONITOR_DROP_EARLY]); // it will come again
		rte_pktmbuf_free(passer->m);
		return;
	}
	track->held[track->held_count++] = passer->m;
	monitor->held++;
}

// --- segments ------------------------------------------------------------------------------------

void opening_begin(struct monitor *monitor, struct passer *passer, const struct track_key *key)
{
	enum track_pass reason = PASSES;
	struct track *track;

	if (passer->segment.length > 0)
		reason = PASS_EARLY_TEXT;
	else if (passer->segment.options.present & TCP_OPTION_BINDING)
		reason = PASS_OPTION;
	else if ((track = track_add(monitor, key)) == NULL)
		reason = PASS_FULL;
	else
		remember_end(track, passer);
	if (reason != PASSES)
		counter_inc(&monitor->counters.passed[reason]);
	monitor_forward(monitor, passer);
}

// A SYN again, or another one from the same port: the earlier is forgotten.
static void client_syn(struct monitor *monitor, struct track *track, struct passer *passer)
{
	struct track_key key = track->key;

	if (passer->segment.seq == track->ends[CLIENT].tcp.isn && passer->segment.length == 0) {
		if (follow_is_elsewhere(track, passer))
			follow_opening(monitor, track, passer);
		remember_segment(track, passer);
		track_touch(monitor, track);
		monitor_forward(monitor, passer);
		return;
	}
	track_remove(monitor, track);
	opening_begin(monitor, passer, &key);
}

static void broker_syn(struct monitor *monitor, struct track *track, struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;

	if (!(seg->flags & TCP_FLAG_ACK))
		let_pass(monitor, track, PASS_SIMULTANEOUS);
	else if (seg->ack != track->ends[CLIENT].tcp.isn + 1)
		; // of an earlier attempt: the client will say so
	else if (seg->options.present & TCP_OPTION_BINDING)
		let_pass(monitor, track, PASS_OPTION);
	else if (passer->from == track->ends[CLIENT].netif)
		let_pass(monitor, track, PASS_ONE_PORT);
	else {
		remember_end(track, passer);
		remember_segment(track, passer);
		track_touch(monitor, track);
	}
	monitor_forward(monitor, passer);
}

// Is it one that ends the attempt (RFC 9293 3.10.7.3 and 3.10.7.4)?
static bool reset_counts(const struct track *track, const struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;
	const struct track_end *end = &track->ends[passer->side];

	if (passer->side == BROKER && !end->known)
		return (seg->flags & TCP_FLAG_ACK) && seg->ack == track->ends[CLIENT].tcp.isn + 1;
	return seg->seq == end->tcp.isn + 1;
}

static void opening_reset(struct monitor *monitor, struct track *track, struct passer *passer)
{
	if (reset_counts(track, passer)) {
		if (passer->side == BROKER && !track->ends[BROKER].known)
			offload_broker_reachable(monitor->stack->offload, track->key.broker, false);
		let_pass(monitor, track, PASS_ENDED);
	}
	monitor_forward(monitor, passer);
}

static bool is_first(const struct track *track, const struct tcp_segment *seg)
{
	return seg->seq == track->ends[CLIENT].tcp.isn + 1;
}

static void client_text(struct monitor *monitor, struct track *track, struct passer *passer)
{
	if (is_first(track, &passer->segment))
		first_octet(monitor, track, passer);
	else if (seq_gt(passer->segment.seq, track->ends[CLIENT].tcp.isn + 1))
		hold(monitor, track, passer);
	else
		monitor_forward(monitor, passer); // a keep-alive's octet
}

// Behind both SYNs, and nothing else.
static bool is_exact(const struct track *track, const struct passer *passer)
{
	return passer->segment.seq == track->ends[passer->side].tcp.isn + 1 &&
	       passer->segment.ack == track->ends[!passer->side].tcp.isn + 1;
}

// Does it acknowledge the other end's SYN, or, where nobody has seen that one's answer, follow its
// own? What does not is of a connection that had the port before, and still on its way.
static bool is_of_attempt(const struct track *track, const struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;
	const struct track_end *other = &track->ends[!passer->side];

	if (!(seg->flags & TCP_FLAG_ACK))
		return false;
	return other->known ? seg->ack == other->tcp.isn + 1 : is_first(track, seg);
}

void opening_segment(struct monitor *monitor, struct track *track, struct passer *passer)
{
	const struct tcp_segment *seg = &passer->segment;

	if (seg->flags & TCP_FLAG_RST) {
		opening_reset(monitor, track, passer);
		return;
	}
	if (seg->flags & TCP_FLAG_SYN) {
		if (passer->side == BROKER)
			broker_syn(monitor, track, passer);
		else
			client_syn(monitor, track, passer);
		return;
	}
	if (!is_of_attempt(track, passer)) {
		monitor_forward(monitor, passer);
		return;
	}
	if (!track->ends[BROKER].known) {
		let_pass(monitor, track, PASS_ONE_DIRECTION);
		monitor_forward(monitor, passer);
		return;
	}
	if (unlikely(is_exact(track, passer) && follow_is_elsewhere(track, passer)))
		follow_opening(monitor, track, passer);
	remember_segment(track, passer);
	track_touch(monitor, track);
	if (passer->side == CLIENT &&
		(seg->length > 0 || ((seg->flags & TCP_FLAG_FIN) && !is_first(track, seg)))) {
		client_text(monitor, track, passer);
		return;
	}
	if (seg->length > 0)
		let_pass(monitor, track, PASS_BROKER_FIRST);
	else if (seg->flags & TCP_FLAG_FIN)
		let_pass(monitor, track, PASS_ENDED);
	monitor_forward(monitor, passer);
}
