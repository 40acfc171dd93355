// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Multicast Listener Discovery, the listener's part: switches that snoop forward
// solicitations only to who has reported the group. Reports at the start and on queries,
// in the querier's version: RFC 3810 (2), RFC 2710 (1). Our groups never change, so one
// report of all of them answers any query. Worker's thread.

#include "net/nd.h"

#include "base/clock.h"
#include "net/checksum.h"
#include "net/ipv6.h"
#include "net/local.h"

#define MLD_LENGTH_V1 24
#define MLD_LENGTH_V2 28 // of a query; at least
#define MLD_HOP_LIMIT 1
// Records that fit with their headers into the smallest MTU.
#define MLD_RECORDS_MAX 60

struct mld_v1 { // query and report
	uint8_t type, code;
	uint16_t checksum;
	uint16_t delay_ms;
	uint16_t reserved;
	uint8_t group[16];
} __rte_packed __rte_aligned(2);
static_assert(sizeof(struct mld_v1) == MLD_LENGTH_V1, "as on the wire");

// Excluding no source: all of the group is wanted.
enum mld_mode {
	MLD_MODE_IS_EXCLUDE = 2,	// answers a query
	MLD_MODE_CHANGE_TO_EXCLUDE = 4, // tells what is new
};

struct mld_record {
	uint8_t mode, auxiliary;
	uint16_t sources;
	uint8_t group[16];
} __rte_packed __rte_aligned(2);
static_assert(sizeof(struct mld_record) == 20, "as on the wire");

struct mld_v2 {
	uint8_t type, reserved;
	uint16_t checksum;
	uint16_t reserved_too;
	uint16_t records;
	struct mld_record record[];
} __rte_packed __rte_aligned(2);
static_assert(sizeof(struct mld_v2) == 8, "as on the wire");

static const struct net_address all_mld_routers = {.bytes = {0xff, 0x02, [15] = 0x16}};
static const struct net_address unspecified;
// Hop-by-hop options: router alert (RFC 2711) and two bytes of padding.
static const uint8_t alert[8] = {IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0};

// --- reports -------------------------------------------------------------------------------------

// All groups of the link, each once; all-nodes is never reported (RFC 3810 6).
static unsigned groups_list(const struct net *net, const struct net_link6 *link, unsigned from,
	struct net_address groups[MLD_RECORDS_MAX], unsigned *ret_next)
{
	unsigned count = 0, i = from;

	for (; i < net->locals6_count && count < MLD_RECORDS_MAX; i++) {
		const struct net_local *local = &net->locals6[i];
		struct net_address group = nd_solicited_node(&local->address);
		bool known = false;

		if (local->netif != link->netif || local->state == NET_LOCAL_DUPLICATE)
			continue;
		for (unsigned k = 0; k < count; k++)
			known |= net_address_equal(&groups[k], &group);
		if (!known)
			groups[count++] = group;
	}
	*ret_next = i;
	return count;
}

// `length` of the message behind the hop-by-hop header; its sum must be 0 still.
static void mld_send(struct net *net, struct net_if *netif, struct rte_mbuf *m,
	const struct nd_frame *frame, uint16_t *checksum)
{
	uint32_t length = frame->length - (uint32_t)sizeof(alert);
	uint16_t sum =
		net_checksum_pseudo(&frame->source, &frame->destination, IPPROTO_ICMPV6, length);

	*checksum = (uint16_t)~net_checksum_chain(m, m->pkt_len - length, length, sum);
	counter_inc(&net->counters.mld_reports);
	netif->tx(netif->ctx, m);
}

static struct rte_mbuf *mld_alloc(struct net *net, const struct net_link6 *link,
	const struct net_address *destination, uint32_t length, struct nd_frame *ret_frame,
	void **ret_message)
{
	bool assigned = link->link_local->state == NET_LOCAL_ASSIGNED;
	struct rte_mbuf *m;
	uint8_t *payload;
	void *start;

	*ret_frame = (struct nd_frame){
		.netif = link->netif,
		.source = assigned ? link->link_local->address : unspecified,
		.destination = *destination,
		.to = nd_group_mac(destination),
		.protocol = IPPROTO_HOPOPTS,
		.hop_limit = MLD_HOP_LIMIT,
		.length = (uint16_t)(sizeof(alert) + length),
	};
	m = nd_frame_alloc(net, ret_frame, &start);
	if (m == NULL)
		return NULL;
	payload = start;
	memcpy(payload, alert, sizeof(alert));
	memset(payload + sizeof(alert), 0, length);
	*ret_message = payload + sizeof(alert);
	return m;
}

static void report_v2(struct net *net, const struct net_link6 *link,
	const struct net_address *groups, unsigned count)
{
	struct mld_v2 *report;
	struct nd_frame frame;
	void *message;
	struct rte_mbuf *m = mld_alloc(net, link, &all_mld_routers,
		(uint32_t)(sizeof(*report) + count * sizeof(report->record[0])), &frame, &message);

	if (m == NULL)
		return;
	report = message;
	report->type = MLD_REPORT_V2;
	report->records = rte_cpu_to_be_16((uint16_t)count);
	for (unsigned i = 0; i < count; i++) {
		report->record[i].mode =
			link->report_asked ? MLD_MODE_IS_EXCLUDE : MLD_MODE_CHANGE_TO_EXCLUDE;
		memcpy(report->record[i].group, groups[i].bytes, sizeof(groups[i].bytes));
	}
	mld_send(net, link->netif, m, &frame, &report->checksum);
}

static void report_v1(
	struct net *net, const struct net_link6 *link, const struct net_address *group)
{
	struct mld_v1 *report;
	struct nd_frame frame;
	void *message;
	struct rte_mbuf *m = mld_alloc(net, link, group, sizeof(*report), &frame, &message);

	if (m == NULL)
		return;
	report = message;
	report->type = MLD_REPORT_V1;
	memcpy(report->group, group->bytes, sizeof(report->group));
	mld_send(net, link->netif, m, &frame, &report->checksum);
}

void mld_report(struct net *net, const struct net_link6 *link)
{
	struct net_address groups[MLD_RECORDS_MAX];
	unsigned next = 0, count;

	while ((count = groups_list(net, link, next, groups, &next)) > 0) {
		if (link->report_type == MLD_REPORT_V2) {
			report_v2(net, link, groups, count);
			continue;
		}
		for (unsigned i = 0; i < count; i++)
			report_v1(net, link, &groups[i]);
	}
}

// --- queries -------------------------------------------------------------------------------------

// RFC 3810 5.1.3: from 32768 ms on it is a mantissa and an exponent.
static uint64_t response_delay_us(const struct mld_v1 *query, bool v2)
{
	uint32_t delay_ms = rte_be_to_cpu_16(query->delay_ms);

	if (v2 && delay_ms >= 32768)
		delay_ms = ((delay_ms & 0xfff) | 0x1000) << ((delay_ms >> 12 & 7) + 3);
	return (uint64_t)delay_ms * US_IN_MS;
}

enum net_drop mld_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv6_hdr *ip)
{
	const struct mld_v1 *query = rte_pktmbuf_mtod(packet->m, const struct mld_v1 *);
	struct net_address source = ipv6_address(ip->src_addr);
	struct net_link6 *link = link6_find(net, packet->netif);
	bool v2 = packet->m->pkt_len >= MLD_LENGTH_V2;
	uint64_t delay_us;

	if (packet->m->data_len < sizeof(*query) || ip->hop_limits != MLD_HOP_LIMIT ||
		!net_address_is_link_local(&source) || link == NULL)
		return NET_DROP_ICMP_IGNORED;
	delay_us = response_delay_us(query, v2);
	if (delay_us > 0) // hosts shall not answer all at once
		delay_us = random_below(net->rng, (uint32_t)RTE_MIN(delay_us, UINT32_MAX));
	link->report_asked = true;
	link->report_type = v2 ? MLD_REPORT_V2 : MLD_REPORT_V1;
	link->report_us = RTE_MIN(link->report_us, net->now_us + delay_us);
	nd_due_update(net);
	return NET_DROPS;
}
