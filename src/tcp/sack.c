// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The SACK option: reporting what arrived early (RFC 2018 3 and 4) and what arrived twice
// (RFC 2883), and learning from what the peer reports (RFC 2018 5; which blocks are
// believed: RFC 5961's spirit). Runs on the worker.

#include "tcp/sack.h"

#include "tcp/chunk.h"
#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

// The longest list that is kept in order while the early text is walked.
#define NEWEST_MAX 8u

struct block {
	struct tcp_sack_block edges;
	uint32_t stamp; // of the newest text in it
};

void tcp_sack_duplicate(struct tcp_pcb *pcb, uint32_t start, uint32_t end)
{
	if (!(pcb->flags & TCP_PCB_SACK) || !seq_lt(start, end))
		return;
	// Above the ACK number it would be taken for a SACK.
	if (tcp_pcb_holds(pcb) && seq_gt(end, tcp_pcb_ack(pcb)))
		return;
	pcb->flags |= TCP_PCB_DSACK;
	pcb->dsack_start = start;
	pcb->dsack_length = (uint16_t)(end - start);
	tcp_pcb_ack_now(pcb);
}

bool tcp_sack_pending(const struct tcp_pcb *pcb)
{
	return (pcb->flags & TCP_PCB_SACK) &&
	       ((pcb->recvq.early && !tcp_pcb_holds(pcb)) || (pcb->flags & TCP_PCB_DSACK));
}

// Inserts by age, the newest first; the oldest falls off.
static void newest_insert(struct block *list, unsigned *n, const struct block *block)
{
	unsigned i = NEWEST_MAX - 1;

	if (*n < NEWEST_MAX)
		i = (*n)++;
	else if (seq_gt(list[i].stamp, block->stamp))
		return;
	for (; i > 0 && seq_gt(block->stamp, list[i - 1].stamp); i--)
		list[i] = list[i - 1];
	list[i] = *block;
}

// The newest blocks of contiguous early text, the one that changed last first.
static unsigned newest_blocks(const struct tcp_pcb *pcb, struct block *list)
{
	const struct tcp_chunk *c = pcb->recvq.early;
	unsigned n = 0;

	while (c) {
		struct block block = {.edges = {c->seq, c->seq + c->length}, .stamp = c->stamp};

		while ((c = c->next) && c->seq == block.edges.end) {
			block.edges.end += c->length;
			if (seq_gt(c->stamp, block.stamp))
				block.stamp = c->stamp;
		}
		// What is in sequence but not joined yet (no memory) would look like reneging.
		if (seq_gt(block.edges.start, pcb->rcv_nxt))
			newest_insert(list, &n, &block);
	}
	return n;
}

void tcp_sack_report(struct tcp_pcb *pcb, struct tcp_options *options)
{
	unsigned room = options->present & TCP_OPTION_TIMESTAMPS ? 3 : TCP_SACK_BLOCKS_MAX;
	struct block list[NEWEST_MAX];
	unsigned n = tcp_pcb_holds(pcb) ? 0 : newest_blocks(pcb, list);
	// Several ACKs leave in a row, one for each early segment: the earlier ones report what
	// changed before, so that all that is new gets told.
	unsigned later = pcb->dupacks_due > 1 ? pcb->dupacks_due - 1u : 0;
	unsigned i = 0;

	options->sack_count = 0;
	if (pcb->flags & TCP_PCB_DSACK) {
		options->sack[options->sack_count++] = (struct tcp_sack_block){
			pcb->dsack_start, pcb->dsack_start + pcb->dsack_length};
		pcb->flags &= ~(uint32_t)TCP_PCB_DSACK;
	}
	if (n > 0 && later < n)
		i = later;
	for (; i < n && options->sack_count < room; i++)
		options->sack[options->sack_count++] = list[i].edges;
	if (options->sack_count > 0)
		options->present |= TCP_OPTION_SACK;
}

// RFC 2883 4: the first block tells of a duplicate when it is acknowledged already, or part of the
// second block.
static bool is_dsack(const struct tcp_segment *seg)
{
	const struct tcp_sack_block *block = seg->options.sack;

	if (seq_le(block[0].end, seg->ack))
		return true;
	return seg->options.sack_count > 1 && seq_ge(block[0].start, block[1].start) &&
	       seq_le(block[0].end, block[1].end);
}

// Within what was sent; a block of long ago says nothing, either.
static bool believable(const struct tcp_pcb *pcb, const struct tcp_sack_block *block)
{
	return seq_lt(block->start, block->end) && seq_le(block->end, pcb->snd_max) &&
	       seq_ge(block->start, pcb->snd_una - pcb->snd_wnd_max);
}

static void ascending_insert(
	struct tcp_sack_block *blocks, unsigned *n, const struct tcp_sack_block *block)
{
	unsigned i;

	for (i = (*n)++; i > 0 && seq_lt(block->start, blocks[i - 1].start); i--)
		blocks[i] = blocks[i - 1];
	blocks[i] = *block;
}

void tcp_sack_learn(
	struct tcp_pcb *pcb, const struct tcp_segment *seg, struct tcp_sack_news *ret_news)
{
	struct tcp_sack_block blocks[TCP_SACK_BLOCKS_MAX];
	unsigned n = 0;

	*ret_news = (struct tcp_sack_news){0};
	if (!(seg->options.present & TCP_OPTION_SACK))
		return;
	for (unsigned i = 0; i < seg->options.sack_count; i++) {
		struct tcp_sack_block block = seg->options.sack[i];

		if (!believable(pcb, &block)) {
			tcp_count_drop(pcb->stack, TCP_DROP_BAD_SACK);
			continue;
		}
		if (i == 0 && is_dsack(seg)) {
			ret_news->dsack = true;
			ret_news->dsack_start = block.start;
			ret_news->dsack_end = block.end;
			tcp_count(pcb->stack, TCP_COUNTER_DSACKS_RECEIVED);
			continue;
		}
		if (seq_lt(block.start, pcb->snd_una))
			block.start = pcb->snd_una;
		if (seq_gt(block.end, pcb->snd_nxt)) // the octet of a window probe
			block.end = pcb->snd_nxt;
		if (!seq_lt(block.start, block.end))
			continue;
		ascending_insert(blocks, &n, &block);
	}
	// From below, or else one segment's news would look like reordering.
	for (unsigned i = 0; i < n; i++)
		tcp_flight_sack(pcb, blocks[i].start, blocks[i].end);
	ret_news->blocks = n > 0;
	if (ret_news->dsack)
		tcp_rack_dsack(pcb);
}
