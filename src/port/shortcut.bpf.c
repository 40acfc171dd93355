// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The XDP program of both ports of a bump in the wire (monitor mode with two af_xdp ports). It is
// the bridge, with the rules of net/bridge.c, and of what crosses it sends everything to the other
// port itself but what Offramp has to see:
//
//   frame ─▶ learn, look up ─▶ TCP with a broker's port, fragments of it that may ─▶ Offramp's
//   socket
//                │             be, ICMP errors about a broker's connections
//                └─▶ drop      all else ──────────────────────────────────────────▶ the other port
//
// What Offramp has to see is what net/transit.c and attach/monitor.c look at; more may come, for
// Offramp passes it on. Every packet of a connection takes the same way, so order holds: a packet
// in fragments goes where its first part says, if the first part is there first.
//
// Before the daemon has filled the maps all comes to it. After its death what is a broker's is
// dropped, the rest goes on.

#include "port/filter_frame.bpf.h"

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#define FRAGMENT_NS   60000000000ull // RFC 8200 4.5
#define REFRESH_NS    1000000000ull
#define VLAN_MASK     0x0fff
#define FRAGMENTED    0x3fff // more fragments, or an offset
#define OFFSET	      0x1fff
#define EXTENSIONS    4
#define ETHERNET_ROOM (ETH_HLEN + 4) // that the kernel allows on top of an MTU

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shortcut_settings);
} offramp_set SEC(".maps");

// The value means nothing.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHORTCUT_BROKERS_MAX);
	__type(key, struct shortcut_endpoint);
	__type(value, __u8);
} offramp_brokers SEC(".maps");

// The value is the index of a port.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHORTCUT_FIXED_MAX);
	__type(key, struct shortcut_station);
	__type(value, __u32);
} offramp_fixed SEC(".maps");

// Both ports' programs have the same one, which the daemon puts here.
struct learned {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHORTCUT_STATIONS_MAX);
	__uint(key_size, sizeof(struct shortcut_station));
	__uint(value_size, sizeof(struct shortcut_seen));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct learned);
} offramp_learned SEC(".maps");

// The interface of the other port. Empty: it cannot be redirected to, all comes to the daemon.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} offramp_peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SHORTCUT_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} offramp_counted SEC(".maps");

// A packet of which a part has been seen.
struct fragment_key {
	struct filter_address source, destination;
	__u32 id;
	__u32 vlan;
};

struct fragment {
	__u64 at_ns;
	__u64 taken; // its way: to Offramp
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHORTCUT_FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} offramp_parts SEC(".maps");

static __always_inline void count(__u32 slot, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(&offramp_counted, &slot);

	if (value)
		*value += by;
}

static __always_inline int drop(__u32 slot)
{
	count(slot, 1);
	return XDP_DROP;
}

// --- what Offramp has to see ---------------------------------------------------------------------

static __always_inline int is_broker(const struct filter_address *address, __be16 port)
{
	struct shortcut_endpoint key = {.address = *address, .port = port};

	return bpf_map_lookup_elem(&offramp_brokers, &key) != (void *)0;
}

// A packet by its addresses; `id` and `vlan` count for fragments.
struct packet {
	struct fragment_key key;
	const void *l4;
	const void *end;
};

static __always_inline int concerns_broker(const struct packet *packet)
{
	return is_broker(&packet->key.source, 0) || is_broker(&packet->key.destination, 0);
}

static __always_inline int tcp_is_wanted(const struct packet *packet)
{
	const __be16 *ports = packet->l4;

	if ((const void *)(ports + 2) > packet->end)
		return 0;
	return is_broker(&packet->key.destination, ports[1]) ||
	       is_broker(&packet->key.source, ports[0]);
}

// The first part decides; what comes before it is kept by the daemon, which then needs the first
// part too.
static __always_inline int fragment_is_wanted(const struct packet *packet, int first)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct fragment fresh = {.at_ns = now_ns, .taken = 1};
	const struct fragment *known;

	if (!concerns_broker(packet))
		return 0;
	known = bpf_map_lookup_elem(&offramp_parts, &packet->key);
	if (known && now_ns - known->at_ns > FRAGMENT_NS)
		known = (void *)0;
	if (!first && known)
		return known->taken != 0;
	if (first && !(known && known->taken) && packet->l4 + 2 * sizeof(__be16) <= packet->end)
		fresh.taken = tcp_is_wanted(packet);
	bpf_map_update_elem(&offramp_parts, &packet->key, &fresh, BPF_ANY);
	return fresh.taken != 0;
}

// RFC 792, 4443. The kernel's headers of these need the C library.
struct icmp {
	__u8 type, code;
	__be16 sum;
	__be32 rest;
};

enum icmp_type {
	ICMP_UNREACHABLE = 3,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	ICMP6_UNREACHABLE = 1,
	ICMP6_PARAMETER_PROBLEM = 4, // and all between
};

static __always_inline int icmp_is_wanted(const struct packet *packet)
{
	const struct icmp *icmp = packet->l4;
	const struct iphdr *quoted = (const void *)(icmp + 1);
	struct filter_address source, destination;

	if ((const void *)(quoted + 1) > packet->end)
		return 0;
	if (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED &&
		icmp->type != ICMP_PARAMETER_PROBLEM)
		return 0;
	source = ipv4_address(&quoted->saddr);
	destination = ipv4_address(&quoted->daddr);
	return quoted->protocol == IPPROTO_TCP &&
	       (is_broker(&source, 0) || is_broker(&destination, 0));
}

static __always_inline int icmp6_is_wanted(const struct packet *packet)
{
	const struct icmp *icmp = packet->l4;
	const struct ipv6hdr *quoted = (const void *)(icmp + 1);
	struct filter_address source, destination;

	if ((const void *)(quoted + 1) > packet->end || icmp->type < ICMP6_UNREACHABLE ||
		icmp->type > ICMP6_PARAMETER_PROBLEM)
		return 0;
	source = ipv6_address(&quoted->saddr);
	destination = ipv6_address(&quoted->daddr);
	return quoted->nexthdr == IPPROTO_TCP &&
	       (is_broker(&source, 0) || is_broker(&destination, 0));
}

static __always_inline int ipv4_is_wanted(struct packet *packet, const struct iphdr *ip)
{
	__u16 fragment;

	if ((const void *)(ip + 1) > packet->end || ip->version != 4 || ip->ihl < 5)
		return 0;
	packet->key.source = ipv4_address(&ip->saddr);
	packet->key.destination = ipv4_address(&ip->daddr);
	packet->l4 = (const void *)ip + ip->ihl * 4;
	fragment = bpf_ntohs(ip->frag_off) & FRAGMENTED;
	if (ip->protocol == IPPROTO_TCP) {
		if (!fragment)
			return tcp_is_wanted(packet);
		packet->key.id = ip->id;
		return fragment_is_wanted(packet, (fragment & OFFSET) == 0);
	}
	return ip->protocol == IPPROTO_ICMP && !fragment && icmp_is_wanted(packet);
}

// RFC 8200 4.5.
struct fragment_header {
	__u8 next, reserved;
	__be16 offset;
	__be32 id;
};

static __always_inline int fragment6_is_wanted(struct packet *packet)
{
	const struct fragment_header *header = packet->l4;

	if ((const void *)(header + 1) > packet->end || header->next != IPPROTO_TCP)
		return 0;
	packet->key.id = header->id;
	packet->l4 = header + 1;
	return fragment_is_wanted(packet, (bpf_ntohs(header->offset) & 0xfff8) == 0);
}

static __always_inline int ipv6_is_wanted(struct packet *packet, const struct ipv6hdr *ip)
{
	__u8 next;

	if ((const void *)(ip + 1) > packet->end || ip->version != 6)
		return 0;
	packet->key.source = ipv6_address(&ip->saddr);
	packet->key.destination = ipv6_address(&ip->daddr);
	packet->l4 = ip + 1;
	next = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		const __u8 *extension = packet->l4;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS)
			break;
		if ((const void *)(extension + 2) > packet->end)
			return 0;
		next = extension[0];
		packet->l4 = extension + (extension[1] + 1) * 8;
	}
	switch (next) {
	case IPPROTO_TCP:
		return tcp_is_wanted(packet);
	case IPPROTO_FRAGMENT:
		return fragment6_is_wanted(packet);
	case IPPROTO_ICMPV6:
		return icmp6_is_wanted(packet);
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS: // more of them than we walk
		return concerns_broker(packet);
	default:
		return 0;
	}
}

// --- the bridge ----------------------------------------------------------------------------------

static __always_inline void learn(
	void *learned, const struct shortcut_station *station, __u32 self, __u64 now_ns)
{
	struct shortcut_seen *seen = bpf_map_lookup_elem(learned, station);
	struct shortcut_seen fresh = {.at_ns = now_ns, .port = self};

	if (!seen)
		bpf_map_update_elem(learned, station, &fresh, BPF_ANY);
	else if (seen->port != self || now_ns - seen->at_ns > REFRESH_NS)
		*seen = fresh; // it may have moved
}

// XDP_PASS: to the other port.
static __always_inline int unicast_route(const struct shortcut_settings *settings, void *learned,
	const struct shortcut_station *to, __u64 now_ns)
{
	const struct shortcut_seen *seen;
	const __u32 *fixed;

	fixed = settings->fixed ? bpf_map_lookup_elem(&offramp_fixed, to) : (void *)0;
	if (fixed)
		return *fixed == settings->self ? drop(SHORTCUT_DROPPED_SAME_PORT) : XDP_PASS;
	if (settings->mode == SHORTCUT_STATIC)
		return drop(SHORTCUT_DROPPED_UNKNOWN);
	seen = bpf_map_lookup_elem(learned, to);
	if (seen && seen->port == settings->self && now_ns - seen->at_ns <= settings->age_ns)
		return drop(SHORTCUT_DROPPED_SAME_PORT);
	return XDP_PASS;
}

static __always_inline int is_pause(const __u8 *mac) // IEEE 802.3 annex 31B
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && mac[3] == 0 && mac[4] == 0 &&
	       mac[5] == 0x01;
}

static __always_inline int route(
	const struct shortcut_settings *settings, const struct ethhdr *ethernet, __u16 vlan)
{
	struct shortcut_station from = {.vlan = vlan}, to = {.vlan = vlan};
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 zero = 0;
	void *learned = bpf_map_lookup_elem(&offramp_learned, &zero);

	if (!learned)
		return XDP_PASS;
	if (ethernet->h_source[0] & 1)
		return drop(SHORTCUT_DROPPED_MALFORMED);
	__builtin_memcpy(from.mac, ethernet->h_source, sizeof(from.mac));
	if (settings->mode == SHORTCUT_LEARNING &&
		!(settings->fixed && bpf_map_lookup_elem(&offramp_fixed, &from)))
		learn(learned, &from, settings->self, now_ns);
	if (ethernet->h_dest[0] & 1)
		return is_pause(ethernet->h_dest) ? drop(SHORTCUT_DROPPED_PAUSE) : XDP_PASS;
	if (settings->mode == SHORTCUT_HUB)
		return XDP_PASS;
	__builtin_memcpy(to.mac, ethernet->h_dest, sizeof(to.mac));
	return unicast_route(settings, learned, &to, now_ns);
}

// --- frames --------------------------------------------------------------------------------------

static __always_inline int take(struct xdp_md *ctx)
{
	int way = (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);

	count(way == XDP_REDIRECT ? SHORTCUT_TAKEN : SHORTCUT_DROPPED_UNSERVED, 1);
	return way;
}

static __always_inline int send_on(struct xdp_md *ctx, __u64 length)
{
	count(SHORTCUT_REDIRECTED, 1);
	count(SHORTCUT_REDIRECTED_BYTES, length);
	return (int)bpf_redirect_map(&offramp_peer, 0, XDP_DROP);
}

SEC("xdp")
int offramp_bridge(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const struct ethhdr *ethernet = data;
	struct packet packet = {.end = (const void *)(long)ctx->data_end};
	const struct shortcut_settings *settings;
	const void *at = ethernet + 1;
	__u64 length = packet.end - data;
	__u32 zero = 0, tags = 0;
	__be16 type;
	int wanted = 0;

	settings = bpf_map_lookup_elem(&offramp_set, &zero);
	if (at > packet.end || !settings || settings->mode == SHORTCUT_OFF)
		return take(ctx);
	type = ethernet->h_proto;
	// The daemon reads behind one tag of 802.1Q; of the others the VLAN counts.
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const struct vlan_tag *tag = at;

		if ((type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) ||
			(const void *)(tag + 1) > packet.end)
			break;
		if (i == 0)
			packet.key.vlan = bpf_ntohs(tag->tci) & VLAN_MASK;
		tags += i > 0 || type == bpf_htons(ETH_P_8021AD) ? 2 : 1;
		type = tag->type;
		at = tag + 1;
	}
	if (route(settings, ethernet, (__u16)packet.key.vlan) != XDP_PASS)
		return XDP_DROP;
	if (packet.end - at > settings->mtu)
		return drop(SHORTCUT_DROPPED_TOO_BIG);
	if (tags <= 1 && type == bpf_htons(ETH_P_IP))
		wanted = ipv4_is_wanted(&packet, at);
	else if (tags <= 1 && type == bpf_htons(ETH_P_IPV6))
		wanted = ipv6_is_wanted(&packet, at);
	if (wanted || !bpf_map_lookup_elem(&offramp_peer, &zero) ||
		length > settings->mtu + ETHERNET_ROOM)
		return take(ctx);
	return send_on(ctx, length);
}

char _license[] SEC("license") = "GPL";
