// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A hash table under a random key, chained; it grows with what it holds.

#include "control/exhook_clients.h"

#include "base/random.h"

#include <sys/random.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024u

struct entry {
	struct entry *next;
	uint64_t hash, space;
	unsigned sessions;
	char id[];
};

struct exhook_clients {
	unsigned max, count;
	unsigned buckets_count; // a power of two
	struct entry **buckets;
	uint8_t key[16];
};

struct exhook_clients *exhook_clients_create(unsigned max)
{
	struct exhook_clients *clients = calloc(1, sizeof(*clients));

	if (!clients)
		return NULL;
	clients->max = max;
	clients->buckets_count = BUCKETS_MIN;
	clients->buckets = calloc(BUCKETS_MIN, sizeof(struct entry *));
	if (!clients->buckets ||
		getrandom(clients->key, sizeof(clients->key), 0) != sizeof(clients->key)) {
		exhook_clients_destroy(clients);
		return NULL;
	}
	return clients;
}

void exhook_clients_clear(struct exhook_clients *clients)
{
	for (unsigned i = 0; i < clients->buckets_count; i++)
		while (clients->buckets[i]) {
			struct entry *entry = clients->buckets[i];

			clients->buckets[i] = entry->next;
			free(entry);
		}
	clients->count = 0;
}

void exhook_clients_destroy(struct exhook_clients *clients)
{
	if (!clients)
		return;
	if (clients->buckets)
		exhook_clients_clear(clients);
	free(clients->buckets);
	free(clients);
}

static struct entry **bucket(const struct exhook_clients *clients, uint64_t hash)
{
	return &clients->buckets[hash & (clients->buckets_count - 1)];
}

// Where the client's entry hangs, or would.
static struct entry **find(
	const struct exhook_clients *clients, uint64_t space, const char *id, uint64_t hash)
{
	struct entry **at = bucket(clients, hash);

	while (*at && ((*at)->hash != hash || (*at)->space != space || strcmp((*at)->id, id) != 0))
		at = &(*at)->next;
	return at;
}

static uint64_t hash_of(const struct exhook_clients *clients, uint64_t space, const char *id)
{
	return siphash_2_4(clients->key, id, strlen(id)) ^ space;
}

// Without memory for it chains only get longer.
static void grow(struct exhook_clients *clients)
{
	unsigned before = clients->buckets_count;
	struct entry **old = clients->buckets;
	struct entry **buckets = calloc(2 * (size_t)before, sizeof(struct entry *));

	if (!buckets)
		return;
	clients->buckets = buckets;
	clients->buckets_count = 2 * before;
	for (unsigned i = 0; i < before; i++)
		for (struct entry *entry = old[i], *next; entry; entry = next) {
			struct entry **at = bucket(clients, entry->hash);

			next = entry->next;
			entry->next = *at;
			*at = entry;
		}
	free(old);
}

int exhook_clients_add(struct exhook_clients *clients, uint64_t space, const char *id)
{
	uint64_t hash = hash_of(clients, space, id);
	struct entry **at = find(clients, space, id, hash);
	size_t size = strlen(id) + 1;

	if (*at) {
		(*at)->sessions++;
		return 0;
	}
	if (clients->count == clients->max)
		return -ENOSPC;
	*at = calloc(1, sizeof(struct entry) + size);
	if (!*at)
		return -ENOMEM;
	(*at)->hash = hash;
	(*at)->space = space;
	(*at)->sessions = 1;
	memcpy((*at)->id, id, size);
	if (++clients->count > clients->buckets_count)
		grow(clients);
	return 0;
}

bool exhook_clients_has(const struct exhook_clients *clients, uint64_t space, const char *id)
{
	return *find(clients, space, id, hash_of(clients, space, id)) != NULL;
}

bool exhook_clients_remove(struct exhook_clients *clients, uint64_t space, const char *id)
{
	struct entry **at = find(clients, space, id, hash_of(clients, space, id));
	struct entry *entry = *at;

	if (!entry || --entry->sessions > 0)
		return false;
	*at = entry->next;
	free(entry);
	clients->count--;
	return true;
}
