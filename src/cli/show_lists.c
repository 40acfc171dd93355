// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp connections and offramp subscriptions.

#include "cli/output.h"

#include "offramp/v1/admin.pb-c.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// --- connections ---------------------------------------------------------------------------------

static const struct table_column connection_columns[] = {
	{"BROKER", TABLE_LEFT},
	{"CLIENT", TABLE_LEFT},
	{"CLIENT-ID", TABLE_LEFT},
	{"MQTT", TABLE_LEFT},
	{"STATE", TABLE_LEFT},
	{"BROKER-STATE", TABLE_LEFT},
	{"SUBS", TABLE_RIGHT},
	{"CAPTURED", TABLE_RIGHT},
	{"PASSED", TABLE_RIGHT},
	{"DELIVERED", TABLE_RIGHT},
	{"WAITING", TABLE_RIGHT},
	{"INFLIGHT", TABLE_RIGHT},
	{"QUEUED", TABLE_RIGHT},
	{"RETRANS", TABLE_RIGHT},
};

// NULL before CONNECT.
static const char *version_name(uint32_t version)
{
	static const char *const names[] = {[3] = "3.1", [4] = "3.1.1", [5] = "5.0"};

	return version < COUNT(names) ? names[version] : NULL;
}

static void connection_row(struct table *table, const Offramp__V1__Connection *c)
{
	table_text(table, c->broker);
	table_text(table, c->client);
	table_text(table, c->client_id);
	table_text(table, version_name(c->version));
	table_text(table, c->client_state);
	table_text(table, c->broker_state);
	table_number(table, c->subscriptions);
	table_number(table, c->captured);
	table_number(table, c->passed);
	table_number(table, c->delivered);
	table_number(table, c->queued_messages);
	table_number(table, c->inflight);
	table_number(table, c->client_queued);
	table_number(table, c->retransmits);
}

static void connection_json(struct json *json, const Offramp__V1__Connection *c)
{
	json_object_begin(json, NULL);
	json_text(json, "broker", c->broker);
	json_text(json, "client_id", c->client_id);
	json_text(json, "client", c->client);
	json_text(json, "broker_local", c->broker_local);
	json_text(json, "mqtt_version", version_name(c->version));
	json_bool(json, "accepted", c->accepted);
	json_bool(json, "persistent", c->persistent);
	json_number(json, "keep_alive_s", c->keep_alive_s);
	json_number(json, "subscriptions", c->subscriptions);
	json_text(json, "client_state", *c->client_state ? c->client_state : NULL);
	json_text(json, "broker_state", *c->broker_state ? c->broker_state : NULL);
	json_number(json, "client_queued", c->client_queued);
	json_number(json, "broker_queued", c->broker_queued);
	json_number(json, "queued_messages", c->queued_messages);
	json_number(json, "inflight", c->inflight);
	json_number(json, "retransmits", c->retransmits);
	json_number(json, "captured", c->captured);
	json_number(json, "passed", c->passed);
	json_number(json, "delivered", c->delivered);
	json_object_end(json);
}

static bool connections_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__ConnectionsResponse *response =
		offramp__v1__connections_response__unpack(NULL, length, bytes);

	if (!response)
		return false;
	for (size_t i = 0; i < response->n_connections; i++) {
		if (output->as_json)
			connection_json(&output->json, response->connections[i]);
		else
			connection_row(&output->table, response->connections[i]);
	}
	offramp__v1__connections_response__free_unpacked(response, NULL);
	return true;
}

const struct command command_connections = {
	.name = "connections",
	.summary = "every client with its two TCP connections",
	.path = "/offramp.v1.Admin/Connections",
	.columns = connection_columns,
	.columns_count = COUNT(connection_columns),
	.list = true,
	.message = connections_message,
};

// --- subscriptions -------------------------------------------------------------------------------

static const struct table_column subscription_columns[] = {
	{"BROKER", TABLE_LEFT},
	{"CLIENT-ID", TABLE_LEFT},
	{"FILTER", TABLE_LEFT},
	{"QOS", TABLE_RIGHT},
	{"ID", TABLE_RIGHT},
	{"STATE", TABLE_LEFT},
	{"OPTIONS", TABLE_LEFT},
};

static const char *subscription_options(const Offramp__V1__Subscription *s)
{
	if (s->persistent && s->no_local)
		return "persistent,no-local";
	return s->persistent ? "persistent" : s->no_local ? "no-local" : NULL;
}

static void subscription_row(struct table *table, const Offramp__V1__Subscription *s)
{
	table_text(table, s->broker);
	table_text(table, s->client_id);
	table_text(table, s->filter);
	table_number(table, s->qos);
	if (s->subscription_id)
		table_number(table, s->subscription_id);
	else
		table_text(table, NULL);
	table_text(table, s->pending ? "pending" : s->online ? "online" : "offline");
	table_text(table, subscription_options(s));
}

static void subscription_json(struct json *json, const Offramp__V1__Subscription *s)
{
	json_object_begin(json, NULL);
	json_text(json, "broker", s->broker);
	json_text(json, "client_id", s->client_id);
	json_text(json, "filter", s->filter);
	json_number(json, "qos", s->qos);
	json_bool(json, "no_local", s->no_local);
	json_bool(json, "online", s->online);
	json_bool(json, "pending", s->pending);
	json_bool(json, "persistent", s->persistent);
	if (s->subscription_id)
		json_number(json, "subscription_id", s->subscription_id);
	else
		json_text(json, "subscription_id", NULL);
	json_object_end(json);
}

static bool subscriptions_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__SubscriptionsResponse *response =
		offramp__v1__subscriptions_response__unpack(NULL, length, bytes);

	if (!response)
		return false;
	for (size_t i = 0; i < response->n_subscriptions; i++) {
		if (output->as_json)
			subscription_json(&output->json, response->subscriptions[i]);
		else
			subscription_row(&output->table, response->subscriptions[i]);
	}
	offramp__v1__subscriptions_response__free_unpacked(response, NULL);
	return true;
}

const struct command command_subscriptions = {
	.name = "subscriptions",
	.summary = "every subscription in the map",
	.path = "/offramp.v1.Admin/Subscriptions",
	.columns = subscription_columns,
	.columns_count = COUNT(subscription_columns),
	.list = true,
	.message = subscriptions_message,
};
