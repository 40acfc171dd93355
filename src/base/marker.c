// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Markers to bytes and back.

#include "base/marker.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/random.h"

#define HEAD_SIZE 12
#define TAG_SIZE  8

static void put_64(uint8_t *out, uint64_t value)
{
	uint64_t big = htobe64(value);

	memcpy(out, &big, sizeof(big));
}

static uint64_t get_64(const uint8_t *in)
{
	uint64_t big;

	memcpy(&big, in, sizeof(big));
	return be64toh(big);
}

size_t marker_encode(const uint8_t key[MARKER_KEY_SIZE], const struct marker *marker,
	uint8_t out[MARKER_SIZE_MAX])
{
	size_t length = HEAD_SIZE;

	out[0] = MARKER_VERSION;
	out[1] = (uint8_t)marker->kind;
	out[2] = marker->except_count;
	out[3] = 0;
	put_64(out + 4, marker->token);
	for (unsigned i = 0; i < marker->except_count; i++, length += 8)
		put_64(out + length, marker->except[i]);
	put_64(out + length, siphash_2_4(key, out, length));
	return length + TAG_SIZE;
}

static bool kind_known(uint8_t kind)
{
	return kind >= MARKER_JOIN && kind <= MARKER_SKIP;
}

int marker_decode(const uint8_t key[MARKER_KEY_SIZE], const void *data, size_t length,
	struct marker *ret_marker)
{
	const uint8_t *in = data;

	if (length < HEAD_SIZE + TAG_SIZE || length > MARKER_SIZE_MAX)
		return -EBADMSG;
	length -= TAG_SIZE;
	if (get_64(in + length) != siphash_2_4(key, in, length))
		return -EBADMSG;
	if (in[0] != MARKER_VERSION || !kind_known(in[1]) || length != HEAD_SIZE + 8u * in[2])
		return -EBADMSG;
	ret_marker->kind = in[1];
	ret_marker->except_count = in[2];
	ret_marker->token = get_64(in + 4);
	for (unsigned i = 0; i < in[2]; i++)
		ret_marker->except[i] = get_64(in + HEAD_SIZE + 8 * i);
	return 0;
}
