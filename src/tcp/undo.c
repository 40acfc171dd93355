// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Noticing that a recovery was spurious, and undoing it: see undo.h. Each of the three ways sees
// what the others cannot: Eifel needs timestamps, and a clock of our own; duplicates are reported
// only when everything was sent again; F-RTO works after timeouts and needs new text to send.
// Runs on the worker.

#include "tcp/undo.h"

#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

void tcp_undo_arm(struct tcp_pcb *pcb, bool timeout)
{
	// A timer that expires while ACKs tell of losses is seldom wrong (RFC 5682 3.1, step 1),
	// nor is it when the last attempt to find that out has ended in a timeout.
	bool believed = timeout && (pcb->flags & TCP_PCB_RECOVERY);
	struct tcp_flight *f;

	if (pcb->snd_nxt == pcb->snd_una)
		return;
	f = tcp_flight_get(pcb);
	if (timeout && f->undo.frto != TCP_FRTO_OFF)
		believed = true;
	f->undo = (struct tcp_undo){
		.armed = !believed,
		.timed = true,
		.frto = timeout && !believed ? TCP_FRTO_ACK : TCP_FRTO_OFF,
		.ts = tcp_pcb_timestamp(pcb),
		.start = pcb->snd_una,
		.cwnd = pcb->cwnd,
		.ssthresh = pcb->ssthresh,
		.state = pcb->congestion_state,
	};
}

void tcp_undo_disarm(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	if (f)
		f->undo = (struct tcp_undo){0};
}

// RFC 9438 4.9. `recover` moves out of the way of the next loss.
static bool undo(struct tcp_pcb *pcb, struct tcp_flight *f, enum tcp_undone reason)
{
	pcb->cwnd = f->undo.cwnd > pcb->cwnd ? f->undo.cwnd : pcb->cwnd;
	pcb->ssthresh = f->undo.ssthresh > pcb->ssthresh ? f->undo.ssthresh : pcb->ssthresh;
	pcb->congestion_state = f->undo.state;
	pcb->flags &= ~(uint32_t)(TCP_PCB_RECOVERY | TCP_PCB_RESEND | TCP_PCB_CWR);
	pcb->recover = pcb->snd_una - 1;
	f->undo = (struct tcp_undo){0};
	f->rack_valid = false; // it may stand on what was sent again
	tcp_flight_unlose(pcb);
	counter_inc(&pcb->stack->counters[TCP_COUNTER_UNDONE + reason]);
	return true;
}

// RFC 3522 3.2, steps 4 and 5. The timestamps of an adopted connection are not our clock's.
static bool eifel(
	const struct tcp_pcb *pcb, const struct tcp_undo *u, const struct tcp_segment *seg)
{
	return (pcb->flags & (TCP_PCB_TIMESTAMPS | TCP_PCB_ADOPTED)) == TCP_PCB_TIMESTAMPS &&
	       (seg->options.present & TCP_OPTION_TIMESTAMPS) && seg->options.tsecr != 0 &&
	       seq_lt(seg->options.tsecr, u->ts);
}

// RFC 3708 3: everything that was sent again has arrived twice.
static bool all_duplicate(
	const struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t start, uint32_t end)
{
	struct tcp_undo *u = &f->undo;

	if (u->resent == 0 || seq_lt(start, u->start) || seq_gt(end, pcb->snd_nxt))
		return false;
	u->resent -= end - start < u->resent ? end - start : u->resent;
	return u->resent == 0 && f->lost == 0;
}

// RFC 5682 3.1, for connections with SACK; true: the timeout was spurious.
static bool frto(struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t acked, bool news)
{
	struct tcp_undo *u = &f->undo;

	if (u->frto == TCP_FRTO_ACK && acked > 0)
		u->frto = seq_ge(pcb->snd_una, pcb->recover) ? TCP_FRTO_OFF : TCP_FRTO_NEW;
	else if (u->frto >= TCP_FRTO_NEW && (acked > 0 || news)) {
		bool beyond = seq_gt(pcb->snd_una, pcb->recover) ||
			      (f->sacked > 0 && seq_gt(f->fack, pcb->recover));

		u->frto = TCP_FRTO_OFF;
		return !beyond && u->original > 0;
	}
	return false;
}

bool tcp_undo_input(struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked,
	const struct tcp_sack_news *news)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	struct tcp_undo *u;

	if (!f || !f->undo.armed)
		return false;
	u = &f->undo;
	if (u->timed && acked > 0) {
		u->timed = false;
		if (eifel(pcb, u, seg))
			return undo(pcb, f, TCP_UNDONE_TIMESTAMPS);
	}
	if (news->dsack && all_duplicate(pcb, f, news->dsack_start, news->dsack_end))
		return undo(pcb, f, TCP_UNDONE_DUPLICATES);
	if (u->frto != TCP_FRTO_OFF && frto(pcb, f, acked, news->blocks))
		return undo(pcb, f, TCP_UNDONE_FRTO);
	u->original = 0;
	return false;
}

bool tcp_undo_asks(const struct tcp_flight *f)
{
	return f && f->undo.frto >= TCP_FRTO_NEW;
}

void tcp_undo_asked(struct tcp_flight *f, bool any)
{
	if (f->undo.frto == TCP_FRTO_NEW)
		f->undo.frto = any ? TCP_FRTO_WAIT : TCP_FRTO_OFF;
}
