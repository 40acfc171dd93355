// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The device of a host: completes the sums that it was left (the TCP header holds that of the
// pseudo-header then, as DPDK wants it) and cuts frames of several segments, as TSO does. What it
// is told is checked.

#include "host.h"

#include "tcp/segment.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

// Moves what was built on to the wire.
static void pass_on(struct sim *sim, unsigned host, struct rte_mbuf *m)
{
	if (sim->fault != SIM_FAULT_NONE && host == 0)
		sim_fault_apply(sim, host, m);
	sim_tap_packet(sim, host, m);
	sim_wire_send(&sim->wires[host], m, sim->pools->rx, sim->now_us);
}

// The part [from, from + n) of a frame's text as a packet of its own, its sums complete.
static void part_send(struct sim *sim, unsigned host, const struct rte_mbuf *frame,
	const uint8_t *packet, uint32_t from, uint32_t n, bool last)
{
	uint32_t header = (uint32_t)(frame->l3_len + frame->l4_len);
	struct rte_mbuf *m = rte_pktmbuf_alloc(sim->pools->rx);
	struct rte_ipv4_hdr *ip;
	struct rte_tcp_hdr *tcp;

	if (!m)
		return;
	ip = (struct rte_ipv4_hdr *)rte_pktmbuf_append(m, (uint16_t)(header + n));
	memcpy(ip, packet, header);
	memcpy((uint8_t *)ip + header, packet + header + from, n);
	tcp = (struct rte_tcp_hdr *)((uint8_t *)ip + frame->l3_len);
	ip->total_length = rte_cpu_to_be_16((uint16_t)m->pkt_len);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + from);
	if (!last)
		tcp->tcp_flags &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
	if (from > 0)
		tcp->tcp_flags &= (uint8_t)~TCP_FLAG_CWR;
	tcp->cksum = 0;
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	pass_on(sim, host, m);
}

// What the engine asks of a device has to be what it announces.
static void request_check(
	const struct sim *sim, unsigned host, const struct rte_mbuf *m, const uint8_t *packet)
{
	const struct net_if_caps *caps = &sim->hosts[host].netif.caps;
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)packet;
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(packet + m->l3_len);

	SIM_CHECK(sim, caps->multi_segment || m->nb_segs == 1);
	SIM_CHECK(sim, caps->tso || !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG));
	SIM_CHECK(sim, caps->tx_tcp_checksum || !(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM));
	SIM_CHECK(sim, caps->tx_ip_checksum || !(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM));
	if (!(m->ol_flags & (RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG)))
		return;
	SIM_CHECK(sim, m->l2_len == 0 && m->l3_len == sizeof(*ip));
	SIM_CHECK(sim, m->l4_len == (tcp->data_off >> 4) * 4u);
	SIM_CHECK(sim, (m->ol_flags & RTE_MBUF_F_TX_IPV4) && ip->hdr_checksum == 0);
	SIM_CHECK(sim, tcp->cksum == rte_ipv4_phdr_cksum(ip, m->ol_flags));
}

void sim_device_send(struct sim *sim, unsigned host, struct rte_mbuf *m)
{
	uint8_t buffer[SIM_FRAME_MAX];
	const uint64_t wanted =
		RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IP_CKSUM;
	const uint8_t *packet = rte_pktmbuf_read(m, 0, m->pkt_len, buffer);
	uint32_t text, size;

	SIM_CHECK(sim, packet);
	request_check(sim, host, m, packet);
	sim_tap_frame(sim, host, m);
	if (!(m->ol_flags & wanted)) {
		pass_on(sim, host, m);
		return;
	}
	text = m->pkt_len - (uint32_t)(m->l3_len + m->l4_len);
	size = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG ? m->tso_segsz : text;
	SIM_CHECK(sim, size > 0 || text == 0);
	sim->hosts[host].cut += text > size;
	for (uint32_t from = 0; from == 0 || from < text; from += size) {
		uint32_t n = RTE_MIN(size, text - from);

		part_send(sim, host, m, packet, from, n, from + n == text);
		if (size == 0)
			break;
	}
	rte_pktmbuf_free(m);
}
