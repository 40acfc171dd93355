// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text in sequence, until the user consumes it. During a turn it stays in the receive
// buffers (no copy while the user keeps up); tcp_flush() copies what is left into chunks,
// because a receive pool run dry would stop the very ACKs that let it fill again. No ACK
// leaves before that, so text for which there is no memory is simply forgotten again.
// Window rules: RFC 9293 3.8.6.2.2. Runs on the worker.

#include "tcp/chunk.h"
#include "tcp/pcb.h"
#include "tcp/stack.h"

#include "base/assert.h"

#include <rte_mbuf.h>

#include <string.h>

// New chunks double what is there up to this, so a reader that stays behind has few of them.
#define CHUNK_GROWTH_MAX 4000u

static void borrow(struct tcp_recvq *q, struct rte_mbuf *part)
{
	part->next = NULL;
	if (q->borrowed)
		q->borrowed_last->next = part;
	else
		q->borrowed = part;
	q->borrowed_last = part;
}

void tcp_recvq_append(struct tcp_pcb *pcb, struct rte_mbuf *m, uint32_t offset, uint32_t length)
{
	pcb->rcv_nxt += length;
	pcb->bytes_in += length;
	if (pcb->flags & TCP_PCB_ABORT_LATER) { // nobody is going to read it
		if (pcb->flags & TCP_PCB_MANUAL_ACK)
			pcb->recvq.held += (int32_t)length;
		rte_pktmbuf_free(m);
		return;
	}
	pcb->unread += length;
	while (m) {
		struct rte_mbuf *next = m->next;
		uint32_t skip = offset < m->data_len ? offset : m->data_len;
		uint32_t part = m->data_len - skip;

		if (part > length)
			part = length;
		offset -= skip;
		length -= part;
		if (part > 0) {
			m->data_off += (uint16_t)skip;
			m->data_len = (uint16_t)part;
			borrow(&pcb->recvq, m);
		} else {
			rte_pktmbuf_free_seg(m);
		}
		m = next;
	}
	DASSERT(length == 0);
	tcp_pcb_mark_flush(pcb);
}

static void borrowed_pop(struct tcp_recvq *q)
{
	struct rte_mbuf *m = q->borrowed;

	q->borrowed = m->next;
	if (!q->borrowed)
		q->borrowed_last = NULL;
	rte_pktmbuf_free_seg(m);
}

// With room for `wanted` octets if there is one, else as it comes.
static struct tcp_chunk *chunk_alloc(struct tcp_pcb *pcb, uint32_t wanted)
{
	struct tcp_chunk *chunk = tcp_chunk_alloc(pcb->stack->payloads, wanted);

	return chunk ? chunk : tcp_chunk_alloc(pcb->stack->payloads, 1);
}

// The chunk that takes the next octets, with room; NULL without memory.
static struct tcp_chunk *chunk_with_room(struct tcp_pcb *pcb, uint32_t wanted)
{
	struct tcp_recvq *q = &pcb->recvq;
	struct tcp_chunk *chunk = q->last;
	uint32_t size;

	if (chunk && tcp_chunk_room(chunk) > 0)
		return chunk;
	size = chunk ? 2 * chunk->length : 0;
	if (size > CHUNK_GROWTH_MAX)
		size = CHUNK_GROWTH_MAX;
	chunk = chunk_alloc(pcb, wanted > size ? wanted : size);
	if (!chunk)
		return NULL;
	if (q->last)
		q->last->next = chunk;
	else
		q->first = chunk;
	q->last = chunk;
	return chunk;
}

bool tcp_recvq_settle(struct tcp_pcb *pcb)
{
	struct tcp_recvq *q = &pcb->recvq;

	while (q->borrowed) {
		struct rte_mbuf *m = q->borrowed;
		struct tcp_chunk *chunk = chunk_with_room(pcb, m->data_len);
		uint32_t part;

		if (!chunk)
			return false;
		part = tcp_chunk_room(chunk);
		if (part > m->data_len)
			part = m->data_len;
		memcpy(tcp_chunk_text(chunk) + chunk->length, rte_pktmbuf_mtod(m, void *), part);
		chunk->length += part;
		m->data_off += (uint16_t)part;
		m->data_len -= (uint16_t)part;
		if (m->data_len == 0)
			borrowed_pop(q);
	}
	return true;
}

void tcp_recvq_roll_back(struct tcp_pcb *pcb)
{
	struct tcp_recvq *q = &pcb->recvq;
	uint32_t lost = 0;

	while (q->borrowed) {
		lost += q->borrowed->data_len;
		borrowed_pop(q);
	}
	DASSERT(lost <= pcb->unread);
	DASSERT(pcb->state == TCP_CLOSED || seq_le(pcb->last_ack_sent, pcb->rcv_nxt - lost));
	pcb->rcv_nxt -= lost;
	pcb->unread -= lost;
	if (pcb->recvq.held < -(int32_t)pcb->unread) // nobody has heard of that yet
		pcb->recvq.held = -(int32_t)pcb->unread;
	pcb->bytes_in -= lost;
	pcb->dupacks_due = 0;
	tcp_count_drop(pcb->stack, TCP_DROP_NO_PAYLOAD);
}

void tcp_recvq_clear(struct tcp_pcb *pcb)
{
	struct tcp_recvq *q = &pcb->recvq;

	while (q->borrowed)
		borrowed_pop(q);
	while (q->first) {
		struct tcp_chunk *chunk = q->first;

		q->first = chunk->next;
		tcp_chunk_free(chunk);
	}
	q->last = NULL;
	if (pcb->flags & TCP_PCB_MANUAL_ACK)
		q->held += (int32_t)pcb->unread;
	pcb->unread = 0;
}

unsigned tcp_recv_peek(struct tcp_pcb *pcb, struct tcp_span *ret_spans, unsigned max)
{
	unsigned n = 0;

	for (struct tcp_chunk *c = pcb->recvq.first; c && n < max; c = c->next)
		ret_spans[n++] = (struct tcp_span){tcp_chunk_text(c), c->length};
	for (struct rte_mbuf *m = pcb->recvq.borrowed; m && n < max; m = m->next)
		ret_spans[n++] = (struct tcp_span){rte_pktmbuf_mtod(m, uint8_t *), m->data_len};
	return n;
}

// Takes from the oldest chunk; returns how much.
static uint32_t chunk_consume(struct tcp_recvq *q, uint32_t n)
{
	struct tcp_chunk *chunk = q->first;

	if (n < chunk->length) {
		chunk->offset += n;
		chunk->length -= n;
		return n;
	}
	n = chunk->length;
	q->first = chunk->next;
	if (!q->first)
		q->last = NULL;
	tcp_chunk_free(chunk);
	return n;
}

static uint32_t borrowed_consume(struct tcp_recvq *q, uint32_t n)
{
	struct rte_mbuf *m = q->borrowed;

	if (n < m->data_len) {
		m->data_off += (uint16_t)n;
		m->data_len -= (uint16_t)n;
		return n;
	}
	n = m->data_len;
	borrowed_pop(q);
	return n;
}

// How much new room is worth a segment of its own to tell the peer.
static uint32_t update_worth(const struct tcp_pcb *pcb)
{
	uint32_t half = tcp_receive_buffer(pcb) / 2;

	// Without an ACK to carry it, an update is for a peer that may soon need it.
	if (pcb->flags & TCP_PCB_MANUAL_ACK)
		return half;
	return 2u * pcb->mss < half ? 2u * pcb->mss : half;
}

void tcp_recv_consume(struct tcp_pcb *pcb, uint32_t n)
{
	struct tcp_recvq *q = &pcb->recvq;

	ASSERT(n <= pcb->unread);
	pcb->unread -= n;
	if (pcb->flags & TCP_PCB_MANUAL_ACK)
		q->held += (int32_t)n;
	while (n > 0)
		n -= q->first ? chunk_consume(q, n) : borrowed_consume(q, n);
	if (tcp_state_receives(pcb->state) &&
		tcp_recvq_edge(pcb) - pcb->rcv_adv >= update_worth(pcb))
		tcp_pcb_ack_now(pcb);
}

int32_t tcp_recv_held(const struct tcp_pcb *pcb)
{
	return pcb->recvq.held;
}

// The peer hears of it, and of what came early if that was all that stood before it.
static void held_ack(struct tcp_pcb *pcb)
{
	if (pcb->state >= TCP_ESTABLISHED && tcp_pcb_ack(pcb) != pcb->last_ack_sent)
		tcp_pcb_ack_now(pcb);
}

void tcp_recv_acknowledge(struct tcp_pcb *pcb, uint32_t n)
{
	ASSERT(n <= (uint32_t)pcb->recvq.held + pcb->unread);
	pcb->recvq.held -= (int32_t)n;
	held_ack(pcb);
}

uint32_t tcp_recv_clock(const struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_ADOPTED) || !pcb->twin_index)
		return pcb->ts_recent;
	return tcp_pcb_at(pcb->stack, pcb->twin_index)->ts_offset;
}

void tcp_recv_echo(struct tcp_pcb *pcb, uint32_t tsval)
{
	if (!(pcb->flags & TCP_PCB_TIMESTAMPS) || !seq_gt(tsval, pcb->ts_recent))
		return;
	pcb->ts_recent = tsval;
	pcb->ts_recent_ms = pcb->stack->now_ms;
}

void tcp_recv_release(struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_MANUAL_ACK))
		return;
	pcb->flags &= ~(uint32_t)TCP_PCB_MANUAL_ACK;
	pcb->recvq.held = 0;
	held_ack(pcb);
}

void tcp_set_manual_ack(struct tcp_pcb *pcb, bool on)
{
	if (on)
		pcb->flags |= TCP_PCB_MANUAL_ACK;
	else
		tcp_recv_release(pcb);
}

uint32_t tcp_recv_readable(const struct tcp_pcb *pcb)
{
	return pcb->unread;
}

bool tcp_recv_eof(const struct tcp_pcb *pcb)
{
	return (pcb->flags & TCP_PCB_EOF) != 0;
}

// The right edge moves on only by a segment or half the buffer, lest the peer send in small pieces
// (silly window syndrome), and never back.
uint32_t tcp_recvq_edge(const struct tcp_pcb *pcb)
{
	// A SYN-ACK that is sent again could not repeat a larger window than its field holds.
	uint32_t limit = 65535u << (pcb->state < TCP_ESTABLISHED ? 0 : pcb->rcv_wscale);
	uint32_t buffer = tcp_receive_buffer(pcb);
	uint32_t room = pcb->unread < buffer ? buffer - pcb->unread : 0;
	uint32_t step = pcb->mss < buffer / 2 ? pcb->mss : buffer / 2;
	uint32_t held = pcb->rcv_nxt - tcp_pcb_ack(pcb);
	uint32_t edge;

	// The field of the window counts from the ACK number.
	limit = held < limit ? limit - held : 0;
	edge = pcb->rcv_nxt + (room < limit ? room : limit);
	if ((int32_t)(edge - pcb->rcv_adv) >= (int32_t)step)
		return edge;
	return seq_max(pcb->rcv_adv, pcb->rcv_nxt);
}

void tcp_recvq_check(const struct tcp_pcb *pcb)
{
	const struct tcp_recvq *q = &pcb->recvq;
	uint32_t unread = 0;

	ASSERT(!q->first == !q->last);
	ASSERT(!q->borrowed == !q->borrowed_last);
	for (struct tcp_chunk *c = q->first; c; c = c->next) {
		ASSERT(c->length > 0);
		ASSERT(c->next || c == q->last);
		unread += c->length;
	}
	for (const struct rte_mbuf *m = q->borrowed; m; m = m->next) {
		ASSERT(m->data_len > 0);
		ASSERT(m->next || m == q->borrowed_last);
		unread += m->data_len;
	}
	ASSERT(unread == pcb->unread);
}
