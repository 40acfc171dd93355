// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp filters: what always passes, as it is or as it has just been changed.

#include "cli/output.h"

#include "offramp/v1/admin.pb-c.h"

static const struct table_column columns[] = {
	{"BROKER", TABLE_LEFT},
	{"CAPTURE", TABLE_LEFT},
	{"PASS", TABLE_LEFT},
};

static void broker_rows(struct table *table, const Offramp__V1__BrokerFilters *broker)
{
	for (size_t i = 0; i == 0 || i < broker->n_pass; i++) {
		table_text(table, broker->broker);
		table_text(table, broker->capture ? "on" : "off");
		table_text(table, i < broker->n_pass ? broker->pass[i] : NULL);
	}
}

static void broker_json(struct json *json, const Offramp__V1__BrokerFilters *broker)
{
	json_object_begin(json, NULL);
	json_text(json, "broker", broker->broker);
	json_bool(json, "capture", broker->capture);
	json_array_begin(json, "pass");
	for (size_t i = 0; i < broker->n_pass; i++)
		json_text(json, NULL, broker->pass[i]);
	json_array_end(json);
	json_object_end(json);
}

static bool filters_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__FiltersResponse *response =
		offramp__v1__filters_response__unpack(NULL, length, bytes);

	if (!response)
		return false;
	for (size_t i = 0; i < response->n_brokers; i++) {
		if (output->as_json)
			broker_json(&output->json, response->brokers[i]);
		else
			broker_rows(&output->table, response->brokers[i]);
	}
	offramp__v1__filters_response__free_unpacked(response, NULL);
	return true;
}

const struct command command_filters = {
	.name = "filters",
	.summary = "what always passes to the broker; with options, changes that",
	.path = "/offramp.v1.Admin/Filters",
	.change_path = "/offramp.v1.Admin/ChangeFilters",
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(columns[0]),
	.list = true,
	.message = filters_message,
};
