// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the kernel knows of the interface behind a port (af_packet, af_xdp, tap). Read, never
// changed: the interface belongs to the host.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// 0: no such interface, or an MTU that no port carries (loopback's).
uint16_t kernel_interface_mtu(unsigned if_index);
// Up and with a carrier; false when the interface is gone.
bool kernel_interface_running(unsigned if_index);
// Can frames be redirected to it by XDP programs of other interfaces, now? False: the kernel does
// not tell (before 6.3), or there is no such interface.
bool kernel_interface_takes_redirects(unsigned if_index, bool *ret_takes);
