// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A client's life: from its CONNECT over its session to the end of its connection.

#pragma once

#include "offload/state.h"

// CONNECT has passed.
void client_connect(struct client *client, const struct mqtt_connect *connect);
// CONNACK has passed: the session is its own from now on, or it is refused.
void client_connack(struct client *client, const struct mqtt_connack *connack);
// DISCONNECT changed how long the broker keeps the session (3.14.2.2.2).
void client_set_expiry(struct client *client, uint32_t seconds);
// The client has said goodbye: nothing more is delivered to it.
void client_end_session(struct client *client);

// One filter of a SUBSCRIBE that has passed.
void client_subscribe(struct client *client, uint16_t packet_id, uint16_t index,
	const struct mqtt_subscribe_filter *filter, uint32_t subscription_id);

// It is no MQTT client that can be followed: bytes pass in both directions. Only before its
// CONNACK.
void client_set_raw(struct client *client);
// No packet can follow in one direction (MQTT 4.13): its bytes pass. Before the CONNACK the client
// is raw; later the other direction goes on as it was, for what is on its way there is still owed.
void client_set_broken(struct client *client);
// The broker has answered such a client, with these bytes of its stream: unless they are a refusal,
// the broker serves a client whose subscriptions nobody sees.
void client_raw_answered(struct client *client, struct mqtt_bytes bytes);
// The broker may know more of its subscriptions than the map does.
void client_set_unknown(struct client *client);

// What it has done from now on must be with all workers before an answer to it passes …
void client_mark(struct client *client);
// … and it is.
bool client_settled(const struct client *client);

// The identifier that its session has, once the CONNACK is here; may be empty.
struct mqtt_bytes client_id_in_force(
	const struct client *client, const struct mqtt_connack *connack);
// The session is its own. `known`: another worker has followed it until now.
void client_bind(struct client *client, const struct mqtt_connack *connack, bool known);
// Another connection has its session.
void client_lose_session(struct client *client);
