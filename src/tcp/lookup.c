// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table of connections: open addressing with linear probing at half load at most,
// removal by shifting back (no tombstones, so its cost never grows with age).

#include "tcp/lookup.h"

#include "base/assert.h"
#include "base/random.h"
#include "tcp/stack.h"

#include <rte_prefetch.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct net_address any_address;
static const struct net_endpoint any_endpoint;

int tcp_table_init(struct tcp_table *table, uint32_t max, const uint8_t key[16])
{
	uint64_t size = 16;

	memset(table, 0, sizeof(*table));
	while (size < 2 * (uint64_t)max)
		size *= 2;
	table->slots = calloc(size, sizeof(*table->slots));
	if (!table->slots)
		return -ENOMEM;
	table->mask = (uint32_t)(size - 1);
	memcpy(table->key, key, sizeof(table->key));
	return 0;
}

void tcp_table_fini(struct tcp_table *table)
{
	free(table->slots);
	table->slots = NULL;
}

// Two IPv4 addresses fit twelve octets, and so one round of the hash less than half of the rest.
uint64_t tcp_table_bytes(const struct tcp_table *table)
{
	return ((uint64_t)table->mask + 1) * sizeof(*table->slots);
}

uint32_t tcp_table_hash(const struct tcp_table *table, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	uint32_t words[9];
	unsigned n = 0;

	words[n++] = (uint32_t)local->port << 16 | remote->port;
	words[n++] = local->address.words[3];
	words[n++] = remote->address.words[3];
	if (!net_address_is_ipv4(&local->address) || !net_address_is_ipv4(&remote->address)) {
		memcpy(&words[n], local->address.words, 12);
		memcpy(&words[n + 3], remote->address.words, 12);
		n += 6;
	}
	return (uint32_t)siphash_2_4(table->key, words, n * sizeof(words[0]));
}

static uint32_t hash_of(const struct tcp_pcb *pcb)
{
	const struct net_endpoint local = tcp_pcb_local(pcb);
	const struct net_endpoint remote = tcp_pcb_remote(pcb);

	return tcp_table_hash(&pcb->stack->table, &local, &remote);
}

static struct tcp_pcb *find_same(const struct tcp_pcb *pcb)
{
	const struct net_endpoint local = tcp_pcb_local(pcb);
	const struct net_endpoint remote = tcp_pcb_remote(pcb);

	return tcp_table_find(pcb->stack, &local, &remote);
}

static bool is_between(const struct tcp_pcb *pcb, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	return pcb->remote_port == remote->port && pcb->local_port == local->port &&
	       net_address_equal(&pcb->path.remote, &remote->address) &&
	       net_address_equal(&pcb->path.local, &local->address);
}

void tcp_table_prefetch(const struct tcp_table *table, uint32_t hash)
{
	rte_prefetch0(&table->slots[hash & table->mask]);
}

void tcp_table_prefetch_pcb(const struct tcp_stack *stack, uint32_t hash)
{
	const struct tcp_slot *slot = &stack->table.slots[hash & stack->table.mask];

	if (slot->pcb)
		tcp_prefetch(tcp_pcb_at(stack, slot->pcb));
}

struct tcp_pcb *tcp_table_find(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	return tcp_table_find_hashed(
		stack, tcp_table_hash(&stack->table, local, remote), local, remote);
}

struct tcp_pcb *tcp_table_find_hashed(const struct tcp_stack *stack, uint32_t hash,
	const struct net_endpoint *local, const struct net_endpoint *remote)
{
	const struct tcp_table *table = &stack->table;

	for (uint32_t i = hash & table->mask; table->slots[i].pcb; i = (i + 1) & table->mask) {
		struct tcp_pcb *pcb;

		if (table->slots[i].hash != hash)
			continue;
		pcb = tcp_pcb_at(stack, table->slots[i].pcb);
		if (is_between(pcb, local, remote))
			return pcb;
	}
	return NULL;
}

struct tcp_pcb *tcp_table_find_listener(
	const struct tcp_stack *stack, const struct net_endpoint *local)
{
	struct net_endpoint wildcard = {.address = any_address, .port = local->port};
	struct tcp_pcb *listener = tcp_table_find(stack, local, &any_endpoint);

	return listener ? listener : tcp_table_find(stack, &wildcard, &any_endpoint);
}

void tcp_table_insert(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;
	struct tcp_table *table = &stack->table;
	uint32_t hash = hash_of(pcb);
	uint32_t i = hash & table->mask;

	DASSERT(!find_same(pcb));
	ASSERT(table->used <= table->mask / 2);
	while (table->slots[i].pcb)
		i = (i + 1) & table->mask;
	table->slots[i] = (struct tcp_slot){
		.hash = hash,
		.pcb = tcp_pcb_index(pcb),
	};
	table->used++;
	pcb->flags |= TCP_PCB_HASHED;
}

void tcp_table_remove(struct tcp_pcb *pcb)
{
	struct tcp_table *table = &pcb->stack->table;
	uint32_t self = tcp_pcb_index(pcb);
	uint32_t hole;

	if (!(pcb->flags & TCP_PCB_HASHED))
		return;
	// Not kept in the pcb: a connection ends once.
	hole = hash_of(pcb) & table->mask;
	while (table->slots[hole].pcb != self)
		hole = (hole + 1) & table->mask;
	// Whoever was pushed past the hole by it moves into it: an entry may move when the hole
	// lies between its home and its place.
	for (uint32_t i = (hole + 1) & table->mask; table->slots[i].pcb;
		i = (i + 1) & table->mask) {
		uint32_t home = table->slots[i].hash & table->mask;

		if (((i - home) & table->mask) >= ((i - hole) & table->mask)) {
			table->slots[hole] = table->slots[i];
			hole = i;
		}
	}
	table->slots[hole] = (struct tcp_slot){0};
	table->used--;
	pcb->flags &= ~(uint32_t)TCP_PCB_HASHED;
}

void tcp_table_check(const struct tcp_stack *stack)
{
	const struct tcp_table *table = &stack->table;
	uint32_t used = 0;

	for (uint32_t i = 0; i <= table->mask; i++) {
		const struct tcp_pcb *pcb;

		if (!table->slots[i].pcb)
			continue;
		used++;
		pcb = tcp_pcb_at(stack, table->slots[i].pcb);
		ASSERT(pcb->flags & TCP_PCB_HASHED);
		ASSERT(pcb->state != TCP_CLOSED);
		ASSERT(find_same(pcb) == pcb);
	}
	ASSERT(used == table->used);
}
