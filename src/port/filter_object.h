// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// filter.bpf.c and shortcut.bpf.c, compiled: ELF files for the kernel.

#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t filter_object[], shortcut_object[];
extern const size_t filter_object_length, shortcut_object_length;
