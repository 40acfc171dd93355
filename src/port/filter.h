// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Programs of ours in the kernel, on the interface of a net_af_xdp port: which frames come to
// Offramp, and what becomes of the others. This: getting them there, and at their maps; what goes
// into those of enum port_filter OWN. Of BRIDGE: shortcut.h. Main thread, at start.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"

// The program as a file that the driver can open; lives as long as the process. Negative errno.
int filter_program_open(enum port_filter filter, char *ret_path, size_t size);
// Before the driver loads the program: the interface is ours as long as this process lives, and
// what an earlier one that died has left there goes. -EADDRINUSE: another process filters it;
// -EEXIST: another program is on it. Logged.
int filter_claim(const char *device);
// Of a device without a filter: what an earlier run with one has left there goes.
void filter_clean(const char *device);
// Does the kernel take the program there? Once it is claimed; nothing is left. Logged.
int filter_try(const char *device, enum port_filter filter);
// After the driver has loaded the program: from now on what is for these addresses comes.
// Addresses of IPv6 with the groups by which neighbours ask for them. Logged.
int filter_fill(
	const char *name, unsigned if_index, const struct port_address *addresses, unsigned count);

// Is the program of that kind on the interface? Its number and whether it is attached in the
// driver-independent way.
bool filter_program_find(
	unsigned if_index, enum port_filter filter, uint32_t *ret_id, bool *ret_generic);
// The map of that name, of the program; a file or negative errno.
int filter_map_open(uint32_t program, const char *name);
