// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How many sessions of each client EMQX has begun and not ended. A client is a name in a
// space of names (exhook_space()). Bounded; private to
// control, one thread at a time.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct exhook_clients;

// NULL: no memory.
struct exhook_clients *exhook_clients_create(unsigned max);
void exhook_clients_destroy(struct exhook_clients *clients); // accepts NULL
void exhook_clients_clear(struct exhook_clients *clients);

// One more session. -ENOSPC, -ENOMEM.
int exhook_clients_add(struct exhook_clients *clients, uint64_t space, const char *id);
bool exhook_clients_has(const struct exhook_clients *clients, uint64_t space, const char *id);
// One session less. True: that was its last one.
bool exhook_clients_remove(struct exhook_clients *clients, uint64_t space, const char *id);
