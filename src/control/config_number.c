// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Counts, sizes and durations: text to number and back.

#include "control/config_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

// The largest first: formatting takes the first that divides.
static const struct unit sizes[] = {
	{"GiB", 1ull << 30},
	{"MiB", 1ull << 20},
	{"KiB", 1ull << 10},
	{"B", 1},
	{"", 1},
	{NULL, 0},
};
static const struct unit durations[] = {
	{"h", 3600000000ull},
	{"m", 60000000},
	{"s", 1000000},
	{"ms", 1000},
	{"us", 1},
	{NULL, 0},
};
static const struct unit shares[] = {
	{"%", 10000},
	{NULL, 0},
};
static const struct unit rates[] = {
	{"Gbit", 1000000000},
	{"Mbit", 1000000},
	{"kbit", 1000},
	{"bit", 1},
	{NULL, 0},
};
static const struct unit counts[] = {
	{"", 1},
	{NULL, 0},
};

static const struct {
	const struct unit *units;
	const char *form;
} kinds[] = {
	[CONFIG_UNIT_COUNT] = {counts, "a whole number"},
	[CONFIG_UNIT_SIZE] = {sizes, "a whole number of bytes, or one with KiB, MiB or GiB"},
	[CONFIG_UNIT_DURATION] = {durations, "a whole number with us, ms, s, m or h"},
	[CONFIG_UNIT_SHARE] = {shares, "a number with %"},
	[CONFIG_UNIT_RATE] = {rates, "a whole number with bit, kbit, Mbit or Gbit"},
};

// "0.25%": digits after the point are taken into the number, and the unit shrinks with each.
static bool share_parse(const char *text, uint64_t *ret_value)
{
	uint64_t value = 0, factor = shares[0].factor;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && value <= UINT32_MAX; p++)
		value = 10 * value + (uint64_t)(*p - '0');
	if (p > text && *p == '.' && p[1] != '%')
		for (p++; *p >= '0' && *p <= '9' && factor > 1; p++, factor /= 10)
			value = 10 * value + (uint64_t)(*p - '0');
	if (p == text || (strcmp(p, shares[0].suffix) != 0 && strcmp(text, "0") != 0))
		return false;
	*ret_value = value * factor;
	return true;
}

bool config_number_parse(enum config_unit unit, const char *text, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *p = text;

	if (unit == CONFIG_UNIT_SHARE)
		return share_parse(text, ret_value);
	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return false;
	if (*p == '\0' && value == 0) {
		*ret_value = 0;
		return true;
	}
	while (*p == ' ')
		p++;
	for (const struct unit *u = kinds[unit].units; u->suffix; u++)
		if (strcmp(p, u->suffix) == 0)
			return !__builtin_mul_overflow(value, u->factor, ret_value);
	return false;
}

const char *config_number_form(enum config_unit unit)
{
	return kinds[unit].form;
}

const char *config_number_format(
	enum config_unit unit, uint64_t value, char text[CONFIG_NUMBER_STRLEN])
{
	const struct unit *u = kinds[unit].units;

	if (unit == CONFIG_UNIT_SHARE) {
		snprintf(text, CONFIG_NUMBER_STRLEN, "%g%%", (double)value / (double)u->factor);
		return text;
	}
	while (value % u->factor != 0)
		u++;
	if (value == 0 || (unit == CONFIG_UNIT_SIZE && u->factor == 1))
		u = counts;
	snprintf(text, CONFIG_NUMBER_STRLEN, "%" PRIu64 "%s", value / u->factor, u->suffix);
	return text;
}
