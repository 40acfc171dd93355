// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packet identifiers towards one client (2.2.1): two senders, the broker and
// Offramp, share the 65,535 identifiers of one connection and must never use one
// twice. The broker's pass unchanged, so Offramp keeps far from them (half the
// space ahead of the broker's latest), skips those in use, and knows its own, so
// that it can swallow their acknowledgements.
//
//   Offramp's window:  first            first + span
//                        │ x . x x . x x │ next …          x: unacknowledged   .: done or skipped
//
// Lives only while something is unacknowledged.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IDENTIFIERS_WINDOW 1024 // ours, unacknowledged and done behind the oldest one
#define IDENTIFIERS_BROKER 256	// the broker's, unacknowledged

struct identifiers {
	uint16_t first, span;
	uint16_t inflight; // ours, unacknowledged
	uint16_t broker_count;
	uint16_t broker_ids[IDENTIFIERS_BROKER];
	// Ours, by id modulo the window: unacknowledged, and which of them at QoS 2.
	uint64_t live[IDENTIFIERS_WINDOW / 64], exactly[IDENTIFIERS_WINDOW / 64];
};

// `next`: the identifier to begin with (identifiers_next of the last time), `broker_last`: the
// broker's latest, both 0 at first.
void identifiers_init(struct identifiers *ids, uint16_t next, uint16_t broker_last);
// Where to begin when the window is empty and gets remade.
uint16_t identifiers_next(const struct identifiers *ids);
bool identifiers_empty(const struct identifiers *ids);

// The next of ours, for a delivery at QoS 1 or (`exactly`) 2; 0 when the window is full.
uint16_t identifiers_take(struct identifiers *ids, bool exactly);
// An unacknowledged one of an earlier connection, at QoS 1, is ours again; before any other is
// taken, in the order in which they were. False: it cannot stand in one window with those before
// it.
bool identifiers_restore(struct identifiers *ids, uint16_t id);
// Is it an unacknowledged one of ours?
bool identifiers_ours(const struct identifiers *ids, uint16_t id);
// One of ours: is it at QoS 2?
bool identifiers_exactly(const struct identifiers *ids, uint16_t id);
// Its exchange has ended; it must be ours.
void identifiers_give(struct identifiers *ids, uint16_t id);

// The broker uses `id`. -EBUSY: it is one of ours, the packet must wait; -ENOSPC: more than can
// be followed, likewise. Using one of its own again is a retransmission and no error.
int identifiers_broker_take(struct identifiers *ids, uint16_t id);
// The exchange of the broker's `id` has ended; harmless when it is none.
void identifiers_broker_give(struct identifiers *ids, uint16_t id);

void identifiers_check(const struct identifiers *ids);
