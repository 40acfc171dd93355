// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Faults that host 0 commits on request, where the run has a certain dimension: they show that
// the simulation notices each, and that it finds out which dimension it takes.

#include "sim.h"

#include "tcp/segment.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include <string.h>

const char *const sim_fault_names[SIM_FAULTS] = {
	[SIM_FAULT_NONE] = "none",
	[SIM_FAULT_OCTET] = "octet",
	[SIM_FAULT_WINDOW] = "window",
	[SIM_FAULT_CLOCK] = "clock",
	[SIM_FAULT_LEAK] = "leak",
};

static const enum sim_dimension needed[SIM_FAULTS] = {
	[SIM_FAULT_OCTET] = SIM_STALLS,
	[SIM_FAULT_WINDOW] = SIM_SLOW_READERS,
	[SIM_FAULT_CLOCK] = SIM_REORDERING,
	[SIM_FAULT_LEAK] = SIM_NARROWINGS,
};

static bool clock_turn_back(uint8_t *tcp, uint32_t length)
{
	struct tcp_segment seg;

	if (!tcp_segment_decode(tcp, length, length, &seg) ||
		!(seg.options.present & TCP_OPTION_TIMESTAMPS) || (seg.flags & TCP_FLAG_SYN))
		return false;
	seg.options.tsval -= 1000000;
	tcp_segment_encode(tcp, &seg);
	return true;
}

void sim_fault_apply(struct sim *sim, unsigned host, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
	uint32_t header = sizeof(*ip) + (tcp->data_off >> 4) * 4u;

	if (!(sim->active & 1ull << needed[sim->fault]) || ip->next_proto_id != IPPROTO_TCP ||
		m->nb_segs > 1 || (tcp->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_RST)))
		return;
	if (sim->fault == SIM_FAULT_OCTET && m->pkt_len > header)
		((uint8_t *)ip)[header] ^= 1;
	else if (sim->fault == SIM_FAULT_WINDOW && m->pkt_len > header)
		tcp->rx_win = 0;
	else if (sim->fault == SIM_FAULT_CLOCK && m->pkt_len > header)
		clock_turn_back((uint8_t *)tcp, m->pkt_len - sizeof(*ip));
	else if (sim->fault == SIM_FAULT_LEAK && !sim->leaked)
		sim->leaked = rte_pktmbuf_alloc(sim->pools->rx);
	else
		return;
	tcp->cksum = 0;
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
}
