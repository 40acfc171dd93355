// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Topic names, topic filters and how one matches the other (4.7), shared
// subscriptions (4.8.2). mqtt_filter_matches() walks characters, on purpose in
// another way than the trie does: it is the trie's oracle.

#include "mqtt/topic.h"

#include <string.h>

#define SHARE_PREFIX	    "$share/"
#define SHARE_PREFIX_LENGTH (sizeof(SHARE_PREFIX) - 1)

static bool has_wildcard(struct mqtt_bytes text)
{
	return text.length && (memchr(text.data, '+', text.length) != NULL ||
				      memchr(text.data, '#', text.length) != NULL);
}

bool mqtt_topic_valid(struct mqtt_bytes topic)
{
	// [MQTT-4.7.3-1], [MQTT-4.7.0-1]
	return topic.length > 0 && !has_wildcard(topic) && mqtt_utf8_valid(topic);
}

// [MQTT-4.7.1-1], [MQTT-4.7.1-2]
static bool wildcards_valid(struct mqtt_bytes filter)
{
	for (uint32_t i = 0; i < filter.length; i++) {
		uint8_t c = filter.data[i];

		if (c != '+' && c != '#')
			continue;
		if (i > 0 && filter.data[i - 1] != '/')
			return false;
		if (i + 1 < filter.length && (c == '#' || filter.data[i + 1] != '/'))
			return false;
	}
	return filter.length > 0;
}

static bool share_prefixed(struct mqtt_bytes filter)
{
	return filter.length >= SHARE_PREFIX_LENGTH &&
	       memcmp(filter.data, SHARE_PREFIX, SHARE_PREFIX_LENGTH) == 0;
}

bool mqtt_filter_share(
	struct mqtt_bytes filter, struct mqtt_bytes *ret_name, struct mqtt_bytes *ret_filter)
{
	const uint8_t *name, *slash, *end = filter.data + filter.length;

	if (!share_prefixed(filter))
		return false;
	name = filter.data + SHARE_PREFIX_LENGTH;
	slash = memchr(name, '/', (size_t)(end - name));
	if (slash == NULL)
		return false;
	*ret_name = mqtt_bytes(name, (size_t)(slash - name));
	*ret_filter = mqtt_bytes(slash + 1, (size_t)(end - slash - 1));
	return true;
}

bool mqtt_filter_valid(struct mqtt_bytes filter)
{
	struct mqtt_bytes name, inner;

	if (!mqtt_utf8_valid(filter))
		return false;
	if (!share_prefixed(filter))
		return wildcards_valid(filter);
	// [MQTT-4.8.2-1], [MQTT-4.8.2-2]
	return mqtt_filter_share(filter, &name, &inner) && name.length > 0 && !has_wildcard(name) &&
	       wildcards_valid(inner);
}

bool mqtt_filter_matches(struct mqtt_bytes filter, struct mqtt_bytes topic)
{
	const uint8_t *f = filter.data, *f_end = f + filter.length;
	const uint8_t *t = topic.data, *t_end = t + topic.length;

	// [MQTT-4.7.2-1]
	if (t < t_end && *t == '$' && f < f_end && (*f == '+' || *f == '#'))
		return false;
	for (;;) {
		// Both stand at the start of a level.
		if (f < f_end && *f == '#')
			return true;
		if (f < f_end && *f == '+') {
			f++;
			while (t < t_end && *t != '/')
				t++;
		} else {
			while (f < f_end && *f != '/' && t < t_end && *t == *f)
				f++, t++;
		}
		// Both must stand at the end of it. "a/#" matches "a", its parent, 4.7.1.2.
		if (t == t_end)
			return f == f_end || (f_end - f == 2 && f[0] == '/' && f[1] == '#');
		if (f == f_end || *f != '/' || *t != '/')
			return false;
		f++, t++;
	}
}

bool mqtt_topic_from_amqp(struct mqtt_bytes text, uint8_t *out)
{
	if (memchr(text.data, '.', text.length) == NULL &&
		memchr(text.data, '*', text.length) == NULL)
		return false;
	for (uint32_t i = 0; i < text.length; i++)
		out[i] = text.data[i] == '.' ? '/' : text.data[i];
	// Inside a level '*' is a character like others.
	for (uint32_t i = 0; i < text.length; i++)
		if (out[i] == '*' && (i == 0 || out[i - 1] == '/') &&
			(i + 1 == text.length || out[i + 1] == '/'))
			out[i] = '+';
	return true;
}

unsigned mqtt_topic_levels(struct mqtt_bytes topic)
{
	unsigned levels = 1;

	for (uint32_t i = 0; i < topic.length; i++)
		levels += topic.data[i] == '/';
	return levels;
}
