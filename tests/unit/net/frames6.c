// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// IPv6 frames built byte by byte, without the structures and sums of the code under
// test.

#include "frames6.h"

#include <rte_mbuf.h>

#include <arpa/inet.h>
#include <string.h>

static void put_address(uint8_t *p, const char *text)
{
	assert_int_equal(inet_pton(AF_INET6, text, p), 1);
}

size_t build_ipv6(
	uint8_t *packet, const struct packet6_spec *spec, const void *payload, size_t length)
{
	put32(packet, 0x60000000u | (uint32_t)spec->traffic_class << 20);
	put16(packet + 4, (unsigned)length);
	packet[6] = spec->protocol;
	packet[7] = spec->hop_limit != 0 ? spec->hop_limit : 64;
	put_address(packet + 8, spec->source != NULL ? spec->source : PEER6);
	put_address(packet + 24, spec->destination != NULL ? spec->destination : US6);
	memcpy(packet + IPV6_LEN, payload, length);
	return IPV6_LEN + length;
}

uint16_t naive_checksum6(const uint8_t *ip, uint8_t protocol, const uint8_t *l4, size_t length)
{
	uint32_t sum = protocol + (uint32_t)length;

	for (unsigned i = 8; i < 40; i += 2)
		sum += get16(ip + i);
	return naive_checksum(l4, length, sum);
}

size_t build_tcp6(uint8_t *packet, const struct packet6_spec *spec, const void *extensions,
	size_t extensions_length, const void *payload, size_t length)
{
	uint8_t rest[2048] = {0}, *segment = rest + extensions_length;
	struct packet6_spec tcp = *spec;
	size_t total;

	if (extensions_length == 0)
		tcp.protocol = PROTO_TCP;
	else
		memcpy(rest, extensions, extensions_length);
	put16(segment, 40000);
	put16(segment + 2, 1883);
	put32(segment + 4, 0x01020304);
	segment[12] = 5 << 4;
	segment[13] = 0x18;
	put16(segment + 14, 0xffff);
	memcpy(segment + TCP_LEN, payload, length);
	total = build_ipv6(packet, &tcp, rest, extensions_length + TCP_LEN + length);
	segment = packet + IPV6_LEN + extensions_length;
	put16(segment + 16, naive_checksum6(packet, PROTO_TCP, segment, TCP_LEN + length));
	return total;
}

size_t build_icmp6(uint8_t *packet, const struct packet6_spec *spec, uint8_t type, uint8_t code,
	uint32_t rest, const void *payload, size_t length)
{
	struct packet6_spec icmp_spec = *spec;
	uint8_t icmp[8192] = {type, code};
	size_t total;

	icmp_spec.protocol = PROTO_ICMP6;
	put32(icmp + 4, rest);
	memcpy(icmp + 8, payload, length);
	total = build_ipv6(packet, &icmp_spec, icmp, 8 + length);
	put16(packet + IPV6_LEN + 2,
		naive_checksum6(packet, PROTO_ICMP6, packet + IPV6_LEN, 8 + length));
	return total;
}

size_t build_nd(uint8_t *packet, const char *source, const char *destination, uint8_t type,
	uint32_t flags, const char *target, const uint8_t *mac)
{
	const struct packet6_spec spec = {source, destination, PROTO_ICMP6, 0, 255};
	uint8_t body[24] = {0};

	put_address(body, target);
	if (mac != NULL) {
		body[16] = type == ND_NS ? 1 : 2;
		body[17] = 1;
		memcpy(body + 18, mac, 6);
	}
	return build_icmp6(packet, &spec, type, 0, flags, body, mac != NULL ? 24 : 16);
}

size_t build_fragment6(uint8_t *packet, const struct packet6_spec *spec, uint8_t protocol,
	uint32_t id, unsigned offset, bool more, const void *payload, size_t length)
{
	struct packet6_spec fragment = *spec;
	uint8_t part[2048] = {protocol, 0};

	fragment.protocol = PROTO_FRAGMENT;
	put16(part + 2, offset | more);
	put32(part + 4, id);
	memcpy(part + 8, payload, length);
	return build_ipv6(packet, &fragment, part, 8 + length);
}

void group_mac(const char *group, uint8_t mac[6])
{
	uint8_t address[16];

	put_address(address, group);
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, address + 12, 4);
}

const char *solicited_node(const char *address)
{
	static char text[INET6_ADDRSTRLEN];
	uint8_t a[16], group[16] = {0xff, 2, [11] = 1, [12] = 0xff};

	put_address(a, address);
	memcpy(group + 13, a + 13, 3);
	assert_non_null(inet_ntop(AF_INET6, group, text, sizeof(text)));
	return text;
}

bool receive_ipv6_from(
	struct fixture *f, const uint8_t from[6], const uint8_t *packet, size_t length)
{
	uint8_t frame[2048], to[6] = {0x33, 0x33};
	size_t header;

	memcpy(to + 2, packet + 36, 4);
	header = build_ether(frame, packet[24] == 0xff ? to : mac_us, from, 0x86dd);
	memcpy(frame + header, packet, length);
	return receive(f, &f->eth, frame, header + length);
}

bool receive_ipv6(struct fixture *f, const uint8_t *packet, size_t length)
{
	return receive_ipv6_from(f, mac_peer, packet, length);
}

void receive_ns(struct fixture *f, const char *source, const char *target)
{
	uint8_t packet[128];

	assert_false(receive_ipv6(f, packet,
		build_nd(packet, source, solicited_node(target), ND_NS, 0, target, mac_peer)));
}

void receive_na(struct fixture *f, const char *target, uint32_t flags)
{
	uint8_t packet[128];

	assert_false(receive_ipv6(
		f, packet, build_nd(packet, target, US6, ND_NA, flags, target, mac_peer)));
}

void assert_good_ip6(const uint8_t *ip, size_t length, const char *source, const char *destination)
{
	struct net_address a;

	assert_int_equal(ip[0] >> 4, 6);
	assert_int_equal(get16(ip + 4), length - IPV6_LEN);
	a = ip6_address(source);
	assert_memory_equal(ip + 8, a.bytes, 16);
	a = ip6_address(destination);
	assert_memory_equal(ip + 24, a.bytes, 16);
}

void assert_sent_nd(const struct fixture *f, unsigned i, uint8_t type, const char *source,
	const char *destination, uint32_t flags, const char *target, const uint8_t *mac)
{
	uint8_t frame[2048], to[6], *ip = frame + ETHER_LEN, *icmp = ip + IPV6_LEN;
	size_t length = mac != NULL ? 32 : 24;
	struct net_address a = ip6_address(target);

	assert_int_equal(sent_frame(f, i, frame), ETHER_LEN + IPV6_LEN + length);
	group_mac(destination, to);
	assert_memory_equal(frame, ip[24] == 0xff ? to : mac_peer, 6);
	assert_memory_equal(frame + 6, mac_us, 6);
	assert_int_equal(get16(frame + 12), 0x86dd);
	assert_good_ip6(ip, IPV6_LEN + length, source, destination);
	assert_int_equal(ip[6], PROTO_ICMP6);
	assert_int_equal(ip[7], 255);
	assert_int_equal(naive_checksum6(ip, PROTO_ICMP6, icmp, length), 0);
	assert_int_equal(icmp[0], type);
	assert_int_equal(icmp[1], 0);
	assert_int_equal(get32(icmp + 4), flags);
	assert_memory_equal(icmp + 8, a.bytes, 16);
	if (mac != NULL) {
		assert_int_equal(icmp[24], type == ND_NS ? 1 : 2);
		assert_int_equal(icmp[25], 1);
		assert_memory_equal(icmp + 26, mac, 6);
	}
}

struct net_path open_path6(struct fixture *f, const char *remote)
{
	struct net_address to = ip6_address(remote), from;
	struct net_path path;

	assert_int_equal(net_source_select(f->net, &to, &from), 0);
	assert_int_equal(net_path_open(f->net, &from, &to, &path), 0);
	return path;
}

const char *neighbour6_state(const struct fixture *f, const char *address)
{
	struct net_address a = ip6_address(address);

	return neighbour_state_of(f, &a);
}
