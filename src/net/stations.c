// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// An array of stations, found by rte_hash over (MAC, VLAN) with a random seed in its
// key. What has aged is forgotten when it is looked up, or when its place is needed.
// Another worker's time may be a little ahead of this one's.

#include "net/stations.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/random.h"

#include <rte_hash.h>
#include <rte_jhash.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATIC_US      UINT64_MAX // a station that was configured is always fresh
#define STATIONS_LEAST 8u	  // that rte_hash takes
#define RECLAIMED      8u	  // places that are looked at when there is none for a new station
#define TOLD_PER_AGE   4u	  // so often the others hear that a station is not silent
#define HEARD	       8192u	  // news in one go: more than wait

struct station {
	uint64_t seen_us; // STATIC_US: it was configured
	uint64_t told_us; // when it had been seen as the others know; 0: they know nothing
	struct station_key key;
	uint32_t port;
	bool used;
	struct list due; // among those of which others are to be told
};

struct stations {
	uint64_t age_us;
	struct bridge_sharing sharing;
	struct rte_hash *hash; // position → places[]
	struct station *places;
	uint32_t max;
	uint32_t hand; // where places that have aged are looked for next
	struct list due;
	struct stations_counters *counters;
};

static void count(struct stations *stations, enum station_kind kind, uint64_t n)
{
	if (!stations->sharing.quiet)
		counter_add(&stations->counters->known[kind], n);
}

// --- places --------------------------------------------------------------------------------------

static bool has_aged(
	const struct stations *stations, const struct station *station, uint64_t now_us)
{
	return now_us > station->seen_us && now_us - station->seen_us > stations->age_us;
}

static struct station *station_at(const struct stations *stations, const struct station_key *key)
{
	int position = rte_hash_lookup(stations->hash, key);

	return position < 0 ? NULL : &stations->places[position];
}

static void station_forget(struct stations *stations, struct station *station)
{
	rte_hash_del_key(stations->hash, &station->key);
	list_remove(&station->due);
	station->used = false;
	count(stations, STATION_LEARNED, (uint64_t)-1);
}

// Looks at some places, each time at the next ones, for stations that have aged.
static void stations_reclaim(struct stations *stations, uint64_t now_us)
{
	for (unsigned i = 0; i < RECLAIMED; i++) {
		struct station *station = &stations->places[stations->hand];

		stations->hand = (stations->hand + 1) % stations->max;
		if (station->used && has_aged(stations, station, now_us))
			station_forget(stations, station);
	}
}

static bool is_full(const struct stations *stations)
{
	return (uint32_t)rte_hash_count(stations->hash) >= stations->max;
}

// NULL: no room.
static struct station *station_add(
	struct stations *stations, const struct station_key *key, uint32_t port, uint64_t seen_us)
{
	struct station *station;
	int position;

	if (is_full(stations))
		return NULL;
	position = rte_hash_add_key(stations->hash, key);
	if (position < 0)
		return NULL;
	station = &stations->places[position];
	*station = (struct station){
		.seen_us = seen_us,
		.key = *key,
		.port = port,
		.used = true,
	};
	list_init(&station->due);
	count(stations, seen_us == STATIC_US ? STATION_STATIC : STATION_LEARNED, 1);
	return station;
}

// --- news ----------------------------------------------------------------------------------------

// What they have no room for stays due.
static void tell(struct stations *stations)
{
	while (!list_empty(&stations->due)) {
		struct station *station = container_of(stations->due.next, struct station, due);
		struct bridge_news news = {
			.seen_us = station->seen_us,
			.vlan = station->key.vlan,
			.port = station->port,
		};

		memcpy(news.mac, station->key.mac, sizeof(news.mac));
		if (!stations->sharing.tell(stations->sharing.ctx, &news))
			return;
		list_remove(&station->due);
		station->told_us = station->seen_us;
	}
}

static void news_due(struct stations *stations, struct station *station)
{
	if (stations->sharing.tell == NULL) {
		station->told_us = station->seen_us;
		return;
	}
	if (!list_linked(&station->due))
		list_append(&stations->due, &station->due);
	tell(stations);
}

// Of two that saw it at the same time elsewhere all believe the same one.
static bool is_later(const struct bridge_news *news, const struct station *station)
{
	return news->seen_us > station->seen_us ||
	       (news->seen_us == station->seen_us && news->port > station->port);
}

static void hear(struct stations *stations, const struct bridge_news *news, uint64_t now_us)
{
	struct station_key key = {.vlan = news->vlan};
	struct station *station;

	memcpy(key.mac, news->mac, sizeof(key.mac));
	station = station_at(stations, &key);
	if (station == NULL) {
		if (is_full(stations))
			stations_reclaim(stations, now_us);
		station = station_add(stations, &key, news->port, news->seen_us);
		if (station != NULL)
			station->told_us = news->seen_us;
	} else if (is_later(news, station)) {
		station->seen_us = station->told_us = news->seen_us;
		station->port = news->port;
		list_remove(&station->due);
	} else if (station->port != news->port && station->seen_us != STATIC_US) {
		news_due(stations, station);
	}
}

static void listen(struct stations *stations, uint64_t now_us)
{
	struct bridge_news news;

	for (unsigned i = 0; i < HEARD; i++) {
		if (!stations->sharing.hear(stations->sharing.ctx, &news))
			return;
		hear(stations, &news, now_us);
	}
}

void stations_exchange(struct stations *stations, uint64_t now_us)
{
	if (stations->sharing.tell == NULL)
		return;
	listen(stations, now_us);
	tell(stations);
}

// --- frames --------------------------------------------------------------------------------------

bool stations_find(struct stations *stations, const struct station_key *key, uint64_t now_us,
	uint32_t *ret_port)
{
	const struct station *station = station_at(stations, key);

	// Who has just been told of answers already.
	if ((station == NULL || has_aged(stations, station, now_us)) &&
		stations->sharing.hear != NULL) {
		listen(stations, now_us);
		station = station_at(stations, key);
	}
	if (station == NULL || has_aged(stations, station, now_us))
		return false;
	*ret_port = station->port;
	return true;
}

static void station_new(
	struct stations *stations, const struct station_key *key, uint32_t port, uint64_t now_us)
{
	struct station *station;

	if (is_full(stations))
		stations_reclaim(stations, now_us);
	station = station_add(stations, key, port, now_us);
	if (station != NULL)
		news_due(stations, station);
	else
		counter_inc(&stations->counters->refused);
}

void stations_learn(
	struct stations *stations, const struct station_key *key, uint32_t port, uint64_t now_us)
{
	struct station *station = station_at(stations, key);
	bool moves;

	if (unlikely(station == NULL)) {
		station_new(stations, key, port, now_us);
		return;
	}
	moves = station->port != port;
	// Configured, or seen elsewhere since by another worker.
	if (station->seen_us > now_us && (moves || station->seen_us == STATIC_US))
		return;
	station->port = port;
	station->seen_us = now_us > station->seen_us ? now_us : station->seen_us;
	if (unlikely(
		    moves || station->seen_us - station->told_us > stations->age_us / TOLD_PER_AGE))
		news_due(stations, station);
}

// --- start and end -------------------------------------------------------------------------------

static int configure(struct stations *stations, const struct bridge_config *config)
{
	for (unsigned i = 0; i < config->stations_count; i++) {
		const struct bridge_station *given = &config->stations[i];
		struct station_key key = {.vlan = given->vlan};

		memcpy(key.mac, given->mac, sizeof(key.mac));
		if (given->port >= config->netifs_count)
			return -EINVAL;
		if (station_at(stations, &key) != NULL)
			return -EEXIST;
		if (station_add(stations, &key, given->port, STATIC_US) == NULL)
			return -ENOSPC;
	}
	return 0;
}

int stations_create(const char *name, const struct bridge_config *config, struct random *rng,
	struct stations_counters *counters, struct stations **ret_stations)
{
	const struct rte_hash_parameters parameters = {
		.name = name,
		.entries = RTE_MAX(config->stations_max, STATIONS_LEAST),
		.key_len = sizeof(struct station_key),
		.hash_func = rte_jhash,
		.hash_func_init_val = (uint32_t)random_next(rng),
		.socket_id = SOCKET_ID_ANY,
		// Without it an insertion may fail before the table is full.
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct stations *stations = calloc(1, sizeof(*stations));
	int rc = -ENOMEM;

	if (stations == NULL)
		return -ENOMEM;
	stations->age_us = config->age_us;
	stations->sharing = config->sharing;
	stations->max = parameters.entries;
	stations->counters = counters;
	list_init(&stations->due);
	stations->hash = rte_hash_create(&parameters);
	stations->places = calloc(stations->max, sizeof(*stations->places));
	if (stations->hash != NULL && stations->places != NULL)
		rc = configure(stations, config);
	if (rc < 0) {
		stations_destroy(stations);
		return rc;
	}
	*ret_stations = stations;
	return 0;
}

void stations_destroy(struct stations *stations)
{
	if (stations == NULL)
		return;
	rte_hash_free(stations->hash);
	free(stations->places);
	free(stations);
}

void stations_check(const struct stations *stations, uint32_t ports)
{
	uint64_t used[STATION_KINDS] = {0};

	for (uint32_t i = 0; i < stations->max; i++) {
		const struct station *station = &stations->places[i];

		if (!station->used)
			continue;
		ASSERT(station_at(stations, &station->key) == station);
		ASSERT(ports & 1u << station->port);
		ASSERT(station->seen_us != STATIC_US || !list_linked(&station->due));
		used[station->seen_us == STATIC_US ? STATION_STATIC : STATION_LEARNED]++;
	}
	for (unsigned i = 0; i < STATION_KINDS; i++)
		ASSERT(stations->counters->known[i] == (stations->sharing.quiet ? 0 : used[i]));
}
