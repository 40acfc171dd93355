// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp topics: what becomes of each topic's messages, and why.

#include "cli/output.h"

#include "offramp/v1/admin.pb-c.h"

#include <inttypes.h>
#include <string.h>

#define US_PER_S 1000000

static const struct table_column columns[] = {
	{"BROKER", TABLE_LEFT},
	{"TOPIC", TABLE_LEFT},
	{"WORKER", TABLE_RIGHT},
	{"QOS-0", TABLE_LEFT},
	{"QOS-1", TABLE_LEFT},
	{"QOS-2", TABLE_LEFT},
	{"TARGETS", TABLE_RIGHT},
	{"DENIED", TABLE_RIGHT},
	{"PENDING", TABLE_RIGHT},
	{"PROOF", TABLE_LEFT},
};

// "no", or for how long still.
static void proof_text(struct table *table, const Offramp__V1__Topic *topic)
{
	char text[32] = "no";

	if (topic->shown && topic->shown_us == UINT64_MAX)
		strcpy(text, "yes");
	else if (topic->shown && topic->shown_us)
		snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64 " s",
			topic->shown_us / US_PER_S, topic->shown_us % US_PER_S * 10 / US_PER_S);
	table_text(table, text);
}

static void topic_row(struct table *table, const Offramp__V1__Topic *topic)
{
	table_text(table, topic->broker);
	table_text(table, topic->topic);
	table_number(table, topic->worker);
	table_text(table, topic->verdict);
	table_text(table, topic->verdict_qos1);
	table_text(table, topic->verdict_qos2);
	table_number(table, topic->targets);
	table_number(table, topic->denied);
	table_number(table, topic->pending);
	proof_text(table, topic);
}

static void topic_json(struct json *json, const Offramp__V1__Topic *topic)
{
	json_object_begin(json, NULL);
	json_text(json, "broker", topic->broker);
	json_text(json, "topic", topic->topic);
	json_number(json, "worker", topic->worker);
	json_text(json, "verdict", topic->verdict);
	json_text(json, "verdict_qos1", topic->verdict_qos1);
	json_text(json, "verdict_qos2", topic->verdict_qos2);
	json_number(json, "targets", topic->targets);
	json_number(json, "denied", topic->denied);
	json_number(json, "pending", topic->pending);
	json_bool(json, "elsewhere", topic->elsewhere);
	json_bool(json, "known", topic->known);
	json_bool(json, "shown", topic->shown);
	if (topic->shown_us == UINT64_MAX)
		json_text(json, "shown_s", NULL);
	else
		json_real(json, "shown_s", (double)topic->shown_us / US_PER_S);
	json_real(json, "asks_s", (double)topic->asks_us / US_PER_S);
	json_object_end(json);
}

static bool topics_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__TopicsResponse *response =
		offramp__v1__topics_response__unpack(NULL, length, bytes);

	if (!response)
		return false;
	for (size_t i = 0; i < response->n_topics; i++) {
		if (output->as_json)
			topic_json(&output->json, response->topics[i]);
		else
			topic_row(&output->table, response->topics[i]);
	}
	offramp__v1__topics_response__free_unpacked(response, NULL);
	return true;
}

const struct command command_topics = {
	.name = "topics",
	.summary = "what becomes of each topic's messages, and why",
	.path = "/offramp.v1.Admin/Topics",
	.columns = columns,
	.columns_count = sizeof(columns) / sizeof(columns[0]),
	.list = true,
	.message = topics_message,
};
