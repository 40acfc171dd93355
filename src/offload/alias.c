// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Writing out copies the packet: aliases shorten short packets.

#include "offload/alias.h"

#include <errno.h>

#include "base/assert.h"

// --- writing out ---------------------------------------------------------------------------------

// Bytes appended to a list of payloads, full but the last.
struct copy {
	struct payload_pool *pool;
	struct payload **parts;
	unsigned count;
};

static int copy_append(struct copy *copy, struct mqtt_bytes bytes, uint32_t more)
{
	while (bytes.length > 0) {
		struct payload *last = copy->count > 0 ? copy->parts[copy->count - 1] : NULL;
		uint32_t room = last != NULL ? last->capacity - last->length : 0, n;

		if (room == 0) {
			uint64_t wanted = (uint64_t)bytes.length + more;

			if (copy->count == MQTT_FRAME_PARTS_MAX)
				return -E2BIG;
			last = payload_alloc(copy->pool,
				wanted < PAYLOAD_LARGEST ? (uint32_t)wanted : PAYLOAD_LARGEST);
			if (last == NULL)
				return -ENOMEM;
			copy->parts[copy->count++] = last;
			room = last->capacity;
		}
		n = bytes.length < room ? bytes.length : room;
		memcpy(last->data + last->length, bytes.data, n);
		last->length += n;
		bytes = mqtt_bytes(bytes.data + n, bytes.length - n);
	}
	return 0;
}

// The packet from byte `skip` on.
static int copy_packet(struct copy *copy, const struct mqtt_frame *frame, uint32_t skip)
{
	uint32_t left = frame->length - skip;
	int rc = 0;

	if (frame->parts_count == 0)
		return copy_append(copy, mqtt_bytes(frame->head.data + skip, left), 0);
	for (unsigned i = 0; rc == 0 && i < frame->parts_count; i++) {
		const struct payload *part = frame->parts[i];
		uint32_t n = part->length > skip ? part->length - skip : 0;

		left -= n;
		rc = copy_append(copy, mqtt_bytes(part->data + (part->length - n), n), left);
		skip -= part->length - n;
	}
	return rc;
}

int alias_expand(struct client *client, const struct mqtt_frame *frame, const struct alias *alias,
	struct alias_packet *ret_packet)
{
	uint32_t topic = alias->topic->length, remaining = frame->header.remaining + topic;
	uint32_t skip = frame->header.size + 2; // the header and the length of the empty topic
	struct copy copy = {.pool = client->offload->payloads, .parts = ret_packet->parts};
	uint8_t head[MQTT_HEADER_MAX + 2];
	unsigned size;
	int rc;

	if (remaining > MQTT_REMAINING_MAX)
		return -E2BIG;
	size = mqtt_header_encode(MQTT_PUBLISH, frame->header.flags, remaining, head);
	head[size++] = (uint8_t)(topic >> 8);
	head[size++] = (uint8_t)topic;
	rc = copy_append(&copy, mqtt_bytes(head, size), topic + frame->length - skip);
	if (rc == 0)
		rc = copy_append(
			&copy, mqtt_bytes(alias->topic->data, topic), frame->length - skip);
	if (rc == 0)
		rc = copy_packet(&copy, frame, skip);
	ret_packet->frame = (struct mqtt_frame){.length = size - 2 + remaining,
		.parts = ret_packet->parts,
		.parts_count = copy.count};
	if (rc < 0) {
		alias_packet_fini(ret_packet);
		return rc;
	}
	ret_packet->frame.head =
		mqtt_bytes(ret_packet->parts[0]->data, ret_packet->parts[0]->length);
	mqtt_header_decode(head, size, &ret_packet->frame.header);
	if (mqtt_publish_decode(client->version, &ret_packet->frame.header,
		    mqtt_frame_body(&ret_packet->frame), &ret_packet->publish) == MQTT_OK)
		return 0;
	// With its topic the head is longer than what is contiguous.
	alias_packet_fini(ret_packet);
	return -E2BIG;
}

void alias_packet_fini(struct alias_packet *packet)
{
	for (unsigned i = 0; i < packet->frame.parts_count; i++)
		payload_put(packet->parts[i]);
	packet->frame.parts_count = 0;
}

// --- the table -----------------------------------------------------------------------------------

static struct aliases *aliases_get(struct client *client)
{
	if (client->aliases == NULL) {
		client->aliases = payload_alloc(client->offload->payloads, sizeof(struct aliases));
		if (client->aliases == NULL)
			return NULL;
		aliases_init(client_aliases(client));
	}
	return client_aliases(client);
}

struct alias *alias_find(const struct client *client, uint16_t number)
{
	return client->aliases == NULL ? NULL : aliases_find(client_aliases(client), number);
}

struct payload *alias_prepare(struct client *client, const struct mqtt_publish *publish)
{
	struct aliases *aliases = aliases_get(client);
	struct payload *topic = NULL;

	if (aliases == NULL || !aliases_have_room(aliases, publish->topic_alias))
		return NULL;
	if (publish->topic.length <= PAYLOAD_LARGEST)
		topic = payload_alloc(client->offload->payloads, publish->topic.length);
	if (topic == NULL)
		return NULL;
	memcpy(topic->data, publish->topic.data, publish->topic.length);
	topic->length = publish->topic.length;
	return topic;
}

void alias_define(struct client *client, const struct mqtt_publish *publish, struct payload *topic,
	bool broker_knows)
{
	aliases_define(client_aliases(client), publish->topic_alias, topic, broker_knows);
}

void alias_passed(struct client *client, const struct mqtt_publish *publish)
{
	struct payload *topic = alias_prepare(client, publish);

	// Not followed: what names only the alias passes, and the broker knows it.
	if (topic != NULL)
		alias_define(client, publish, topic, true);
	else if (client->aliases != NULL)
		aliases_forget(client_aliases(client), publish->topic_alias);
}

void alias_clear(struct client *client)
{
	if (client->aliases == NULL)
		return;
	aliases_fini(client_aliases(client));
	payload_put(client->aliases);
	client->aliases = NULL;
}
