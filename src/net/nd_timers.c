// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What ND does by itself: probing for our own addresses before they are used (RFC 4862
// 5.4), announcing them then (RFC 4861 7.2.6), and MLD reports that are due. The random
// delay before the first probe (5.4.2) is for many hosts that start at once; we are one,
// and its clients wait. Worker's thread.

#include "net/nd.h"

#include "base/clock.h"
#include "net/local.h"

#define ANNOUNCE_NUM	     2
#define ANNOUNCE_INTERVAL_US (2 * US_IN_S)

void nd_due_update(struct net *net)
{
	uint64_t due_us = WHEEL_NEVER;

	for (unsigned i = 0; i < net->locals6_count; i++)
		due_us = RTE_MIN(due_us, net->locals6[i].due_us);
	for (unsigned i = 0; i < net->links6_count; i++)
		due_us = RTE_MIN(due_us, net->links6[i].report_us);
	net->nd_due_us = due_us;
}

// Nobody has objected.
static void local6_assign(struct net *net, struct net_local *local)
{
	struct net_link6 *link = link6_find(net, local->netif);

	local->state = NET_LOCAL_ASSIGNED;
	local->sends_left = ANNOUNCE_NUM;
	// A report from the unspecified address is not heeded by all switches (RFC 3590 4).
	if (local->link_local)
		link->report_us = net->now_us;
}

static void local6_timer(struct net *net, struct net_local *local)
{
	if (local->state == NET_LOCAL_TENTATIVE && local->sends_left > 0) {
		if (!net->config.quiet)
			nd_probe(net, local);
		local->sends_left--;
		local->due_us = net->now_us + net->config.neighbour_retry_us;
		return;
	}
	if (local->state == NET_LOCAL_TENTATIVE)
		local6_assign(net, local);
	if (!net->config.quiet)
		nd_advertise(net, local, NULL, NULL);
	local->sends_left--;
	local->due_us = local->sends_left > 0 ? net->now_us + ANNOUNCE_INTERVAL_US : WHEEL_NEVER;
}

static void link6_timer(struct net *net, struct net_link6 *link)
{
	if (!net->config.quiet)
		mld_report(net, link);
	link->report_us = WHEEL_NEVER;
	link->report_type = MLD_REPORT_V2;
	link->report_asked = false;
}

void nd_timers(struct net *net)
{
	if (net->now_us < net->nd_due_us)
		return;
	// Groups are joined before the probes that are answered there (RFC 4862 5.4.2).
	for (unsigned i = 0; i < net->links6_count; i++) {
		if (net->links6[i].report_us <= net->now_us)
			link6_timer(net, &net->links6[i]);
	}
	for (unsigned i = 0; i < net->locals6_count; i++) {
		if (net->locals6[i].due_us <= net->now_us)
			local6_timer(net, &net->locals6[i]);
	}
	nd_due_update(net);
}
