// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The XDP program of an af_xdp port that shares its interface with the kernel: what is
// for Offramp's own addresses goes to Offramp, fragments included, all else stays with
// the kernel. Runs in the kernel, for each frame, before anything else sees it; made by
// clang for the bpf target, and embedded into the program (filter.c loads it).
//
// With no address in the map, and after the daemon's death, everything is the kernel's.

#include "port/filter_frame.bpf.h"

#include <linux/ip.h>
#include <linux/ipv6.h>

#define VLAN_TAGS 2

// Offramp's addresses; the value means nothing.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FILTER_ADDRESSES_MAX);
	__type(key, struct filter_address);
	__type(value, __u8);
} offramp_own SEC(".maps");

// RFC 826, for IPv4 over Ethernet.
struct arp {
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender_mac[6], sender[4], target_mac[6], target[4];
};

static __always_inline int is_own_ipv4(const void *address)
{
	struct filter_address key = ipv4_address(address);

	return bpf_map_lookup_elem(&offramp_own, &key) != (void *)0;
}

static __always_inline int is_own_ipv6(const void *address)
{
	struct filter_address key = ipv6_address(address);

	return bpf_map_lookup_elem(&offramp_own, &key) != (void *)0;
}

// Questions for our addresses, answers to ours, and who else claims one.
static __always_inline int is_own_arp(const struct arp *arp, const void *end)
{
	if ((const void *)(arp + 1) > end)
		return 0;
	return is_own_ipv4(arp->target) || is_own_ipv4(arp->sender);
}

static __always_inline int is_own(__be16 type, const void *packet, const void *end)
{
	const struct ipv6hdr *ip6 = packet;
	const struct iphdr *ip = packet;

	switch (type) {
	case bpf_htons(ETH_P_ARP):
		return is_own_arp(packet, end);
	case bpf_htons(ETH_P_IP):
		return (const void *)(ip + 1) <= end && is_own_ipv4(&ip->daddr);
	case bpf_htons(ETH_P_IPV6):
		return (const void *)(ip6 + 1) <= end && is_own_ipv6(&ip6->daddr);
	default:
		return 0;
	}
}

SEC("xdp")
int offramp_filter(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *ethernet = (const void *)(long)ctx->data;
	const void *packet = ethernet + 1;
	__be16 type;

	if (packet > end)
		return XDP_PASS;
	type = ethernet->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		const struct vlan_tag *tag = packet;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((const void *)(tag + 1) > end)
			return XDP_PASS;
		type = tag->type;
		packet = tag + 1;
	}
	if (!is_own(type, packet, end))
		return XDP_PASS;
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "GPL";
