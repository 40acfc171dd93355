// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Keys: numbers by which a broker's side names the connections of its clients
// (proto/offramp/v1/broker.proto). A session has that of its latest connection, also while its
// client is away, for so does the broker.

#pragma once

#include <stdint.h>

#include "session/session.h"

// Internal: part of making and destroying a map.
int session_keys_create(struct session_map *map);
void session_keys_destroy(struct session_map *map);

// The session is known by this key from now on; 0: by none.
void session_key_set(struct session_map *map, struct session *session, uint64_t key);
// NULL: nobody has it.
struct session *session_by_key(const struct session_map *map, uint64_t key);
// Another run of the broker's side: keys mean something else.
void session_keys_forget(struct session_map *map);
