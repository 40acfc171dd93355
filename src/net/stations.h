// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The forwarding database of a bridge (IEEE 802.1Q 8.8): which station was heard last on which
// port. Where several bridges stand between the same ports, one a worker, each has a table of its
// own, and what one learns it tells the others (net/bridge.h):
//
//   learned, moved, or silent about it for a while ──▶ told ──▶ heard by the others
//   heard, but seen elsewhere since                ──▶ told back
//
// So the tables agree on where a station was seen last. Internal to the floor. Worker's thread;
// all of its memory is taken at start.

#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/bridge.h"

// No padding: the bytes are hashed.
struct station_key {
	uint8_t mac[6];
	uint16_t vlan;
};
static_assert(sizeof(struct station_key) == 8, "the key must have no padding");

enum station_kind { STATION_STATIC, STATION_LEARNED, STATION_KINDS };

struct stations_counters {
	uint64_t known[STATION_KINDS];
	uint64_t refused;
};

struct stations;

// `counters` is written for as long as there are stations. As bridge_create().
int stations_create(const char *name, const struct bridge_config *config, struct random *rng,
	struct stations_counters *counters, struct stations **ret_stations);
void stations_destroy(struct stations *stations); // accepts NULL

// The station has sent something, which came in by that port.
void stations_learn(
	struct stations *stations, const struct station_key *key, uint32_t port, uint64_t now_us);
// Its port; false: it is not known, or has been silent for too long. Whoever answers what another
// bridge has sent on finds the station it answers.
bool stations_find(struct stations *stations, const struct station_key *key, uint64_t now_us,
	uint32_t *ret_port);

// Hears what others have told, and tells what they had no room for.
void stations_exchange(struct stations *stations, uint64_t now_us);

void stations_check(const struct stations *stations, uint32_t ports);
