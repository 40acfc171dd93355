// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A descriptor that is in epolls already becomes Offramp's, or the kernel's again. Under the shim's
// lock.

#pragma once

#include <stdbool.h>

struct object;

// What the kernel watches of the descriptor the object's entries do. False: it cannot be seen what
// that is, and the rest stays the kernel's.
bool moves_from_kernel(struct object *object, int fd);
void moves_to_kernel(struct object *object);
