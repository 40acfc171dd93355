// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A trie of records. A record lives while this worker has a subscription with its filter,
// or another one has something there, or the others do not know yet that this one no longer has.

#include "session/replica.h"

#include <rte_malloc.h>

#include <errno.h>

#include "base/assert.h"
#include "base/payload.h"

struct replica {
	struct replica_config config;
	struct session_changes *changes, *doubts;
	struct slab *filters;
	struct mqtt_trie *trie;
	struct list due; // records, the oldest first; `map` among them
	uint64_t now;
	uint64_t learned; // see replica_learned()
	bool incomplete[REPLICA_WORKERS_MAX];
	uint32_t full, misnamed;	    // bit i: worker i
	uint32_t gaps[REPLICA_WORKERS_MAX]; // filters of theirs for which there was no room
	uint32_t lacking;		    // how many of both are not 0
	// About the whole map: told as a filter without text. What others have told is above.
	struct replica_filter map;
};

int replica_create(const char *name, const struct replica_config *config,
	struct session_changes *changes, struct session_changes *doubts,
	struct replica **ret_replica)
{
	struct replica *replica = rte_zmalloc(name, sizeof(*replica), 0);
	struct mqtt_trie_config trie = {
		.nodes_max = config->filters_max * 3 + 1024,
		.levels_max = 128,
		.text_bytes = (uint64_t)config->filters_max * 32 + (1 << 20),
		.seed = config->seed,
	};
	int rc;

	ASSERT(config->workers <= REPLICA_WORKERS_MAX && config->self < config->workers);
	if (replica == NULL)
		return -ENOMEM;
	replica->config = *config;
	replica->changes = changes;
	replica->doubts = doubts;
	list_init(&replica->due);
	list_init(&replica->map.due_link);
	rc = slab_create("filters", config->filters_max,
		sizeof(struct replica_filter) + config->workers * sizeof(uint16_t),
		&replica->filters);
	if (rc == 0)
		rc = mqtt_trie_create(&trie, &replica->trie);
	if (rc < 0) {
		replica_destroy(replica);
		return rc;
	}
	*ret_replica = replica;
	return 0;
}

void replica_destroy(struct replica *replica)
{
	if (replica == NULL)
		return;
	mqtt_trie_destroy(replica->trie);
	slab_destroy(replica->filters);
	rte_free(replica);
}

// --- records -------------------------------------------------------------------------------------

static struct replica_filter *filter_find(const struct replica *replica, struct mqtt_bytes filter)
{
	struct mqtt_trie_entry *entry = mqtt_trie_find(replica->trie, filter);

	return entry == NULL ? NULL : container_of(entry, struct replica_filter, entry);
}

static struct replica_filter *filter_make(struct replica *replica, struct mqtt_bytes filter)
{
	struct replica_filter *record = filter_find(replica, filter);

	if (record != NULL)
		return record;
	record = slab_take(replica->filters);
	if (record == NULL)
		return NULL;
	list_init(&record->due_link);
	mqtt_trie_entry_init(&record->entry);
	if (mqtt_trie_insert(replica->trie, filter, &record->entry) < 0) {
		slab_give(replica->filters, record);
		return NULL;
	}
	return record;
}

struct replica_filter *replica_get(struct replica *replica, struct mqtt_bytes filter)
{
	struct replica_filter *record = filter_make(replica, filter);

	if (record != NULL)
		record->holders++;
	return record;
}

static uint16_t standings_own(const struct replica_filter *record)
{
	uint16_t standings = 0;

	for (unsigned i = 0; i < STANDING_KINDS; i++)
		if (record->own[i] > 0)
			standings |= (uint16_t)(1u << i);
	return standings;
}

static bool record_needed(const struct replica *replica, const struct replica_filter *record)
{
	if (list_linked(&record->due_link) || record->told != 0 || record->holders > 0)
		return true;
	for (unsigned i = 0; i < replica->config.workers; i++)
		if (record->others[i] != 0)
			return true;
	return false;
}

static void record_release(struct replica *replica, struct replica_filter *record)
{
	if (record == &replica->map || record_needed(replica, record))
		return;
	mqtt_trie_remove(replica->trie, &record->entry);
	slab_give(replica->filters, record);
}

// The others know something else of the record, or soon will.
static void record_due(struct replica *replica, struct replica_filter *record)
{
	bool news = standings_own(record) != record->told || record->touched;

	// What waits to be told stays in its place: it is told earlier than it need be.
	if (news && !list_linked(&record->due_link)) {
		record->due = ++replica->now;
		list_append(&replica->due, &record->due_link);
	} else if (!news) {
		list_remove(&record->due_link);
		record->more = false; // and went
	}
}

void replica_count(
	struct replica *replica, struct replica_filter *record, uint16_t before, uint16_t after)
{
	for (unsigned i = 0; i < STANDING_KINDS; i++) {
		record->own[i] += after >> i & 1;
		DASSERT(!(before >> i & 1) || record->own[i] > 0);
		record->own[i] -= before >> i & 1;
	}
	record_due(replica, record);
}

void replica_touch(struct replica *replica, struct replica_filter *record, bool sure, bool more)
{
	record->more |= more;
	record->unsure |= !sure;
	// Who has not been told of it remembers nothing that it matches; what the broker may have
	// concerns all.
	record->touched = record->told != 0 || record->unsure;
	record_due(replica, record);
}

void replica_doubt(struct replica *replica, struct mqtt_bytes filter)
{
	struct replica_filter *record =
		filter.length <= PAYLOAD_LARGEST ? filter_make(replica, filter) : NULL;

	// What cannot be told of one is told of all.
	replica_touch(replica, record == NULL ? &replica->map : record, false, false);
}

void replica_put(struct replica *replica, struct replica_filter *record)
{
	record->holders--;
	record_release(replica, record);
}

void replica_complete_set(struct replica *replica, bool complete)
{
	replica->map.own[0] = !complete;
	record_due(replica, &replica->map);
}

void replica_full_set(struct replica *replica, bool full)
{
	replica->map.own[1] = full;
	record_due(replica, &replica->map);
}

void replica_misnamed_set(struct replica *replica, bool misnamed)
{
	replica->map.own[2] = misnamed;
	replica_touch(replica, &replica->map, false, false);
}

// --- telling -------------------------------------------------------------------------------------

uint64_t replica_now(const struct replica *replica)
{
	return replica->now;
}

uint64_t replica_due(const struct replica *replica)
{
	if (list_empty(&replica->due))
		return UINT64_MAX;
	return container_of(replica->due.next, struct replica_filter, due_link)->due;
}

bool replica_peek(
	const struct replica *replica, struct replica_news *ret_news, uint8_t *out, uint32_t size)
{
	const struct replica_filter *record;

	if (list_empty(&replica->due))
		return false;
	record = container_of(replica->due.next, struct replica_filter, due_link);
	*ret_news = (struct replica_news){
		.due = record->due,
		.length = record == &replica->map
				  ? 0
				  : mqtt_trie_entry_filter(&record->entry, out, size),
		.before = record->told,
		.after = standings_own(record),
		.more = record->more,
		.unsure = record->unsure,
	};
	return true;
}

void replica_told(struct replica *replica)
{
	struct replica_filter *record =
		container_of(list_pop(&replica->due), struct replica_filter, due_link);

	record->told = standings_own(record);
	record->touched = record->more = record->unsure = false;
	record_release(replica, record);
}

// --- learning ------------------------------------------------------------------------------------

static void lack(struct replica *replica, bool before, bool after)
{
	replica->lacking += after;
	replica->lacking -= before;
}

static void gaps_add(struct replica *replica, unsigned worker, int n)
{
	uint32_t before = replica->gaps[worker];

	replica->gaps[worker] += (uint32_t)n;
	lack(replica, before > 0, replica->gaps[worker] > 0);
}

static void doubt(struct replica *replica, struct mqtt_bytes filter)
{
	if (filter.length == 0) {
		session_changes_add_all(replica->changes);
		session_changes_add_all(replica->doubts);
	} else {
		session_changes_add_filter(replica->changes, filter);
		session_changes_add_filter(replica->doubts, filter);
	}
}

void replica_learn(struct replica *replica, unsigned worker, const struct replica_news *news,
	struct mqtt_bytes filter)
{
	struct replica_filter *record;

	if (news->unsure)
		doubt(replica, filter);
	if (filter.length == 0) {
		bool incomplete = news->after & REPLICA_INCOMPLETE;
		uint32_t bit = 1u << worker;

		lack(replica, replica->incomplete[worker], incomplete);
		replica->incomplete[worker] = incomplete;
		replica->full =
			news->after & REPLICA_FULL ? replica->full | bit : replica->full & ~bit;
		replica->misnamed = news->after & REPLICA_MISNAMED ? replica->misnamed | bit
								   : replica->misnamed & ~bit;
		return;
	}
	record = filter_find(replica, filter);
	// What had found no room before is told anew.
	if (news->before != 0 && (record == NULL || record->others[worker] == 0))
		gaps_add(replica, worker, -1);
	if (record == NULL && news->after != 0)
		record = filter_make(replica, filter);
	if (record == NULL) {
		if (news->after != 0)
			gaps_add(replica, worker, 1);
		return;
	}
	record->changed_at = ++replica->learned;
	// Of who was there before there was room for the filter nothing was known either.
	if (news->more || record->others[worker] == 0)
		record->joined_at = record->changed_at;
	record->others[worker] = news->after;
	if (!news->unsure)
		session_changes_add(replica->changes, &record->entry);
	record_release(replica, record);
}

uint64_t replica_learned(const struct replica *replica)
{
	return replica->learned;
}

bool replica_complete(const struct replica *replica)
{
	return replica->lacking == 0;
}

bool replica_whole(const struct replica *replica)
{
	for (unsigned i = 0; i < replica->config.workers; i++)
		if (replica->gaps[i] > 0)
			return false;
	return true;
}

uint32_t replica_full(const struct replica *replica)
{
	return replica->full;
}

bool replica_misnamed(const struct replica *replica)
{
	return replica->misnamed != 0;
}

void replica_usage(const struct replica *replica, struct replica_usage *ret_usage)
{
	ret_usage->filters = slab_usage(replica->filters);
	mqtt_trie_usage(replica->trie, &ret_usage->trie);
}

// --- matching ------------------------------------------------------------------------------------

struct matching {
	const struct replica *replica;
	struct replica_match *match;
};

// No two changes have it in common.
static uint64_t change_stamp(const struct replica *replica, uint64_t changed_at)
{
	uint64_t hash = (changed_at + replica->config.seed) * 0x9e3779b97f4a7c15ull;

	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ull;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebull;
	return hash ^ hash >> 31;
}

static void matching_visit(void *ctx, struct mqtt_trie_entry *entry)
{
	struct matching *matching = ctx;
	const struct replica_filter *record = container_of(entry, struct replica_filter, entry);
	uint16_t any = 0;

	for (unsigned i = 0; i < matching->replica->config.workers; i++) {
		uint16_t standings = record->others[i];

		if (standings & STANDING_TARGET)
			matching->match->workers |= 1u << i;
		if (standings & STANDING_JOINED)
			matching->match->joined |= 1u << i;
		if (standings & STANDING_KEPT)
			matching->match->kept |= 1u << i;
		any |= standings;
	}
	matching->match->standings |= any;
	if (any != 0)
		matching->match->stamp += change_stamp(matching->replica, record->changed_at);
	if (record->joined_at > matching->match->joined_at)
		matching->match->joined_at = record->joined_at;
}

void replica_match(
	const struct replica *replica, struct mqtt_bytes topic, struct replica_match *ret_match)
{
	struct matching matching = {.replica = replica, .match = ret_match};

	*ret_match = (struct replica_match){0};
	mqtt_trie_match(replica->trie, topic, matching_visit, &matching);
}

// --- invariants ----------------------------------------------------------------------------------

void replica_check(const struct replica *replica)
{
	uint32_t lacking = 0, due = 0, linked = 0;
	uint64_t last = 0;

	for (unsigned i = 0; i < REPLICA_WORKERS_MAX; i++)
		lacking += replica->incomplete[i] + (replica->gaps[i] > 0);
	ASSERT(lacking == replica->lacking);
	list_for_each (link, &replica->due) {
		const struct replica_filter *record =
			container_of(link, struct replica_filter, due_link);

		ASSERT(record->due > last && record->due <= replica->now);
		ASSERT(standings_own(record) != record->told || record->touched);
		last = record->due;
		due++;
	}
	linked = list_linked(&replica->map.due_link);
	for (uint32_t i = 0; i < slab_count(replica->filters); i++) {
		const struct replica_filter *record = slab_at(replica->filters, i);

		if (record == NULL)
			continue;
		ASSERT(record_needed(replica, record));
		ASSERT(record->others[replica->config.self] == 0);
		linked += list_linked(&record->due_link);
	}
	ASSERT(due == linked);
	mqtt_trie_check(replica->trie);
}
