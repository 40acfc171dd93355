// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How mosquitto tells of subscriptions. 2.0 has no events for them and is overheard asking
// whether a client may (subscriptions_checks.c); later ones have events, with the options of the
// subscription (subscriptions_events.c). The build takes the one that the header fits.

#pragma once

#include <stdint.h>

#include <mosquitto_broker.h>

struct witness;
struct witness_client;

// MOSQ_ERR_… of mosquitto_callback_register().
int subscriptions_register(mosquitto_plugin_id_t *identifier, struct witness *witness);
// mosquitto asks: MOSQ_ACL_SUBSCRIBE or MOSQ_ACL_UNSUBSCRIBE.
void subscriptions_checked(struct witness *witness, const struct witness_client *client, int access,
	const char *filter, uint8_t qos);
