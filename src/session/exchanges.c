// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A linear list: publishers have a handful under way.

#include "session/exchanges.h"

#include <stddef.h>

void exchanges_init(struct exchanges *exchanges)
{
	exchanges->count = 0;
	exchanges->lost = false;
}

bool exchanges_settled(const struct exchanges *exchanges)
{
	return exchanges->count == 0 && !exchanges->lost;
}

bool exchanges_full(const struct exchanges *exchanges)
{
	return exchanges->count == EXCHANGES_MAX;
}

static struct exchange *exchange_find(const struct exchanges *exchanges, uint16_t id)
{
	for (unsigned i = 0; i < exchanges->count; i++)
		if (exchanges->list[i].id == id)
			return (struct exchange *)&exchanges->list[i];
	return NULL;
}

void exchanges_begin(struct exchanges *exchanges, uint16_t id, bool late)
{
	if (exchange_find(exchanges, id) != NULL)
		return;
	if (exchanges_full(exchanges))
		exchanges->lost = true;
	else
		exchanges->list[exchanges->count++] = (struct exchange){id, late};
}

bool exchanges_under_way(const struct exchanges *exchanges, uint16_t id)
{
	return exchange_find(exchanges, id) != NULL;
}

bool exchanges_late(const struct exchanges *exchanges, uint16_t id)
{
	const struct exchange *exchange = exchange_find(exchanges, id);

	return exchange != NULL && exchange->late;
}

void exchanges_end(struct exchanges *exchanges, uint16_t id)
{
	struct exchange *exchange = exchange_find(exchanges, id);

	if (exchange != NULL)
		*exchange = exchanges->list[--exchanges->count];
}
