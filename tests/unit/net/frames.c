// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames built byte by byte, without the structures and sums of the code under test.

#include "net_tests.h"

#include <string.h>

void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

uint16_t naive_checksum(const uint8_t *data, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i += 2) {
		sum += (uint32_t)data[i] << 8 | (i + 1 < length ? data[i + 1] : 0);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

uint16_t naive_tcp_checksum(const uint8_t *ip, size_t length)
{
	size_t header = (ip[0] & 15u) * 4;
	uint32_t sum = 6 + (uint32_t)(length - header);

	for (unsigned i = 12; i < 20; i += 2)
		sum += get16(ip + i);
	return naive_checksum(ip + header, length - header, sum);
}

size_t build_ether(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], unsigned type)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	put16(frame + 12, type);
	return ETHER_LEN;
}

size_t build_ipv4(
	uint8_t *packet, const struct packet_spec *spec, const void *payload, size_t length)
{
	size_t header = IPV4_LEN + spec->options;

	memset(packet, 0, header);
	packet[0] = (uint8_t)(0x40 | header / 4);
	packet[1] = spec->tos;
	put16(packet + 2, (unsigned)(header + length));
	put16(packet + 4, spec->id);
	put16(packet + 6, spec->fragment);
	packet[8] = spec->ttl != 0 ? spec->ttl : 64;
	packet[9] = spec->protocol;
	put32(packet + 12, spec->source != 0 ? spec->source : PEER);
	put32(packet + 16, spec->destination != 0 ? spec->destination : US);
	memset(packet + IPV4_LEN, 1, spec->options);
	put16(packet + 10, naive_checksum(packet, header, 0));
	memcpy(packet + header, payload, length);
	return header + length;
}

size_t build_tcp(
	uint8_t *packet, const struct packet_spec *spec, const void *payload, size_t length)
{
	uint8_t segment[2048] = {0};
	struct packet_spec tcp = *spec;
	size_t total, header = IPV4_LEN + spec->options;

	tcp.protocol = 6;
	put16(segment, 40000);
	put16(segment + 2, 1883);
	put32(segment + 4, 0x01020304);
	segment[12] = 5 << 4;
	segment[13] = 0x18;
	put16(segment + 14, 0xffff);
	memcpy(segment + TCP_LEN, payload, length);
	total = build_ipv4(packet, &tcp, segment, TCP_LEN + length);
	put16(packet + header + 16, naive_tcp_checksum(packet, total));
	return total;
}

size_t build_icmp(uint8_t *icmp, uint8_t type, uint8_t code, uint32_t rest, const void *payload,
	size_t length)
{
	icmp[0] = type;
	icmp[1] = code;
	put16(icmp + 2, 0);
	put32(icmp + 4, rest);
	memcpy(icmp + 8, payload, length);
	put16(icmp + 2, naive_checksum(icmp, 8 + length, 0));
	return 8 + length;
}

size_t build_arp(uint8_t *frame, unsigned opcode, const uint8_t sender_mac[6], uint32_t sender,
	uint32_t target)
{
	memset(frame, 0, 60);
	build_ether(frame, opcode == 1 ? mac_all : mac_us, sender_mac, 0x0806);
	put16(frame + 14, 1);
	put16(frame + 16, 0x0800);
	put16(frame + 18, 0x0604);
	put16(frame + 20, opcode);
	memcpy(frame + 22, sender_mac, 6);
	put32(frame + 28, sender);
	put32(frame + 38, target);
	return 60; // as a driver hands it up: padded
}
