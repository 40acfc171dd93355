// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table of monitor mode's flows: an array, found by rte_hash, bounded. Who floods
// it with SYNs gets the places of older SYNs; adopted connections keep theirs. Runs on
// the worker; nothing is allocated after start.

#include "attach/track.h"

#include "base/assert.h"
#include "base/clock.h"

#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRACKS_LEAST 8u // that rte_hash takes

// A connection on which nothing is said after the handshake: mosquitto waits 90 s for a CONNECT.
#define OPENING_US (300 * US_IN_S)
#define ADOPTED_US (5 * US_IN_S) // between looks whether it has ended
// As long as an end may go on sending into the void: beyond it TCP gives up or repeats itself
// at most every two minutes, and that is answered too.
#define GONE_US (150 * US_IN_S)
// Of what an earlier run left: asked so often, so far apart; and not all at once, for each draws a
// reset, and their rate is limited.
#define QUESTIONS   4u
#define QUESTION_US US_IN_S
#define SPREAD_US   (2 * US_IN_MS)

int tracks_create(struct monitor *monitor, const char *name, uint32_t max, uint64_t hash_seed)
{
	const struct rte_hash_parameters parameters = {
		.name = name,
		.entries = max,
		.key_len = sizeof(struct track_key),
		.hash_func = rte_jhash,
		.hash_func_init_val = (uint32_t)hash_seed,
		.socket_id = SOCKET_ID_ANY,
		// Without it an insertion may fail before the table is full.
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	ASSERT(max >= TRACKS_LEAST);
	for (unsigned i = 0; i < TRACK_STATES; i++)
		list_init(&monitor->order[i]);
	monitor->tracks_max = max;
	monitor->tracks = calloc(max, sizeof(*monitor->tracks));
	monitor->hash = rte_hash_create(&parameters);
	return monitor->tracks != NULL && monitor->hash != NULL ? 0 : -ENOMEM;
}

void tracks_destroy(struct monitor *monitor)
{
	for (uint32_t i = 0; monitor->tracks != NULL && i < monitor->tracks_max; i++)
		for (unsigned k = 0; k < monitor->tracks[i].held_count; k++)
			rte_pktmbuf_free(monitor->tracks[i].held[k]);
	free(monitor->tracks);
	rte_hash_free(monitor->hash);
}

struct track *track_find(const struct monitor *monitor, const struct track_key *key)
{
	int position = rte_hash_lookup(monitor->hash, key);

	return position < 0 ? NULL : &monitor->tracks[position];
}

// --- places --------------------------------------------------------------------------------------

void track_set_state(struct monitor *monitor, struct track *track, enum track_state state)
{
	if (track->state != TRACK_FREE)
		counter_add(&monitor->counters.flows[track->state - 1], (uint64_t)-1);
	list_remove(&track->order);
	track->state = (uint8_t)state;
	if (state == TRACK_FREE)
		return;
	counter_inc(&monitor->counters.flows[state - 1]);
	list_append(&monitor->order[state], &track->order);
}

static uint64_t patience_us(const struct track *track)
{
	switch (track->state) {
	case TRACK_OPENING:
		return OPENING_US;
	case TRACK_ADOPTED:
		return ADOPTED_US;
	default:
		return track->questions > 0 ? QUESTION_US : GONE_US;
	}
}

void track_touch(struct monitor *monitor, struct track *track)
{
	wheel_arm(&monitor->timers, &track->timer, monitor->now_us + patience_us(track));
}

void track_remove(struct monitor *monitor, struct track *track)
{
	for (unsigned i = 0; i < track->held_count; i++)
		rte_pktmbuf_free(track->held[i]);
	monitor->held -= track->held_count;
	track->held_count = 0;
	wheel_disarm(&monitor->timers, &track->timer);
	rte_hash_del_key(monitor->hash, &track->key);
	track_set_state(monitor, track, TRACK_FREE);
	track_record(monitor, track);
}

// The place of what is gone, or of the oldest handshake.
static bool make_room(struct monitor *monitor)
{
	struct list *gone = &monitor->order[TRACK_GONE];
	struct list *opening = &monitor->order[TRACK_OPENING];

	if (!list_empty(gone)) {
		track_remove(monitor, container_of(gone->next, struct track, order));
		return true;
	}
	if (list_empty(opening))
		return false;
	counter_inc(&monitor->counters.passed[PASS_FULL]);
	track_remove(monitor, container_of(opening->next, struct track, order));
	return true;
}

struct track *track_add(struct monitor *monitor, const struct track_key *key)
{
	struct track *track;
	int position;

	if ((uint32_t)rte_hash_count(monitor->hash) >= monitor->tracks_max && !make_room(monitor))
		return NULL;
	position = rte_hash_add_key(monitor->hash, key);
	if (position < 0)
		return NULL;
	track = &monitor->tracks[position];
	DASSERT(track->state == TRACK_FREE);
	*track = (struct track){.key = *key};
	list_init(&track->order);
	wheel_timer_init(&track->timer);
	track_set_state(monitor, track, TRACK_OPENING);
	track_touch(monitor, track);
	return track;
}

// --- paths ---------------------------------------------------------------------------------------

int track_path(struct monitor *monitor, const struct track *track, unsigned side,
	struct net_path *ret_path)
{
	struct net_observed seen = track->ends[!side].seen;

	seen.netif = track->ends[side].netif;
	return net_path_observe(monitor->net, &seen, &track->ends[!side].tcp.endpoint.address,
		&track->ends[side].tcp.endpoint.address, ret_path);
}

// --- time ----------------------------------------------------------------------------------------

// Whoever of the two still lives shows with an ACK where it stands, and is reset for it.
static void ask(struct monitor *monitor, const struct track *track)
{
	for (unsigned side = 0; side < ENDS; side++) {
		struct net_path path;

		if (track_path(monitor, track, side, &path) < 0)
			continue;
		tcp_stray_ask(monitor->stack->tcp, &path, track->ends[!side].tcp.endpoint.port,
			track->ends[side].tcp.endpoint.port);
		net_path_close(&path);
	}
}

void track_timeout(struct monitor *monitor, struct track *track)
{
	switch (track->state) {
	case TRACK_OPENING:
		counter_inc(&monitor->counters.passed[PASS_IDLE]);
		track_remove(monitor, track);
		return;
	case TRACK_ADOPTED:
		if (adopted_over(monitor, track))
			track_set_state(monitor, track, TRACK_GONE);
		break;
	default:
		if (track->questions == 0) {
			track_remove(monitor, track);
			return;
		}
		track->questions--;
		ask(monitor, track);
	}
	track_touch(monitor, track);
}

// --- what outlives a crash -----------------------------------------------------------------------

void track_record(struct monitor *monitor, const struct track *track)
{
	struct monitor_record *record;

	if (monitor->records == NULL)
		return;
	record = &monitor->records[track - monitor->tracks];
	__atomic_store_n(&record->used, 0, __ATOMIC_RELEASE);
	if (track->state != TRACK_ADOPTED && track->state != TRACK_GONE)
		return;
	record->vlan = track->key.vlan;
	record->client = track->ends[CLIENT].tcp.endpoint;
	record->broker = track->ends[BROKER].tcp.endpoint;
	for (unsigned side = 0; side < ENDS; side++) {
		record->ports[side] = track->ends[side].netif->index;
		record->seen[side] = track->ends[side].seen;
		record->seen[side].netif = NULL;
	}
	__atomic_store_n(&record->used, 1, __ATOMIC_RELEASE);
}

static int broker_at(const struct monitor *monitor, const struct net_endpoint *endpoint)
{
	const struct offload_config *config = monitor->stack->config;

	for (unsigned i = 0; i < config->brokers_count; i++)
		if (config->brokers[i].address.port == endpoint->port &&
			net_address_equal(&config->brokers[i].address.address, &endpoint->address))
			return (int)i;
	return -1;
}

static bool is_ours(const struct monitor *monitor, const struct monitor_record *record)
{
	const struct monitor_share *share = &monitor->share;

	return share->owner == NULL ||
	       share->owner(share->ctx, &record->broker, &record->client) == share->self;
}

static void recall(struct monitor *monitor, const struct monitor_record *record, uint64_t at_us)
{
	int broker = broker_at(monitor, &record->broker);
	struct track_key key = {
		.client = record->client.address,
		.port = record->client.port,
		.broker = (uint16_t)broker,
		.vlan = record->vlan,
	};
	struct track *track;

	if (broker < 0 || record->ports[CLIENT] >= monitor->netifs_count ||
		record->ports[BROKER] >= monitor->netifs_count || track_find(monitor, &key))
		return;
	track = track_add(monitor, &key);
	if (track == NULL)
		return;
	track->ends[CLIENT].tcp.endpoint = record->client;
	track->ends[BROKER].tcp.endpoint = record->broker;
	for (unsigned side = 0; side < ENDS; side++) {
		track->ends[side].netif = monitor->netifs[record->ports[side]];
		track->ends[side].seen = record->seen[side];
	}
	track_set_state(monitor, track, TRACK_GONE);
	track->questions = QUESTIONS;
	wheel_disarm(&monitor->timers, &track->timer);
	wheel_arm(&monitor->timers, &track->timer, at_us);
}

void tracks_recall(struct monitor *monitor, const struct monitor_record *records, uint32_t count)
{
	uint64_t at_us = monitor->now_us;

	for (uint32_t i = 0; i < count; i++) {
		if (!is_ours(monitor, &records[i]))
			continue;
		recall(monitor, &records[i], at_us);
		at_us += SPREAD_US;
	}
}

void monitor_keep(struct monitor *monitor, struct monitor_record *records)
{
	monitor->records = records;
	for (uint32_t i = 0; i < monitor->tracks_max; i++)
		track_record(monitor, &monitor->tracks[i]);
}

void tracks_check(const struct monitor *monitor)
{
	uint64_t states[TRACK_STATES] = {0};
	unsigned held = 0;

	for (uint32_t i = 0; i < monitor->tracks_max; i++) {
		const struct track *track = &monitor->tracks[i];

		states[track->state]++;
		held += track->held_count;
		if (track->state == TRACK_FREE)
			continue;
		ASSERT(track_find(monitor, &track->key) == track);
		ASSERT(wheel_armed(&track->timer) && list_linked(&track->order));
		ASSERT(track->held_count == 0 || track->state == TRACK_OPENING);
	}
	ASSERT(held == monitor->held && held <= TRACKS_HELD);
	for (unsigned state = TRACK_OPENING; state < TRACK_STATES; state++)
		ASSERT(states[state] == monitor->counters.flows[state - 1]);
}
