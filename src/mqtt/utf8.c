// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// UTF-8 encoded strings (1.5.4): well-formed by RFC 3629, no U+0000, no surrogates.
// Topics are nearly always printable ASCII, which is checked eight bytes at a time.

#include "mqtt/topic.h"

#include <string.h>

#define EVERY_BYTE(x) ((uint64_t)(x)*UINT64_C(0x0101010101010101))

#define TEXT_MAX 65535u

// All eight bytes in 0x20..0x7e? A byte below 0x20 borrows into its top bit, 0x7f carries into it,
// and what has it set already fails by itself.
static inline bool word_printable(uint64_t w)
{
	return ((w | (w - EVERY_BYTE(0x20)) | (w + EVERY_BYTE(0x01))) & EVERY_BYTE(0x80)) == 0;
}

// RFC 3629, section 4: bytes of the sequence at p, its code point in *ret; 0: ill-formed.
static unsigned sequence_decode(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	static const uint32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
	unsigned size = p[0] < 0x80		? 1
			: (p[0] & 0xe0) == 0xc0 ? 2
			: (p[0] & 0xf0) == 0xe0 ? 3
			: (p[0] & 0xf8) == 0xf0 ? 4
						: 0;
	uint32_t c;

	if (size <= 1) {
		*ret = p[0];
		return size;
	}
	if (size > (size_t)(end - p))
		return 0;
	c = p[0] & (0x7fu >> size);
	for (unsigned i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return size;
}

static bool discouraged(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0xfdd0 && c <= 0xfdef) ||
	       (c & 0xfffe) == 0xfffe;
}

enum mqtt_utf8 mqtt_utf8_scan(struct mqtt_bytes text)
{
	const uint8_t *p = text.data, *end = p + text.length;
	enum mqtt_utf8 verdict = MQTT_UTF8_PLAIN;

	if (text.length > TEXT_MAX)
		return MQTT_UTF8_ILL;
	while (p < end) {
		uint64_t word;
		uint32_t c;
		unsigned size;

		if (end - p >= (ptrdiff_t)sizeof(word)) {
			memcpy(&word, p, sizeof(word));
			if (word_printable(word)) {
				p += sizeof(word);
				continue;
			}
		}
		size = sequence_decode(p, end, &c);
		if (size == 0 || c == 0)
			return MQTT_UTF8_ILL;
		if (discouraged(c))
			verdict = MQTT_UTF8_DISCOURAGED;
		p += size;
	}
	return verdict;
}

bool mqtt_utf8_valid(struct mqtt_bytes text)
{
	return mqtt_utf8_scan(text) != MQTT_UTF8_ILL;
}
