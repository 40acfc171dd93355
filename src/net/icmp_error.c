// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP errors of our own: RFC 792, when not to send one: RFC 1122 3.2.2, how much
// of the packet to quote and how often: RFC 1812 4.3.2.3 and 4.3.2.8. Worker's thread.

#include "net/icmp.h"

#include "base/clock.h"
#include "net/checksum.h"
#include "net/state.h"

#include <rte_icmp.h>

// The whole error is no longer than what every host must take.
#define ERROR_LENGTH_MAX 576
#define QUOTE_MAX	 (ERROR_LENGTH_MAX - sizeof(struct rte_ipv4_hdr) - sizeof(struct rte_icmp_hdr))

// One error costs a second's worth of microseconds; `rate` microseconds are earned in one, and at
// most a second's earnings are kept.
static bool error_rate_allows(struct net *net)
{
	uint64_t rate = net->config.icmp_errors_per_s;
	uint64_t elapsed_us = RTE_MIN(net->now_us - net->icmp_refilled_us, US_IN_S);

	net->icmp_refilled_us = net->now_us;
	net->icmp_credit = RTE_MIN(net->icmp_credit + elapsed_us * rate, rate * US_IN_S);
	if (net->icmp_credit < US_IN_S)
		return false;
	net->icmp_credit -= US_IN_S;
	return true;
}

static bool icmp_type_is_query(uint8_t type)
{
	return type == RTE_IP_ICMP_ECHO_REQUEST || type == RTE_IP_ICMP_ECHO_REPLY ||
	       (type >= 13 && type <= 18); // timestamp, information, address mask
}

// Broadcasts and strange sources never come here: ipv4_input() has dropped them.
static bool error_allowed(const struct rte_mbuf *m)
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

static struct rte_mbuf *error_build(
	struct net_if *netif, const struct rte_mbuf *about, uint8_t type, uint8_t code)
{
	uint32_t quote = RTE_MIN(about->pkt_len, (uint32_t)QUOTE_MAX);
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);
	struct rte_icmp_hdr *icmp;
	const void *data;

	if (m == NULL)
		return NULL;
	m->data_off = RTE_MAX(m->data_off, (uint16_t)NET_HEADROOM);
	icmp = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*icmp) + quote));
	if (icmp == NULL) { // a pool of tiny buffers
		rte_pktmbuf_free(m);
		return NULL;
	}
	*icmp = (struct rte_icmp_hdr){.icmp_type = type, .icmp_code = code};
	data = rte_pktmbuf_read(about, 0, quote, icmp + 1);
	if (data != icmp + 1)
		memcpy(icmp + 1, data, quote);
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, m->data_len);
	m->l4_len = sizeof(*icmp);
	return m;
}

void icmp_error_send(
	struct net *net, struct net_if *netif, const struct rte_mbuf *m, uint8_t type, uint8_t code)
{
	struct net_address local = net_address_from_ipv4(ipv4_header(m)->dst_addr);
	struct net_address remote = net_address_from_ipv4(ipv4_header(m)->src_addr);
	struct net_path path;
	struct rte_mbuf *error;

	if (!error_allowed(m)) {
		net_drop_count(net, NET_DROP_ICMP_FORBIDDEN);
		return;
	}
	if (!error_rate_allows(net)) {
		net_drop_count(net, NET_DROP_ICMP_RATE);
		return;
	}
	if (net_path_open(net, &local, &remote, &path) != 0) {
		net_drop_count(net, NET_DROP_NO_ROUTE);
		return;
	}
	error = error_build(netif, m, type, code);
	if (error == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
	} else {
		path.df = false;
		counter_inc(&net->counters.icmp_errors[NET_SENT]);
		net_path_send(&path, error, IPPROTO_ICMP, 0, net->now_us);
	}
	net_path_close(&path);
}

void net_unreachable(
	struct net *net, struct rte_mbuf *m, struct net_if *netif, uint8_t code, uint64_t now_us)
{
	net->now_us = now_us;
	icmp_error_send(net, netif, m, ICMP_TYPE_UNREACHABLE, code);
	rte_pktmbuf_free(m);
}
