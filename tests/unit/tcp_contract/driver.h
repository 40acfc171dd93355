// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The engine as a stranger drives it: from a shared object, with a virtual clock, IP packets
// going in and out as octets. Several hosts may live beside each other.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tcp/tcp.h"

#define DRIVER_EXPORT __attribute__((visibility("default")))

struct driver;

// A host with an IPv4 address ("198.18.0.1"). NULL.
DRIVER_EXPORT struct driver *driver_create(const char *address, uint64_t now_us);
DRIVER_EXPORT void driver_destroy(struct driver *driver);
DRIVER_EXPORT struct tcp_stack *driver_stack(struct driver *driver);
// One IP packet has arrived.
DRIVER_EXPORT void driver_inject(struct driver *driver, const void *packet, size_t length);
// The next IP packet that was sent: its length, 0 when there is none.
DRIVER_EXPORT size_t driver_take(struct driver *driver, void *ret_packet, size_t size);
// Time passes; timers run, and what is owed is sent. Returns the next deadline.
DRIVER_EXPORT uint64_t driver_advance(struct driver *driver, uint64_t now_us);
DRIVER_EXPORT struct net_endpoint driver_endpoint(const char *text);
