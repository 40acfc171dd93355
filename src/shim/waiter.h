// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A thread that sleeps in poll, select or a blocking call, with a bell that is rung for it. Under
// the shim's lock.

#pragma once

#include <stdbool.h>

#include "base/list.h"

struct waiter {
	struct list link;
	int bell; // an eventfd
};

// False: there is no descriptor for the bell; waiter_end() must follow all the same.
bool waiter_begin(struct waiter *waiter);
void waiter_end(struct waiter *waiter);
