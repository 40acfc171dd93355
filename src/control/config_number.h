// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Numbers as people write them: 16384, 256KiB, 200ms.

#pragma once

#include <stdbool.h>
#include <stdint.h>

enum config_unit {
	CONFIG_UNIT_COUNT,    // no unit
	CONFIG_UNIT_SIZE,     // bytes: none or B, KiB, MiB, GiB
	CONFIG_UNIT_DURATION, // microseconds: us, ms, s, m, h
	CONFIG_UNIT_SHARE,    // parts of a million: %, with up to four decimals
	CONFIG_UNIT_RATE,     // bits a second: bit, kbit, Mbit, Gbit
};

// False when the text is not a number of that kind, or too large for 64 bits. A duration needs its
// unit, unless it is 0.
bool config_number_parse(enum config_unit unit, const char *text, uint64_t *ret_value);

// How the units are called in an error: "a number", "bytes, or a number with KiB, MiB or GiB", …
const char *config_number_form(enum config_unit unit);

// The shortest exact way to write it: "256KiB".
#define CONFIG_NUMBER_STRLEN 32
const char *config_number_format(
	enum config_unit unit, uint64_t value, char text[CONFIG_NUMBER_STRLEN]);
