// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Each payload begins with the pointer to the next one; its octets follow.

#include "attach/bytes.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/payload.h"
#include "tcp/tcp.h"

#define LINK sizeof(struct payload *)

static struct payload *next_of(const struct payload *payload)
{
	struct payload *next;

	memcpy(&next, payload->data, LINK);
	return next;
}

static void set_next(struct payload *payload, struct payload *next)
{
	memcpy(payload->data, &next, LINK);
}

void bytes_init(struct bytes *bytes, struct payload_pool *pool)
{
	*bytes = (struct bytes){.pool = pool};
}

static void drop_first(struct bytes *bytes)
{
	struct payload *first = bytes->first;

	bytes->first = next_of(first);
	if (bytes->first == NULL)
		bytes->last = NULL;
	bytes->start = LINK;
	payload_put(first);
}

void bytes_clear(struct bytes *bytes)
{
	while (bytes->first != NULL)
		drop_first(bytes);
	bytes->length = 0;
}

// Another payload at the end.
static bool extend(struct bytes *bytes, uint32_t wanted)
{
	uint32_t most = PAYLOAD_LARGEST - LINK;
	struct payload *payload =
		payload_alloc(bytes->pool, LINK + (wanted < most ? wanted : most));

	if (payload == NULL)
		return false;
	set_next(payload, NULL);
	payload->length = LINK;
	if (bytes->last != NULL)
		set_next(bytes->last, payload);
	else
		bytes->first = payload;
	if (bytes->length == 0)
		bytes->start = LINK;
	bytes->last = payload;
	return true;
}

uint8_t *bytes_room(struct bytes *bytes, uint32_t wanted, uint32_t *ret_room)
{
	struct payload *last = bytes->last;

	if (last == NULL || last->length == last->capacity) {
		if (!extend(bytes, wanted))
			return NULL;
		last = bytes->last;
	}
	*ret_room = last->capacity - last->length;
	return last->data + last->length;
}

void bytes_add(struct bytes *bytes, uint32_t length)
{
	ASSERT(length <= bytes->last->capacity - bytes->last->length);
	bytes->last->length += length;
	bytes->length += length;
}

static int append(struct bytes *bytes, const struct tcp_span *span)
{
	uint32_t done = 0;

	while (done < span->length) {
		uint32_t room, left = span->length - done;
		uint8_t *to = bytes_room(bytes, left, &room);

		if (to == NULL)
			return -ENOMEM;
		room = room < left ? room : left;
		memcpy(to, span->data + done, room);
		bytes_add(bytes, room);
		done += room;
	}
	return 0;
}

// Takes back what was appended behind `length` octets, of which the last lies in `last`.
static void truncate_to(
	struct bytes *bytes, struct payload *last, uint32_t last_length, uint64_t length)
{
	struct payload *rest = last != NULL ? next_of(last) : bytes->first;

	while (rest != NULL) {
		struct payload *next = next_of(rest);

		payload_put(rest);
		rest = next;
	}
	bytes->last = last;
	bytes->length = length;
	if (last == NULL) {
		bytes->first = NULL;
		return;
	}
	set_next(last, NULL);
	last->length = last_length;
}

int bytes_append(struct bytes *bytes, const struct tcp_span *spans, unsigned count)
{
	struct payload *last = bytes->last;
	uint32_t last_length = last != NULL ? last->length : 0;
	uint64_t length = bytes->length;

	for (unsigned i = 0; i < count; i++)
		if (append(bytes, &spans[i]) < 0) {
			truncate_to(bytes, last, last_length, length);
			return -ENOMEM;
		}
	return 0;
}

unsigned bytes_peek(const struct bytes *bytes, struct tcp_span *ret_spans, unsigned max)
{
	uint32_t start = bytes->start;
	unsigned count = 0;

	for (const struct payload *p = bytes->first; p != NULL && count < max; p = next_of(p)) {
		if (p->length > start)
			ret_spans[count++] = (struct tcp_span){p->data + start, p->length - start};
		start = LINK;
	}
	return count;
}

void bytes_consume(struct bytes *bytes, uint64_t n)
{
	ASSERT(n <= bytes->length);
	bytes->length -= n;
	while (n > 0) {
		uint32_t here = bytes->first->length - bytes->start;

		if (n < here) {
			bytes->start += (uint32_t)n;
			return;
		}
		n -= here;
		drop_first(bytes);
	}
	// A payload in which nothing is left, with room behind it.
	if (bytes->length == 0)
		bytes_clear(bytes);
}
