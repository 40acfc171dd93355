// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The broker's part of split delivery; the fan-out is capture's.

#include "offload/split.h"

#include <assert.h>

#include "offload/markers.h"
#include "offload/pass.h"

static_assert(ROUTE_ABSENT_MAX <= MARKER_EXCEPT_MAX, "one marker names all");

bool split_needed(const struct client *client, const struct proof_route *route, uint8_t qos)
{
	return client->broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER &&
	       (!route->standing.known || (qos > 0 && route->reason_qos1 != PROOF_CAPTURE));
}

bool split_possible(const struct client *client, const struct proof_route *route)
{
	const struct broker *broker = client->broker;

	// A client of ours may have a share that only the broker knows: it would be left out when
	// its turn comes.
	return !route->whole && session_map_complete(broker->map) &&
	       broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER && broker->stream.told.split &&
	       markers_possible(client) && client->broker_packet_size >= MARKER_SKIP_MAX;
}

int split_pass(
	struct client *client, const struct proof_route *route, const struct mqtt_frame *frame)
{
	uint8_t marker[MARKER_SKIP_MAX];
	const uint64_t *away =
		route->absent == NULL ? NULL : (const uint64_t *)(const void *)route->absent->data;
	unsigned length = marker_skip_packet(client, away, route->absent_count, marker);

	return pass_between(client, mqtt_bytes(marker, length), frame, mqtt_bytes(NULL, 0));
}
