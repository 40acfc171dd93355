// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See passage.h. What is lost with `to` is never acknowledged, because its end then lies
// behind all that can be (tcp_send_end()).

#include "attach/passage.h"

#include "tcp/seq.h"
#include "tcp/tcp.h"

void passage_init(struct passage *passage, struct tcp_pcb *from, struct tcp_pcb *to)
{
	*passage = (struct passage){.from = from, .to = to};
	tcp_set_manual_ack(from, true);
	tcp_set_manual_ack(to, true);
}

static struct passage_edge *edge_at(struct passage *passage, uint32_t i)
{
	return &passage->edges[(passage->first + i) % PASSAGE_EDGES];
}

static void acknowledge(struct passage *passage, const struct passage_edge *edge)
{
	tcp_recv_echo(passage->from, edge->clock);
	tcp_recv_acknowledge(passage->from, edge->octets);
}

// Every other edge goes; what it said is said by the next one.
static void coarsen(struct passage *passage)
{
	for (uint32_t i = 0; i < PASSAGE_EDGES / 2; i++) {
		struct passage_edge edge = *edge_at(passage, 2 * i + 1);

		edge.octets += edge_at(passage, 2 * i)->octets;
		*edge_at(passage, i) = edge;
	}
	passage->count = PASSAGE_EDGES / 2;
}

static void edge_append(struct passage *passage, const struct passage_edge *edge)
{
	struct passage_edge *last =
		passage->count > 0 ? edge_at(passage, passage->count - 1) : NULL;

	passage->octets += edge->octets;
	if (last != NULL && last->end == edge->end) {
		last->octets += edge->octets;
		last->clock = edge->clock;
		return;
	}
	if (passage->count == PASSAGE_EDGES)
		coarsen(passage);
	*edge_at(passage, passage->count++) = *edge;
}

void passage_note(struct passage *passage, int32_t beyond)
{
	bool end_waits = tcp_recv_eof(passage->from) && !passage->ended;
	int32_t octets =
		tcp_recv_held(passage->from) + beyond - end_waits - (int32_t)passage->octets;
	struct passage_edge edge = {
		.octets = (uint32_t)octets,
		.end = tcp_send_end(passage->to),
		.clock = tcp_recv_clock(passage->from),
	};

	if (octets <= 0)
		return;
	if (passage->count == 0 && seq_ge(tcp_send_acknowledged(passage->to), edge.end))
		acknowledge(passage, &edge);
	else
		edge_append(passage, &edge);
}

void passage_carry(struct passage *passage)
{
	uint32_t acknowledged = tcp_send_acknowledged(passage->to);

	while (passage->count > 0) {
		const struct passage_edge *edge = edge_at(passage, 0);

		if (seq_lt(acknowledged, edge->end))
			return;
		acknowledge(passage, edge);
		passage->octets -= edge->octets;
		passage->first = (passage->first + 1) % PASSAGE_EDGES;
		passage->count--;
	}
}

bool passage_settled(const struct passage *passage)
{
	return passage->count == 0 && tcp_recv_held(passage->from) <= 0;
}
