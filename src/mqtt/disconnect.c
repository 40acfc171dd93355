// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// DISCONNECT (3.14) and AUTH (3.15): packets that may end before their reason code.
// Pure.

#include "mqtt/packet.h"

#include "mqtt/property.h"
#include "mqtt/reason.h"
#include "mqtt/writer.h"

// 3.14.2.2
static void disconnect_properties_read(struct mqtt_reader *r, struct mqtt_disconnect *d)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_DISCONNECT);
	while (mqtt_properties_next(&walk, &property)) {
		if (property.id != MQTT_PROPERTY_SESSION_EXPIRY)
			continue;
		d->has_session_expiry = true;
		d->session_expiry = property.number;
	}
	d->properties = mqtt_properties_close(&walk, r);
}

enum mqtt_error mqtt_disconnect_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_disconnect *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_disconnect d = {.reason = 0};
	enum mqtt_error error;

	// 3.14.2.1: less than one byte is reason 0; 3.14.2.2.1: less than two, no properties.
	if (version == MQTT_VERSION_5 && mqtt_reader_left(&r) > 0) {
		d.reason = mqtt_reader_u8(&r);
		mqtt_reader_expect(
			&r, mqtt_reason_valid(MQTT_DISCONNECT, d.reason), MQTT_ERROR_REASON);
		if (mqtt_reader_left(&r) > 0)
			disconnect_properties_read(&r, &d);
	}
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = d;
	return error;
}

struct disconnect_args {
	enum mqtt_version version;
	const struct mqtt_disconnect *disconnect;
};

static void disconnect_write(struct mqtt_writer *w, const void *packet)
{
	const struct disconnect_args *args = packet;
	const struct mqtt_disconnect *d = args->disconnect;

	if (args->version != MQTT_VERSION_5 || (d->reason == 0 && d->properties.length == 0))
		return;
	mqtt_writer_u8(w, d->reason);
	if (d->properties.length)
		mqtt_writer_properties(w, d->properties);
}

size_t mqtt_disconnect_encode(
	enum mqtt_version version, const struct mqtt_disconnect *packet, uint8_t *out, size_t size)
{
	struct disconnect_args args = {version, packet};

	return mqtt_writer_packet(MQTT_DISCONNECT, 0, disconnect_write, &args, out, size);
}

// 3.15.2.2
static void auth_properties_read(struct mqtt_reader *r, struct mqtt_auth *a)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_AUTH);
	while (mqtt_properties_next(&walk, &property)) {
		if (property.id == MQTT_PROPERTY_AUTH_METHOD)
			a->method = property.text;
		else if (property.id == MQTT_PROPERTY_AUTH_DATA)
			a->data = property.text;
	}
	a->properties = mqtt_properties_close(&walk, r);
	// 3.15.2.2.2: the method may not be omitted.
	mqtt_reader_expect(
		r, mqtt_properties_seen(&walk, MQTT_PROPERTY_AUTH_METHOD), MQTT_ERROR_PROPERTY);
}

enum mqtt_error mqtt_auth_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_auth *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_auth a = {.reason = 0};
	enum mqtt_error error;

	if (version != MQTT_VERSION_5)
		return MQTT_ERROR_TYPE;
	// 3.15.2.1: reason and properties are left out together, or not at all.
	if (mqtt_reader_left(&r) > 0) {
		a.reason = mqtt_reader_u8(&r);
		mqtt_reader_expect(&r, mqtt_reason_valid(MQTT_AUTH, a.reason), MQTT_ERROR_REASON);
		auth_properties_read(&r, &a);
	}
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = a;
	return error;
}

static void auth_write(struct mqtt_writer *w, const void *packet)
{
	const struct mqtt_auth *a = packet;

	if (a->reason == 0 && a->properties.length == 0)
		return;
	mqtt_writer_u8(w, a->reason);
	mqtt_writer_properties(w, a->properties);
}

size_t mqtt_auth_encode(const struct mqtt_auth *packet, uint8_t *out, size_t size)
{
	return mqtt_writer_packet(MQTT_AUTH, 0, auth_write, packet, out, size);
}
