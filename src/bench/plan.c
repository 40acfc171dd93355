// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who hears whom, in numbers; any thread.

#include "bench/plan.h"

#include <stdio.h>
#include <string.h>

static bool everybody_hears_everybody(const struct bench_plan *plan)
{
	return plan->topics == BENCH_TOPICS_ONE_TO_MANY || plan->topics == BENCH_TOPICS_ALL_TO_ALL;
}

void bench_plan_init(struct bench_plan *plan, const struct bench_options *options, uint32_t run)
{
	memset(plan, 0, sizeof(*plan));
	plan->topics = options->topics;
	plan->publishers = options->publishers;
	plan->subscribers = options->subscribers;
	plan->wildcard = options->wildcard;
	plan->sizes = options->sizes;
	plan->sizes_count = options->sizes_count;
	if (options->topic_prefix)
		snprintf(plan->prefix, sizeof(plan->prefix), "%s/", options->topic_prefix);
	else
		snprintf(plan->prefix, sizeof(plan->prefix), "bench/%08x/", run);
	plan->prefix_length = strlen(plan->prefix);
}

uint32_t bench_plan_fanout(const struct bench_plan *plan)
{
	if (everybody_hears_everybody(plan))
		return plan->subscribers;
	return plan->subscribers ? 1 : 0;
}

uint32_t bench_plan_topic(const struct bench_plan *plan, uint32_t publisher)
{
	return plan->topics == BENCH_TOPICS_ONE_TO_MANY ? 0 : publisher;
}

uint32_t bench_plan_topic_write(
	const struct bench_plan *plan, uint32_t topic, char out[BENCH_TOPIC_MAX])
{
	char digits[10];
	uint32_t n = 0;

	do
		digits[n++] = (char)('0' + topic % 10);
	while (topic /= 10);
	memcpy(out, plan->prefix, plan->prefix_length);
	for (uint32_t i = 0; i < n; i++)
		out[plan->prefix_length + i] = digits[n - 1 - i];
	return plan->prefix_length + n;
}

bool bench_plan_topic_read(
	const struct bench_plan *plan, struct mqtt_bytes name, uint32_t *ret_topic)
{
	uint32_t digits = name.length - plan->prefix_length, topics = plan->publishers, topic = 0;

	if (plan->topics == BENCH_TOPICS_ONE_TO_MANY)
		topics = 1;
	if (name.length <= plan->prefix_length || digits > 9 ||
		memcmp(name.data, plan->prefix, plan->prefix_length))
		return false;
	for (uint32_t i = plan->prefix_length; i < name.length; i++) {
		if (name.data[i] < '0' || name.data[i] > '9')
			return false;
		topic = topic * 10 + name.data[i] - '0';
	}
	if (topic >= topics || (digits > 1 && name.data[plan->prefix_length] == '0'))
		return false;
	*ret_topic = topic;
	return true;
}

uint32_t bench_plan_topic_owner(const struct bench_plan *plan, uint32_t topic)
{
	return plan->topics == BENCH_TOPICS_ONE_TO_MANY && plan->publishers > 1 ? BENCH_PLAN_NOBODY
										: topic;
}

uint32_t bench_plan_filters(const struct bench_plan *plan, uint32_t subscriber)
{
	if (plan->wildcard || plan->topics == BENCH_TOPICS_ONE_TO_MANY)
		return 1;
	return bench_plan_heard(plan, subscriber);
}

uint32_t bench_plan_filter_write(
	const struct bench_plan *plan, uint32_t subscriber, uint32_t n, char out[BENCH_TOPIC_MAX])
{
	if (plan->wildcard) {
		memcpy(out, plan->prefix, plan->prefix_length);
		out[plan->prefix_length] = '+';
		return plan->prefix_length + 1;
	}
	if (plan->topics == BENCH_TOPICS_ONE_TO_MANY)
		return bench_plan_topic_write(plan, 0, out);
	return bench_plan_topic_write(plan, bench_plan_heard_publisher(plan, subscriber, n), out);
}

uint32_t bench_plan_heard(const struct bench_plan *plan, uint32_t subscriber)
{
	if (everybody_hears_everybody(plan))
		return plan->publishers;
	if (subscriber >= plan->publishers)
		return 0;
	return (plan->publishers - subscriber - 1) / plan->subscribers + 1;
}

uint32_t bench_plan_heard_publisher(const struct bench_plan *plan, uint32_t subscriber, uint32_t n)
{
	return everybody_hears_everybody(plan) ? n : subscriber + n * plan->subscribers;
}

uint32_t bench_plan_heard_index(
	const struct bench_plan *plan, uint32_t subscriber, uint32_t publisher)
{
	if (publisher >= plan->publishers)
		return BENCH_PLAN_NOBODY;
	if (everybody_hears_everybody(plan))
		return publisher;
	return publisher % plan->subscribers == subscriber ? publisher / plan->subscribers
							   : BENCH_PLAN_NOBODY;
}

uint32_t bench_plan_size(const struct bench_plan *plan, uint32_t sequence)
{
	return plan->sizes_count == 1 ? plan->sizes[0] : plan->sizes[sequence % plan->sizes_count];
}

uint32_t bench_plan_size_max(const struct bench_plan *plan)
{
	uint32_t max = 0;

	for (unsigned i = 0; i < plan->sizes_count; i++)
		if (plan->sizes[i] > max)
			max = plan->sizes[i];
	return max;
}

uint32_t bench_plan_next_of_size(const struct bench_plan *plan, uint32_t from, uint32_t size)
{
	for (unsigned i = 0; i < plan->sizes_count; i++)
		if (bench_plan_size(plan, from + i) == size)
			return from + i;
	return from;
}
