// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How much text a segment may carry (RFC 9293 3.7.1, RFC 6691), and what "fragmentation
// needed" may do to it (RFC 1191, RFC 8201, with the checks of RFC 5927 7). Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include <rte_mbuf.h>

#define IPV4_HEADER	 20u
#define IPV6_HEADER	 40u
#define MSS_DEFAULT_IPV4 536u
#define MSS_DEFAULT_IPV6 1220u
// Less than this from a peer or a router is an attack (headers would outweigh the text).
#define MSS_LEAST 64u
// RFC 5927 7: no router of our days needs less. RFC 8200 5: no router at all.
#define MTU_LEAST_IPV4 552u
#define MTU_LEAST_IPV6 1280u

static uint32_t headers_size(const struct tcp_pcb *pcb)
{
	return TCP_HEADER_MIN + (pcb->path.ipv6 ? IPV6_HEADER : IPV4_HEADER);
}

// A frame holds this much behind the headroom.
static uint32_t frame_room(const struct tcp_pcb *pcb)
{
	return rte_pktmbuf_data_room_size(pcb->path.netif->tx_pool) - RTE_PKTMBUF_HEADROOM;
}

uint16_t tcp_mss_announced(const struct tcp_pcb *pcb)
{
	return (uint16_t)(pcb->path.mtu - headers_size(pcb));
}

void tcp_mss_update(struct tcp_pcb *pcb)
{
	uint32_t mss = pcb->path.mtu - headers_size(pcb);
	uint32_t room = frame_room(pcb) - TCP_HEADER_MIN;
	uint32_t peer = pcb->peer_mss;

	if (peer == 0)
		peer = pcb->path.ipv6 ? MSS_DEFAULT_IPV6 : MSS_DEFAULT_IPV4;
	if (mss > peer)
		mss = peer;
	if (mss > room)
		mss = room;
	if (mss < MSS_LEAST)
		mss = MSS_LEAST;
	if (pcb->flags & TCP_PCB_TIMESTAMPS)
		mss -= TCP_TIMESTAMPS_SIZE;
	pcb->mss = (uint16_t)mss;
}

void tcp_mss_limit(struct tcp_pcb *pcb, uint16_t mss)
{
	uint32_t mtu = headers_size(pcb) + (mss < MSS_LEAST ? MSS_LEAST : mss);

	if (mtu >= pcb->path.mtu)
		return;
	pcb->path.mtu = (uint16_t)mtu;
	tcp_mss_update(pcb);
}

bool tcp_mss_lower(struct tcp_pcb *pcb, uint16_t mtu)
{
	uint16_t least = pcb->path.ipv6 ? MTU_LEAST_IPV6 : MTU_LEAST_IPV4;

	// An old router does not tell (RFC 1191 5): the next plateau of that RFC's table.
	if (mtu == 0)
		mtu = pcb->path.mtu > 1492 ? 1492 : pcb->path.mtu > 1006 ? 1006 : least;
	if (mtu < least)
		mtu = least;
	if (mtu >= pcb->path.mtu)
		return false;
	pcb->path.mtu = mtu;
	tcp_mss_update(pcb);
	return true;
}
