// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is encoded from random values decodes to the same values, needs exactly the
// bytes it says, and no mutation of it makes a decoder read beyond its bytes.

#include "mqtt_tests.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 3000

static const enum mqtt_version versions[] = {MQTT_VERSION_3_1, MQTT_VERSION_3_1_1, MQTT_VERSION_5};

struct source {
	struct random random;
	uint8_t text[65536];
};

static uint32_t below(struct source *s, uint32_t bound)
{
	return random_below(&s->random, bound);
}

static struct mqtt_bytes some_text(struct source *s, uint32_t least)
{
	return mqtt_bytes(s->text + below(s, 100), least + below(s, below(s, 20) ? 40 : 20000));
}

static struct mqtt_bytes user_properties(struct source *s, enum mqtt_version version)
{
	static const uint8_t bytes[] = {0x26, 0, 1, 'k', 0, 1, 'v', 0x26, 0, 0, 0, 0};

	return version == MQTT_VERSION_5
		       ? mqtt_bytes(bytes, below(s, 3) * 7 == 14 ? sizeof(bytes) : below(s, 2) * 7)
		       : mqtt_bytes(NULL, 0);
}

// Sizes, then: mutated bytes may be judged in any way, but within their bounds.
static struct mqtt_bytes whole_check(struct source *s, enum mqtt_version version,
	const uint8_t *packet, size_t n, struct mqtt_header *ret_header)
{
	struct mqtt_bytes body;
	struct mqtt_header header;

	assert_true(n > 0);
	assert_int_equal(mqtt_header_decode(packet, n, ret_header), MQTT_OK);
	assert_int_equal(n, ret_header->size + ret_header->remaining);
	body = mqtt_bytes(packet + ret_header->size, ret_header->remaining);
	assert_int_equal(mqtt_packet_check(version, ret_header, body), MQTT_OK);
	if (n < 200) {
		uint8_t *copy = malloc(n);

		assert_non_null(copy);
		memcpy(copy, packet, n);
		copy[below(s, (uint32_t)n)] ^= (uint8_t)(1u << below(s, 8));
		if (mqtt_header_decode(copy, n, &header) == MQTT_OK && header.size < n) {
			header.remaining = (uint32_t)n - header.size;
			mqtt_packet_check(
				version, &header, mqtt_bytes(copy + header.size, n - header.size));
		}
		free(copy);
	}
	return body;
}

// The encoder must need exactly n bytes.
#define EXACT(n, call_with_size)                       \
	do {                                           \
		size_t size_ = (n)-1;                  \
		size_t room = size_;                   \
		assert_int_equal(call_with_size, 0);   \
		room = (n);                            \
		assert_int_equal(call_with_size, (n)); \
	} while (0)

static uint8_t packet[262144];

static void connect_round(struct source *s, enum mqtt_version version)
{
	bool v5 = version == MQTT_VERSION_5;
	struct mqtt_connect in = {
		.version = version,
		.bridge = !v5 && below(s, 2),
		.clean_start = below(s, 2),
		.keep_alive = (uint16_t)below(s, 65536),
		.client_id = some_text(s, 0),
		.has_will = below(s, 2),
		.has_username = below(s, 2),
		.properties = user_properties(s, version),
		.username = some_text(s, 1),
		.password = some_text(s, 1),
		.will = {(uint8_t)below(s, 3), below(s, 2), user_properties(s, version),
			some_text(s, 1), some_text(s, 0)},
	};
	struct mqtt_connect out;
	struct mqtt_header header;
	struct mqtt_bytes body;
	size_t n;

	in.has_password = (in.has_username || v5) && below(s, 2);
	n = mqtt_connect_encode(&in, packet, sizeof(packet));
	EXACT(n, mqtt_connect_encode(&in, packet, room));
	body = whole_check(s, version, packet, n, &header);
	assert_int_equal(mqtt_connect_decode(body, &out), MQTT_OK);
	assert_int_equal(out.version, in.version);
	assert_int_equal(out.bridge, in.bridge);
	assert_int_equal(out.clean_start, in.clean_start);
	assert_int_equal(out.keep_alive, in.keep_alive);
	assert_true(mqtt_bytes_equal(out.client_id, in.client_id));
	assert_true(mqtt_bytes_equal(out.properties, in.properties));
	assert_int_equal(out.has_will, in.has_will);
	assert_int_equal(out.has_username, in.has_username);
	assert_int_equal(out.has_password, in.has_password);
	if (in.has_will) {
		assert_int_equal(out.will.qos, in.will.qos);
		assert_int_equal(out.will.retain, in.will.retain);
		assert_true(mqtt_bytes_equal(out.will.topic, in.will.topic));
		assert_true(mqtt_bytes_equal(out.will.payload, in.will.payload));
		assert_true(mqtt_bytes_equal(out.will.properties, in.will.properties));
	}
	if (in.has_username)
		assert_true(mqtt_bytes_equal(out.username, in.username));
	if (in.has_password)
		assert_true(mqtt_bytes_equal(out.password, in.password));
}

static void connack_round(struct source *s, enum mqtt_version version)
{
	struct mqtt_connack in = {
		.reason = (uint8_t)(below(s, 2)			? 0
				    : version == MQTT_VERSION_5 ? 0x87
								: 5),
		.properties = user_properties(s, version),
	};
	struct mqtt_connack out;
	struct mqtt_header header;
	size_t n;

	in.session_present = version != MQTT_VERSION_3_1 && in.reason == 0 && below(s, 2);
	n = mqtt_connack_encode(version, &in, packet, sizeof(packet));
	EXACT(n, mqtt_connack_encode(version, &in, packet, room));
	assert_int_equal(
		mqtt_connack_decode(version, whole_check(s, version, packet, n, &header), &out),
		MQTT_OK);
	assert_int_equal(out.reason, in.reason);
	assert_int_equal(out.session_present, in.session_present);
	assert_true(mqtt_bytes_equal(out.properties, in.properties));
}

static void publish_round(struct source *s, enum mqtt_version version)
{
	struct mqtt_publish in = {
		.qos = (uint8_t)below(s, 3),
		.retain = below(s, 2),
		.topic = some_text(s, 1),
		.packet_id = (uint16_t)(1 + below(s, 65535)),
		.properties = user_properties(s, version),
	};
	struct mqtt_bytes payload = some_text(s, 0), body;
	struct mqtt_publish out;
	struct mqtt_header header;
	size_t n;

	in.dup = in.qos && below(s, 2);
	n = mqtt_publish_encode(version, &in, payload, packet, sizeof(packet));
	EXACT(n, mqtt_publish_encode(version, &in, payload, packet, room));
	body = whole_check(s, version, packet, n, &header);
	assert_int_equal(mqtt_publish_decode(version, &header, body, &out), MQTT_OK);
	assert_int_equal(out.qos, in.qos);
	assert_int_equal(out.dup, in.dup);
	assert_int_equal(out.retain, in.retain);
	assert_int_equal(out.packet_id, in.qos ? in.packet_id : 0);
	assert_true(mqtt_bytes_equal(out.topic, in.topic));
	assert_true(mqtt_bytes_equal(out.properties, in.properties));
	assert_int_equal(out.payload_length, payload.length);
	assert_true(mqtt_bytes_equal(
		mqtt_bytes(body.data + out.head_length, out.payload_length), payload));
}

static void subscribe_round(struct source *s, enum mqtt_version version)
{
	struct mqtt_subscribe_filter in[8], f;
	struct mqtt_bytes names[8], name, properties = user_properties(s, version);
	unsigned count = 1 + below(s, 8);
	struct mqtt_subscribe out;
	struct mqtt_unsubscribe gone;
	struct mqtt_header header;
	size_t n;

	for (unsigned i = 0; i < count; i++) {
		bool v5 = version == MQTT_VERSION_5;

		names[i] = some_text(s, 1);
		in[i] = (struct mqtt_subscribe_filter){names[i], (uint8_t)below(s, 3),
			v5 && below(s, 2), v5 && below(s, 2), (uint8_t)(v5 ? below(s, 3) : 0)};
	}
	n = mqtt_subscribe_encode(version, 9, properties, in, count, packet, sizeof(packet));
	EXACT(n, mqtt_subscribe_encode(version, 9, properties, in, count, packet, room));
	assert_int_equal(
		mqtt_subscribe_decode(version, whole_check(s, version, packet, n, &header), &out),
		MQTT_OK);
	assert_int_equal(out.count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_true(mqtt_subscribe_next(&out.filters, &f));
		assert_true(mqtt_bytes_equal(f.filter, in[i].filter));
		assert_int_equal(f.qos, in[i].qos);
		assert_int_equal(f.no_local, in[i].no_local);
		assert_int_equal(f.retain_as_published, in[i].retain_as_published);
		assert_int_equal(f.retain_handling, in[i].retain_handling);
	}
	assert_false(mqtt_subscribe_next(&out.filters, &f));

	n = mqtt_unsubscribe_encode(version, 9, properties, names, count, packet, sizeof(packet));
	EXACT(n, mqtt_unsubscribe_encode(version, 9, properties, names, count, packet, room));
	assert_int_equal(mqtt_unsubscribe_decode(
				 version, whole_check(s, version, packet, n, &header), &gone),
		MQTT_OK);
	assert_int_equal(gone.count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_true(mqtt_unsubscribe_next(&gone.filters, &name));
		assert_true(mqtt_bytes_equal(name, names[i]));
	}
}

static void suback_round(struct source *s, enum mqtt_version version)
{
	static const uint8_t granted[] = {0, 1, 2, 0x80, 0, 1}, gone[] = {0, 0, 0x80};
	struct mqtt_suback in = {
		7, user_properties(s, version), mqtt_bytes(granted, 1 + below(s, 6))};
	struct mqtt_suback out;
	struct mqtt_header header;
	size_t n = mqtt_suback_encode(version, MQTT_SUBACK, &in, packet, sizeof(packet));

	EXACT(n, mqtt_suback_encode(version, MQTT_SUBACK, &in, packet, room));
	assert_int_equal(
		mqtt_suback_decode(version, whole_check(s, version, packet, n, &header), &out),
		MQTT_OK);
	assert_true(mqtt_bytes_equal(out.codes, in.codes));

	in.codes = mqtt_bytes(gone, 1 + below(s, 3));
	n = mqtt_suback_encode(version, MQTT_UNSUBACK, &in, packet, sizeof(packet));
	assert_int_equal(
		mqtt_unsuback_decode(version, whole_check(s, version, packet, n, &header), &out),
		MQTT_OK);
	assert_int_equal(out.codes.length, version == MQTT_VERSION_5 ? in.codes.length : 0);
}

static void goodbye_round(struct source *s, enum mqtt_version version)
{
	static const uint8_t method[] = {0x15, 0, 1, 'm'};
	struct mqtt_disconnect in = {.reason = (uint8_t)(below(s, 2) ? 4 : 0)}, out;
	struct mqtt_auth auth = {.reason = 0x18, .properties = mqtt_bytes(method, sizeof(method))};
	struct mqtt_auth auth_out;
	struct mqtt_header header;
	size_t n;

	in.properties = user_properties(s, version);
	n = mqtt_disconnect_encode(version, &in, packet, sizeof(packet));
	EXACT(n, mqtt_disconnect_encode(version, &in, packet, room));
	assert_int_equal(
		mqtt_disconnect_decode(version, whole_check(s, version, packet, n, &header), &out),
		MQTT_OK);
	assert_int_equal(out.reason, version == MQTT_VERSION_5 ? in.reason : 0);
	assert_true(mqtt_bytes_equal(out.properties, in.properties));
	if (version != MQTT_VERSION_5)
		return;
	n = mqtt_auth_encode(&auth, packet, sizeof(packet));
	assert_int_equal(
		mqtt_auth_decode(version, whole_check(s, version, packet, n, &header), &auth_out),
		MQTT_OK);
	assert_int_equal(auth_out.reason, 0x18);
	assert_true(mqtt_bytes_equal(auth_out.method, bytes_of("m")));
}

static void rounds(void (*round)(struct source *s, enum mqtt_version version))
{
	struct source *s = malloc(sizeof(*s));

	assert_non_null(s);
	random_init(&s->random, 20);
	for (size_t i = 0; i < sizeof(s->text); i++)
		s->text[i] = (uint8_t)('a' + below(s, 26));
	for (unsigned i = 0; i < ROUNDS; i++)
		round(s, versions[i % COUNT_OF(versions)]);
	free(s);
}

static void test_connects_come_back(void **state)
{
	rounds(connect_round);
}

static void test_connacks_come_back(void **state)
{
	rounds(connack_round);
}

static void test_publishes_come_back(void **state)
{
	rounds(publish_round);
}

static void test_subscriptions_come_back(void **state)
{
	rounds(subscribe_round);
}

static void test_subacks_come_back(void **state)
{
	rounds(suback_round);
}

static void test_goodbyes_come_back(void **state)
{
	rounds(goodbye_round);
}

static void test_what_mqtt_cannot_say_is_not_written(void **state)
{
	uint8_t *text = calloc(1, 65536);
	struct mqtt_publish p = {.topic = mqtt_bytes(text, 65536)};

	assert_non_null(text);
	assert_int_equal(mqtt_publish_encode(MQTT_VERSION_3_1_1, &p, mqtt_bytes(NULL, 0), packet,
				 sizeof(packet)),
		0);
	p.topic.length = 65535;
	assert_int_equal(mqtt_publish_encode(MQTT_VERSION_3_1_1, &p, mqtt_bytes(NULL, 0), packet,
				 sizeof(packet)),
		4 + 2 + 65535);
	free(text);
}

int test_mqtt_roundtrip(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_come_back),
		cmocka_unit_test(test_connacks_come_back),
		cmocka_unit_test(test_publishes_come_back),
		cmocka_unit_test(test_subscriptions_come_back),
		cmocka_unit_test(test_subacks_come_back),
		cmocka_unit_test(test_goodbyes_come_back),
		cmocka_unit_test(test_what_mqtt_cannot_say_is_not_written),
	};

	return cmocka_run_group_tests_name("roundtrip", tests, NULL, NULL);
}
