// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which worker has the connection that a key names (session/keys.h): what the broker tells of that
// connection's subscriptions the worker sees on the wire, and the others hear of it from there.
//
// Every worker is told of all joins, in one order, and nothing else changes the table. So all
// have the same one: what one has forgotten for want of room, all have.

#pragma once

#include <stdint.h>

struct holders;

// So many keys at most.
int holders_create(const char *name, uint32_t count, struct holders **ret_holders);
void holders_destroy(struct holders *holders); // accepts NULL

void holders_set(struct holders *holders, uint64_t key, unsigned worker);
// -1: nobody's, or it has been forgotten.
int holders_find(const struct holders *holders, uint64_t key);
// Another run of the broker's side: keys mean something else.
void holders_forget(struct holders *holders);
