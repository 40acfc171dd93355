// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Grants: what connections have been seen to be allowed. A bounded cache; what is
// forgotten is merely shown again. Keyed by topic, by who (a number that stands for one
// connection of one user, never a name) and by epoch: an epoch that ends takes all of
// its grants with it without anybody walking the table.
//
//   key → │ until │ mark │ state │    four entries share a bucket; the one that ends first
//                                     makes room for a new one
//
// The hash of the topic is keyed and secret (proof_topic_hash()), so nobody can choose what
// shares an entry.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum grant_state {
	GRANT_UNKNOWN, // being asked for
	GRANT_ALLOWED,
	GRANT_DENIED,
};

struct grant {
	uint64_t key;	   // 0: unused
	uint64_t until_us; // the state holds
	uint64_t mark_us;  // to write: not to be asked for before; to read: when it was seen
	uint8_t state;
	uint8_t failures; // to get an answer, in a row
	bool asked;	  // to write: a message has passed for it, and the broker may tell
};

struct grants;

// Room for `count` grants, rounded up to a power of two. -ENOMEM.
int grants_create(const char *name, uint32_t count, struct grants **ret_grants);
void grants_destroy(struct grants *grants); // accepts NULL

static inline uint64_t grant_key(uint64_t topic_hash, uint64_t who, uint64_t epoch)
{
	uint64_t key = topic_hash ^ who * 0x9e3779b97f4a7c15ull;

	key = (key ^ key >> 32) + epoch * 0xd6e8feb86659fd93ull;
	key = (key ^ key >> 29) * 0xbf58476d1ce4e5b9ull;
	return key | 1;
}

// NULL: nothing is known.
struct grant *grants_find(struct grants *grants, uint64_t key);
// The one of this key; when there was none, a new one (GRANT_UNKNOWN, all zero) in the place of an
// entry that is over, or would be first.
struct grant *grants_get(struct grants *grants, uint64_t key, uint64_t now_us);
// When one that was still of use last had to make room; 0: never. Denials are the last to go.
uint64_t grants_evicted_us(const struct grants *grants);
// Likewise a denial that held, or had held just before.
uint64_t grants_forgot_us(const struct grants *grants);
// Does the state hold?
static inline bool grant_holds(const struct grant *grant, uint64_t now_us)
{
	return grant != NULL && now_us < grant->until_us;
}
