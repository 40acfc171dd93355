// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The neighbour table: an array of entries, found by rte_hash over (interface,
// address) with a random seed. Worker's thread; nothing is allocated after start.

#include "net/neighbour_cache.h"

#include <rte_hash.h>
#include <rte_jhash.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

// No padding: the bytes are hashed.
struct neighbour_key {
	struct net_address address;
	const struct net_if *netif;
};
static_assert(sizeof(struct neighbour_key) == 24, "the key must have no padding");

static enum net_neighbour_gauge neighbour_gauge(enum neighbour_state state)
{
	switch (state) {
	case NEIGHBOUR_STATIC:
		return NET_NEIGHBOUR_GAUGE_STATIC;
	case NEIGHBOUR_OBSERVED:
		return NET_NEIGHBOUR_GAUGE_OBSERVED;
	case NEIGHBOUR_REACHABLE:
		return NET_NEIGHBOUR_GAUGE_REACHABLE;
	case NEIGHBOUR_STALE:
	case NEIGHBOUR_DELAY:
	case NEIGHBOUR_PROBE:
		return NET_NEIGHBOUR_GAUGE_STALE;
	case NEIGHBOUR_FAILED:
		return NET_NEIGHBOUR_GAUGE_FAILED;
	default:
		return NET_NEIGHBOUR_GAUGE_INCOMPLETE;
	}
}

static void neighbour_gauge_add(struct net *net, enum neighbour_state state, int n)
{
	if (state != NEIGHBOUR_FREE)
		counter_add(&net->counters.neighbours[neighbour_gauge(state)], (uint64_t)n);
}

static bool unresolved(const struct net_neighbour *n)
{
	return n->state > NEIGHBOUR_PROBE;
}

void neighbour_unused(struct net *net, struct net_neighbour *n)
{
	if (!unresolved(n)) {
		list_append(&net->neighbours_unused, &n->link);
		return;
	}
	list_append(&net->neighbours_unresolved, &n->link);
	if (++net->unresolved_count > (net->config.neighbours_max + 1) / 2)
		neighbour_remove(net,
			container_of(net->neighbours_unresolved.next, struct net_neighbour, link));
}

// Off the list of what is not in use, if it stands there.
static void unlink_unused(struct net *net, struct net_neighbour *n)
{
	if (list_linked(&n->link))
		net->unresolved_count -= unresolved(n);
	list_remove(&n->link);
}

bool neighbour_room_for_hearsay(const struct net *net)
{
	return 2 * (unsigned)rte_hash_count(net->neighbour_hash) < net->config.neighbours_max;
}

// The longest unused entry whose loss costs least; false when there is none to lose.
static bool make_room(struct net *net)
{
	struct list *from = &net->neighbours_unresolved;
	struct net_neighbour *n;

	if (list_empty(from))
		from = &net->neighbours_unused;
	if (list_empty(from))
		return false;
	n = container_of(from->next, struct net_neighbour, link);
	if (n->state == NEIGHBOUR_REACHABLE)
		return false;
	neighbour_remove(net, n);
	return true;
}

void neighbour_set_state(struct net *net, struct net_neighbour *n, enum neighbour_state state)
{
	bool unused = n->state != NEIGHBOUR_FREE && list_linked(&n->link);

	if (unused)
		unlink_unused(net, n);
	neighbour_gauge_add(net, n->state, -1);
	neighbour_gauge_add(net, state, 1);
	wheel_disarm(&net->wheel, &n->timer);
	n->state = state;
	if (unused && state != NEIGHBOUR_FREE)
		neighbour_unused(net, n);
}

// --- frames that wait ----------------------------------------------------------------------------

static struct rte_mbuf **neighbour_pending_slot(
	const struct net *net, const struct net_neighbour *n, unsigned i)
{
	size_t entry = (size_t)(n - net->neighbours);

	return &net->pending[entry * net->config.neighbour_queue +
			     (n->pending_head + i) % net->config.neighbour_queue];
}

void neighbour_pending_push(struct net *net, struct net_neighbour *n, struct rte_mbuf *m)
{
	*neighbour_pending_slot(net, n, n->pending_count++) = m;
	net->pending_count++;
}

struct rte_mbuf *neighbour_pending_pop(struct net *net, struct net_neighbour *n)
{
	struct rte_mbuf *m = *neighbour_pending_slot(net, n, 0);

	n->pending_head = (uint16_t)((n->pending_head + 1) % net->config.neighbour_queue);
	n->pending_count--;
	net->pending_count--;
	return m;
}

void neighbour_pending_drop(struct net *net, struct net_neighbour *n, enum net_drop reason)
{
	while (n->pending_count > 0)
		net_drop(net, neighbour_pending_pop(net, n), reason);
}

// --- the table -----------------------------------------------------------------------------------

int neighbour_cache_init(struct net *net, uint64_t hash_seed)
{
	unsigned max = net->config.neighbours_max;
	char name[RTE_HASH_NAMESIZE];

	snprintf(name, sizeof(name), "net%p", (void *)net);
	net->neighbour_hash = rte_hash_create(&(struct rte_hash_parameters){
		.name = name,
		.entries = RTE_MAX(max, 8u), // the smallest that rte_hash takes
		.key_len = sizeof(struct neighbour_key),
		.hash_func = rte_jhash,
		.hash_func_init_val = (uint32_t)hash_seed,
		.socket_id = SOCKET_ID_ANY,
		// Without it an insertion may fail before the table is full.
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	});
	net->neighbours = calloc(max, sizeof(*net->neighbours));
	net->pending = calloc((size_t)max * net->config.neighbour_queue, sizeof(struct rte_mbuf *));
	if (net->neighbour_hash == NULL || net->neighbours == NULL || net->pending == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < max; i++) {
		wheel_timer_init(&net->neighbours[i].timer);
		list_init(&net->neighbours[i].link);
		list_append(&net->neighbours_free, &net->neighbours[i].link);
	}
	return 0;
}

void neighbour_cache_fini(struct net *net)
{
	if (net->neighbours != NULL && net->pending != NULL) {
		for (unsigned i = 0; i < net->config.neighbours_max; i++)
			neighbour_pending_drop(net, &net->neighbours[i], NET_DROP_NEIGHBOUR_FAILED);
	}
	free(net->pending);
	free(net->neighbours);
	rte_hash_free(net->neighbour_hash); // accepts NULL
}

struct net_neighbour *neighbour_find(
	const struct net *net, const struct net_if *netif, const struct net_address *address)
{
	struct neighbour_key key = {.address = *address, .netif = netif};
	void *found;

	if (rte_hash_lookup_data(net->neighbour_hash, &key, &found) < 0)
		return NULL;
	return found;
}

void neighbour_remove(struct net *net, struct net_neighbour *n)
{
	struct neighbour_key key = {.address = n->address, .netif = n->netif};

	DASSERT(n->references == 0);
	neighbour_pending_drop(net, n, NET_DROP_NEIGHBOUR_FULL);
	neighbour_set_state(net, n, NEIGHBOUR_FREE);
	rte_hash_del_key(net->neighbour_hash, &key);
	list_append(&net->neighbours_free, &n->link);
}

struct net_neighbour *neighbour_create(
	struct net *net, struct net_if *netif, const struct net_address *address)
{
	struct neighbour_key key = {.address = *address, .netif = netif};
	struct net_neighbour *n;

	if (list_empty(&net->neighbours_free) && !make_room(net))
		return NULL;
	n = container_of(net->neighbours_free.next, struct net_neighbour, link);
	if (rte_hash_add_key_data(net->neighbour_hash, &key, n) != 0)
		return NULL;
	list_remove(&n->link);
	n->netif = netif;
	n->address = *address;
	n->requests = 0;
	n->tagged = false;
	n->confirmed_us = 0;
	n->header = (struct rte_ether_hdr){
		.ether_type = rte_cpu_to_be_16(
			net_address_is_ipv4(address) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6),
	};
	memcpy(n->header.src_addr.addr_bytes, netif->mac, RTE_ETHER_ADDR_LEN);
	neighbour_set_state(net, n, NEIGHBOUR_NEW);
	return n;
}

int neighbour_get(struct net *net, struct net_if *netif, const struct net_address *address,
	struct net_neighbour **ret_neighbour)
{
	struct net_neighbour *n = neighbour_find(net, netif, address);

	if (n == NULL)
		n = neighbour_create(net, netif, address);
	if (n == NULL)
		return -ENOMEM;
	unlink_unused(net, n);
	n->references++;
	*ret_neighbour = n;
	return 0;
}

void neighbour_put(struct net *net, struct net_neighbour *n)
{
	ASSERT(n->references > 0);
	if (--n->references > 0 || n->state == NEIGHBOUR_STATIC)
		return;
	if (n->state == NEIGHBOUR_NEW || n->state == NEIGHBOUR_FAILED ||
		n->state == NEIGHBOUR_OBSERVED) {
		neighbour_remove(net, n);
		return;
	}
	neighbour_unused(net, n);
	// A STALE entry in use has let its timer run out; unused, it is on its way out.
	if (n->state == NEIGHBOUR_STALE && !wheel_armed(&n->timer))
		wheel_arm(&net->wheel, &n->timer, net->now_us + net->config.neighbour_age_us);
}

// A group address of IPv6, which no neighbour has, made of the header: its name in the table.
static struct net_address observed_name(const struct net_observed *observed, bool ipv6)
{
	struct net_address name = {.bytes = {0xff, (uint8_t)(observed->tagged << 1 | ipv6)}};

	memcpy(&name.bytes[2], observed->destination, RTE_ETHER_ADDR_LEN);
	memcpy(&name.bytes[8], observed->source, RTE_ETHER_ADDR_LEN);
	if (observed->tagged)
		memcpy(&name.bytes[14], &observed->tag, sizeof(observed->tag));
	return name;
}

int neighbour_observe(struct net *net, const struct net_observed *observed, bool ipv6,
	struct net_neighbour **ret_neighbour)
{
	const struct net_address name = observed_name(observed, ipv6);
	struct net_neighbour *n;
	int rc = neighbour_get(net, observed->netif, &name, &n);

	if (rc != 0)
		return rc;
	*ret_neighbour = n;
	if (n->state == NEIGHBOUR_OBSERVED)
		return 0;
	memcpy(n->header.src_addr.addr_bytes, observed->source, RTE_ETHER_ADDR_LEN);
	memcpy(n->header.dst_addr.addr_bytes, observed->destination, RTE_ETHER_ADDR_LEN);
	n->header.ether_type = rte_cpu_to_be_16(ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	n->tagged = observed->tagged;
	if (n->tagged) {
		n->vlan.vlan_tci = rte_cpu_to_be_16(observed->tag);
		n->vlan.eth_proto = n->header.ether_type;
		n->header.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
	}
	neighbour_set_state(net, n, NEIGHBOUR_OBSERVED);
	return 0;
}

int neighbour_add_static(struct net *net, struct net_if *netif, const struct net_address *address,
	const uint8_t mac[6])
{
	struct net_neighbour *n;

	if (neighbour_find(net, netif, address) != NULL)
		return -EEXIST;
	n = neighbour_create(net, netif, address);
	if (n == NULL)
		return -ENOMEM;
	memcpy(n->header.dst_addr.addr_bytes, mac, RTE_ETHER_ADDR_LEN);
	neighbour_set_state(net, n, NEIGHBOUR_STATIC);
	return 0;
}

// --- looking in ----------------------------------------------------------------------------------

static const char *neighbour_state_name(enum neighbour_state state)
{
	static const char *const names[NET_NEIGHBOUR_GAUGES] = {
		[NET_NEIGHBOUR_GAUGE_STATIC] = "static",
		[NET_NEIGHBOUR_GAUGE_OBSERVED] = "observed",
		[NET_NEIGHBOUR_GAUGE_REACHABLE] = "reachable",
		[NET_NEIGHBOUR_GAUGE_STALE] = "stale",
		[NET_NEIGHBOUR_GAUGE_INCOMPLETE] = "incomplete",
		[NET_NEIGHBOUR_GAUGE_FAILED] = "failed",
	};

	return names[neighbour_gauge(state)];
}

unsigned net_neighbours_list(
	const struct net *net, unsigned *cursor, struct net_neighbour_info *ret_infos, unsigned max)
{
	unsigned count = 0;

	for (; *cursor < net->config.neighbours_max && count < max; (*cursor)++) {
		const struct net_neighbour *n = &net->neighbours[*cursor];
		struct net_neighbour_info *info = &ret_infos[count];

		if (n->state == NEIGHBOUR_FREE || n->state == NEIGHBOUR_OBSERVED)
			continue;
		info->address = n->address;
		memcpy(info->mac, n->header.dst_addr.addr_bytes, sizeof(info->mac));
		info->state = neighbour_state_name(n->state);
		info->interface = n->netif->name;
		count++;
	}
	return count;
}

static void neighbour_check_entry(const struct net *net, const struct net_neighbour *n)
{
	bool timed = n->state == NEIGHBOUR_REACHABLE || n->state == NEIGHBOUR_DELAY ||
		     n->state == NEIGHBOUR_PROBE || n->state == NEIGHBOUR_INCOMPLETE ||
		     (n->state == NEIGHBOUR_STALE && n->references == 0);
	bool listed =
		n->state == NEIGHBOUR_FREE || (n->references == 0 && n->state != NEIGHBOUR_STATIC);

	ASSERT(n->pending_count <= net->config.neighbour_queue);
	ASSERT(n->pending_count == 0 || n->state == NEIGHBOUR_INCOMPLETE);
	ASSERT(list_linked(&n->link) == listed);
	ASSERT(!timed || wheel_armed(&n->timer));
	if (n->state == NEIGHBOUR_FREE) {
		ASSERT(n->references == 0 && !wheel_armed(&n->timer));
		return;
	}
	ASSERT(neighbour_find(net, n->netif, &n->address) == n);
	ASSERT(n->references > 0 || (n->state != NEIGHBOUR_NEW && n->state != NEIGHBOUR_FAILED &&
					    n->state != NEIGHBOUR_OBSERVED));
}

void neighbour_check(const struct net *net)
{
	uint64_t gauges[NET_NEIGHBOUR_GAUGES] = {0};
	unsigned pending = 0, used = 0, listed = 0;

	for (unsigned i = 0; i < net->config.neighbours_max; i++) {
		const struct net_neighbour *n = &net->neighbours[i];

		neighbour_check_entry(net, n);
		pending += n->pending_count;
		if (n->state == NEIGHBOUR_FREE)
			continue;
		used++;
		gauges[neighbour_gauge(n->state)]++;
	}
	list_for_each (pos, &net->neighbours_free)
		listed++;
	ASSERT(listed + used == net->config.neighbours_max);
	listed = 0;
	list_for_each (pos, &net->neighbours_unresolved)
		listed++;
	ASSERT(listed == net->unresolved_count);
	ASSERT(rte_hash_count(net->neighbour_hash) == (int32_t)used);
	ASSERT(pending == net->pending_count && pending <= net->pending_max);
	for (unsigned i = 0; i < NET_NEIGHBOUR_GAUGES; i++)
		ASSERT(gauges[i] == net->counters.neighbours[i]);
}
