// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What Admin/Status says of each worker: of its counters, those that show whether
// clients and work are spread. Runs on a gRPC thread; nobody is asked.

#include "control/admin.h"

#include <string.h>

#include "control/config.h"

static uint64_t family_sum(
	const struct counter_family *family, const uint64_t *values, const char *label_value)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < family->slots; i++)
		if (label_value == NULL || strcmp(family->values[i], label_value) == 0)
			sum += counter_read(&values[i]);
	return sum;
}

// Of all label values, or of one.
static uint64_t worker_counter(
	const struct control_worker *worker, const char *name, const char *label_value)
{
	uint64_t sum = 0;

	for (unsigned s = 0; s < worker->sets_count; s++) {
		const struct counter_set *set = &worker->sets[s];
		const uint64_t *values = set->values;

		for (unsigned f = 0; f < set->families_count; f++) {
			const struct counter_family *family = &set->families[f];

			if (strcmp(family->name, name) == 0)
				sum += family_sum(family, values, label_value);
			values += family->slots;
		}
	}
	return sum;
}

void admin_worker_fill(
	const struct control *control, unsigned index, Offramp__V1__WorkerStatus *ret_status)
{
	const struct control_worker *worker = &control->source.workers[index];
	const struct config *config = control->source.config;

	offramp__v1__worker_status__init(ret_status);
	ret_status->worker = index;
	ret_status->core = index < config->workers ? config->worker_cores[index] : 0;
	ret_status->connections = worker_counter(worker, "connections", NULL);
	ret_status->sessions = worker_counter(worker, "pool_in_use", "sessions");
	ret_status->subscriptions = worker_counter(worker, "subscriptions", NULL);
	ret_status->captured = worker_counter(worker, "publish_captured_total", NULL);
	ret_status->busy_permille = (uint32_t)counter_read(worker->busy_permille);
}
