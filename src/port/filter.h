// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ports whose device sorts out what is not for Offramp: net_af_xdp, by a program of ours
// in the kernel, so that Offramp and the host share an interface. Main thread, at start.

#pragma once

#include <stddef.h>

struct port_address;

// The program as a file that the driver can open; lives as long as the process. Negative errno.
int filter_program_open(char *ret_path, size_t size);
// Before the driver loads the program: the interface is ours as long as this process lives, and
// what an earlier one that died has left there goes. -EADDRINUSE: another process filters it;
// -EEXIST: another program is on it. Logged.
int filter_claim(const char *device);
// After the driver has loaded the program: from now on what is for these addresses comes.
// Addresses of IPv6 with the groups by which neighbours ask for them. Logged.
int filter_fill(
	const char *name, unsigned if_index, const struct port_address *addresses, unsigned count);
