// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text that came before its turn (RFC 9293 3.10.7.4, seventh): kept in chunks, ordered by
// sequence number, never overlapping, bounded in number and in bytes of memory. What is
// there first stays; newer copies only fill the gaps. Runs on the worker.

#include "tcp/chunk.h"
#include "tcp/pcb.h"
#include "tcp/sack.h"
#include "tcp/stack.h"

#include "base/assert.h"

#include <rte_mbuf.h>

#include <string.h>

// A walk over the chunks is the one cost here that a peer can drive up.
#define CHUNKS_MAX 256u
// The last part of the payloads is for text in sequence: early text could be had again.
#define PRESSURE_MAX 800u // permille
// Room for two full segments: neighbours then mostly share a chunk.
#define CHUNK_SIZE 4000u

// Where a range of early text comes from.
struct source {
	const struct rte_mbuf *m;
	uint32_t offset; // of the octet at `seq`
	uint32_t seq;
};

static void source_copy(const struct source *source, uint32_t seq, uint8_t *to, uint32_t n)
{
	uint32_t offset = source->offset + (seq - source->seq);
	const void *text = rte_pktmbuf_read(source->m, offset, n, to);

	if (text != to)
		memcpy(to, text, n);
}

static uint32_t chunk_end(const struct tcp_chunk *chunk)
{
	return chunk->seq + chunk->length;
}

// Appends what fits to `prev` where that ends at `seq`; returns how much.
static uint32_t extend(struct tcp_pcb *pcb, struct tcp_chunk *prev, const struct source *source,
	uint32_t seq, uint32_t n)
{
	uint32_t room;

	if (!prev || chunk_end(prev) != seq)
		return 0;
	room = tcp_chunk_room(prev);
	if (n > room)
		n = room;
	if (n == 0)
		return 0;
	source_copy(source, seq, tcp_chunk_text(prev) + prev->length, n);
	prev->length += n;
	prev->stamp = ++pcb->stack->early_stamp;
	return n;
}

// A new chunk behind `prev` (NULL: the first one); NULL without room.
static struct tcp_chunk *insert_behind(struct tcp_pcb *pcb, struct tcp_chunk *prev,
	const struct source *source, uint32_t seq, uint32_t n)
{
	struct tcp_recvq *q = &pcb->recvq;
	struct tcp_chunk **link = prev ? &prev->next : &q->early;
	struct tcp_chunk *chunk;
	uint32_t wanted = n < pcb->mss ? n : CHUNK_SIZE;

	if (q->early_count >= CHUNKS_MAX ||
		payload_pool_pressure(pcb->stack->payloads) > PRESSURE_MAX)
		return NULL;
	chunk = tcp_chunk_alloc(pcb->stack->payloads, wanted > n ? wanted : n);
	if (!chunk)
		return NULL;
	chunk->seq = seq;
	chunk->next = *link;
	*link = chunk;
	q->early_count++;
	extend(pcb, chunk, source, seq, n);
	return chunk;
}

// Fills the gap [seq, end) behind `prev`. Returns the last chunk touched, NULL without room.
static struct tcp_chunk *gap_fill(struct tcp_pcb *pcb, struct tcp_chunk *prev,
	const struct source *source, uint32_t seq, uint32_t end)
{
	seq += extend(pcb, prev, source, seq, end - seq);
	while (seq_lt(seq, end)) {
		prev = insert_behind(pcb, prev, source, seq, end - seq);
		if (!prev)
			return NULL;
		seq = chunk_end(prev);
	}
	return prev;
}

// What of [seq, end) a chunk that begins before it has already came twice. The chunk counts as new:
// its block is the one that is reported first (RFC 2018 4, RFC 2883 4).
static void duplicate_note(struct tcp_pcb *pcb, struct tcp_chunk *chunk, uint32_t seq, uint32_t end)
{
	uint32_t upto = chunk_end(chunk);

	if (!seq_lt(seq, end) || seq_le(upto, seq))
		return;
	tcp_sack_duplicate(pcb, seq, seq_lt(upto, end) ? upto : end);
	chunk->stamp = ++pcb->stack->early_stamp;
}

bool tcp_reassembly_insert(struct tcp_pcb *pcb, uint32_t seq, const struct rte_mbuf *m,
	uint32_t offset, uint32_t length)
{
	const struct source source = {.m = m, .offset = offset, .seq = seq};
	uint32_t end = seq + length;
	struct tcp_chunk *prev = NULL;
	struct tcp_chunk *next = pcb->recvq.early;

	DASSERT(seq_gt(seq, pcb->rcv_nxt));
	for (;;) {
		uint32_t gap_end;

		// Chunks that end before the range lie behind us; what they cover is skipped.
		while (next && seq_le(next->seq, seq)) {
			duplicate_note(pcb, next, seq, end);
			seq = seq_max(seq, chunk_end(next));
			prev = next;
			next = next->next;
		}
		if (seq_ge(seq, end))
			return true;
		gap_end = next && seq_lt(next->seq, end) ? next->seq : end;
		prev = gap_fill(pcb, prev, &source, seq, gap_end);
		if (!prev)
			return false;
		seq = gap_end;
	}
}

static void chunk_pop(struct tcp_recvq *q)
{
	struct tcp_chunk *chunk = q->early;

	q->early = chunk->next;
	q->early_count--;
	chunk->next = NULL;
}

// Drops what RCV.NXT has passed from the front of a chunk; false when nothing is left of it.
static bool chunk_trim(struct tcp_pcb *pcb, struct tcp_chunk *chunk)
{
	uint32_t stale = pcb->rcv_nxt - chunk->seq;

	if (stale >= chunk->length)
		return false;
	chunk->seq += stale;
	chunk->offset += stale;
	chunk->length -= stale;
	return true;
}

bool tcp_reassembly_shrink(struct tcp_pcb *pcb)
{
	struct tcp_recvq *q = &pcb->recvq;
	struct tcp_chunk **link = &q->early;
	struct tcp_chunk *last;

	if (!q->early)
		return false;
	while ((*link)->next)
		link = &(*link)->next;
	last = *link;
	*link = NULL;
	q->early_count--;
	tcp_chunk_free(last);
	tcp_count_drop(pcb->stack, TCP_DROP_REASSEMBLY);
	return true;
}

static bool early_is_next(const struct tcp_pcb *pcb)
{
	return pcb->recvq.early && seq_le(pcb->recvq.early->seq, pcb->rcv_nxt);
}

bool tcp_reassembly_join(struct tcp_pcb *pcb)
{
	struct tcp_recvq *q = &pcb->recvq;
	uint32_t before = pcb->rcv_nxt;

	while (early_is_next(pcb)) {
		struct tcp_chunk *chunk;

		// The order of readable text is chunks, then receive buffers: these come first.
		if (q->borrowed && !tcp_recvq_settle(pcb))
			break;
		chunk = q->early;
		chunk_pop(q);
		if ((pcb->flags & TCP_PCB_ABORT_LATER) || !chunk_trim(pcb, chunk)) {
			pcb->rcv_nxt = seq_max(pcb->rcv_nxt, chunk_end(chunk));
			tcp_chunk_free(chunk);
			continue;
		}
		if (q->last)
			q->last->next = chunk;
		else
			q->first = chunk;
		q->last = chunk;
		pcb->rcv_nxt += chunk->length;
		pcb->unread += chunk->length;
		pcb->bytes_in += chunk->length;
	}
	return pcb->rcv_nxt != before;
}

void tcp_reassembly_clear(struct tcp_pcb *pcb)
{
	while (pcb->recvq.early) {
		struct tcp_chunk *chunk = pcb->recvq.early;

		chunk_pop(&pcb->recvq);
		tcp_chunk_free(chunk);
	}
}
