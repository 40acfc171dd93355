// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a topic's match costs with 1,000 to 1,000,000 subscriptions in the map, each
// of a filter of its own (site/S/device/D/temperature, every tenth with a wildcard), and
// what others' subscribing costs it:
//
//   match       the route is made (trie, grouping), of one of a few topics that are always in use
//   scattered   the same for one of thousands: each time its memory has to be fetched anew
//   remembered  the route of a topic asked for before
//   confirmed   the same for one of a few topics, after each of which somebody subscribes elsewhere
//   subscribe   SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK
//   bytes       of the map, for each subscription; it is sized at creation
//
//   bench-match [--check]   fails when a match among the most costs twice one among the fewest, or
//                           ten times, scattered
//
// Processor time: others may use the machine. A match takes as many steps among a million
// subscriptions as among a thousand; what grows is the share of the steps that miss the caches.

#include <rte_eal.h>
#include <rte_malloc.h>

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/random.h"
#include "proof/route.h"

#define ROUNDS	       100000u
#define TOPICS	       4096u // distinct ones; as many as are remembered
#define HOT	       32u   // of them, in use all the time
#define BUSY	       8u    // of them, while others subscribe
#define PER_SESSION    100u
#define FLAT	       2
#define FLAT_SCATTERED 10

struct bench {
	struct payload_pool *payloads;
	struct session_map *map;
	struct proof_routes *routes;
	struct session *other; // subscribes while the rest is measured
	struct topic {
		uint8_t text[56];
		uint32_t length;
	} topics[TOPICS];
	char owner; // of all
	uint64_t heap_bytes;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t heap_bytes(void)
{
	struct rte_malloc_socket_stats stats;

	ASSERT(rte_malloc_get_socket_stats(0, &stats) == 0);
	return stats.heap_allocsz_bytes + mallinfo2().uordblks + mallinfo2().hblkhd;
}

static struct mqtt_bytes path(uint8_t out[56], uint32_t device, bool wildcard)
{
	int n = snprintf((char *)out, 56,
		wildcard ? "site/%u/+/%u/temperature" : "site/%u/device/%u/temperature",
		device / 1000, device);

	return mqtt_bytes(out, (size_t)n);
}

static struct session *connect(struct bench *bench, uint32_t i)
{
	char id[16];
	struct session_bind bind = {.version = MQTT_VERSION_5, .owner = &bench->owner};
	struct session *session;
	void *previous;

	snprintf(id, sizeof(id), "c%u", i);
	bind.client_id = mqtt_bytes(id, strlen(id));
	ASSERT(session_bind(bench->map, &bind, &session, &previous) == 0);
	return session;
}

static void subscribe(struct bench *bench, struct session *session, struct mqtt_bytes filter)
{
	static const uint8_t granted;
	const struct mqtt_subscribe_filter one = {.filter = filter};

	ASSERT(session_subscribe(bench->map, session, 1, 0, &one, 0) == 0);
	session_granted(bench->map, session, 1, mqtt_bytes(&granted, 1), NULL, NULL);
}

static void unsubscribe(struct bench *bench, struct session *session, struct mqtt_bytes filter)
{
	session_unsubscribe(bench->map, session, 1, 0, filter);
	session_unsubscribed(bench->map, session, 1, mqtt_bytes(NULL, 0), NULL, NULL);
}

static void start(struct bench *bench, uint32_t count)
{
	const struct payload_pool_config payloads = {
		{count / PER_SESSION + 3 * TOPICS, 1024, 256, 64}, -1};
	const struct session_map_config map = {.sessions_max = count / PER_SESSION + 1,
		.subscriptions_max = count + 1,
		.subscriptions_per_session = PER_SESSION};
	const struct proof_routes_config routes = {.slots = 16 * TOPICS};
	struct session *session = NULL;
	struct random rng;
	uint8_t text[56];

	random_init(&rng, 1);
	ASSERT(payload_pool_create("bench", &payloads, &bench->payloads) == 0);
	bench->heap_bytes = heap_bytes();
	ASSERT(session_map_create("bench", &map, bench->payloads, 0, &bench->map) == 0);
	bench->heap_bytes = heap_bytes() - bench->heap_bytes;
	ASSERT(proof_routes_create(&routes, bench->map, bench->payloads, &bench->routes) == 0);
	for (uint32_t i = 0; i < count; i++) {
		if (i % PER_SESSION == 0)
			session = connect(bench, i / PER_SESSION);
		subscribe(bench, session, path(text, i, i % 10 == 0));
	}
	bench->other = connect(bench, UINT32_MAX);
	for (uint32_t i = 0; i < TOPICS; i++) {
		struct topic *topic = &bench->topics[i];

		topic->length = path(topic->text, random_below(&rng, count), false).length;
	}
}

static void stop(struct bench *bench)
{
	proof_routes_destroy(bench->routes);
	session_map_destroy(bench->map);
	payload_pool_destroy(bench->payloads);
}

enum { MATCH, SCATTERED, REMEMBERED, CONFIRMED, SUBSCRIBE, COSTS };

// Nanoseconds of one round.
static double measure(struct bench *bench, unsigned what)
{
	const struct mqtt_bytes elsewhere = mqtt_bytes("another/filter", 14);
	uint32_t topics = what == CONFIRMED ? BUSY : what == MATCH ? HOT : TOPICS;
	uint64_t start_ns = now_ns();

	for (uint32_t i = 0; i < ROUNDS; i++) {
		const struct topic *topic = &bench->topics[i % topics];
		struct proof_route *route;

		if (what == SUBSCRIBE) {
			subscribe(bench, bench->other, elsewhere);
			unsubscribe(bench, bench->other, elsewhere);
			continue;
		}
		if (what == CONFIRMED)
			session_changes_add(&bench->map->changes,
				&container_of(
					bench->other->subscriptions.next, struct subscription, link)
					 ->entry);
		route = proof_route_find(bench->routes, mqtt_bytes(topic->text, topic->length));
		ASSERT(route != NULL && route->targets > 0);
		if (what == MATCH || what == SCATTERED)
			route->version = 0; // forget
	}
	return (double)(now_ns() - start_ns) / ROUNDS;
}

static void run(uint32_t count, double ns[COSTS])
{
	static struct bench bench;

	start(&bench, count);
	measure(&bench, MATCH);
	ns[MATCH] = measure(&bench, MATCH);
	measure(&bench, SCATTERED);
	ns[SCATTERED] = measure(&bench, SCATTERED);
	measure(&bench, REMEMBERED);
	ns[REMEMBERED] = measure(&bench, REMEMBERED);
	ns[SUBSCRIBE] = measure(&bench, SUBSCRIBE);
	subscribe(&bench, bench.other, mqtt_bytes("another/filter", 14));
	ns[CONFIRMED] = measure(&bench, CONFIRMED);
	printf("%8u subscriptions: match %4.0f ns, scattered %5.0f, remembered %4.0f, "
	       "confirmed %4.0f, subscribe %5.0f, %4.0f bytes each\n",
		count, ns[MATCH], ns[SCATTERED], ns[REMEMBERED], ns[CONFIRMED], ns[SUBSCRIBE],
		(double)bench.heap_bytes / count);
	fflush(stdout);
	stop(&bench);
}

int main(int argc, char **argv)
{
	static const uint32_t counts[] = {1000, 10000, 100000, 1000000};
	char *eal[] = {"bench", "--no-huge", "--no-shconf", "-m", "1024", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};
	bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
	double first[COSTS] = {0}, last[COSTS];

	ASSERT(rte_eal_init((int)(sizeof(eal) / sizeof(eal[0])) - 1, eal) >= 0);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		run(counts[i], last);
		if (i == 0)
			memcpy(first, last, sizeof(first));
	}
	return check && (last[MATCH] > first[MATCH] * FLAT ||
				last[SCATTERED] > first[SCATTERED] * FLAT_SCATTERED);
}
