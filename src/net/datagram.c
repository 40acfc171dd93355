// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Datagrams of programs: echo requests (ping) of any size that can come back, and UDP. One to an
// address of ours never leaves: an echo request is answered here, UDP comes back up; nor does the
// error about one whose next hop is silent, which is as if we had sent it to ourselves, like Linux
// does. RFC 768, RFC 792, RFC 4443 4; RFC 1122 3.2.2.6, 3.3.1.4. Worker's thread.

#include "net/datagram.h"

#include "net/checksum.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/local.h"
#include "net/route.h"

#include <rte_icmp.h>
#include <rte_udp.h>

#include <errno.h>

// --- back to who asked ---------------------------------------------------------------------------

// Puts the header in front of m, what is behind it in a packet from us to us, and brings it up.
static void loop_back(struct net *net, struct rte_mbuf *m, const struct net_datagram *datagram)
{
	uint8_t hops = datagram->hops != 0 ? datagram->hops : IP_TTL_DEFAULT;
	const struct net_address *to = &datagram->remote, *from = &datagram->local;
	bool ipv6 = !net_address_is_ipv4(to);
	const struct net_local *own =
		ipv6 ? local6_find(net, NULL, to) : local_find(net, NULL, net_address_to_ipv4(to));
	uint16_t length = (uint16_t)m->pkt_len;
	struct net_delivery delivery = {
		.kind = NET_DELIVERY_UDP, .source = *from, .destination = *to, .m = m, .ttl = hops};

	m->l2_len = 0;
	if (!ipv6) {
		struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		*ip = (struct rte_ipv4_hdr){
			.version_ihl = RTE_IPV4_VHL_DEF,
			.type_of_service = datagram->tos,
			.total_length = rte_cpu_to_be_16((uint16_t)(length + sizeof(*ip))),
			.time_to_live = hops,
			.next_proto_id = datagram->protocol,
			.src_addr = net_address_to_ipv4(from),
			.dst_addr = net_address_to_ipv4(to),
		};
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		m->l3_len = sizeof(*ip);
	} else {
		struct rte_ipv6_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

		*ip = (struct rte_ipv6_hdr){
			.vtc_flow = rte_cpu_to_be_32(
				6u << 28 | (uint32_t)datagram->tos << RTE_IPV6_HDR_TC_SHIFT),
			.payload_len = rte_cpu_to_be_16(length),
			.proto = datagram->protocol,
			.hop_limits = hops,
		};
		memcpy(ip->src_addr, from->bytes, sizeof(ip->src_addr));
		memcpy(ip->dst_addr, to->bytes, sizeof(ip->dst_addr));
		m->l3_len = sizeof(*ip);
	}
	delivery.netif = own->netif;
	if (datagram->protocol == IPPROTO_UDP) {
		counter_inc(&net->counters.udp_datagrams[NET_RECEIVED]);
		net->config.datagram(net->config.datagram_ctx, &delivery);
	} else {
		uint16_t header = (uint16_t)m->l3_len;

		rte_pktmbuf_adj(m, header);
		datagram_return(net, own->netif, m, header);
	}
}

// An error about a datagram of ours that we would have sent to ourselves.
static void loop_error(struct net *net, const struct rte_mbuf *about,
	const struct net_address *from, const struct net_address *to,
	const struct icmp_error *error)
{
	bool ipv6 = !net_address_is_ipv4(to);
	const struct net_local *own =
		ipv6 ? local6_find(net, NULL, to) : local_find(net, NULL, net_address_to_ipv4(to));
	struct rte_mbuf *m = icmp_error_build(own->netif, from, to, about, error);

	if (m == NULL)
		net_drop_count(net, NET_DROP_NO_MBUF);
	else
		loop_back(net, m,
			&(struct net_datagram){
				.local = *from,
				.remote = *to,
				.protocol = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
			});
}

void datagram_undelivered(struct net *net, const struct rte_mbuf *about)
{
	bool ipv6 = ipv4_header(about)->version == 6;
	const struct icmp_error error = {
		.type = ipv6 ? ICMP6_TYPE_UNREACHABLE : ICMP_TYPE_UNREACHABLE,
		.code = ipv6 ? ICMP6_CODE_ADDRESS_UNREACHABLE : ICMP_CODE_HOST_UNREACHABLE,
	};
	struct net_address local;

	if (net->config.datagram == NULL || !datagram_is_ours(net, about))
		return;
	local = ipv6 ? ipv6_address(ipv6_header(about)->src_addr)
		     : net_address_from_ipv4(ipv4_header(about)->src_addr);
	loop_error(net, about, &local, &local, &error);
}

void net_datagram_refuse(struct net *net, const struct net_delivery *delivery, uint64_t now_us)
{
	bool ipv6 = !net_address_is_ipv4(&delivery->source);
	const struct icmp_error error = {
		.type = ipv6 ? ICMP6_TYPE_UNREACHABLE : ICMP_TYPE_UNREACHABLE,
		.code = ipv6 ? ICMP6_CODE_PORT_UNREACHABLE : ICMP_CODE_PORT_UNREACHABLE,
	};

	net->now_us = now_us;
	if (net_address_is_local(net, &delivery->source))
		loop_error(net, delivery->m, &delivery->destination, &delivery->source, &error);
	else
		icmp_error_send(net, delivery->netif, delivery->m, &error);
	net_drop(net, delivery->m, NET_DROP_UDP);
}

// --- out -----------------------------------------------------------------------------------------

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
	if (own == NULL && !local_usable(net, &route->source))
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
	first->l4_len = sizeof(struct rte_udp_hdr); // an echo request's is as long
	return first;
err:
	rte_pktmbuf_free(first);
	return NULL;
}

// UDP's sum is never 0, which means that there is none (RFC 768).
static void message_sum(struct rte_mbuf *m, const struct net_datagram *datagram)
{
	bool udp = datagram->protocol == IPPROTO_UDP;
	uint8_t *field = rte_pktmbuf_mtod_offset(m, uint8_t *,
		udp ? offsetof(struct rte_udp_hdr, dgram_cksum)
		    : offsetof(struct rte_icmp_hdr, icmp_cksum));
	uint16_t sum = 0;

	memcpy(field, &sum, sizeof(sum));
	if (datagram->protocol != IPPROTO_ICMP)
		sum = net_checksum_pseudo(
			&datagram->local, &datagram->remote, datagram->protocol, m->pkt_len);
	sum = (uint16_t)~net_checksum_chain(m, 0, m->pkt_len, sum);
	if (udp && sum == 0)
		sum = UINT16_MAX;
	memcpy(field, &sum, sizeof(sum));
}

static void count_sent(struct net *net, const struct net_datagram *datagram)
{
	if (datagram->protocol == IPPROTO_UDP)
		counter_inc(&net->counters.udp_datagrams[NET_SENT]);
	else
		counter_inc(&net->counters.icmp_pings[NET_SENT]);
}

// To an address of ours: an echo request is answered, UDP goes on to whoever has the port.
static int send_to_self(
	struct net *net, const struct net_datagram *datagram, const void *message, uint32_t length)
{
	bool ipv6 = !net_address_is_ipv4(&datagram->remote);
	const struct net_local *own =
		ipv6 ? local6_find(net, NULL, &datagram->remote)
		     : local_find(net, NULL, net_address_to_ipv4(&datagram->remote));
	struct net_datagram back = *datagram;
	struct rte_mbuf *m = message_copy(own->netif->tx_pool, message, length);

	if (m == NULL)
		return -ENOBUFS;
	count_sent(net, datagram);
	if (datagram->protocol != IPPROTO_UDP) {
		rte_pktmbuf_mtod(m, struct rte_icmp_hdr *)->icmp_type =
			ipv6 ? ICMP6_TYPE_ECHO_REPLY : RTE_IP_ICMP_ECHO_REPLY;
		back = (struct net_datagram){
			.local = datagram->remote,
			.remote = datagram->local,
			.protocol = datagram->protocol,
		};
	}
	message_sum(m, &back);
	loop_back(net, m, &back);
	return 0;
}

int net_datagram_send(struct net *net, const struct net_datagram *datagram, const void *message,
	uint32_t length, uint64_t now_us)
{
	struct net_path path;
	struct rte_mbuf *m;
	int rc;

	net->now_us = now_us;
	if (net_address_is_local(net, &datagram->remote))
		return send_to_self(net, datagram, message, length);
	rc = net_path_open(net, &datagram->local, &datagram->remote, &path);
	if (rc < 0)
		return rc;
	m = message_copy(path.netif->tx_pool, message, length);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		net_path_close(&path);
		return -ENOBUFS;
	}
	message_sum(m, datagram);
	path.df = datagram->whole;
	path.tos = datagram->tos & RTE_IPV4_HDR_DSCP_MASK;
	if (datagram->hops != 0)
		path.ttl = datagram->hops;
	if (datagram->mtu >= (path.ipv6 ? IPV6_MTU_MIN : NET_DATAGRAM_MTU_MIN) &&
		datagram->mtu < path.mtu)
		path.mtu = datagram->mtu;
	count_sent(net, datagram);
	net_path_send(&path, m, datagram->protocol, datagram->tos & RTE_IPV4_HDR_ECN_MASK, now_us);
	net_path_close(&path);
	return 0;
}
