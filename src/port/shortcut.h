// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The daemon's side of shortcut.bpf.c: port_shortcut_open() and what follows in port.h, and the
// counters. Main and control threads.

#pragma once

#include <stdint.h>

#include "port/filter_map.h"

struct shortcut;

void shortcut_destroy(struct shortcut *shortcut); // accepts NULL
// All CPUs' together.
void shortcut_counters_read(struct shortcut *shortcut, uint64_t ret_counted[SHORTCUT_COUNTERS]);
