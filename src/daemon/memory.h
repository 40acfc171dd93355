// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What must outlive a crash: whether a broker keeps sessions beyond their connections.
// `knowledge: wire` knows only what passed through this process, so a start that
// follows a crash must not take the map for complete when the broker has sessions
// from before. One byte a broker in an mmapped file beside the control socket; the
// worker sets it with a plain store.

#pragma once

#include <stdint.h>

struct config;
struct memory;

// Opens or makes the file. Negative errno after a logged line.
int memory_open(const struct config *config, struct memory **ret_memory);
// Accepts NULL. What was not forgotten stays for the next start.
void memory_close(struct memory *memory);

// The byte of broker i. Not 0 at start: sessions of an earlier run may live on in the broker.
uint8_t *memory_kept(struct memory *memory, unsigned broker);
const char *memory_path(const struct memory *memory);
