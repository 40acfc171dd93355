// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text in frames: copied, or referred to. Runs on the worker.

#include "tcp/frame.h"

#include "base/assert.h"
#include "base/payload.h"
#include "base/sum.h"
#include "net/net_if.h"
#include "tcp/segment.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <string.h>

// Mbufs beside the first of a frame that is one packet: every device takes so many. The device cuts
// longer frames itself (TSO).
#define PACKET_MORE 7u

static struct rte_mbuf *first_alloc(const struct net_if *netif, bool control)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);

	if (!m && control && netif->tx_reserve)
		m = rte_pktmbuf_alloc(netif->tx_reserve);
	return m;
}

bool tcp_frame_begin(
	struct tcp_frame *frame, const struct net_if *netif, uint32_t reference_least, bool control)
{
	frame->netif = netif;
	frame->m = first_alloc(netif, control);
	frame->reference_least = reference_least;
	frame->more_count = 0;
	return frame->m != NULL;
}

static bool refers(const struct tcp_frame *frame, const struct tcp_piece *piece, uint32_t part)
{
	return part >= frame->reference_least && piece->offset != TCP_PIECE_INLINE;
}

// The mbufs that the octets need beside the first.
static unsigned more_needed(const struct tcp_frame *frame, struct tcp_cursor from, uint32_t length)
{
	uint32_t linear = rte_pktmbuf_data_room_size(frame->netif->tx_pool) - RTE_PKTMBUF_HEADROOM;
	uint32_t room = rte_pktmbuf_tailroom(frame->m) - TCP_HEADER_MAX; // for copies, in the last
	unsigned count = 0;

	while (length > 0) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, length, &at);

		length -= part;
		if (refers(frame, at.piece, part)) {
			count++;
			room = 0;
			continue;
		}
		for (; part > room; room = linear) {
			part -= room;
			count++;
		}
		room -= part;
	}
	return count;
}

static bool more_take(struct tcp_frame *frame, unsigned count, unsigned max)
{
	if (count > max || rte_pktmbuf_alloc_bulk(frame->netif->tx_pool, frame->more, count) != 0)
		return false;
	frame->more_count = count;
	return true;
}

uint32_t tcp_frame_reserve(
	struct tcp_frame *frame, struct tcp_cursor from, uint32_t length, uint32_t mss)
{
	DASSERT(length <= mss || frame->netif->caps.tso);
	for (; length > mss; length = length / 2 > mss ? length / 2 / mss * mss : mss)
		if (more_take(frame, more_needed(frame, from, length), TCP_FRAME_MORE))
			return length;
	if (frame->netif->caps.multi_segment && length >= frame->reference_least)
		more_take(frame, more_needed(frame, from, length), PACKET_MORE);
	return length;
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

// The chain's next mbuf.
static struct rte_mbuf *chain_next(struct tcp_frame *frame, struct rte_mbuf *last, unsigned *used)
{
	DASSERT(*used < frame->more_count);
	last->next = frame->more[(*used)++];
	frame->m->nb_segs++;
	return last->next;
}

static struct tcp_cursor chain_fill(
	struct tcp_frame *frame, struct tcp_cursor from, uint32_t length, uint16_t *sum)
{
	struct rte_mbuf *last = frame->m;
	unsigned used = 0;

	for (uint32_t done = 0; done < length;) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, length - done, &at);

		if (sum)
			*sum = sum_add(*sum, sum_at(tcp_cursor_sum(at, part), done));
		done += part;
		if (refers(frame, at.piece, part)) {
			last = chain_next(frame, last, &used);
			reference_make(last, at, part);
			continue;
		}
		for (const uint8_t *octets = tcp_cursor_octets(at); part > 0;) {
			uint32_t room = RTE_MBUF_HAS_EXTBUF(last) ? 0 : rte_pktmbuf_tailroom(last);
			uint32_t n = part < room ? part : room;

			if (n == 0) {
				last = chain_next(frame, last, &used);
				continue;
			}
			memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), octets, n);
			last->data_len += (uint16_t)n;
			octets += n;
			part -= n;
		}
	}
	frame->m->pkt_len += length;
	// The header is rarely as long as was reckoned with.
	rte_pktmbuf_free_bulk(frame->more + used, frame->more_count - used);
	return from;
}

struct tcp_cursor tcp_frame_fill(
	struct tcp_frame *frame, struct tcp_cursor from, uint32_t length, uint16_t *sum)
{
	struct rte_mbuf *m = frame->m;
	uint8_t *to = rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len);

	if (frame->more_count > 0)
		return chain_fill(frame, from, length, sum);
	DASSERT(length <= rte_pktmbuf_tailroom(m));
	m->data_len += (uint16_t)length;
	m->pkt_len += length;
	if (sum)
		return tcp_sendq_copy_summed(from, to, length, sum);
	return tcp_sendq_copy(from, to, length);
}
