// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Writes SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (3.8 to 3.11). Pure.

#include "mqtt/packet.h"

#include "mqtt/writer.h"

struct subscribe_args {
	enum mqtt_version version;
	uint16_t packet_id;
	struct mqtt_bytes properties;
	const struct mqtt_subscribe_filter *filters;
	unsigned count;
};

static uint8_t options_of(enum mqtt_version version, const struct mqtt_subscribe_filter *f)
{
	if (version != MQTT_VERSION_5)
		return f->qos;
	return (uint8_t)(f->qos | f->no_local << 2 | f->retain_as_published << 3 |
			 f->retain_handling << 4);
}

static void subscribe_write(struct mqtt_writer *w, const void *packet)
{
	const struct subscribe_args *args = packet;

	mqtt_writer_u16(w, args->packet_id);
	if (args->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, args->properties);
	for (unsigned i = 0; i < args->count; i++) {
		mqtt_writer_string(w, args->filters[i].filter);
		mqtt_writer_u8(w, options_of(args->version, &args->filters[i]));
	}
}

size_t mqtt_subscribe_encode(enum mqtt_version version, uint16_t packet_id,
	struct mqtt_bytes properties, const struct mqtt_subscribe_filter *filters, unsigned count,
	uint8_t *out, size_t size)
{
	struct subscribe_args args = {version, packet_id, properties, filters, count};

	return mqtt_writer_packet(MQTT_SUBSCRIBE, 2, subscribe_write, &args, out, size);
}

struct suback_args {
	enum mqtt_version version;
	uint8_t type;
	const struct mqtt_suback *suback;
};

static void suback_write(struct mqtt_writer *w, const void *packet)
{
	const struct suback_args *args = packet;

	mqtt_writer_u16(w, args->suback->packet_id);
	if (args->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, args->suback->properties);
	if (args->version == MQTT_VERSION_5 || args->type == MQTT_SUBACK)
		mqtt_writer_bytes(w, args->suback->codes);
}

size_t mqtt_suback_encode(enum mqtt_version version, uint8_t type, const struct mqtt_suback *packet,
	uint8_t *out, size_t size)
{
	struct suback_args args = {version, type, packet};

	return mqtt_writer_packet(type, 0, suback_write, &args, out, size);
}

struct unsubscribe_args {
	enum mqtt_version version;
	uint16_t packet_id;
	struct mqtt_bytes properties;
	const struct mqtt_bytes *filters;
	unsigned count;
};

static void unsubscribe_write(struct mqtt_writer *w, const void *packet)
{
	const struct unsubscribe_args *args = packet;

	mqtt_writer_u16(w, args->packet_id);
	if (args->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, args->properties);
	for (unsigned i = 0; i < args->count; i++)
		mqtt_writer_string(w, args->filters[i]);
}

size_t mqtt_unsubscribe_encode(enum mqtt_version version, uint16_t packet_id,
	struct mqtt_bytes properties, const struct mqtt_bytes *filters, unsigned count,
	uint8_t *out, size_t size)
{
	struct unsubscribe_args args = {version, packet_id, properties, filters, count};

	return mqtt_writer_packet(MQTT_UNSUBSCRIBE, 2, unsubscribe_write, &args, out, size);
}
