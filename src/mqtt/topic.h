// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Topic names and filters (4.7), UTF-8 strings (1.5.4).

#pragma once

#include <stdbool.h>

#include "mqtt/packet.h"

// What a text is by 1.5.4. ILL: ill-formed UTF-8, a surrogate, U+0000, or more than 65,535 bytes:
// no receiver accepts it. DISCOURAGED: holds control characters (U+0001..1F, U+007F..9F) or
// non-characters, which a receiver may refuse (mosquitto does).
enum mqtt_utf8 {
	MQTT_UTF8_PLAIN,
	MQTT_UTF8_DISCOURAGED,
	MQTT_UTF8_ILL,
};
enum mqtt_utf8 mqtt_utf8_scan(struct mqtt_bytes text);
// Well-formed UTF-8 without U+0000 and surrogates, at most 65,535 bytes.
bool mqtt_utf8_valid(struct mqtt_bytes text);
// A legal topic name: valid UTF-8, not empty, no wildcard.
bool mqtt_topic_valid(struct mqtt_bytes topic);
// A legal filter ('#' only last and alone in its level, '+' alone in its level),
// "$share/{name}/{filter}" included (4.8.2: name without wildcards and not empty). Brokers read
// "$share/" so in every version, and so does this.
bool mqtt_filter_valid(struct mqtt_bytes filter);
// Does the filter (not a share) match the topic? A leading wildcard never matches "$…"; "a/#"
// matches "a".
bool mqtt_filter_matches(struct mqtt_bytes filter, struct mqtt_bytes topic);
// Splits "$share/{name}/{filter}"; false when the filter is not a share.
bool mqtt_filter_share(
	struct mqtt_bytes filter, struct mqtt_bytes *ret_name, struct mqtt_bytes *ret_filter);
// A broker that routes by AMQP's topics also reads '.' as '/', and a level '*' as '+'. Writes the
// legal topic or filter as it does so, into as many bytes; false (nothing written): it holds
// neither character.
bool mqtt_topic_from_amqp(struct mqtt_bytes text, uint8_t *out);
// Number of levels ("a//b" has 3).
unsigned mqtt_topic_levels(struct mqtt_bytes topic);
