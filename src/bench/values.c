// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Numbers as people write them on a command line.

#include "bench/values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool bench_value_count(const char *text, uint32_t low, uint32_t high, uint32_t *ret)
{
	char *end;
	unsigned long long n;
	unsigned shift = 0;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M')
		shift = 20;
	else if (*end == 'G')
		shift = 30;
	if (shift)
		end++;
	if (errno || *end || n > UINT32_MAX || n << shift > high || n << shift < low)
		return false;
	*ret = (uint32_t)(n << shift);
	return true;
}

bool bench_value_number(const char *text, double low, double high, double *ret)
{
	char *end;
	double n;

	if (!isdigit((unsigned char)*text) && *text != '.')
		return false;
	n = strtod(text, &end);
	if (end == text || *end || !isfinite(n) || n < low || n > high)
		return false;
	*ret = n;
	return true;
}

// One element of a list: a number, or a doubling range.
static bool sizes_add(
	char *text, uint32_t high, uint32_t *sizes, unsigned capacity, unsigned *count)
{
	char *dots = strstr(text, "..");
	uint32_t first, last;

	if (dots)
		*dots = '\0';
	if (!bench_value_count(text, 0, high, &first))
		return false;
	last = first;
	if (dots && !bench_value_count(dots + 2, first, high, &last))
		return false;
	for (uint64_t size = first; size <= last; size = size ? size * 2 : 1) {
		if (*count == capacity)
			return false;
		sizes[(*count)++] = (uint32_t)size;
	}
	return true;
}

bool bench_value_sizes(
	const char *text, uint32_t high, uint32_t *sizes, unsigned capacity, unsigned *ret_count)
{
	char *copy = strdup(text), *rest = copy, *element;
	unsigned count = 0;
	bool legal = copy != NULL;

	while (legal && (element = strsep(&rest, ",")))
		legal = sizes_add(element, high, sizes, capacity, &count);
	free(copy);
	if (legal)
		*ret_count = count;
	return legal;
}
