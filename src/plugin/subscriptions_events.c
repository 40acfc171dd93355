// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// mosquitto 2.1: events for subscriptions, with their options; and one for a client that goes
// offline while its session stays, where 2.0 says DISCONNECT.

#include "plugin/subscriptions.h"

#include "plugin/events.h"
#include "plugin/witness.h"

#include <mosquitto.h>
#include <mosquitto_plugin.h>

#include <stdbool.h>

static struct witness_client client_of(const struct mosquitto *client)
{
	return (struct witness_client){
		.context = client,
		.id = mosquitto_client_id(client),
		.username = mosquitto_client_username(client),
	};
}

static int on_subscribe(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_subscribe *subscribe = data;
	struct witness_client client = client_of(subscribe->client);
	uint8_t options = subscribe->data.options; // as SUBSCRIBE has them: MQTT 5.0 3.8.3.1

	witness_subscribe(userdata, &client,
		&(struct events_subscription){
			.filter = subscribe->data.topic_filter,
			.qos = options & 3,
			.no_local = options >> 2 & 1,
			.retain_as_published = options >> 3 & 1,
			.retain_handling = options >> 4 & 3,
		});
	return MOSQ_ERR_SUCCESS;
}

static int on_unsubscribe(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_unsubscribe *unsubscribe = data;
	struct witness_client client = client_of(unsubscribe->client);

	witness_unsubscribe(userdata, &client, unsubscribe->data.topic_filter);
	return MOSQ_ERR_SUCCESS;
}

static int on_offline(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_client_offline *offline = data;
	struct witness_client client = client_of(offline->client);

	witness_disconnect(userdata, &client);
	return MOSQ_ERR_SUCCESS;
}

int subscriptions_register(mosquitto_plugin_id_t *identifier, struct witness *witness)
{
	int rc = mosquitto_callback_register(
		identifier, MOSQ_EVT_SUBSCRIBE, on_subscribe, NULL, witness);

	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_callback_register(
			identifier, MOSQ_EVT_UNSUBSCRIBE, on_unsubscribe, NULL, witness);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_callback_register(
			identifier, MOSQ_EVT_CLIENT_OFFLINE, on_offline, NULL, witness);
	return rc;
}

void subscriptions_checked(struct witness *witness, const struct witness_client *client, int access,
	const char *filter, uint8_t qos)
{
}
