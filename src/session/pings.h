// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PINGREQs under way on one broker leg: the client's own, those that keep the
// broker's keep-alive timer content while a client's traffic is captured, and
// fences. The broker answers in order (3.12), so a small ring tells whose PINGRESP it is.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PINGS_MAX 16

enum {
	PING_CLIENT = 0,     // the client's: its PINGRESP passes
	PING_KEEP_ALIVE = 1, // ours, swallowed
	PING_FENCE = 2,	     // and above: ours, the fence epoch
};

struct pings {
	uint8_t head, count;
	uint64_t ring[PINGS_MAX];
};

static inline bool pings_full(const struct pings *pings)
{
	return pings->count == PINGS_MAX;
}

// A PINGREQ has been sent to the broker. Not when full.
void pings_sent(struct pings *pings, uint64_t what);
// What the next PINGRESP answers. PING_CLIENT when nothing was asked (let it pass).
static inline uint64_t pings_first(const struct pings *pings)
{
	return pings->count > 0 ? pings->ring[pings->head] : PING_CLIENT;
}
// A PINGRESP has come: what it answers.
uint64_t pings_answered(struct pings *pings);
