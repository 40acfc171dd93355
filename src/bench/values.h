// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Numbers as people write them on a command line. All functions return false,
// and leave their result alone, when the text is no such value.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// A whole number between low and high; K, M and G multiply by 1024.
bool bench_value_count(const char *text, uint32_t low, uint32_t high, uint32_t *ret);
// A decimal number between low and high.
bool bench_value_number(const char *text, double low, double high, double *ret);
// "64", "0,1,1K" or "0..1M" (0, 1, 2, 4, …, 1M) and mixtures of these; at most `capacity` sizes.
bool bench_value_sizes(
	const char *text, uint32_t high, uint32_t *sizes, unsigned capacity, unsigned *ret_count);
