// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a match costs with 1,000, 100,000 and 1,000,000 subscriptions, each of its own
// filter: site/S/device/D/temperature, every tenth with a wildcard. Each topic matches
// one or two filters, so a cost that grows with the number of subscriptions would show;
// what does grow is the share of cache misses. Processor time: others may use the machine.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "mqtt/trie.h"

#define MATCHES 1000000u
#define TOPICS	65536u // distinct ones, prepared before the clock runs

struct topic {
	char text[56];
	uint32_t length;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct mqtt_bytes path(char out[56], uint32_t device, bool wildcard)
{
	int n = snprintf(out, 56,
		wildcard ? "site/%u/+/%u/temperature" : "site/%u/device/%u/temperature",
		device / 1000, device);

	return mqtt_bytes(out, (size_t)n);
}

static void visit(void *ctx, struct mqtt_trie_entry *entry)
{
	(void)entry;
	++*(uint64_t *)ctx;
}

static int run(uint32_t count)
{
	struct mqtt_trie_config config = {
		.nodes_max = count * 3 + 3000, .text_bytes = 1 << 20, .seed = 1};
	struct mqtt_trie_entry *entries = calloc(count, sizeof(*entries));
	struct topic *topics = calloc(TOPICS, sizeof(*topics));
	struct mqtt_trie_usage usage;
	struct mqtt_trie *trie;
	struct random random;
	uint64_t start, insert_ns, match_ns, visits = 0;
	char text[56];

	if (!entries || !topics || mqtt_trie_create(&config, &trie) < 0)
		return 1;
	random_init(&random, 1);
	for (uint32_t i = 0; i < TOPICS; i++)
		topics[i].length = path(topics[i].text, random_below(&random, count), false).length;
	start = now_ns();
	for (uint32_t i = 0; i < count; i++) {
		mqtt_trie_entry_init(&entries[i]);
		if (mqtt_trie_insert(trie, path(text, i, i % 10 == 0), &entries[i]) < 0)
			return 1;
	}
	insert_ns = now_ns() - start;
	mqtt_trie_usage(trie, &usage);
	start = now_ns();
	for (uint32_t i = 0; i < MATCHES; i++) {
		const struct topic *t = &topics[i % TOPICS];

		mqtt_trie_match(trie, mqtt_bytes(t->text, t->length), visit, &visits);
	}
	match_ns = now_ns() - start;
	printf("%8u subscriptions: insert %4llu ns, match %4llu ns (%.2f entries each), %u nodes\n",
		count, (unsigned long long)(insert_ns / count),
		(unsigned long long)(match_ns / MATCHES), (double)visits / MATCHES, usage.nodes);
	mqtt_trie_destroy(trie);
	free(topics);
	free(entries);
	return 0;
}

int main(void)
{
	static const uint32_t counts[] = {1000, 100000, 1000000};
	int failed = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		failed |= run(counts[i]);
	return failed;
}
