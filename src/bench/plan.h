// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who hears whom, in numbers: topic t is "PREFIX/t"; which topic a publisher
// writes, which ones a subscriber reads, how long message n is. Fixed before any
// thread starts; pure from there on.

#pragma once

#include "bench/options.h"

#define BENCH_TOPIC_MAX	  232
#define BENCH_PLAN_NOBODY UINT32_MAX

struct bench_plan {
	enum bench_topics topics;
	uint32_t publishers, subscribers;
	bool wildcard;
	char prefix[BENCH_TOPIC_MAX]; // with the slash
	uint32_t prefix_length;
	const uint32_t *sizes;
	unsigned sizes_count;
};

// `run` makes topics (unless a prefix is given) and client identifiers those of this run.
void bench_plan_init(struct bench_plan *plan, const struct bench_options *options, uint32_t run);

// Number of subscribers that wait for a message of any one publisher.
uint32_t bench_plan_fanout(const struct bench_plan *plan);
// Index of the topic that a publisher writes.
uint32_t bench_plan_topic(const struct bench_plan *plan, uint32_t publisher);
// Writes "PREFIX/topic", not terminated; returns its length.
uint32_t bench_plan_topic_write(
	const struct bench_plan *plan, uint32_t topic, char out[BENCH_TOPIC_MAX]);
// The other way round; false when it is no topic of this plan.
bool bench_plan_topic_read(
	const struct bench_plan *plan, struct mqtt_bytes name, uint32_t *ret_topic);
// The publisher of a topic, or BENCH_PLAN_NOBODY when several share it.
uint32_t bench_plan_topic_owner(const struct bench_plan *plan, uint32_t topic);

// The filters a subscriber subscribes to: their number, and the n-th, as bench_plan_topic_write().
uint32_t bench_plan_filters(const struct bench_plan *plan, uint32_t subscriber);
uint32_t bench_plan_filter_write(
	const struct bench_plan *plan, uint32_t subscriber, uint32_t n, char out[BENCH_TOPIC_MAX]);

// The publishers a subscriber hears: their number, the n-th, and the n of a publisher
// (BENCH_PLAN_NOBODY when the subscriber should not hear it).
uint32_t bench_plan_heard(const struct bench_plan *plan, uint32_t subscriber);
uint32_t bench_plan_heard_publisher(const struct bench_plan *plan, uint32_t subscriber, uint32_t n);
uint32_t bench_plan_heard_index(
	const struct bench_plan *plan, uint32_t subscriber, uint32_t publisher);

// Bytes of message `sequence`; of the longest one.
uint32_t bench_plan_size(const struct bench_plan *plan, uint32_t sequence);
uint32_t bench_plan_size_max(const struct bench_plan *plan);
// The first sequence number >= `from` whose message has `size` bytes; `from` when none has.
uint32_t bench_plan_next_of_size(const struct bench_plan *plan, uint32_t from, uint32_t size);
