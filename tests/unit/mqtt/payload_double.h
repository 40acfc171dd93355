// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A double of base/payload.c on malloc: a sanitizer sees every byte written beyond a
// payload, and allocations fail when the test says so. Used by fuzzers too.

#pragma once

#include "base/payload.h"

struct payload_pool {
	uint32_t in_use;
	uint32_t left; // allocations until they fail; UINT32_MAX: never
};
