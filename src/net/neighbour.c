// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The states of a neighbour and what moves them: packets to send, answers, time.
// The table itself (lookup, references, eviction) is in neighbour_cache.c. Worker's thread.

#include "net/neighbour.h"

#include "net/arp.h"
#include "net/datagram.h"
#include "net/nd.h"
#include "net/neighbour_cache.h"
#include "net/state.h"

static void neighbour_transmit(struct net_neighbour *n, struct rte_mbuf *m)
{
	struct rte_ether_hdr *header;

	if (unlikely(n->tagged)) {
		struct rte_vlan_hdr *vlan = (void *)rte_pktmbuf_prepend(m, sizeof(*vlan));

		*vlan = n->vlan;
		m->l2_len += sizeof(*vlan);
	}
	header = (void *)rte_pktmbuf_prepend(m, sizeof(*header));
	*header = n->header;
	n->netif->tx(n->netif->ctx, m);
}

static void neighbour_rearm(struct net *net, struct net_neighbour *n, uint64_t after_us)
{
	wheel_arm(&net->wheel, &n->timer, net->now_us + after_us);
}

static void neighbour_solicit(struct net *net, struct net_neighbour *n)
{
	const struct rte_ether_addr *to = n->state == NEIGHBOUR_PROBE ? &n->header.dst_addr : NULL;

	neighbour_rearm(net, n, net->config.neighbour_retry_us);
	if (n->confirmed_us == 0 && !net_rate_take(&net->request_rate,
					    net->config.neighbour_requests_per_s, net->now_us)) {
		counter_inc(&net->counters.neighbour_requests_suppressed);
		return;
	}
	if (net_address_is_ipv4(&n->address))
		arp_request(net, n->netif, net_address_to_ipv4(&n->address), to);
	else
		nd_solicit(net, n->netif, &n->address, to);
}

static void neighbour_resolve(struct net *net, struct net_neighbour *n, enum neighbour_state state)
{
	neighbour_set_state(net, n, state);
	n->requests = 0;
	neighbour_solicit(net, n);
}

static void neighbour_enqueue(struct net *net, struct net_neighbour *n, struct rte_mbuf *m)
{
	if (n->pending_count == net->config.neighbour_queue)
		net_drop(net, neighbour_pending_pop(net, n), NET_DROP_NEIGHBOUR_QUEUE);
	else if (net->pending_count == net->pending_max) {
		net_drop(net, m, NET_DROP_NEIGHBOUR_QUEUE);
		return;
	}
	neighbour_pending_push(net, n, m);
}

void neighbour_send_slow(struct net *net, struct net_neighbour *n, struct rte_mbuf *m)
{
	switch (n->state) {
	case NEIGHBOUR_NEW:
	case NEIGHBOUR_FAILED:
		neighbour_enqueue(net, n, m);
		neighbour_resolve(net, n, NEIGHBOUR_INCOMPLETE);
		break;
	case NEIGHBOUR_INCOMPLETE:
		neighbour_enqueue(net, n, m);
		break;
	case NEIGHBOUR_STALE:
		// What is sent may bring an answer that confirms it (RFC 4861 7.3.3).
		neighbour_set_state(net, n, NEIGHBOUR_DELAY);
		neighbour_rearm(net, n, net->config.neighbour_delay_us);
		neighbour_transmit(n, m);
		break;
	default: // DELAY, PROBE: the old address serves until it has proven dead
		neighbour_transmit(n, m);
		break;
	}
}

void neighbour_send(struct net *net, struct net_neighbour *n, struct rte_mbuf *m)
{
	DASSERT(n->state != NEIGHBOUR_FREE);
	if (likely(n->state <= NEIGHBOUR_REACHABLE))
		neighbour_transmit(n, m);
	else
		neighbour_send_slow(net, n, m);
}

static void neighbour_become_reachable(struct net *net, struct net_neighbour *n)
{
	n->confirmed_us = net->now_us;
	neighbour_set_state(net, n, NEIGHBOUR_REACHABLE);
	neighbour_rearm(net, n, net->config.neighbour_age_us);
}

void neighbour_confirm(struct net *net, struct net_neighbour *n)
{
	// The timer of a REACHABLE entry looks at confirmed_us when it fires: nothing to re-arm.
	if (n->state == NEIGHBOUR_REACHABLE)
		n->confirmed_us = net->now_us;
	else if (n->state >= NEIGHBOUR_STALE && n->state <= NEIGHBOUR_PROBE)
		neighbour_become_reachable(net, n);
}

static void neighbour_flush(struct net *net, struct net_neighbour *n)
{
	while (n->pending_count > 0)
		neighbour_transmit(n, neighbour_pending_pop(net, n));
}

static void neighbour_become_stale(struct net *net, struct net_neighbour *n)
{
	neighbour_set_state(net, n, NEIGHBOUR_STALE);
	neighbour_rearm(net, n, net->config.neighbour_age_us);
}

// RFC 4861 7.2.5, which has the rules for ARP's news too.
static void neighbour_update(
	struct net *net, struct net_neighbour *n, const struct rte_ether_addr *mac, unsigned news)
{
	bool resolved = n->state >= NEIGHBOUR_REACHABLE && n->state <= NEIGHBOUR_PROBE;
	bool moved = resolved && !rte_is_same_ether_addr(&n->header.dst_addr, mac);

	if (moved && !(news & NEIGHBOUR_OVERRIDES)) {
		if (n->state == NEIGHBOUR_REACHABLE)
			neighbour_become_stale(net, n); // doubted, but kept
		return;
	}
	rte_ether_addr_copy(mac, &n->header.dst_addr);
	if (news & NEIGHBOUR_CONFIRMS)
		neighbour_become_reachable(net, n);
	else if (!resolved || moved)
		neighbour_become_stale(net, n); // believed, but verified when it is used
	neighbour_flush(net, n);
}

bool neighbour_learn(struct net *net, struct net_if *netif, const struct net_address *address,
	const struct rte_ether_addr *mac, unsigned news)
{
	struct net_neighbour *n = neighbour_find(net, netif, address);

	if (n == NULL && (news & NEIGHBOUR_CREATES) && neighbour_room_for_hearsay(net)) {
		n = neighbour_create(net, netif, address);
		if (n != NULL)
			neighbour_unused(net, n);
	}
	if (n == NULL || n->state == NEIGHBOUR_STATIC)
		return false;
	if (mac == NULL) {
		if (n->state > NEIGHBOUR_PROBE)
			return false; // none is known
		mac = &n->header.dst_addr;
	}
	neighbour_update(net, n, mac, news);
	return true;
}

static void neighbour_fail(struct net *net, struct net_neighbour *n)
{
	while (n->pending_count > 0) {
		struct rte_mbuf *m = neighbour_pending_pop(net, n);

		datagram_undelivered(net, m);
		net_drop(net, m, NET_DROP_NEIGHBOUR_FAILED);
	}
	neighbour_set_state(net, n, NEIGHBOUR_FAILED);
	if (n->references == 0)
		neighbour_remove(net, n);
}

static void neighbour_timeout(struct net *net, struct net_neighbour *n)
{
	uint64_t fresh_until_us = n->confirmed_us + net->config.neighbour_age_us;

	switch (n->state) {
	case NEIGHBOUR_REACHABLE:
		if (fresh_until_us > net->now_us) {
			wheel_arm(&net->wheel, &n->timer, fresh_until_us);
			break;
		}
		neighbour_become_stale(net, n);
		break;
	case NEIGHBOUR_STALE:
		// In use but silent: verified when there is something to send, RFC 4861 7.3.1.
		if (n->references == 0)
			neighbour_remove(net, n);
		break;
	case NEIGHBOUR_DELAY:
		neighbour_resolve(net, n, NEIGHBOUR_PROBE);
		break;
	case NEIGHBOUR_PROBE:
		if (n->requests++ < net->config.neighbour_retries)
			neighbour_solicit(net, n);
		else
			neighbour_resolve(net, n, NEIGHBOUR_INCOMPLETE); // it may have moved
		break;
	case NEIGHBOUR_INCOMPLETE:
		if (n->requests++ < net->config.neighbour_retries)
			neighbour_solicit(net, n);
		else
			neighbour_fail(net, n);
		break;
	default:
		ASSERT(false); // no timer runs in the other states
	}
}

void neighbour_timers(struct net *net)
{
	struct wheel_timer *timer;

	wheel_advance(&net->wheel, net->now_us);
	while ((timer = wheel_pop(&net->wheel)) != NULL)
		neighbour_timeout(net, container_of(timer, struct net_neighbour, timer));
}
