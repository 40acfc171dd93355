// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table of connections: open addressing over {hash, pcb} in eight bytes, so that a
// lookup touches one line of the table and one of the pcb, however many there are.
// Keyed by SipHash: a peer cannot choose its ports to pile up in one place. Listeners
// stand in it with a remote endpoint of zeros.

#pragma once

#include <stdint.h>

struct net_endpoint;
struct tcp_pcb;
struct tcp_stack;

struct tcp_slot {
	uint32_t hash;
	uint32_t pcb; // index + 1; 0: free
};

struct tcp_table {
	struct tcp_slot *slots;
	uint32_t mask;
	uint32_t used;
	uint8_t key[16];
};

// Room for `max` pcbs at half load. -ENOMEM.
int tcp_table_init(struct tcp_table *table, uint32_t max, const uint8_t key[16]);
void tcp_table_fini(struct tcp_table *table);
uint64_t tcp_table_bytes(const struct tcp_table *table);

uint32_t tcp_table_hash(const struct tcp_table *table, const struct net_endpoint *local,
	const struct net_endpoint *remote);
// The lookup in steps, for a burst: fetches the slot into the cache, then what it probably leads
// to.
void tcp_table_prefetch(const struct tcp_table *table, uint32_t hash);
void tcp_table_prefetch_pcb(const struct tcp_stack *stack, uint32_t hash);
struct tcp_pcb *tcp_table_find_hashed(const struct tcp_stack *stack, uint32_t hash,
	const struct net_endpoint *local, const struct net_endpoint *remote);
struct tcp_pcb *tcp_table_find(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote);
// The listener of an address, else of every address; NULL.
struct tcp_pcb *tcp_table_find_listener(
	const struct tcp_stack *stack, const struct net_endpoint *local);
// Under its local and remote endpoint, which must not be there yet.
void tcp_table_insert(struct tcp_pcb *pcb);
// Harmless when it is not in the table.
void tcp_table_remove(struct tcp_pcb *pcb);
void tcp_table_check(const struct tcp_stack *stack);
