// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PUBLISHes of clients: judged, then captured or passed (3.3). What passes is followed:
// its acknowledgement, its topic, its alias.

#include "offload/upstream.h"

#include <errno.h>

#include "offload/alias.h"
#include "offload/capture.h"
#include "offload/exact.h"
#include "offload/hooks.h"
#include "offload/markers.h"
#include "offload/pass.h"
#include "offload/probes.h"

bool upstream_acks_ready(struct client *client)
{
	if (client->acks == NULL) {
		client->acks = payload_alloc(client->offload->payloads, sizeof(struct acks));
		if (client->acks == NULL)
			return false;
		acks_init(client_acks(client));
	}
	return !acks_full(client_acks(client));
}

void upstream_acks_release(struct client *client)
{
	if (client->acks != NULL && acks_empty(client_acks(client))) {
		payload_put(client->acks);
		client->acks = NULL;
	}
}

// There is room to follow a PUBLISH that passes.
static bool pass_begin(struct client *client, const struct mqtt_publish *publish)
{
	// It must not overtake what other workers are to deliver.
	if (client->crossings > 0 || (publish->qos > 0 && !upstream_acks_ready(client)))
		return false;
	if (publish->qos > 0)
		exact_account(client, publish);
	if (publish->qos < 2 || exact_passing(client, publish))
		return true;
	upstream_acks_release(client);
	return false;
}

static void pass_undo(struct client *client, const struct mqtt_publish *publish)
{
	if (publish->qos == 2)
		exact_not_passed(client, publish);
	upstream_acks_release(client);
}

static void publish_passed(
	struct client *client, const struct mqtt_publish *publish, enum proof_reason reason)
{
	if (publish->qos > 0)
		acks_passed(client_acks(client), publish->packet_id);
	if (publish->retain)
		hooks_unlike(client); // the broker's rules know whether a message is retained
	capture_passed(client, publish->topic, publish->qos, reason);
}

// Is it the message that asks the broker?
static bool asks(
	const struct client *client, const struct mqtt_publish *publish, enum proof_reason reason)
{
	const struct probe *probe = client->asking;

	return probe != NULL && (reason == PROOF_UNPROVEN || reason == PROOF_REFRESH) &&
	       mqtt_bytes_equal(
		       mqtt_bytes(probe->topic->data, probe->topic->length), publish->topic);
}

static bool publish_pass(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason reason)
{
	bool asking = asks(client, publish, reason);

	if (asking)
		client->asking->alone = exact_broker_has_none(client);
	if (!pass_begin(client, publish))
		return false;
	if (!(asking ? probe_pass(client->asking, frame, publish->packet_id) == 0
		     : upstream_pass(client, frame))) {
		pass_undo(client, publish);
		return false;
	}
	publish_passed(client, publish, reason);
	return true;
}

// Captured, or passed.
static bool publish_judged(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, bool *ret_captured)
{
	enum proof_reason reason;
	int rc;

	*ret_captured = true;
	if (marker_topic(client->broker, publish->topic))
		return capture_refuse(client, publish);
	rc = capture_publish(client, frame, publish, &reason);
	*ret_captured = rc > 0;
	return rc == 0 ? publish_pass(client, frame, publish, reason) : rc > 0;
}

// It defines an alias: the broker learns it only if the PUBLISH passes. Else the first that passes
// without its topic has to be written out, and where the broker limits packets there may be no room
// for that ([MQTT-3.2.2-15]).
static bool publish_defining(
	struct client *client, const struct mqtt_frame *frame, const struct mqtt_publish *publish)
{
	bool limited = client->broker_packet_size != UINT32_MAX;
	struct payload *topic = limited ? NULL : alias_prepare(client, publish);
	bool captured;

	if (topic == NULL && marker_topic(client->broker, publish->topic))
		return capture_refuse(client, publish);
	if (topic == NULL) {
		if (!publish_pass(client, frame, publish, PROOF_TOPIC_ALIAS))
			return false;
		alias_passed(client, publish);
		return true;
	}
	if (!publish_judged(client, frame, publish, &captured)) {
		payload_put(topic);
		return false;
	}
	alias_define(client, publish, topic, !captured);
	return true;
}

// A PUBLISH that names only an alias the broker does not know goes on with a front written anew;
// the caller leaves the old one out.
static bool front_expand(
	struct client *client, const struct mqtt_header *header, const struct alias *alias)
{
	uint8_t front[MQTT_HEADER_MAX + 2];
	uint32_t topic = alias->topic->length;
	unsigned size =
		mqtt_header_encode(MQTT_PUBLISH, header->flags, header->remaining + topic, front);

	front[size++] = (uint8_t)(topic >> 8);
	front[size++] = (uint8_t)topic;
	if (pass_stream(client, mqtt_bytes(front, size)) < 0 ||
		pass_stream(client, mqtt_bytes(alias->topic->data, topic)) < 0)
		return false;
	return true;
}

// Likewise, too long to be written out as a whole.
static bool publish_stream(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, struct alias *alias)
{
	uint32_t skip = frame->header.size + 2u;

	if (!pass_begin(client, publish))
		return false;
	if (!front_expand(client, &frame->header, alias))
		return true; // the client has failed
	if (frame->parts_count == 0)
		pass_stream(client, mqtt_bytes(frame->head.data + skip, frame->head.length - skip));
	for (unsigned i = 0; i < frame->parts_count; i++, skip = 0)
		pass_stream(client,
			mqtt_bytes(frame->parts[i]->data + skip, frame->parts[i]->length - skip));
	alias->broker_knows = true;
	publish_passed(client, publish, PROOF_TOO_LARGE);
	return true;
}

// It names only the alias.
static bool publish_aliased(
	struct client *client, const struct mqtt_frame *frame, const struct mqtt_publish *publish)
{
	struct alias *alias = alias_find(client, publish->topic_alias);
	enum proof_reason reason = PROOF_TOPIC_ALIAS;
	struct mqtt_publish resolved = *publish;
	struct alias_packet packet;
	bool done;
	int rc;

	if (alias == NULL)
		return publish_pass(client, frame, publish, reason);
	resolved.topic = mqtt_bytes(alias->topic->data, alias->topic->length);
	if (marker_topic(client->broker, resolved.topic))
		return capture_refuse(client, publish);
	rc = alias_expand(client, frame, alias, &packet);
	if (rc < 0 && alias->broker_knows)
		return publish_pass(client, frame, &resolved, reason);
	if (rc < 0)
		return rc == -E2BIG && publish_stream(client, frame, &resolved, alias);
	rc = capture_publish(client, &packet.frame, &packet.publish, &reason);
	done = rc > 0;
	if (rc == 0 && alias->broker_knows)
		done = publish_pass(client, frame, &resolved, reason);
	else if (rc == 0)
		done = alias->broker_knows =
			publish_pass(client, &packet.frame, &packet.publish, reason);
	alias_packet_fini(&packet);
	return done;
}

static bool publish_malformed(
	struct client *client, const struct mqtt_frame *frame, enum proof_reason reason)
{
	if (client->crossings > 0 || !upstream_pass(client, frame))
		return false;
	client->unaccounted = true;
	if (reason == PROOF_MALFORMED) {
		counter_inc(&client->offload->counters.malformed);
		client->violated = true;
	}
	capture_passed(client, mqtt_bytes(NULL, 0), 0, reason);
	return true;
}

bool upstream_publish(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_publish publish = {0};
	bool captured;
	enum mqtt_error error = mqtt_publish_decode(
		client->version, &frame->header, mqtt_frame_body(frame), &publish);

	// Stopping: what is not acknowledged is the client's to send again, to whoever comes next.
	if (client->offload->draining) {
		client->refused = true;
		return true;
	}
	// A head longer than what is contiguous of the packet, or no legal PUBLISH: its topic is
	// not known.
	if (error == MQTT_ERROR_TRUNCATED && frame->parts_count > 1)
		return publish_malformed(client, frame, PROOF_TOO_LARGE);
	if (error != MQTT_OK || publish.topic_alias > client->broker_aliases) // [MQTT-3.2.2-18]
		return publish_malformed(client, frame, PROOF_MALFORMED);
	if (publish.topic_alias == 0)
		return publish_judged(client, frame, &publish, &captured);
	return publish.topic.length > 0 ? publish_defining(client, frame, &publish)
					: publish_aliased(client, frame, &publish);
}

// What becomes of the alias in a long PUBLISH; it will pass. False: memory ran out (the client has
// failed).
static bool begin_alias(
	struct client *client, const struct mqtt_header *header, struct mqtt_publish *publish)
{
	struct alias *alias;

	if (publish->topic_alias == 0)
		return true;
	if (publish->topic.length > 0) {
		alias_passed(client, publish);
		return true;
	}
	alias = alias_find(client, publish->topic_alias);
	if (alias == NULL)
		return true;
	publish->topic = mqtt_bytes(alias->topic->data, alias->topic->length);
	if (alias->broker_knows)
		return true;
	alias->broker_knows = true;
	client->up_skip = header->size + 2u;
	return front_expand(client, header, alias);
}

bool upstream_publish_begin(
	struct client *client, const struct mqtt_header *header, const struct mqtt_publish *publish)
{
	struct mqtt_publish resolved = *publish;

	if (client->offload->draining)
		return false;
	if (client->state == CLIENT_NEW)
		return true; // no MQTT at all: stream() says so
	if (!pass_begin(client, publish) || !begin_alias(client, header, &resolved))
		return false;
	publish_passed(client, &resolved, PROOF_TOO_LARGE);
	return true;
}
