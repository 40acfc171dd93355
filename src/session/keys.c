// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Chains over as many buckets as the map has for identifiers.

#include "session/keys.h"

#include <rte_malloc.h>

#include <errno.h>

int session_keys_create(struct session_map *map)
{
	map->by_key = rte_malloc("keys", sizeof(*map->by_key) * (map->bucket_mask + 1ul), 0);
	if (map->by_key == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= map->bucket_mask; i++)
		list_init(&map->by_key[i]);
	return 0;
}

void session_keys_destroy(struct session_map *map)
{
	rte_free(map->by_key);
}

static struct list *chain(const struct session_map *map, uint64_t key)
{
	return &map->by_key[(key * 0x9e3779b97f4a7c15ull >> 32) & map->bucket_mask];
}

void session_key_set(struct session_map *map, struct session *session, uint64_t key)
{
	list_remove(&session->key_link);
	session->key = key;
	if (key != 0)
		list_append(chain(map, key), &session->key_link);
}

struct session *session_by_key(const struct session_map *map, uint64_t key)
{
	list_for_each (link, chain(map, key)) {
		struct session *session = container_of(link, struct session, key_link);

		if (session->key == key)
			return session;
	}
	return NULL;
}

void session_keys_forget(struct session_map *map)
{
	for (uint32_t i = 0; i < slab_count(map->sessions); i++) {
		struct session *session = slab_at(map->sessions, i);

		if (session != NULL)
			session_key_set(map, session, 0);
	}
}
