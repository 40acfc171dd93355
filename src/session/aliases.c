// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A linear list: brokers allow a handful.

#include "session/aliases.h"

#include <stddef.h>

#include "base/assert.h"

void aliases_init(struct aliases *aliases)
{
	aliases->count = 0;
}

void aliases_fini(struct aliases *aliases)
{
	for (unsigned i = 0; i < aliases->count; i++)
		payload_put(aliases->list[i].topic);
	aliases->count = 0;
}

struct alias *aliases_find(struct aliases *aliases, uint16_t number)
{
	for (unsigned i = 0; i < aliases->count; i++)
		if (aliases->list[i].number == number)
			return &aliases->list[i];
	return NULL;
}

bool aliases_have_room(struct aliases *aliases, uint16_t number)
{
	return aliases->count < ALIASES_MAX || aliases_find(aliases, number) != NULL;
}

void aliases_define(
	struct aliases *aliases, uint16_t number, struct payload *topic, bool broker_knows)
{
	ASSERT(aliases_have_room(aliases, number));
	aliases_forget(aliases, number);
	aliases->list[aliases->count++] = (struct alias){topic, number, broker_knows};
}

void aliases_forget(struct aliases *aliases, uint16_t number)
{
	struct alias *alias = aliases_find(aliases, number);

	if (alias == NULL)
		return;
	payload_put(alias->topic);
	*alias = aliases->list[--aliases->count];
}
