// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table. Handlers are named after who sent the packet: upstream_… a client,
// downstream_… the broker. Nothing is rejected here: what no specification allows passes too, for
// its receiver to reject (…_malformed).

#include "offload/dispatch.h"

#include "offload/downstream.h"
#include "offload/upstream.h"

struct dispatch_row {
	dispatch_handler *client_v3, *client_v5; // 3.1 and 3.1.1, 5.0
	dispatch_handler *broker_v3, *broker_v5;
};

#define UP_BAD	 upstream_malformed
#define DOWN_BAD downstream_malformed

// clang-format off
static const struct dispatch_row rows[MQTT_TYPES] = {
	//                   sent by a client                          sent by the broker
	//                   v3                    v5                    v3                      v5
	[MQTT_RESERVED]    = {UP_BAD,              UP_BAD,               DOWN_BAD,               DOWN_BAD},
	[MQTT_CONNECT]     = {upstream_connect,    upstream_connect,     DOWN_BAD,               DOWN_BAD},
	[MQTT_CONNACK]     = {UP_BAD,              UP_BAD,               downstream_connack,     downstream_connack},
	[MQTT_PUBLISH]     = {upstream_publish,    upstream_publish,     downstream_publish,     downstream_publish},
	[MQTT_PUBACK]      = {upstream_puback,     upstream_puback,      downstream_ack,         downstream_ack},
	[MQTT_PUBREC]      = {upstream_puback,     upstream_puback,      downstream_ack,         downstream_ack},
	[MQTT_PUBREL]      = {upstream_pubrel,     upstream_pubrel,      downstream_pass,        downstream_pass},
	[MQTT_PUBCOMP]     = {upstream_puback,     upstream_puback,      downstream_ack,         downstream_ack},
	[MQTT_SUBSCRIBE]   = {upstream_subscribe,  upstream_subscribe,   DOWN_BAD,               DOWN_BAD},
	[MQTT_SUBACK]      = {UP_BAD,              UP_BAD,               downstream_suback,      downstream_suback},
	[MQTT_UNSUBSCRIBE] = {upstream_unsubscribe, upstream_unsubscribe, DOWN_BAD,              DOWN_BAD},
	[MQTT_UNSUBACK]    = {UP_BAD,              UP_BAD,               downstream_unsuback,    downstream_unsuback},
	[MQTT_PINGREQ]     = {upstream_pingreq,    upstream_pingreq,     DOWN_BAD,               DOWN_BAD},
	[MQTT_PINGRESP]    = {UP_BAD,              UP_BAD,               downstream_pingresp,    downstream_pingresp},
	[MQTT_DISCONNECT]  = {upstream_disconnect, upstream_disconnect,  DOWN_BAD,               downstream_disconnect},
	[MQTT_AUTH]        = {UP_BAD,              upstream_auth,        DOWN_BAD,               downstream_auth},
};
// clang-format on

bool dispatch_packet(struct client *client, enum dispatch_from from, const struct mqtt_frame *frame)
{
	const struct dispatch_row *row = &rows[frame->header.type];
	bool v5 = client->version == MQTT_VERSION_5;
	uint64_t *counter;
	dispatch_handler *handler;

	if (from == FROM_CLIENT) {
		handler = v5 ? row->client_v5 : row->client_v3;
		counter = &client->offload->counters.from_clients[frame->header.type];
	} else {
		handler = v5 ? row->broker_v5 : row->broker_v3;
		counter = &client->offload->counters.from_brokers[frame->header.type];
	}
	if (!handler(client, frame))
		return false;
	counter_inc(counter);
	return true;
}
