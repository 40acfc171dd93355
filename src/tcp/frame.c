// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text in frames: copied, or referred to. Runs on the worker.

#include "tcp/frame.h"

#include "base/assert.h"
#include "base/payload.h"
#include "base/sum.h"
#include "net/net_if.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <string.h>

// Mbufs of a frame. Every device takes so many; a frame that would need more is copied.
#define SEGMENTS_MAX 8u

struct rte_mbuf *tcp_frame_alloc(const struct net_if *netif, bool control)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);

	if (!m && control && netif->tx_reserve)
		m = rte_pktmbuf_alloc(netif->tx_reserve);
	return m;
}

static bool refers(const struct tcp_piece *piece, uint32_t part, uint32_t least)
{
	return part >= least && piece->offset != TCP_PIECE_INLINE;
}

// The mbufs that the octets need beside the first; 0: all of them are copied.
static unsigned segments_beside(struct tcp_cursor from, uint32_t length, uint32_t least)
{
	bool linear = true,
	     any = false; // does the last one so far take copies? is one referred to?
	unsigned count = 0;

	while (length > 0) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, length, &at);
		bool referred = refers(at.piece, part, least);

		count += referred || !linear;
		linear = !referred;
		any |= referred;
		length -= part;
	}
	return any && count < SEGMENTS_MAX ? count : 0;
}

static void reference_put(void *buffer, void *payload)
{
	payload_put_sent(payload);
}

// The mbuf's own buffer lies idle meanwhile: what counts the references to the other one, one,
// stands there.
static void reference_make(struct rte_mbuf *m, struct tcp_cursor at, uint32_t length)
{
	struct rte_mbuf_ext_shared_info *info = m->buf_addr;
	struct payload *payload = payload_get(at.piece->payload);
	uint8_t *data = payload->data + at.piece->offset + at.offset;
	rte_iova_t iova = rte_mempool_virt2iova(payload);

	DASSERT(m->buf_len >= sizeof(*info));
	info->free_cb = reference_put;
	info->fcb_opaque = payload;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(
		m, data, iova + (rte_iova_t)(data - (uint8_t *)payload), (uint16_t)length, info);
	m->data_len = (uint16_t)length;
}

static struct tcp_cursor chain_fill(struct rte_mbuf *m, struct rte_mbuf **more,
	struct tcp_cursor from, uint32_t length, uint32_t least, uint16_t *sum)
{
	struct rte_mbuf *last = m;
	bool linear = true;

	for (uint32_t done = 0; done < length;) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, length - done, &at);
		bool referred = refers(at.piece, part, least);

		if (referred || !linear) {
			last->next = *more++;
			last = last->next;
			m->nb_segs++;
		}
		if (referred) {
			reference_make(last, at, part);
		} else {
			memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len),
				tcp_cursor_octets(at), part);
			last->data_len += (uint16_t)part;
		}
		if (sum)
			*sum = sum_add(*sum, sum_at(tcp_cursor_sum(at, part), done));
		linear = !referred;
		done += part;
	}
	m->pkt_len += length;
	return from;
}

struct tcp_cursor tcp_frame_fill(const struct net_if *netif, uint32_t reference_least,
	struct rte_mbuf *m, struct tcp_cursor from, uint32_t length, uint16_t *sum)
{
	uint8_t *to = rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len);
	struct rte_mbuf *more[SEGMENTS_MAX];
	unsigned count = 0;

	DASSERT(length <= rte_pktmbuf_tailroom(m));
	if (netif->caps.multi_segment && length >= reference_least)
		count = segments_beside(from, length, reference_least);
	if (count > 0 && rte_pktmbuf_alloc_bulk(netif->tx_pool, more, count) == 0)
		return chain_fill(m, more, from, length, reference_least, sum);
	m->data_len += (uint16_t)length;
	m->pkt_len += length;
	if (sum)
		return tcp_sendq_copy_summed(from, to, length, sum);
	return tcp_sendq_copy(from, to, length);
}
