// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The worker's offload: made at start, turned with the worker's loop.

#include <rte_malloc.h>

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/random.h"
#include "offload/downstream.h"
#include "offload/fencing.h"
#include "offload/lend.h"
#include "offload/markers.h"
#include "offload/move.h"
#include "offload/output.h"
#include "offload/parcel.h"
#include "offload/owed.h"
#include "offload/pass.h"
#include "offload/peers.h"
#include "offload/probes.h"
#include "offload/state.h"
#include "offload/survey.h"

// Deliveries that may wait, all clients together: a few for everyone, and never less than this.
#define DELIVERIES_MIN 65536u
// Topics whose match is remembered, per broker.
#define ROUTES 16384
// What is remembered of rights: so many for each client to write, and a share of all subscriptions
// to read, for most clients subscribe to one topic or few.
#define WRITES_EACH 4
#define READS_SHARE 2
// Who waits for something that no event announces is looked at so often.
#define RETRY_US	US_IN_MS
#define EXPIRY_EVERY_US US_IN_S

// Permille of pieces or payloads in use.
#define PRESSURE_TIGHT	950 // nothing new is begun
#define PRESSURE_HIGH	750 // only short packets are gathered
#define PRESSURE_MEDIUM 500

// What may wait for one client: this part of the memory that is free, so that slow ones together
// never take everything (dynamic threshold).
#define CLIENT_SHARE 8

#define GATHER_HIGH   4096u
#define GATHER_MEDIUM 16384u
// Control packets are gathered up to this even when nothing so long would be captured.
#define GATHER_MIN 65536u

// What has been seen of rights.
static int grants_of_broker(struct offload *offload, struct broker *broker)
{
	int rc;

	if (broker->config->authorization != OFFLOAD_AUTHORIZATION_BROKER)
		return 0;
	rc = grants_create("writes", offload->config.clients_max * WRITES_EACH, &broker->writes);
	if (rc < 0)
		return rc;
	return grants_create(
		"reads", offload->config.subscriptions_max / READS_SHARE, &broker->reads);
}

// All that the broker has, when it tells.
static int roster_of_broker(struct offload *offload, struct broker *broker)
{
	const struct offload_config *limits = &offload->config;
	// Those of all workers are told to each.
	uint32_t workers = limits->peers.count > 1 ? limits->peers.count : 1;
	struct roster_config config = {
		.clients_max = (limits->clients_max + limits->sessions_max) * workers,
		.subscriptions_max = limits->subscriptions_max * workers,
	};

	memcpy(config.hash_key, broker->map->config.hash_key, sizeof(config.hash_key));
	return roster_create(&config, &broker->map->changes, offload->payloads, &broker->roster);
}

static int broker_create(struct offload *offload, struct broker *broker,
	const struct offload_broker_config *config, struct random *rng)
{
	const struct offload_config *limits = &offload->config;
	struct session_map_config map = {
		.sessions_max = limits->clients_max + limits->sessions_max,
		.subscriptions_max = limits->subscriptions_max,
		.subscriptions_per_session = config->client.subscriptions,
		.keep_other_qos = config->overlap == PROOF_OVERLAP_PASS,
		.amqp = config->topics == OFFLOAD_TOPICS_AMQP,
		.keep_no_local = config->overlap == PROOF_OVERLAP_MOSQUITTO,
	};
	struct proof_routes_config routes = {
		.slots = ROUTES,
		.overlap = config->overlap,
		.pass = config->capture.pass,
		.pass_count = config->capture.pass_count,
	};
	uint64_t key[2] = {random_next(rng), random_next(rng)};
	bool alone = limits->peers.count <= 1;
	int rc;

	list_init(&broker->told);
	stream_init(&broker->stream);
	map.joins = config->overlap == PROOF_OVERLAP_ONE;
	broker->config = config;
	map.tells_all = !alone && stream_wanted(broker);
	if (!alone)
		map.replica = (struct replica_config){
			.filters_max = limits->filters_max,
			.workers = limits->peers.count,
			.self = limits->peers.self,
			.seed = key[0] ^ key[1],
		};

	broker->capture = config->capture.enabled;
	broker->reachable = true;
	memcpy(map.hash_key, alone ? (const void *)key : limits->peers.hash_key,
		sizeof(map.hash_key));
	rc = session_map_create(
		config->name, &map, offload->payloads, offload->now_us, &broker->map);
	if (rc < 0)
		return rc;
	broker->map->ended = owed_drop;
	broker->map->ended_ctx = offload;
	rc = grants_of_broker(offload, broker);
	if (rc == 0 && map.tells_all)
		rc = holders_create(
			"holders", map.sessions_max * limits->peers.count, &broker->holders);
	if (rc == 0 && config->hooks && stream_wanted(broker))
		rc = roster_of_broker(offload, broker);
	if (rc < 0)
		return rc;
	return proof_routes_create(&routes, broker->map, offload->payloads, &broker->routes);
}

int offload_create(const struct offload_config *config, struct tcp_stack *tcp,
	struct payload_pool *payloads, struct random *rng, uint64_t now_us,
	struct offload **ret_offload)
{
	struct offload *offload = rte_zmalloc("offload", sizeof(*offload), 64);
	uint32_t deliveries = config->clients_max * 8;
	int rc = -ENOMEM;

	if (offload == NULL)
		return -ENOMEM;
	offload->config = *config;
	offload->tcp = tcp;
	offload->payloads = payloads;
	offload->now_us = now_us;
	offload->payload_bytes = payload_pool_bytes(payloads);
	list_init(&offload->kicked);
	list_init(&offload->paused);
	list_init(&offload->fencing);
	offload->token_count = (uint32_t)random_next(rng);
	// Nearly all of it is never touched, and takes no memory then.
	offload->scratch = malloc(OFFLOAD_PACKET);
	if (offload->scratch == NULL)
		goto err;
	offload->brokers = rte_zmalloc("brokers", config->brokers_count * sizeof(struct broker), 0);
	if (offload->brokers == NULL)
		goto err;
	rc = slab_create("clients", config->clients_max, sizeof(struct client), &offload->clients);
	if (rc < 0)
		goto err;
	rc = slab_create("deliveries", deliveries > DELIVERIES_MIN ? deliveries : DELIVERIES_MIN,
		sizeof(struct delivery), &offload->deliveries);
	if (rc < 0)
		goto err;
	rc = probes_create(offload);
	if (rc < 0)
		goto err;
	for (unsigned i = 0; i < config->brokers_count; i++) {
		rc = broker_create(offload, &offload->brokers[i], &config->brokers[i], rng);
		if (rc < 0)
			goto err;
	}
	if (config->peers.count > 1) {
		rc = peers_create(&config->peers, &offload->peers);
		if (rc < 0)
			goto err;
	}
	*ret_offload = offload;
	return 0;
err:
	offload_destroy(offload);
	return rc;
}

void offload_destroy(struct offload *offload)
{
	if (offload == NULL)
		return;
	if (offload->clients != NULL)
		ASSERT(slab_used(offload->clients) == 0);
	peers_destroy(offload, offload->peers);
	for (unsigned i = 0; offload->brokers != NULL && i < offload->config.brokers_count; i++) {
		proof_routes_destroy(offload->brokers[i].routes);
		roster_destroy(offload->brokers[i].roster);
		holders_destroy(offload->brokers[i].holders);
		session_map_destroy(offload->brokers[i].map);
		grants_destroy(offload->brokers[i].writes);
		grants_destroy(offload->brokers[i].reads);
	}
	probes_destroy(offload);
	slab_destroy(offload->deliveries);
	slab_destroy(offload->clients);
	rte_free(offload->brokers);
	free(offload->scratch);
	rte_free(offload);
}

// --- what the operator turns
// ----------------------------------------------------------------------

void offload_filters_set(
	struct offload *offload, unsigned broker, const struct offload_filters *filters)
{
	ASSERT(broker < offload->config.brokers_count);
	offload->brokers[broker].capture = filters->capture;
	proof_routes_set_pass(offload->brokers[broker].routes, filters->pass, filters->pass_count);
}

// --- memory --------------------------------------------------------------------------------------

bool offload_tight(const struct offload *offload)
{
	return tcp_pieces_pressure(offload->tcp) >= PRESSURE_TIGHT ||
	       payload_pool_pressure(offload->payloads) >= PRESSURE_TIGHT;
}

uint32_t offload_gather_max(const struct offload *offload, const struct broker *broker)
{
	unsigned pressure = payload_pool_pressure(offload->payloads);
	uint32_t wanted = broker->config->capture.max_size;

	if (pressure >= PRESSURE_HIGH)
		return GATHER_HIGH;
	if (pressure >= PRESSURE_MEDIUM)
		return GATHER_MEDIUM;
	return wanted > GATHER_MIN ? wanted : GATHER_MIN;
}

// --- a turn --------------------------------------------------------------------------------------

void offload_advance(struct offload *offload, uint64_t now_us)
{
	offload->now_us = now_us;
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		offload->brokers[i].map->now_us = now_us;
	offload->work = 0;
	streams_advance(offload);
	offload->share_bytes = offload->payload_bytes / 1000 *
			       (1000 - payload_pool_pressure(offload->payloads)) / CLIENT_SHARE;
}

// Runs everybody on the list once; who is put on it meanwhile has its turn later.
static void run_list(struct list *head)
{
	struct list now;

	list_init(&now);
	list_move_all(head, &now);
	while (!list_empty(&now))
		offload_client_run(container_of(list_pop(&now), struct client, run_link));
}

static void expire(struct offload *offload)
{
	offload->expiry_us = offload->now_us + EXPIRY_EVERY_US;
	for (unsigned i = 0; i < offload->config.brokers_count; i++) {
		session_map_expire(offload->brokers[i].map, offload->now_us);
		proof_routes_sweep(offload->brokers[i].routes);
	}
	if (offload->peers != NULL)
		surveys_expire(offload);
}

void offload_run(struct offload *offload)
{
	markers_poll(offload);
	probes_poll(offload);
	fencing_poll(offload);
	if (offload->peers != NULL) {
		parcels_poll(offload);
		surveys_poll(offload);
	}
	run_list(&offload->kicked);
	run_list(&offload->paused);
	if (offload->now_us >= offload->expiry_us)
		expire(offload);
	if (offload->peers != NULL) {
		lends_poll(offload);
		moves_poll(offload);
		peers_full_set(offload);
		peers_tell(offload);
	}
}

uint64_t offload_next_deadline(const struct offload *offload)
{
	bool polled = !list_empty(&offload->paused) || !list_empty(&offload->fencing) ||
		      !list_empty(&offload->probes) || markers_polled(offload);

	if (!list_empty(&offload->kicked))
		return offload->now_us;
	if (polled || (offload->peers != NULL && peers_polled(offload)))
		return offload->now_us + RETRY_US;
	return offload->expiry_us;
}

void offload_drain(struct offload *offload)
{
	offload->draining = true;
}

void offload_leave(struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->clients); i++) {
		struct client *client = slab_at(offload->clients, i);

		if (client != NULL)
			offload_client_gone(client);
	}
}

void offload_settle(struct offload *offload)
{
	if (offload->peers == NULL)
		return;
	offload_advance(offload, offload->now_us);
	offload_hear(offload);
	lends_poll(offload);
	moves_poll(offload);
	peers_tell(offload);
	offload_learn(offload);
}

// --- brokers -------------------------------------------------------------------------------------

void offload_broker_reachable(struct offload *offload, unsigned broker, bool reachable)
{
	__atomic_store_n(&offload->brokers[broker].reachable, reachable, __ATOMIC_RELAXED);
}

void offload_broker_distrust(struct offload *offload, unsigned broker, const char *reason)
{
	struct broker *b = &offload->brokers[broker];

	// Other workers must not rely on it either: they hear that this map lacks somebody.
	if (b->distrust == NULL)
		session_map_unknown(b->map);
	b->distrust = reason;
}

bool offload_broker_trusted(const struct offload *offload, unsigned broker)
{
	return offload->brokers[broker].distrust == NULL;
}

void offload_broker_remember(struct offload *offload, unsigned broker, uint8_t *kept)
{
	offload->brokers[broker].map->kept = kept;
}

bool offload_broker_forgetful(const struct offload *offload, unsigned broker)
{
	return session_map_forgetful(offload->brokers[broker].map);
}

// --- usage ---------------------------------------------------------------------------------------

static void usage_add(struct pool_usage *sum, struct pool_usage part)
{
	sum->in_use += part.in_use;
	sum->size += part.size;
	sum->object_bytes = part.object_bytes;
}

static void usage_add_trie(struct pool_usage *sum, const struct mqtt_trie_usage *trie)
{
	usage_add(sum, (struct pool_usage){trie->nodes, trie->nodes_max, trie->node_bytes});
}

static void usage_add_roster(struct offload_usage *usage, const struct roster *roster)
{
	struct mqtt_trie_usage trie;

	if (roster == NULL)
		return;
	mqtt_trie_usage(roster->trie, &trie);
	usage_add(&usage->told_clients, slab_usage(roster->clients));
	usage_add(&usage->told_subscriptions, slab_usage(roster->subscriptions));
	usage_add_trie(&usage->told_levels, &trie);
}

void offload_usage(const struct offload *offload, struct offload_usage *ret_usage)
{
	*ret_usage = (struct offload_usage){
		.clients = slab_usage(offload->clients),
		.deliveries = slab_usage(offload->deliveries),
	};
	for (unsigned i = 0; i < offload->config.brokers_count; i++) {
		const struct session_map *map = offload->brokers[i].map;
		struct mqtt_trie_usage trie;
		struct replica_usage replica;

		mqtt_trie_usage(map->trie, &trie);
		usage_add(&ret_usage->sessions, slab_usage(map->sessions));
		usage_add(&ret_usage->subscriptions, slab_usage(map->subscriptions));
		usage_add_trie(&ret_usage->topic_levels, &trie);
		usage_add_roster(ret_usage, offload->brokers[i].roster);
		if (map->replica == NULL)
			continue;
		replica_usage(map->replica, &replica);
		usage_add(&ret_usage->filters, replica.filters);
		usage_add_trie(&ret_usage->topic_levels, &replica.trie);
	}
}

// --- counters ------------------------------------------------------------------------------------

struct counter_set offload_counters(const struct offload *offload)
{
	return (struct counter_set){
		.families = offload_counter_families,
		.families_count = offload_counter_families_count,
		.values = (const uint64_t *)&offload->counters,
	};
}

void offload_counters_update(struct offload *offload)
{
	struct offload_counters *counters = &offload->counters;
	uint64_t subscriptions = 0, offline = 0, made = 0, confirmed = 0;
	struct proof_routes_usage routes;
	bool complete = true;

	for (unsigned i = 0; i < offload->config.brokers_count; i++) {
		const struct broker *broker = &offload->brokers[i];

		subscriptions += slab_used(broker->map->subscriptions);
		offline += broker->map->offline;
		complete &= broker_map_complete(offload, broker);
		proof_routes_usage(broker->routes, &routes);
		made += routes.made;
		confirmed += routes.confirmed;
	}
	counter_set_to(&counters->connections, slab_used(offload->clients));
	counter_set_to(&counters->subscriptions, subscriptions);
	counter_set_to(&counters->sessions_offline, offline);
	counter_set_to(&counters->owed, offload->owed_count);
	// It is a statement about all workers, which are added up: one of them makes it.
	counter_set_to(&counters->map_complete,
		complete && (offload->peers == NULL || offload->peers->config.self == 0));
	counter_set_to(&counters->routes[OFFLOAD_ROUTE_MADE], made);
	counter_set_to(&counters->routes[OFFLOAD_ROUTE_CONFIRMED], confirmed);
}
