// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From EMQX's hooks to the workers: each broker whose hooks tell all is a feed like one
// of Broker/Events, made of the same messages. What workers are too far behind for waits
// here, in order; the lease is prolonged only while nothing waits and EMQX's connections
// stand. On the gRPC server's thread; private to control.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/exhook.h"

struct control;
struct exhook_feeds;

// `control` has its feeds and must outlive it. -ENOMEM.
int exhook_feeds_create(struct control *control, struct exhook_feeds **ret_feeds);
// When no worker runs any more. Accepts NULL.
void exhook_feeds_destroy(struct exhook_feeds *feeds);

struct exhook *exhook_feeds_exhook(struct exhook_feeds *feeds);
// How often exhook_feeds_tick() wants to be called: a part of the shortest lease.
uint64_t exhook_feeds_tick_us(const struct exhook_feeds *feeds);
// Of the service: `ctx` is the struct control.
void exhook_feeds_tick(void *ctx);
void exhook_feeds_refused(void *ctx);

// What a call has told, for its answer to wait for.
struct exhook_told {
	unsigned broker;
	bool waits;	 // here, for workers that are behind
	uint64_t notice; // otherwise all workers have it when they have run so many
};

struct exhook_told exhook_feeds_told(struct exhook_feeds *feeds, unsigned broker);
// All workers know what was told.
bool exhook_feeds_settled(struct exhook_feeds *feeds, struct exhook_told *told);
