// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The processes at the door: who has not said hello yet, and who is attached, with what it was
// given. The door's thread only.

#pragma once

#include <poll.h>
#include <stdint.h>

#define VISITORS_MAX 256u

struct config;
struct config_door;
struct visitors;
struct worker;

int visitors_create(
	const struct config *config, struct worker *const *workers, struct visitors **ret_visitors);
// What was given is taken back; workers run no more, or are told. Accepts NULL.
void visitors_destroy(struct visitors *visitors);

// Takes the socket of who has come to a stream socket, or (NULL) to the other. It has said what it
// wants by then. -ENOSPC.
int visitors_add(
	struct visitors *visitors, int fd, const struct config_door *door, uint64_t until_us);
// What to wait for, and how long; room for two a visitor. Returns how many.
unsigned visitors_poll(struct visitors *visitors, struct pollfd *ret_fds, int *ret_timeout_ms);
// What has come of it, from the same places.
void visitors_look(struct visitors *visitors, const struct pollfd *fds, uint64_t now_us);
