// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The end of the road for a broken invariant: one line on stderr, then abort().

#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *cond, const char *file, int line, const char *func)
{
	dprintf(2, "assertion failed: %s (%s:%d, %s)\n", cond, file, line, func);
	abort();
}
