// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// mosquitto 2.0: it asks for each filter before it adds or removes the subscription, and before
// SUBACK and UNSUBACK. Another source may then refuse: what is told is that something may have
// changed.

#include "plugin/subscriptions.h"

#include "plugin/events.h"
#include "plugin/witness.h"

#include <mosquitto.h>
#include <mosquitto_plugin.h>

int subscriptions_register(mosquitto_plugin_id_t *identifier, struct witness *witness)
{
	return MOSQ_ERR_SUCCESS;
}

void subscriptions_checked(struct witness *witness, const struct witness_client *client, int access,
	const char *filter, uint8_t qos)
{
	if (access == MOSQ_ACL_SUBSCRIBE)
		witness_subscribe(witness, client,
			&(struct events_subscription){.filter = filter, .qos = qos});
	else if (access == MOSQ_ACL_UNSUBSCRIBE)
		witness_unsubscribe(witness, client, filter);
}
