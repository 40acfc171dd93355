// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Extension headers of received IPv6: RFC 8200 4.1 to 4.6, RFC 5095 (no source
// routes). We use none of them, so each is skipped or drops the packet. Worker's
// thread.

#include "net/icmp.h"
#include "net/ipv6.h"

#define EXTENSION_UNIT 8
#define OPTION_PAD1    0

// Every extension header that is skipped begins so.
struct extension {
	uint8_t next_header;
	uint8_t units; // behind the first
	uint8_t data[EXTENSION_UNIT - 2];
};

static void parameter_problem(
	struct net *net, const struct ip_packet *packet, uint8_t code, uint32_t pointer)
{
	const struct icmp_error error = {
		.type = ICMP6_TYPE_PARAMETER_PROBLEM,
		.code = code,
		.pointer = pointer,
	};

	icmp_error_send(net, packet->netif, packet->m, &error);
}

// An option that we do not know says in its two upper bits what to do with the packet (RFC 8200
// 4.2). Those that we may meet (PadN, router alert) say: skip.
static enum net_drop option_check(
	struct net *net, const struct ip_packet *packet, uint8_t type, uint32_t at)
{
	struct icmp_error error = {
		.type = ICMP6_TYPE_PARAMETER_PROBLEM,
		.code = ICMP6_CODE_BAD_OPTION,
		.pointer = at,
	};

	switch (type >> 6) {
	case 0:
		return NET_DROPS;
	case 1:
		return NET_DROP_IPV6_OPTION;
	case 2:
		error.to_group = true;
		break;
	default:
		break;
	}
	icmp_error_send(net, packet->netif, packet->m, &error);
	return NET_DROP_IPV6_OPTION;
}

// `from` and `end` count from the IP header on.
static enum net_drop options_check(
	struct net *net, const struct ip_packet *packet, uint32_t from, uint32_t end)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(packet->m, const uint8_t *);
	uint32_t at = from;

	while (at < end) {
		enum net_drop wrong;

		if (bytes[at] == OPTION_PAD1) {
			at++;
			continue;
		}
		if (at + 2 > end || at + 2 + bytes[at + 1] > end)
			return NET_DROP_IPV6_EXTENSION;
		wrong = option_check(net, packet, bytes[at], at);
		if (wrong != NET_DROPS)
			return wrong;
		at += 2u + bytes[at + 1];
	}
	return NET_DROPS;
}

// Type 0 and whatever else names hosts still to be visited: not through us.
static enum net_drop routing_check(struct net *net, const struct ip_packet *packet,
	const struct extension *routing, uint32_t at)
{
	enum { TYPE, SEGMENTS_LEFT };

	if (routing->data[SEGMENTS_LEFT] == 0)
		return NET_DROPS;
	parameter_problem(net, packet, ICMP6_CODE_BAD_FIELD,
		at + (uint32_t)offsetof(struct extension, data) + TYPE);
	return NET_DROP_IPV6_ROUTING;
}

// Length of the extension header at `offset`; 0 when it is cut short or too much.
static uint32_t extension_length(const struct rte_mbuf *m, uint32_t offset)
{
	const struct extension *e = rte_pktmbuf_mtod_offset(m, const struct extension *, offset);
	uint32_t length;

	if (m->data_len < offset + sizeof(*e))
		return 0;
	length = (1u + e->units) * EXTENSION_UNIT;
	if (m->data_len < offset + length ||
		offset + length > sizeof(struct rte_ipv6_hdr) + IPV6_EXTENSIONS_MAX)
		return 0;
	return length;
}

static enum net_drop extension_check(struct net *net, const struct ip_packet *packet,
	const struct ipv6_chain *chain, uint32_t length)
{
	const struct extension *e =
		rte_pktmbuf_mtod_offset(packet->m, const struct extension *, chain->offset);

	if (chain->protocol == IPPROTO_ROUTING)
		return routing_check(net, packet, e, chain->offset);
	return options_check(net, packet,
		chain->offset + (uint32_t)offsetof(struct extension, data), chain->offset + length);
}

static bool extension_skippable(uint8_t protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_ROUTING;
}

enum net_drop ipv6_extensions_skip(
	struct net *net, const struct ip_packet *packet, struct ipv6_chain *chain)
{
	while (extension_skippable(chain->protocol)) {
		uint32_t length = extension_length(packet->m, chain->offset);
		enum net_drop wrong;

		// Hop-by-hop options stand nowhere but first (RFC 8200 4.1).
		if (chain->protocol == IPPROTO_HOPOPTS &&
			(chain->offset != sizeof(struct rte_ipv6_hdr) || chain->reassembled)) {
			parameter_problem(net, packet, ICMP6_CODE_BAD_NEXT_HEADER, chain->next_at);
			return NET_DROP_IPV6_EXTENSION;
		}
		if (length == 0)
			return NET_DROP_IPV6_EXTENSION;
		wrong = extension_check(net, packet, chain, length);
		if (wrong != NET_DROPS)
			return wrong;
		chain->protocol =
			*rte_pktmbuf_mtod_offset(packet->m, const uint8_t *, chain->offset);
		chain->next_at = chain->offset;
		chain->offset = (uint16_t)(chain->offset + length);
	}
	return NET_DROPS;
}
