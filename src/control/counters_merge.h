// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Many counter sets into one table of families: those of the same name become one,
// their counters of the same label value are summed. For every exporter.

#pragma once

#include "base/counters.h"
#include "offramp/v1/admin.pb-c.h"

// Empty; NULL without memory.
Offramp__V1__CountersResponse *counters_merge_create(void);
// In order of first appearance. -ENOMEM (also when `into` is NULL).
int counters_merge_add(Offramp__V1__CountersResponse *into, const struct counter_set *set);
void counters_merge_destroy(Offramp__V1__CountersResponse *merged); // accepts NULL
