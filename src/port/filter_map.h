// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the program in the kernel (filter.bpf.c) and its map are called, for filter.c to find
// them. The map's keys are addresses, IPv4 as IPv4-mapped IPv6 ones.

#pragma once

#define FILTER_ADDRESSES_MAX 4096
#define FILTER_PROGRAM	     "offramp_filter"
#define FILTER_OWN	     "offramp_own"
