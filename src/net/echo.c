// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Echo requests of programs (ping), of any size that can come back. One to an address of ours
// never leaves: it is answered here; nor does the error about one whose next hop is silent,
// which is as if we had sent it to ourselves, like Linux does. RFC 792, RFC 4443 4; RFC 1122
// 3.2.2.6, 3.3.1.4. Worker's thread.

#include "net/echo.h"

#include "net/checksum.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/local.h"
#include "net/route.h"

#include <rte_icmp.h>

#include <errno.h>

// --- what is ours --------------------------------------------------------------------------------

static bool ours_ipv4(const struct net *net, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);

	return ip->next_proto_id == IPPROTO_ICMP && ipv4_offset(ip) == 0 &&
	       ip->ihl >= RTE_IPV4_MIN_IHL &&
	       m->data_len >= rte_ipv4_hdr_len(ip) + sizeof(struct rte_icmp_hdr) &&
	       *rte_pktmbuf_mtod_offset(m, const uint8_t *, rte_ipv4_hdr_len(ip)) ==
		       RTE_IP_ICMP_ECHO_REQUEST &&
	       local_find(net, NULL, ip->src_addr) != NULL;
}

static bool ours_ipv6(const struct net *net, const struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(m);
	uint32_t offset = sizeof(*ip);
	uint8_t protocol = ip->proto;
	struct net_address source;

	if (m->data_len < offset + sizeof(struct rte_icmp_hdr))
		return false;
	if (protocol == IPPROTO_FRAGMENT) {
		const struct rte_ipv6_fragment_ext *fragment =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_fragment_ext *, offset);

		if (fragment->frag_data & rte_cpu_to_be_16(RTE_IPV6_EHDR_FO_MASK))
			return false;
		protocol = fragment->next_header;
		offset += (uint32_t)sizeof(*fragment);
	}
	source = ipv6_address(ip->src_addr);
	return protocol == IPPROTO_ICMPV6 && m->data_len >= offset + sizeof(struct rte_icmp_hdr) &&
	       *rte_pktmbuf_mtod_offset(m, const uint8_t *, offset) == ICMP6_TYPE_ECHO_REQUEST &&
	       local6_find(net, NULL, &source) != NULL;
}

bool echo_is_ours(const struct net *net, const struct rte_mbuf *m)
{
	if (m->data_len < sizeof(struct rte_ipv4_hdr))
		return false;
	switch (ipv4_header(m)->version) {
	case IPVERSION:
		return ours_ipv4(net, m);
	case 6:
		return m->data_len >= sizeof(struct rte_ipv6_hdr) && ours_ipv6(net, m);
	default:
		return false;
	}
}

// --- back to who asked ---------------------------------------------------------------------------

void echo_return(struct net *net, struct rte_mbuf *m, uint16_t header)
{
	rte_pktmbuf_prepend(m, header);
	m->l3_len = header;
	counter_inc(&net->counters.icmp_pings[NET_RECEIVED]);
	net->config.echo(net->config.echo_ctx, m);
}

// Puts the header in front of m, an ICMP message from us to us.
static void loop_back(struct net *net, struct rte_mbuf *m, const struct net_address *from,
	const struct net_address *to)
{
	uint16_t length = (uint16_t)m->pkt_len;

	m->l2_len = 0;
	if (net_address_is_ipv4(to)) {
		struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		*ip = (struct rte_ipv4_hdr){
			.version_ihl = RTE_IPV4_VHL_DEF,
			.total_length = rte_cpu_to_be_16((uint16_t)(length + sizeof(*ip))),
			.time_to_live = IP_TTL_DEFAULT,
			.next_proto_id = IPPROTO_ICMP,
			.src_addr = net_address_to_ipv4(from),
			.dst_addr = net_address_to_ipv4(to),
		};
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		rte_pktmbuf_adj(m, sizeof(*ip));
		echo_return(net, m, sizeof(*ip));
	} else {
		struct rte_ipv6_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		*ip = (struct rte_ipv6_hdr){
			.vtc_flow = rte_cpu_to_be_32(6u << 28),
			.payload_len = rte_cpu_to_be_16(length),
			.proto = IPPROTO_ICMPV6,
			.hop_limits = IP_TTL_DEFAULT,
		};
		memcpy(ip->src_addr, from->bytes, sizeof(ip->src_addr));
		memcpy(ip->dst_addr, to->bytes, sizeof(ip->dst_addr));
		rte_pktmbuf_adj(m, sizeof(*ip));
		echo_return(net, m, sizeof(*ip));
	}
}

void echo_undelivered(struct net *net, const struct rte_mbuf *about)
{
	bool ipv6 = ipv4_header(about)->version == 6;
	const struct icmp_error error = {
		.type = ipv6 ? ICMP6_TYPE_UNREACHABLE : ICMP_TYPE_UNREACHABLE,
		.code = ipv6 ? ICMP6_CODE_ADDRESS_UNREACHABLE : ICMP_CODE_HOST_UNREACHABLE,
	};
	struct net_address local;
	const struct net_local *own;
	struct rte_mbuf *m;

	if (net->config.echo == NULL || !echo_is_ours(net, about))
		return;
	local = ipv6 ? ipv6_address(ipv6_header(about)->src_addr)
		     : net_address_from_ipv4(ipv4_header(about)->src_addr);
	own = ipv6 ? local6_find(net, NULL, &local)
		   : local_find(net, NULL, net_address_to_ipv4(&local));
	m = icmp_error_build(own->netif, &local, &local, about, &error);
	if (m == NULL)
		net_drop_count(net, NET_DROP_NO_MBUF);
	else
		loop_back(net, m, &local, &local);
}

// --- requests ------------------------------------------------------------------------------------

int net_way_find(const struct net *net, const struct net_address *remote, struct net_way *ret_way)
{
	const struct net_address none = {0};
	bool ipv6 = !net_address_is_ipv4(remote);
	uint32_t headers = ipv6 ? sizeof(struct rte_ipv6_hdr) + sizeof(struct rte_ipv6_fragment_ext)
				: sizeof(struct rte_ipv4_hdr);
	const struct net_local *own = ipv6 ? local6_find(net, NULL, remote)
					   : local_find(net, NULL, net_address_to_ipv4(remote));
	const struct net_route *route = own != NULL ? NULL : route_find(net, remote, &none);
	uint16_t mtu;

	// A link-local address is somebody else's on each link (RFC 4007).
	if ((own == NULL && route == NULL) || net_address_is_link_local(remote))
		return -EHOSTUNREACH;
	if (!local_usable(net, own != NULL ? remote : &route->source))
		return -EADDRNOTAVAIL;
	mtu = own != NULL ? own->netif->mtu : route->netif->mtu;
	*ret_way = (struct net_way){
		.local = own != NULL ? *remote : route->source,
		.own = own != NULL,
		.general = route != NULL && route->prefix_len == 0,
		.mtu = mtu,
		.echo_max =
			((mtu - headers) & ~(IP_FRAGMENT_UNIT - 1)) * RTE_LIBRTE_IP_FRAG_MAX_FRAG,
	};
	return 0;
}

// A chain with room for the headers in front.
static struct rte_mbuf *message_copy(
	struct rte_mempool *pool, const uint8_t *message, uint32_t length)
{
	struct rte_mbuf *first = NULL;
	uint32_t done = 0;

	while (done < length) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t n;

		if (m == NULL)
			goto err;
		m->data_off = RTE_MAX(m->data_off, (uint16_t)NET_HEADROOM);
		n = RTE_MIN(length - done, (uint32_t)rte_pktmbuf_tailroom(m));
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), message + done, n);
		done += n;
		if (first == NULL)
			first = m;
		else if (rte_pktmbuf_chain(first, m) < 0) {
			rte_pktmbuf_free(m);
			goto err;
		}
	}
	first->l4_len = sizeof(struct rte_icmp_hdr);
	return first;
err:
	rte_pktmbuf_free(first);
	return NULL;
}

static void message_sum(struct rte_mbuf *m, const struct net_echo *echo, bool ipv6)
{
	struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	uint16_t sum = 0;

	if (ipv6)
		sum = net_checksum_pseudo(&echo->local, &echo->remote, IPPROTO_ICMPV6, m->pkt_len);
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = (uint16_t)~net_checksum_chain(m, 0, m->pkt_len, sum);
}

static int answer_own(
	struct net *net, const struct net_echo *echo, const void *message, uint32_t length)
{
	bool ipv6 = !net_address_is_ipv4(&echo->remote);
	const struct net_local *own =
		ipv6 ? local6_find(net, NULL, &echo->remote)
		     : local_find(net, NULL, net_address_to_ipv4(&echo->remote));
	struct rte_mbuf *m = message_copy(own->netif->tx_pool, message, length);

	if (m == NULL)
		return -ENOBUFS;
	rte_pktmbuf_mtod(m, struct rte_icmp_hdr *)->icmp_type =
		ipv6 ? ICMP6_TYPE_ECHO_REPLY : RTE_IP_ICMP_ECHO_REPLY;
	message_sum(m, echo, ipv6);
	loop_back(net, m, &echo->remote, &echo->local);
	return 0;
}

int net_echo_send(struct net *net, const struct net_echo *echo, const void *message,
	uint32_t length, uint64_t now_us)
{
	bool ipv6 = !net_address_is_ipv4(&echo->remote);
	struct net_path path;
	struct rte_mbuf *m;
	int rc;

	net->now_us = now_us;
	if (net_address_is_local(net, &echo->remote)) {
		counter_inc(&net->counters.icmp_pings[NET_SENT]);
		return answer_own(net, echo, message, length);
	}
	rc = net_path_open(net, &echo->local, &echo->remote, &path);
	if (rc < 0)
		return rc;
	m = message_copy(path.netif->tx_pool, message, length);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		net_path_close(&path);
		return -ENOBUFS;
	}
	message_sum(m, echo, ipv6);
	path.df = echo->whole;
	path.tos = echo->tos;
	if (echo->hops != 0)
		path.ttl = echo->hops;
	counter_inc(&net->counters.icmp_pings[NET_SENT]);
	net_path_send(&path, m, ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 0, now_us);
	net_path_close(&path);
	return 0;
}
