// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A chunk: received text in memory of our own. It lives in a payload that nobody else
// refers to, whose first octets hold the chunk itself, so no second pool can run dry.
//
//   payload->data  ┌──────────────┬─ consumed ─┬──── length ────┬── room ──┐
//                  │ struct chunk │            │ text           │          │
//                  └──────────────┴────────────┴────────────────┴──────────┘
//                                 ├── offset ──▶

#pragma once

#include <stdint.h>

#include "base/list.h"
#include "base/payload.h"

struct rte_mbuf;

struct tcp_chunk {
	struct tcp_chunk *next;
	uint32_t seq; // of the first octet; early text only
	uint32_t offset;
	uint32_t length;
	uint32_t stamp; // when text was last added, by stack->early_stamp; early text only
};

#define TCP_CHUNK_LARGEST (PAYLOAD_LARGEST - (uint32_t)sizeof(struct tcp_chunk))

// An empty chunk with room for at least `size` octets (capped by TCP_CHUNK_LARGEST); NULL.
static inline struct tcp_chunk *tcp_chunk_alloc(struct payload_pool *pool, uint32_t size)
{
	uint32_t capped = size < TCP_CHUNK_LARGEST ? size : TCP_CHUNK_LARGEST;
	struct payload *p = payload_alloc(pool, capped + (uint32_t)sizeof(struct tcp_chunk));
	struct tcp_chunk *chunk;

	if (!p)
		return NULL;
	chunk = (struct tcp_chunk *)p->data;
	*chunk = (struct tcp_chunk){0};
	return chunk;
}

static inline struct payload *tcp_chunk_payload(struct tcp_chunk *chunk)
{
	return container_of(chunk, struct payload, data);
}

static inline void tcp_chunk_free(struct tcp_chunk *chunk)
{
	payload_put(tcp_chunk_payload(chunk));
}

static inline uint8_t *tcp_chunk_text(struct tcp_chunk *chunk)
{
	return (uint8_t *)(chunk + 1) + chunk->offset;
}

static inline uint32_t tcp_chunk_room(struct tcp_chunk *chunk)
{
	return tcp_chunk_payload(chunk)->capacity - (uint32_t)sizeof(*chunk) - chunk->offset -
	       chunk->length;
}
