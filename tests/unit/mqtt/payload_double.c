// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Payloads on malloc; see payload_double.h.

#include "payload_double.h"

#include <stdlib.h>

#include "base/assert.h"

struct payload *payload_alloc(struct payload_pool *pool, uint32_t size)
{
	static const uint32_t classes[PAYLOAD_CLASSES] = {160, 992, 4064, PAYLOAD_LARGEST};
	struct payload *p;
	uint16_t class = 0;

	ASSERT(size <= PAYLOAD_LARGEST);
	if (pool->left == 0)
		return NULL;
	if (pool->left != UINT32_MAX)
		pool->left--;
	while (classes[class] < size)
		class ++;
	p = malloc(sizeof(*p) + classes[class]);
	ASSERT(p != NULL);
	*p = (struct payload){.refs = 1, .capacity = classes[class], .class = class, .pool = pool};
	pool->in_use++;
	return p;
}

void payload_free(struct payload *p)
{
	p->pool->in_use--;
	free(p);
}
