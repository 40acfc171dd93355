// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp counters.

#include "cli/output.h"

#include "offramp/v1/admin.pb-c.h"

static const struct table_column columns[] = {
	{"COUNTER", TABLE_LEFT},
	{"VALUE", TABLE_RIGHT},
};

// As in Prometheus: name{label="value"}; without the prefix.
static void family_rows(struct table *table, const Offramp__V1__CounterFamily *family)
{
	char name[256];

	for (size_t i = 0; i < family->n_counters; i++) {
		if (*family->label)
			snprintf(name, sizeof(name), "%s{%s=\"%s\"}", family->name, family->label,
				family->counters[i]->label_value);
		else
			snprintf(name, sizeof(name), "%s", family->name);
		table_text(table, name);
		table_number(table, family->counters[i]->value);
	}
}

static void family_json(struct json *json, const Offramp__V1__CounterFamily *family)
{
	if (!*family->label) {
		if (family->n_counters > 0)
			json_number(json, family->name, family->counters[0]->value);
		return;
	}
	json_object_begin(json, family->name);
	for (size_t i = 0; i < family->n_counters; i++)
		json_number(json, family->counters[i]->label_value, family->counters[i]->value);
	json_object_end(json);
}

static bool counters_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__CountersResponse *response =
		offramp__v1__counters_response__unpack(NULL, length, bytes);

	if (!response)
		return false;
	if (output->as_json)
		json_object_begin(&output->json, NULL);
	for (size_t i = 0; i < response->n_families; i++) {
		if (output->as_json)
			family_json(&output->json, response->families[i]);
		else
			family_rows(&output->table, response->families[i]);
	}
	if (output->as_json)
		json_object_end(&output->json);
	offramp__v1__counters_response__free_unpacked(response, NULL);
	return true;
}

const struct command command_counters = {
	.name = "counters",
	.summary = "what has been counted since the start",
	.path = "/offramp.v1.Admin/Counters",
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(columns[0]),
	.message = counters_message,
};
