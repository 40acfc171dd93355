// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What stands on a wire: routers with a smaller MTU, which tell of it (RFC 792, RFC 1191) or
// do not, and boxes that take from the windows they see pass.

#include "sim.h"

#include "net/checksum.h"

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include <string.h>

#define QUOTE 64 // of the packet; RFC 1812 4.3.2.3 asks for what fits 576, RFC 792 for 28

const struct sim_narrowing *sim_router_narrowing(
	const struct sim_wire *wire, const struct rte_mbuf *m, uint64_t now_us)
{
	const struct sim_narrowing *narrowest = NULL;

	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		const struct sim_narrowing *n = &wire->impairment.narrowings[i];

		if (now_us >= n->from_us && now_us < n->until_us && m->pkt_len > n->mtu &&
			(!narrowest || n->mtu < narrowest->mtu))
			narrowest = n;
	}
	return narrowest;
}

// The error that quotes a packet, in a buffer with room.
static void error_write(
	struct rte_mbuf *error, const struct sim_narrowing *narrowing, const struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)rte_pktmbuf_append(
		error, sizeof(*ip) + sizeof(struct rte_icmp_hdr));
	struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);
	uint32_t quoted = m->pkt_len < QUOTE ? m->pkt_len : QUOTE;
	char *quote = rte_pktmbuf_append(error, (uint16_t)quoted);
	const char *packet = rte_pktmbuf_read(m, 0, quoted, quote);
	const struct rte_ipv4_hdr *inner = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	if (packet != quote)
		memcpy(quote, packet, quoted);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)error->pkt_len),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = inner->dst_addr, // the router is the last one on the way
		.dst_addr = inner->src_addr,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*icmp = (struct rte_icmp_hdr){.icmp_type = 3, .icmp_code = 4};
	if (narrowing->router == SIM_ROUTER_TELLS)
		icmp->icmp_seq_nb = rte_cpu_to_be_16(narrowing->mtu);
	icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, sizeof(*icmp) + quoted);
}

void sim_router_complain(struct sim_wire *wire, const struct sim_narrowing *narrowing,
	const struct rte_mbuf *m, struct rte_mempool *pool, uint64_t now_us)
{
	struct rte_mbuf *error;

	if (narrowing->router == SIM_ROUTER_SILENT || !wire->back)
		return;
	error = rte_pktmbuf_alloc(pool);
	if (!error)
		return;
	error_write(error, narrowing, m);
	sim_wire_put(wire->back, error, now_us);
}

void sim_router_squeeze(const struct sim_wire *wire, struct rte_mbuf *m, uint64_t now_us)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
	uint32_t wnd, sum;

	if (ip->next_proto_id != IPPROTO_TCP || (tcp->tcp_flags & RTE_TCP_SYN_FLAG))
		return;
	for (unsigned i = 0; i < SIM_SPELLS; i++) {
		const struct sim_squeeze *s = &wire->impairment.squeezes[i];

		if (now_us < s->from_us || now_us >= s->until_us)
			continue;
		wnd = rte_be_to_cpu_16(tcp->rx_win);
		// RFC 1624 (eqn. 3).
		sum = (uint16_t)~rte_be_to_cpu_16(tcp->cksum) + (uint16_t)~wnd + (wnd >> s->shift);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		tcp->cksum = rte_cpu_to_be_16((uint16_t)~sum);
		tcp->rx_win = rte_cpu_to_be_16((uint16_t)(wnd >> s->shift));
	}
}
