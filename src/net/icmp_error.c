// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP errors of our own: RFC 792, when not to send one: RFC 1122 3.2.2, how much
// of the packet to quote and how often: RFC 1812 4.3.2.3 and 4.3.2.8; all of that for
// ICMPv6: RFC 4443 2.4. One rate limit for both families. Worker's thread.

#include "net/icmp.h"

#include "base/clock.h"
#include "net/checksum.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/local.h"

#include <rte_icmp.h>

#include <errno.h>

// The whole error is no longer than what every host must take.
#define QUOTE_MAX_IPV4 (576 - sizeof(struct rte_ipv4_hdr) - sizeof(struct rte_icmp_hdr))
#define QUOTE_MAX_IPV6 (IPV6_MTU_MIN - sizeof(struct rte_ipv6_hdr) - sizeof(struct rte_icmp_hdr))

static bool error_rate_allows(struct net *net)
{
	return net_rate_take(&net->icmp_rate, net->config.icmp_errors_per_s, net->now_us);
}

static bool icmp_type_is_query(uint8_t type)
{
	return type == RTE_IP_ICMP_ECHO_REQUEST || type == RTE_IP_ICMP_ECHO_REPLY ||
	       (type >= 13 && type <= 18); // timestamp, information, address mask
}

// Broadcasts and strange sources never come here: ipv4_input() has dropped them.
static bool error_allowed_ipv4(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);
	const struct rte_icmp_hdr *icmp =
		rte_pktmbuf_mtod_offset(m, const struct rte_icmp_hdr *, m->l3_len);

	if (ipv4_offset(ip) != 0)
		return false;
	if (ip->next_proto_id != IPPROTO_ICMP)
		return true;
	return m->data_len >= m->l3_len + sizeof(*icmp) && icmp_type_is_query(icmp->icmp_type);
}

// Where the chain of headers ends: the protocol, and its offset. What is cut short is no end.
static uint8_t ipv6_upper_find(const struct rte_mbuf *m, uint32_t *ret_offset)
{
	uint8_t protocol = ipv6_header(m)->proto;
	uint32_t offset = sizeof(struct rte_ipv6_hdr);

	while (protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS ||
		protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT) {
		const uint8_t *header = rte_pktmbuf_mtod_offset(m, const uint8_t *, offset);

		if (m->data_len < offset + 8)
			break;
		offset += protocol == IPPROTO_FRAGMENT ? 8 : (1u + header[1]) * 8;
		protocol = header[0];
	}
	*ret_offset = offset;
	return protocol;
}

// Is the packet an ICMPv6 error or a redirect?
static bool ipv6_is_error(const struct rte_mbuf *m)
{
	uint32_t offset;
	const uint8_t *type;

	if (ipv6_upper_find(m, &offset) != IPPROTO_ICMPV6)
		return false;
	type = rte_pktmbuf_mtod_offset(m, const uint8_t *, offset);
	return m->data_len <= offset || *type < ICMP6_TYPE_ECHO_REQUEST ||
	       *type == ICMP6_TYPE_REDIRECT;
}

static bool error_allowed_ipv6(const struct rte_mbuf *m, bool to_group)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(m);
	struct net_address source = ipv6_address(ip->src_addr);
	struct net_address destination = ipv6_address(ip->dst_addr);

	if (ipv6_is_unspecified(&source) || ipv6_is_multicast(&source))
		return false;
	if (ipv6_is_multicast(&destination) && !to_group)
		return false;
	return !ipv6_is_error(m);
}

struct rte_mbuf *icmp_error_build(struct net_if *netif, const struct net_address *local,
	const struct net_address *remote, const struct rte_mbuf *about,
	const struct icmp_error *error)
{
	bool ipv6 = !net_address_is_ipv4(remote);
	uint32_t most = ipv6 ? QUOTE_MAX_IPV6 : QUOTE_MAX_IPV4;
	uint32_t quote = RTE_MIN(about->pkt_len, most);
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);
	struct rte_icmp_hdr *icmp;
	const void *data;
	uint16_t sum = 0;

	if (m == NULL)
		return NULL;
	m->data_off = RTE_MAX(m->data_off, (uint16_t)NET_HEADROOM);
	icmp = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*icmp) + quote));
	if (icmp == NULL) { // a pool of tiny buffers
		rte_pktmbuf_free(m);
		return NULL;
	}
	*icmp = (struct rte_icmp_hdr){
		.icmp_type = error->type,
		.icmp_code = error->code,
		.icmp_ident = rte_cpu_to_be_16((uint16_t)(error->pointer >> 16)),
		.icmp_seq_nb = rte_cpu_to_be_16((uint16_t)error->pointer),
	};
	data = rte_pktmbuf_read(about, 0, quote, icmp + 1);
	if (data != icmp + 1)
		memcpy(icmp + 1, data, quote);
	if (ipv6)
		sum = net_checksum_pseudo(local, remote, IPPROTO_ICMPV6, m->data_len);
	icmp->icmp_cksum = (uint16_t)~net_checksum_chain(m, 0, m->data_len, sum);
	m->l4_len = sizeof(*icmp);
	return m;
}

// A path back to the source, from the address the packet was for; from one that suits if that was a
// group (RFC 4443 2.2 b).
static int error_path(struct net *net, struct net_if *netif, const struct rte_mbuf *m, bool ipv6,
	struct net_path *ret_path)
{
	struct net_address local, remote;

	if (!ipv6) {
		local = net_address_from_ipv4(ipv4_header(m)->dst_addr);
		remote = net_address_from_ipv4(ipv4_header(m)->src_addr);
		return net_path_open(net, &local, &remote, ret_path);
	}
	local = ipv6_address(ipv6_header(m)->dst_addr);
	remote = ipv6_address(ipv6_header(m)->src_addr);
	if (ipv6_is_multicast(&local)) {
		const struct net_local *own = local6_towards(net, netif, &remote);

		if (own == NULL)
			return -EHOSTUNREACH;
		local = own->address;
	}
	return net_path_open(net, &local, &remote, ret_path);
}

void icmp_error_send(struct net *net, struct net_if *netif, const struct rte_mbuf *about,
	const struct icmp_error *error)
{
	bool ipv6 = ipv4_header(about)->version == 6;
	struct net_path path;
	struct rte_mbuf *m;

	if (!(ipv6 ? error_allowed_ipv6(about, error->to_group) : error_allowed_ipv4(about))) {
		net_drop_count(net, NET_DROP_ICMP_FORBIDDEN);
		return;
	}
	if (!error_rate_allows(net)) {
		net_drop_count(net, NET_DROP_ICMP_RATE);
		return;
	}
	if (error_path(net, netif, about, ipv6, &path) != 0) {
		net_drop_count(net, NET_DROP_NO_ROUTE);
		return;
	}
	m = icmp_error_build(path.netif, &path.local, &path.remote, about, error);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
	} else {
		path.df = false;
		counter_inc(&net->counters.icmp_errors[NET_SENT]);
		net_path_send(&path, m, ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 0, net->now_us);
	}
	net_path_close(&path);
}

void net_unreachable(
	struct net *net, struct rte_mbuf *m, struct net_if *netif, uint8_t code, uint64_t now_us)
{
	struct icmp_error error = {.type = ICMP_TYPE_UNREACHABLE, .code = code};

	net->now_us = now_us;
	if (ipv4_header(m)->version == 6)
		error.type = ICMP6_TYPE_UNREACHABLE;
	icmp_error_send(net, netif, m, &error);
	rte_pktmbuf_free(m);
}
