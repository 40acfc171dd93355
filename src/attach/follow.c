// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ends that move while their connection stands: to another port of Offramp (a machine is moved, a
// cable), or to another Ethernet address (a failover). A switch learns it from any frame, a
// kernel from ARP; both believe whoever says so. A half follows only segments that its end
// could have sent (tcp_plausible()), so nobody gets a connection's octets by a frame that bears an
// address: who can forge such a segment can put octets in anyway. Runs on the worker.

#include "attach/track.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <string.h>

static const struct rte_ether_hdr *ether_of(const struct passer *passer)
{
	return rte_pktmbuf_mtod(passer->m, const struct rte_ether_hdr *);
}

static bool same(const uint8_t a[6], const struct rte_ether_addr *b)
{
	return memcmp(a, b, RTE_ETHER_ADDR_LEN) == 0;
}

// Whether an end addresses the other by what that sends from: not so behind routers that answer
// for a virtual address.
static bool is_direct(const struct track *track, unsigned side)
{
	return memcmp(track->ends[!side].seen.destination, track->ends[side].seen.source,
		       RTE_ETHER_ADDR_LEN) == 0;
}

bool follow_is_elsewhere(const struct track *track, const struct passer *passer)
{
	const struct track_end *end = &track->ends[passer->side];
	const struct track_end *other = &track->ends[!passer->side];
	const struct rte_ether_hdr *ether = ether_of(passer);

	if (passer->from != end->netif || !same(end->seen.source, &ether->src_addr))
		return true;
	// Who has not heard yet that the other has another address is not to be followed back.
	return !same(end->seen.destination, &ether->dst_addr) &&
	       !same(other->left, &ether->dst_addr);
}

// Where and how the end has sent a segment is where and how it sends.
static void remember(struct track *track, const struct passer *passer)
{
	struct track_end *end = &track->ends[passer->side];
	struct track_end *other = &track->ends[!passer->side];
	bool direct = is_direct(track, passer->side);
	struct net_observed seen;

	net_transit_observe(passer->m, &passer->transit, passer->from, &seen);
	if (same(other->left, &ether_of(passer)->dst_addr))
		memcpy(seen.destination, end->seen.destination, sizeof(seen.destination));
	if (memcmp(end->seen.source, seen.source, sizeof(seen.source)) != 0)
		memcpy(end->left, end->seen.source, sizeof(end->left));
	end->netif = passer->from;
	end->seen = seen;
	// The other end will have to address it so.
	if (direct)
		memcpy(other->seen.destination, seen.source, sizeof(seen.source));
}

static int halves_reroute(struct monitor *monitor, const struct track *track)
{
	struct net_path paths[ENDS];
	int rc = track_path(monitor, track, CLIENT, &paths[CLIENT]);

	if (rc < 0)
		return rc;
	rc = track_path(monitor, track, BROKER, &paths[BROKER]);
	if (rc < 0) {
		net_path_close(&paths[CLIENT]);
		return rc;
	}
	for (unsigned side = 0; side < ENDS; side++)
		tcp_reroute(monitor->stack->tcp, &track->ends[!side].tcp.endpoint,
			&track->ends[side].tcp.endpoint, &paths[side]);
	return 0;
}

void follow_adopted(struct monitor *monitor, struct track *track, const struct passer *passer)
{
	const struct track_end before[ENDS] = {track->ends[CLIENT], track->ends[BROKER]};
	bool together = passer->from == before[!passer->side].netif;

	// On one port with the other it needs nobody in between, and cannot have one.
	if (together || !net_transit_intact(passer->from, passer->m, &passer->transit) ||
		!tcp_plausible(monitor->stack->tcp, &before[!passer->side].tcp.endpoint,
			&before[passer->side].tcp.endpoint, &passer->segment)) {
		counter_inc(&monitor->counters.moves[MOVE_REFUSED]);
		return;
	}
	remember(track, passer);
	if (halves_reroute(monitor, track) < 0) {
		memcpy(track->ends, before, sizeof(before));
		return; // the next segment shows it again
	}
	counter_inc(&monitor->counters.moves[MOVE_FOLLOWED]);
	track_record(monitor, track);
}

void follow_opening(struct monitor *monitor, struct track *track, const struct passer *passer)
{
	if (passer->from == track->ends[!passer->side].netif)
		return;
	remember(track, passer);
	counter_inc(&monitor->counters.moves[MOVE_FOLLOWED]);
}

int follow_back(struct monitor *monitor, const struct track *track, const struct passer *passer,
	struct net_path *ret_path)
{
	const struct rte_ether_hdr *ether = ether_of(passer);
	struct track back = *track;
	struct net_observed *seen = &back.ends[!passer->side].seen;

	back.ends[passer->side].netif = passer->from;
	memcpy(seen->source, &ether->dst_addr, sizeof(seen->source));
	memcpy(seen->destination, &ether->src_addr, sizeof(seen->destination));
	return track_path(monitor, &back, passer->side, ret_path);
}
