// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which worker a packet belongs to, and how it gets there. Both legs of a client
// belong to one worker: the owner is a hash of the client's port, which is the same on
// both. A device spreads packets by a hash of its own, if it has several queues at
// all, so what a worker receives is handed over here once it is whole and checked:
//
//   port ─▶ net ─▶ steering_sort() ──┬─▶ tcp of this worker
//                                    └─▶ │ ring │ ─▶ steering_take() of its owner ─▶ tcp
//
// The other way, a worker without a queue of its own on a port sends through one that
// has: steering_send(), steering_frames(). ARP and ND are heard by all: steering_share().
//
// In monitor mode it is frames of brokers' connections that go to their owners, as they
// came: steering_hand(), steering_handed(); and what bridges have learned, to all:
// steering_tell(), steering_hear().
//
// Rings of one producer and one consumer, for each ordered pair of workers. A full ring
// loses packets, as a port's does; they are counted.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "net/net.h"

struct bridge_news;
struct config;
struct monitor_frame;
struct rte_mbuf;
struct steering;

// For config's workers, of which there are several; main thread. `seed` is unknown to others.
// -ENOMEM.
int steering_create(const struct config *config, uint64_t seed, struct steering **ret_steering);
// Frees what is on its way. Accepts NULL.
void steering_destroy(struct steering *steering);

// The worker that packets between the two, an end of ours and a peer, belong to.
unsigned steering_owner(const struct steering *steering, const struct net_endpoint *local,
	const struct net_endpoint *remote);

// Hands over what belongs to others; the rest moves together. Returns how many are left.
unsigned steering_sort(
	struct steering *steering, unsigned self, struct net_delivery *deliveries, unsigned count);
// What worker `other` has handed to `self`: at most `max`. Those of the kind
// STEERING_HEARD are whole frames for net_hear(). Each delivery's netif is the other worker's.
unsigned steering_take(struct steering *steering, unsigned self, unsigned other,
	struct net_delivery *ret_deliveries, unsigned max);
#define STEERING_HEARD ((enum net_delivery_kind)0xff)

// Socket mode: brings what net_config.datagram is given to worker `to`. Consumes its m.
void steering_datagram(
	struct steering *steering, unsigned self, unsigned to, const struct net_delivery *delivery);

// Brings a copy of the frame to every other worker.
void steering_share(struct steering *steering, unsigned self, struct net_if *netif,
	const struct rte_mbuf *frame);

// Monitor mode: consumes frame->m, which is `owner`'s.
void steering_hand(struct steering *steering, unsigned self, unsigned owner,
	const struct monitor_frame *frame);
// What `other` has handed to `self`: at most `max`.
unsigned steering_handed(struct steering *steering, unsigned self, unsigned other,
	struct monitor_frame *ret_frames, unsigned max);

// Monitor mode: tells every other worker. False: one of them has no room, and none was told.
bool steering_tell(struct steering *steering, unsigned self, const struct bridge_news *news);
// The next that somebody has told `self`; false: there is none.
bool steering_hear(struct steering *steering, unsigned self, struct bridge_news *ret_news);

// Consumes m: `sender`, whose queue on port `port` it is, will send it. m->port is overwritten.
void steering_send(struct steering *steering, unsigned self, unsigned sender, unsigned port,
	struct rte_mbuf *m);
// Frames that `other` wants `self` to send; m->port says where.
unsigned steering_frames(struct steering *steering, unsigned self, unsigned other,
	struct rte_mbuf **ret_frames, unsigned max);

// packets_steered_total, packets_dropped_total{reason="steering_full"}: of worker `self`.
// All 0 without a steering.
struct counter_set steering_counters(const struct steering *steering, unsigned self);
