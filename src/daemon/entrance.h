// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The listening sockets at which processes attach, and who is let in there.

#pragma once

#include <stdint.h>

struct config_door;

// A descriptor, or a negative errno. The path is made free before; who is not of the group
// (UINT32_MAX: the daemon's own) cannot connect.
int entrance_open_unix(const char *path, int type, uint32_t group);
// At a stream socket of the configuration; likewise.
int entrance_open(const struct config_door *door);
// The next one's descriptor, which does not block. -EACCES: it is not among those who may; else the
// errno of accept(). `door`: NULL: entrance_open_unix()'s own.
int entrance_accept(int listener, const struct config_door *door);
