// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the programs in the kernel (*.bpf.c) share: addresses as keys, VLAN tags, and the map of the
// driver's sockets. Seen by the bpf target only.

#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "port/filter_map.h"

// af_xdp sockets, by queue; the driver knows it by this name.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

struct vlan_tag {
	__be16 tci, type;
};

static __always_inline struct filter_address ipv4_address(const void *address)
{
	struct filter_address key = {.bytes = {[10] = 0xff, [11] = 0xff}};

	__builtin_memcpy(key.bytes + 12, address, 4);
	return key;
}

static __always_inline struct filter_address ipv6_address(const void *address)
{
	struct filter_address key;

	__builtin_memcpy(key.bytes, address, sizeof(key.bytes));
	return key;
}
