// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What src/plugin/subscriptions_events.c uses of the events that mosquitto has since 2.1, as far
// as it uses them: where no such mosquitto is installed, it is compiled against this.

#pragma once

#include_next <mosquitto_broker.h>

enum { MOSQ_EVT_SUBSCRIBE = 100, MOSQ_EVT_UNSUBSCRIBE, MOSQ_EVT_CLIENT_OFFLINE };

struct mosquitto_subscription {
	char *topic_filter;
	uint8_t options;
};

struct mosquitto_evt_subscribe {
	struct mosquitto *client;
	struct mosquitto_subscription data;
};

struct mosquitto_evt_unsubscribe {
	struct mosquitto *client;
	struct mosquitto_subscription data;
};

struct mosquitto_evt_client_offline {
	struct mosquitto *client;
};
