// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Segments of adopted connections: each is for the half that stands in the place of
// its destination, whatever state that is in. When both halves have ended, who still
// sends is reset; a new SYN begins anew. Runs on the worker.

#include "attach/track.h"

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

// Is there a half that stands in the place of the end on the other side of `side`?
static enum tcp_presence half_presence(
	const struct monitor *monitor, const struct track *track, unsigned side)
{
	return tcp_presence(monitor->stack->tcp, &track->ends[!side].tcp.endpoint,
		&track->ends[side].tcp.endpoint);
}

bool adopted_over(const struct monitor *monitor, const struct track *track)
{
	return half_presence(monitor, track, CLIENT) == TCP_ABSENT &&
	       half_presence(monitor, track, BROKER) == TCP_ABSENT;
}

static bool opens(const struct tcp_segment *seg)
{
	return (seg->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN;
}

// The client has come back from the same port, and has nothing to do with what was.
static void begin_anew(struct monitor *monitor, struct track *track, struct passer *passer)
{
	const struct track_key key = track->key;

	for (unsigned side = 0; side < ENDS; side++)
		tcp_forget(monitor->stack->tcp, &track->ends[!side].tcp.endpoint,
			&track->ends[side].tcp.endpoint);
	track_remove(monitor, track);
	opening_begin(monitor, passer, &key);
}

// Of no half any more.
static void stray(struct monitor *monitor, struct track *track, struct passer *passer)
{
	struct net_delivery delivery;
	struct net_path path;
	bool way_back = follow_back(monitor, track, passer, &path) == 0;

	counter_inc(&monitor->counters.strays);
	if (net_transit_deliver(passer->from, passer->m, &passer->transit, &delivery)) {
		if (way_back)
			tcp_stray_reset(monitor->stack->tcp, &path, &delivery);
		rte_pktmbuf_free(delivery.m);
	}
	if (way_back)
		net_path_close(&path);
	track_touch(monitor, track);
}

void adopted_segment(struct monitor *monitor, struct track *track, struct passer *passer)
{
	enum tcp_presence half = half_presence(monitor, track, passer->side);

	if (unlikely(half != TCP_ABSENT && follow_is_elsewhere(track, passer)))
		follow_adopted(monitor, track, passer);
	if (half == TCP_OWNED) {
		monitor_deliver(monitor, passer);
		return;
	}
	if (passer->side == CLIENT && opens(&passer->segment) &&
		half_presence(monitor, track, BROKER) != TCP_OWNED &&
		(half == TCP_ABSENT || passer->segment.seq != track->ends[CLIENT].tcp.isn)) {
		begin_anew(monitor, track, passer);
		return;
	}
	if (half == TCP_ORPHAN) {
		monitor_deliver(monitor, passer);
		return;
	}
	if (track->state == TRACK_ADOPTED && adopted_over(monitor, track)) {
		track_set_state(monitor, track, TRACK_GONE);
		track_touch(monitor, track);
	}
	stray(monitor, track, passer);
}

// It quotes a segment that the half has sent, so its quoted destination is who did not get it.
bool adopted_error(struct monitor *monitor, struct track *track, struct passer *passer)
{
	if (track->state != TRACK_ADOPTED)
		return false;
	monitor_deliver(monitor, passer);
	return true;
}
