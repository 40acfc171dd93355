// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Telling: each change is one piece of news, and goes to all others at once; it is gone when
// all have it.

#include "offload/peers.h"

#include <rte_malloc.h>

#include <errno.h>

#include "base/assert.h"
#include "offload/fencing.h"
#include "offload/move.h"
#include "offload/owed.h"
#include "offload/parcel.h"
#include "offload/survey.h"

#define NEWS	 1024u
#define CHANGES	 256u // run in one turn
#define MESSAGES 256u

struct news_copy {
	struct crossing_message message;
	struct news *news;
};

struct news {
	struct list link; // in its broker's `told`, the oldest first
	struct replica_news what;
	unsigned broker;
	unsigned missing; // workers that have not learned it yet
	struct payload *filter;
	struct news_copy copies[CROSSING_WORKERS_MAX];
};

// --- making --------------------------------------------------------------------------------------

int peers_create(const struct offload_peers_config *config, struct peers **ret_peers)
{
	struct peers *peers = rte_zmalloc("peers", sizeof(*peers), 0);
	int rc;

	if (peers == NULL)
		return -ENOMEM;
	peers->config = *config;
	list_init(&peers->kept);
	list_init(&peers->visiting);
	list_init(&peers->asking);
	list_init(&peers->surveyed);
	list_init(&peers->asked);
	list_init(&peers->moving);
	rc = slab_create("news", NEWS, sizeof(struct news), &peers->news);
	if (rc == 0)
		rc = parcels_create(&peers->parcels);
	if (rc == 0)
		rc = fencing_visits_create(&peers->visits);
	if (rc == 0)
		rc = moves_create(&peers->moves);
	if (rc == 0)
		rc = surveys_create(&peers->surveys);
	if (rc < 0) {
		peers_destroy(NULL, peers);
		return rc;
	}
	*ret_peers = peers;
	return 0;
}

static void news_free(struct offload *offload, struct news *news)
{
	list_remove(&news->link);
	if (news->filter != NULL)
		payload_put(news->filter);
	slab_give(offload->peers->news, news);
}

void peers_destroy(struct offload *offload, struct peers *peers)
{
	if (peers == NULL)
		return;
	for (uint32_t i = 0; offload != NULL && i < slab_count(peers->news); i++) {
		struct news *news = slab_at(peers->news, i);

		if (news != NULL)
			news_free(offload, news);
	}
	if (offload != NULL) {
		parcels_abandon(offload);
		fencing_visits_abandon(offload);
		moves_abandon(offload);
		surveys_abandon(offload);
	}
	slab_destroy(peers->news);
	slab_destroy(peers->parcels);
	slab_destroy(peers->visits);
	slab_destroy(peers->moves);
	slab_destroy(peers->surveys);
	rte_free(peers);
}

// --- news ----------------------------------------------------------------------------------------

static enum crossing_run news_run(struct crossing_message *message, void *receiver)
{
	const struct news *news = container_of(message, struct news_copy, message)->news;
	struct offload *offload = receiver;
	struct mqtt_bytes filter = mqtt_bytes(NULL, 0);

	if (news->filter != NULL)
		filter = mqtt_bytes(news->filter->data, news->filter->length);
	replica_learn(
		offload->brokers[news->broker].map->replica, message->from, &news->what, filter);
	return CROSSING_DONE;
}

static void news_back(struct crossing_message *message, void *sender)
{
	struct news *news = container_of(message, struct news_copy, message)->news;

	if (--news->missing == 0)
		news_free(sender, news);
}

static bool room_for_all(const struct peers *peers)
{
	for (unsigned to = 0; to < peers->config.count; to++)
		if (to != peers->config.self &&
			!crossing_has_room(peers->config.changes, peers->config.self, to))
			return false;
	return true;
}

static void news_post(struct peers *peers, struct news *news)
{
	for (unsigned to = 0; to < peers->config.count; to++) {
		struct news_copy *copy = &news->copies[to];

		if (to == peers->config.self)
			continue;
		*copy = (struct news_copy){{.run = news_run, .back = news_back}, news};
		news->missing++;
		crossing_post(peers->config.changes, peers->config.self, to, &copy->message);
	}
}

// False: not now, or there is nothing to tell.
static bool broker_tell_one(struct offload *offload, unsigned index)
{
	struct broker *broker = &offload->brokers[index];
	struct replica_news what;
	struct news *news;

	if (!replica_peek(broker->map->replica, &what, offload->scratch, OFFLOAD_PACKET) ||
		!room_for_all(offload->peers))
		return false;
	news = slab_take(offload->peers->news);
	if (news == NULL)
		return false;
	list_init(&news->link);
	if (what.length > 0) {
		news->filter = payload_alloc(offload->payloads, what.length);
		if (news->filter == NULL) {
			slab_give(offload->peers->news, news);
			return false;
		}
		memcpy(news->filter->data, offload->scratch, what.length);
		news->filter->length = what.length;
	}
	news->what = what;
	news->broker = index;
	list_append(&broker->told, &news->link);
	replica_told(broker->map->replica);
	news_post(offload->peers, news);
	return true;
}

void peers_full_set(struct offload *offload)
{
	bool full = !owed_has_room(offload);

	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		replica_full_set(offload->brokers[i].map->replica, full);
}

void peers_tell(struct offload *offload)
{
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		while (broker_tell_one(offload, i)) {
		}
}

bool peers_settled(const struct broker *broker, uint64_t due)
{
	const struct news *oldest;

	if (replica_due(broker->map->replica) <= due)
		return false;
	if (list_empty(&broker->told))
		return true;
	oldest = container_of(broker->told.next, struct news, link);
	return oldest->what.due > due;
}

// Twice: one worker may have received what it has to give to another one.
bool peers_caught_up(struct client *client)
{
	const struct offload *offload = client->offload;
	const struct offload_peers_config *config;

	if (offload->peers == NULL)
		return true;
	config = &offload->peers->config;
	while (client->rounds < 2) {
		if (!crossing_all_turned(config->changes, config->self, client->connect_us))
			return false;
		client->connect_us = offload->now_us;
		client->rounds++;
	}
	return true;
}

bool peers_polled(const struct offload *offload)
{
	const struct peers *peers = offload->peers;

	if (!list_empty(&peers->kept) || !list_empty(&peers->visiting) ||
		!list_empty(&peers->moving) || !list_empty(&peers->asked) ||
		!list_empty(&peers->surveyed))
		return true;
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		if (replica_due(offload->brokers[i].map->replica) != UINT64_MAX)
			return true;
	return false;
}

// --- a turn --------------------------------------------------------------------------------------

unsigned offload_hear(struct offload *offload)
{
	const struct offload_peers_config *config;

	if (offload->peers == NULL)
		return 0;
	config = &offload->peers->config;
	return crossing_run(config->parcels, config->self, offload, MESSAGES);
}

unsigned offload_learn(struct offload *offload)
{
	const struct offload_peers_config *config;

	if (offload->peers == NULL)
		return 0;
	config = &offload->peers->config;
	crossing_turned(config->changes, config->self, offload->now_us);
	return crossing_run(config->changes, config->self, offload, CHANGES);
}
