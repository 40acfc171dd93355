// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sets of filters are immutable; workers hold pointers to them. When a worker does not
// answer, workers differ in which set they have, and all of them are kept until a later
// change has reached everybody.

#include "control/filters.h"

#include "base/list.h"
#include "base/mailbox.h"
#include "control/admin.h"
#include "control/config.h"
#include "mqtt/topic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct filter_set {
	struct offload_filters filters;
	struct list link; // newest first
	char *pass[FILTERS_MAX];
};

struct filters {
	const struct control_source *source;
	struct list *sets; // of each broker; its first one is in force
};

static struct filter_set *newest(const struct filters *filters, unsigned broker)
{
	return container_of(filters->sets[broker].next, struct filter_set, link);
}

static void set_free(struct filter_set *set)
{
	if (!set)
		return;
	list_remove(&set->link);
	for (unsigned i = 0; i < set->filters.pass_count; i++)
		free(set->pass[i]);
	free(set);
}

static struct filter_set *set_create(bool capture)
{
	struct filter_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	list_init(&set->link);
	set->filters.capture = capture;
	set->filters.pass = (const char *const *)set->pass;
	return set;
}

static bool listed(char *const *texts, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(texts[i], text) == 0)
			return true;
	return false;
}

static enum filters_verdict set_add(struct filter_set *set, const char *text)
{
	if (listed(set->pass, set->filters.pass_count, text))
		return FILTERS_OK;
	if (set->filters.pass_count == FILTERS_MAX)
		return FILTERS_FULL;
	set->pass[set->filters.pass_count] = strdup(text);
	if (!set->pass[set->filters.pass_count])
		return FILTERS_NO_MEMORY;
	set->filters.pass_count++;
	return FILTERS_OK;
}

// --- life ----------------------------------------------------------------------------------------

int filters_create(const struct control_source *source, struct filters **ret_filters)
{
	unsigned count = source->config->brokers_count;
	struct filters *filters = calloc(1, sizeof(*filters));

	if (!filters)
		return -ENOMEM;
	filters->source = source;
	filters->sets = calloc(count + 1, sizeof(*filters->sets));
	if (!filters->sets)
		goto err;
	for (unsigned b = 0; b < count; b++)
		list_init(&filters->sets[b]);
	for (unsigned b = 0; b < count; b++) {
		const struct offload_capture_config *capture = &source->config->brokers[b].capture;
		struct filter_set *set = set_create(capture->enabled);

		if (!set)
			goto err;
		list_append(&filters->sets[b], &set->link);
		for (unsigned i = 0; i < capture->pass_count; i++)
			if (set_add(set, capture->pass[i]) == FILTERS_NO_MEMORY)
				goto err;
	}
	*ret_filters = filters;
	return 0;
err:
	filters_destroy(filters);
	return -ENOMEM;
}

void filters_destroy(struct filters *filters)
{
	if (!filters)
		return;
	for (unsigned b = 0; filters->sets && b < filters->source->config->brokers_count; b++)
		while (!list_empty(&filters->sets[b]))
			set_free(newest(filters, b));
	free(filters->sets);
	free(filters);
}

const struct offload_filters *filters_of(const struct filters *filters, unsigned broker)
{
	return &newest(filters, broker)->filters;
}

// --- changes -------------------------------------------------------------------------------------

static enum filters_verdict set_change(struct filter_set *set, const struct filter_set *old,
	const struct filters_change *change, struct filters_failure *ret_failure)
{
	enum filters_verdict verdict = FILTERS_OK;

	for (unsigned i = 0; verdict == FILTERS_OK && i < old->filters.pass_count; i++)
		if (!listed(change->remove, change->remove_count, old->pass[i]))
			verdict = set_add(set, old->pass[i]);
	for (size_t i = 0; verdict == FILTERS_OK && i < change->add_count; i++) {
		const char *text = change->add[i];
		struct mqtt_bytes filter = {(const uint8_t *)text, (uint32_t)strlen(text)};
		struct mqtt_bytes name, rest;

		ret_failure->what = text;
		if (!mqtt_filter_valid(filter) || mqtt_filter_share(filter, &name, &rest))
			return FILTERS_INVALID;
		verdict = set_add(set, text);
	}
	return verdict;
}

struct handing_over {
	struct mailbox_message message;
	struct offload *offload;
	unsigned broker;
	const struct offload_filters *filters;
};

static void hand_over(struct mailbox_message *message, void *worker)
{
	struct handing_over *h = (struct handing_over *)message;

	(void)worker;
	offload_filters_set(h->offload, h->broker, h->filters);
}

static enum filters_verdict tell_workers(struct filters *filters, unsigned broker,
	const struct filter_set *set, struct filters_failure *ret_failure)
{
	for (unsigned w = 0; w < filters->source->workers_count; w++) {
		const struct control_worker *worker = &filters->source->workers[w];
		struct handing_over h = {
			.message.run = hand_over,
			.offload = worker->offload,
			.broker = broker,
			.filters = &set->filters,
		};

		ret_failure->worker = w;
		if (mailbox_call(worker->mailbox, &h.message, ADMIN_WORKER_TIMEOUT_MS) != 0)
			return FILTERS_NO_ANSWER;
	}
	return FILTERS_OK;
}

enum filters_verdict filters_change(struct filters *filters, unsigned broker,
	const struct filters_change *change, struct filters_failure *ret_failure)
{
	struct filter_set *old = newest(filters, broker);
	struct filter_set *set =
		set_create(change->capture ? *change->capture : old->filters.capture);
	enum filters_verdict verdict = set ? FILTERS_OK : FILTERS_NO_MEMORY;

	if (verdict == FILTERS_OK)
		verdict = set_change(set, old, change, ret_failure);
	if (verdict != FILTERS_OK) {
		set_free(set);
		return verdict;
	}
	list_prepend(&filters->sets[broker], &set->link);
	verdict = tell_workers(filters, broker, set, ret_failure);
	while (verdict == FILTERS_OK && set->link.next != &filters->sets[broker])
		set_free(container_of(set->link.next, struct filter_set, link));
	return verdict;
}
