// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A hash table that doubles when it is full; keys are counted.

#include "plugin/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/random.h"

#define BUCKETS_FIRST 1024

struct clients {
	struct client **buckets;
	unsigned size; // of buckets, a power of two
	unsigned count;
	uint64_t last_key;
	uint8_t hash_key[16]; // client identifiers are chosen by strangers
};

int clients_create(struct clients **ret_clients)
{
	struct clients *clients = calloc(1, sizeof(*clients));

	if (!clients)
		return -ENOMEM;
	clients->size = BUCKETS_FIRST;
	clients->buckets = calloc(clients->size, sizeof(*clients->buckets));
	if (!clients->buckets) {
		free(clients);
		return -ENOMEM;
	}
	if (getrandom(clients->hash_key, sizeof(clients->hash_key), 0) < 0) {
		clients_destroy(clients);
		return -EIO;
	}
	*ret_clients = clients;
	return 0;
}

void clients_destroy(struct clients *clients)
{
	if (!clients)
		return;
	for (unsigned i = 0; i < clients->size; i++) {
		struct client *client = clients->buckets[i], *next;

		for (; client; client = next) {
			next = client->next;
			free(client);
		}
	}
	free(clients->buckets);
	free(clients);
}

unsigned clients_count(const struct clients *clients)
{
	return clients->count;
}

void clients_each(
	struct clients *clients, void (*each)(void *ctx, struct client *client), void *ctx)
{
	for (unsigned i = 0; i < clients->size; i++)
		for (struct client *client = clients->buckets[i]; client; client = client->next)
			each(ctx, client);
}

static struct client **bucket_of(const struct clients *clients, const void *context)
{
	// Structs lie many bytes apart: the lowest bits say nothing.
	uint64_t hash = ((uintptr_t)context >> 4) * 0x9e3779b97f4a7c15ull;

	return &clients->buckets[(hash >> 32) & (clients->size - 1)];
}

static struct client *find_context(const struct clients *clients, const void *context)
{
	struct client *client = *bucket_of(clients, context);

	while (client && client->context != context)
		client = client->next;
	return client;
}

static uint64_t hash_id(const struct clients *clients, const char *id)
{
	return id ? siphash_2_4(clients->hash_key, id, strlen(id)) : 0;
}

struct client *clients_find(struct clients *clients, const void *context, const char *id)
{
	struct client *client = find_context(clients, context);

	return client && client->id_hash == hash_id(clients, id) ? client : NULL;
}

// Without memory for more buckets the chains grow.
static void grow(struct clients *clients)
{
	unsigned old_size = clients->size;
	struct client **old = clients->buckets, **buckets = calloc(old_size * 2, sizeof(*buckets));

	if (!buckets)
		return;
	clients->buckets = buckets;
	clients->size = old_size * 2;
	for (unsigned i = 0; i < old_size; i++) {
		struct client *client = old[i], *next;

		for (; client; client = next) {
			struct client **bucket = bucket_of(clients, client->context);

			next = client->next;
			client->next = *bucket;
			*bucket = client;
		}
	}
	free(old);
}

static struct client *add(struct clients *clients, const void *context)
{
	struct client *client;
	struct client **bucket;

	if (clients->count == CLIENTS_MAX)
		return NULL;
	client = calloc(1, sizeof(*client));
	if (!client)
		return NULL;
	if (clients->count >= clients->size)
		grow(clients);
	bucket = bucket_of(clients, context);
	client->context = context;
	client->next = *bucket;
	*bucket = client;
	clients->count++;
	return client;
}

// The place of one connection becomes that of another: nothing hangs on the older one, for
// only who publishes has something there, and who publishes is seen to leave.
static void renew(struct clients *clients, struct client *client, const char *id)
{
	client->key = ++clients->last_key;
	client->id_hash = hash_id(clients, id);
	memset(client->joined, 0, sizeof(client->joined));
	client->published_qos_2 = false;
}

struct client *clients_get(struct clients *clients, const void *context, const char *id)
{
	struct client *client = find_context(clients, context);

	if (client && client->id_hash == hash_id(clients, id))
		return client;
	if (!client)
		client = add(clients, context);
	if (client)
		renew(clients, client, id);
	return client;
}

struct client *clients_join(struct clients *clients, const void *context, const char *id)
{
	struct client *client = clients_get(clients, context, id);

	bool published_qos_2;

	if (!client || client_is_joined(client))
		return client;
	published_qos_2 = client->published_qos_2; // the same connection's, perhaps
	renew(clients, client, id);
	client->published_qos_2 = published_qos_2;
	return client;
}

bool client_is_joined(const struct client *client)
{
	return client->joined[0].epoch != 0;
}

void client_joined(struct client *client, uint64_t epoch, uint64_t sequence)
{
	if (client->joined[0].epoch == epoch)
		return;
	client->joined[1] = client->joined[0];
	client->joined[0] = (struct client_join){epoch, sequence};
}

bool client_was_joined(const struct client *client, uint64_t epoch, uint64_t sequence)
{
	for (unsigned i = 0; i < 2; i++)
		if (client->joined[i].epoch == epoch)
			return client->joined[i].sequence <= sequence;
	return false;
}

void clients_remove(struct clients *clients, struct client *client)
{
	struct client **at = bucket_of(clients, client->context);

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	clients->count--;
	free(client);
}
