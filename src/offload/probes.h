// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Probes: one message of a publisher on a topic goes through the broker so that it shows
// what Offramp may do with the next ones.
//
//   ready ──PUBLISH between markers──▶ asked ──Published──▶ routed ──every subscriber has got
//     │                                  │                    │      it, or answered without──▶
//     over └──────── epoch ends, time, publisher gone ─────────────┘
//
// The answer says whether the publisher may write, and whom the broker considered as readers; what
// then comes, or does not, by the legs of the subscribers says whether they may read.
//
// At QoS 2 mosquitto routes at the PUBREL: END goes behind that. One such probe a publisher.

#pragma once

#include "offload/notice.h"
#include "offload/readers.h"
#include "offload/sighting.h"
#include "offload/state.h"

struct probe {
	struct list link;   // in offload.probes
	struct list client; // in client.probes
	struct client *publisher;
	struct payload *topic;
	uint64_t token;
	uint64_t deadline_us;
	uint64_t version;	  // of the map, when it was asked
	struct sighting sighting; // of this worker's subscribers; routed_us 0: not routed yet
	uint16_t packet_id;	  // at QoS 2, until its PUBREL; 0: not any more
	uint8_t qos;		  // of the message
	bool alone;	       // of its publisher's the broker had nothing that waits for a PUBREL
	bool asked;	       // the message has passed
	struct survey *survey; // of the other workers' subscribers; NULL: they are not asked
	enum readers readers;  // as far as this worker can tell; how many are its own, of how many
	uint32_t claimed, readers_count;
	bool overtaken; // a reader that only the broker knows has come or gone since
};

int probes_create(struct offload *offload);
void probes_destroy(struct offload *offload);

// For the PUBLISH of `client` that is about to pass. NULL: not now.
struct probe *probe_make(
	struct client *client, const struct proof_route *route, const struct mqtt_publish *publish);
// Passes the packet between its markers. Returns as pass_packet().
int probe_pass(struct probe *probe, const struct mqtt_frame *frame, uint16_t packet_id);
// The publisher's PUBREL has passed.
void probe_released(struct client *client, uint16_t packet_id);
// The broker has answered.
void probe_answered(
	struct offload *offload, struct broker *broker, const struct offload_published *published);
// Somebody whom only the broker knows has subscribed, or does so no longer: answers that are still
// to come may be from before that.
void probes_overtaken(
	struct offload *offload, const struct broker *broker, struct mqtt_bytes filter);
// Looks after all that are under way; costs nothing when there are none.
void probes_poll(struct offload *offload);
// The publisher goes; the broker's epoch ends.
void probes_end_client(struct client *client);
void probes_end_broker(struct offload *offload, const struct broker *broker);
