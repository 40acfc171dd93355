// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The merged table is the message that is sent, in memory that protobuf-c frees. It
// is small (families are written by hand), so lookups are walks.

#include "control/counters_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

Offramp__V1__CountersResponse *counters_merge_create(void)
{
	Offramp__V1__CountersResponse *merged = malloc(sizeof(*merged));

	if (merged)
		offramp__v1__counters_response__init(merged);
	return merged;
}

void counters_merge_destroy(Offramp__V1__CountersResponse *merged)
{
	if (merged)
		offramp__v1__counters_response__free_unpacked(merged, NULL);
}

// One more element for an array of pointers: its place, or NULL.
static void *append(void ***array, size_t *count, size_t element_size)
{
	void **grown = reallocarray(*array, *count + 1, sizeof(*grown));
	void *element;

	if (!grown)
		return NULL;
	*array = grown;
	element = calloc(1, element_size);
	if (element)
		grown[(*count)++] = element;
	return element;
}

static Offramp__V1__CounterFamily *family_get(
	Offramp__V1__CountersResponse *into, const struct counter_family *family)
{
	Offramp__V1__CounterFamily *f;

	for (size_t i = 0; i < into->n_families; i++)
		if (strcmp(into->families[i]->name, family->name) == 0)
			return into->families[i];
	f = append((void ***)&into->families, &into->n_families, sizeof(*f));
	if (!f)
		return NULL;
	offramp__v1__counter_family__init(f);
	f->kind = family->kind == COUNTER_GAUGE ? OFFRAMP__V1__COUNTER_KIND__COUNTER_KIND_GAUGE
						: OFFRAMP__V1__COUNTER_KIND__COUNTER_KIND_MONOTONIC;
	f->name = strdup(family->name);
	f->help = strdup(family->help ? family->help : "");
	f->label = strdup(family->label ? family->label : "");
	return f->name && f->help && f->label ? f : NULL;
}

static Offramp__V1__Counter *counter_get(Offramp__V1__CounterFamily *family, const char *value)
{
	Offramp__V1__Counter *c;

	for (size_t i = 0; i < family->n_counters; i++)
		if (strcmp(family->counters[i]->label_value, value) == 0)
			return family->counters[i];
	c = append((void ***)&family->counters, &family->n_counters, sizeof(*c));
	if (!c)
		return NULL;
	offramp__v1__counter__init(c);
	c->label_value = strdup(value);
	return c->label_value ? c : NULL;
}

int counters_merge_add(Offramp__V1__CountersResponse *into, const struct counter_set *set)
{
	const uint64_t *values = set->values;

	if (!into)
		return -ENOMEM;
	for (unsigned i = 0; i < set->families_count; i++) {
		const struct counter_family *family = &set->families[i];
		Offramp__V1__CounterFamily *f = family_get(into, family);

		for (unsigned slot = 0; slot < family->slots; slot++) {
			Offramp__V1__Counter *c =
				f ? counter_get(f, family->label ? family->values[slot] : "")
				  : NULL;

			if (!c)
				return -ENOMEM;
			c->value += counter_read(values++);
		}
	}
	return 0;
}
