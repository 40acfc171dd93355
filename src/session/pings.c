// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// First asked, first answered.

#include "session/pings.h"

#include "base/assert.h"

void pings_sent(struct pings *pings, uint64_t what)
{
	ASSERT(!pings_full(pings));
	pings->ring[(pings->head + pings->count++) % PINGS_MAX] = what;
}

uint64_t pings_answered(struct pings *pings)
{
	uint64_t what;

	if (pings->count == 0)
		return PING_CLIENT;
	what = pings->ring[pings->head];
	pings->head = (pings->head + 1) % PINGS_MAX;
	pings->count--;
	return what;
}
