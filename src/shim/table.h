// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Descriptor → object.

#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct object;

// Any thread, without the lock: NULL is true at once, another answer only under the lock.
struct object *table_look(int fd);
// Under the lock. False: no memory, or no descriptor. NULL: the kernel's again.
bool table_set(int fd, struct object *object);
// The first descriptor above `fd` that is ours; -1: there is none.
int table_next(int fd);
// Some descriptor of the object; -1: there is none.
int table_find(const struct object *object);
