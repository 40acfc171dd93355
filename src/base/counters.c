// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sizes of counter sets; everything else about counters is inline or the exporters'.

#include "base/counters.h"

unsigned counter_set_slots(const struct counter_set *set)
{
	unsigned slots = 0;

	for (unsigned i = 0; i < set->families_count; i++)
		slots += set->families[i].slots;
	return slots;
}
