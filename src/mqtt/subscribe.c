// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (3.8 to 3.11). Decoding validates all
// filters; the caller then walks them without further checks. Pure.

#include "mqtt/packet.h"

#include "mqtt/property.h"
#include "mqtt/reason.h"
#include "mqtt/writer.h"

// Subscription options, 3.8.3.1
#define OPTION_QOS	       0x03u
#define OPTION_NO_LOCAL	       0x04u
#define OPTION_RAP	       0x08u
#define OPTION_RETAIN_HANDLING 0x30u
#define OPTION_RESERVED	       0xc0u

#define SUBACK_FAILURE 0x80u // 3.1.1, 3.9.3

static struct mqtt_bytes filter_read(struct mqtt_reader *r)
{
	struct mqtt_bytes filter = mqtt_reader_string(r); // [MQTT-3.8.3-1]

	mqtt_reader_expect(r, mqtt_filter_valid(filter), MQTT_ERROR_FILTER);
	return filter;
}

static void options_check(
	struct mqtt_reader *r, enum mqtt_version version, struct mqtt_bytes filter, uint8_t options)
{
	struct mqtt_bytes name, inner;

	mqtt_reader_expect(r, (options & OPTION_QOS) != 3, MQTT_ERROR_QOS);
	if (version != MQTT_VERSION_5) { // 3.1.1: [MQTT-3.8.3-4]
		mqtt_reader_expect(r, !(options & ~OPTION_QOS), MQTT_ERROR_FIELD);
		return;
	}
	// [MQTT-3.8.3-5]; retain handling 3 is a protocol error, 3.8.3.1
	mqtt_reader_expect(r,
		!(options & OPTION_RESERVED) &&
			(options & OPTION_RETAIN_HANDLING) != OPTION_RETAIN_HANDLING,
		MQTT_ERROR_FIELD);
	// [MQTT-3.8.3-4]
	if (options & OPTION_NO_LOCAL)
		mqtt_reader_expect(r, !mqtt_filter_share(filter, &name, &inner), MQTT_ERROR_FIELD);
}

// 3.8.2.1
static void subscribe_properties_read(struct mqtt_reader *r, struct mqtt_subscribe *s)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_SUBSCRIBE);
	while (mqtt_properties_next(&walk, &property)) {
		if (property.id == MQTT_PROPERTY_SUBSCRIPTION_ID)
			s->subscription_id = property.number;
	}
	s->properties = mqtt_properties_close(&walk, r);
}

enum mqtt_error mqtt_subscribe_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_subscribe *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_subscribe s = {.packet_id = mqtt_reader_packet_id(&r)};

	if (version == MQTT_VERSION_5)
		subscribe_properties_read(&r, &s);
	s.filters = mqtt_bytes(r.at, mqtt_reader_left(&r));
	while (mqtt_reader_left(&r) > 0) {
		struct mqtt_bytes filter = filter_read(&r);

		options_check(&r, version, filter, mqtt_reader_u8(&r));
		s.count++;
	}
	mqtt_reader_expect(&r, s.count > 0, MQTT_ERROR_EMPTY); // [MQTT-3.8.3-2]
	if (r.error == MQTT_OK)
		*ret = s;
	return r.error;
}

bool mqtt_subscribe_next(struct mqtt_bytes *filters, struct mqtt_subscribe_filter *ret)
{
	struct mqtt_reader r = mqtt_reader(*filters);
	struct mqtt_bytes filter = mqtt_reader_binary(&r);
	uint8_t options = mqtt_reader_u8(&r);

	if (r.error)
		return false;
	*filters = mqtt_reader_rest(&r);
	*ret = (struct mqtt_subscribe_filter){
		.filter = filter,
		.qos = options & OPTION_QOS,
		.no_local = options & OPTION_NO_LOCAL,
		.retain_as_published = options & OPTION_RAP,
		.retain_handling = (options & OPTION_RETAIN_HANDLING) >> 4,
	};
	return true;
}

static void codes_read(
	struct mqtt_reader *r, enum mqtt_version version, uint8_t type, struct mqtt_suback *s)
{
	s->codes = mqtt_reader_rest(r);
	mqtt_reader_expect(r, s->codes.length > 0, MQTT_ERROR_EMPTY);
	for (uint32_t i = 0; i < s->codes.length; i++) {
		uint8_t code = s->codes.data[i];

		// 3.1.1: [MQTT-3.9.3-2]. 3.1 has no failure code, but brokers send it there too.
		mqtt_reader_expect(r,
			version == MQTT_VERSION_5 ? mqtt_reason_valid(type, code)
						  : code <= 2 || code == SUBACK_FAILURE,
			MQTT_ERROR_REASON);
	}
}

enum mqtt_error mqtt_suback_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_suback *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_suback s = {.packet_id = mqtt_reader_packet_id(&r)};

	if (version == MQTT_VERSION_5)
		s.properties = mqtt_properties_check(&r, MQTT_SUBACK);
	codes_read(&r, version, MQTT_SUBACK, &s);
	if (r.error == MQTT_OK)
		*ret = s;
	return r.error;
}

enum mqtt_error mqtt_unsuback_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_suback *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_suback s = {.packet_id = mqtt_reader_packet_id(&r)};
	enum mqtt_error error;

	if (version == MQTT_VERSION_5) {
		s.properties = mqtt_properties_check(&r, MQTT_UNSUBACK);
		codes_read(&r, version, MQTT_UNSUBACK, &s);
	}
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = s;
	return error;
}

enum mqtt_error mqtt_unsubscribe_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_unsubscribe *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_unsubscribe u = {.packet_id = mqtt_reader_packet_id(&r)};

	if (version == MQTT_VERSION_5)
		u.properties = mqtt_properties_check(&r, MQTT_UNSUBSCRIBE);
	u.filters = mqtt_bytes(r.at, mqtt_reader_left(&r));
	while (mqtt_reader_left(&r) > 0) {
		filter_read(&r); // [MQTT-3.10.3-1]
		u.count++;
	}
	mqtt_reader_expect(&r, u.count > 0, MQTT_ERROR_EMPTY); // [MQTT-3.10.3-2]
	if (r.error == MQTT_OK)
		*ret = u;
	return r.error;
}

bool mqtt_unsubscribe_next(struct mqtt_bytes *filters, struct mqtt_bytes *ret_filter)
{
	struct mqtt_reader r = mqtt_reader(*filters);
	struct mqtt_bytes filter = mqtt_reader_binary(&r);

	if (r.error)
		return false;
	*filters = mqtt_reader_rest(&r);
	*ret_filter = filter;
	return true;
}
