// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// struct tcp_pcb: one connection (or listener), and what every part of the engine
// may do to it. Variables bear their RFC names. Written by the worker only.
//
// Lifetime. A pcb is in use from tcp_pcb_alloc() to tcp_pcb_free(). Who may hold a
// pointer: the table (while TCP_PCB_HASHED), the ready, flush and TIME-WAIT lists and the
// wheel (all by embedded nodes, removed in tcp_pcb_free()), children of a listener (which
// keep it from being freed), and the user while TCP_PCB_OWNED. A pcb that is neither owned
// nor needed by the protocol is freed at once.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/wheel.h"
#include "net/net.h"
#include "tcp/congestion.h"
#include "tcp/lookup.h"
#include "tcp/sendq.h"
#include "tcp/seq.h"
#include "tcp/tcp.h"

struct rte_mbuf;
struct tcp_chunk;
struct tcp_segment;
struct tcp_stack;

enum tcp_pcb_flag {
	TCP_PCB_OWNED = 1 << 0,	   // the user has it
	TCP_PCB_HASHED = 1 << 1,   // in the table
	TCP_PCB_PASSIVE = 1 << 2,  // came to a listener
	TCP_PCB_NO_DELAY = 1 << 3, // Nagle off
	TCP_PCB_HOLD_ACK = 1 << 4, // the handshake's last ACK waits for tcp_confirm()
	TCP_PCB_TIMESTAMPS = 1 << 5,
	TCP_PCB_FIN_QUEUED = 1 << 6,   // a FIN follows the queue
	TCP_PCB_EOF = 1 << 7,	       // the peer's FIN was processed
	TCP_PCB_EARLY_FIN = 1 << 8,    // the peer's FIN waits at rcv_fin for what is missing
	TCP_PCB_ACK_OWED = 1 << 9,     // something is to be acknowledged, now or later
	TCP_PCB_ACK_NOW = 1 << 10,     // at the next flush
	TCP_PCB_RECOVERY = 1 << 11,    // fast recovery (RFC 6582) up to `recover`
	TCP_PCB_PARTIAL = 1 << 12,     // the first partial ACK of this recovery was seen
	TCP_PCB_RESEND = 1 << 13,      // the segment at SND.UNA is to be sent again
	TCP_PCB_TIMING = 1 << 14,      // rtt_seq is being timed
	TCP_PCB_KARN = 1 << 15,	       // retransmitted since the last RTT sample
	TCP_PCB_SYN_LOST = 1 << 16,    // the SYN or SYN-ACK was sent more than once
	TCP_PCB_ABORT_LATER = 1 << 17, // tcp_abort_after_send()
	TCP_PCB_PUSHED = 1 << 18,      // the text received last ended with PSH
	TCP_PCB_SACK = 1 << 19,	       // both ends permit SACK: recovery_sack.c, not recovery.c
	TCP_PCB_DSACK = 1 << 20,       // dsack_start and dsack_length are to be reported
	TCP_PCB_REORDERED = 1 << 21,   // the path has reordered segments (RFC 8985 5.2)
	TCP_PCB_ECN = 1 << 22,	       // both ends do ECN
	TCP_PCB_ECE = 1 << 23,	       // CE is being echoed
	TCP_PCB_CWR = 1 << 24,	       // the next new segment says that the window was reduced
	TCP_PCB_REDUCED = 1 << 25,     // ... because of ECN, up to `recover`
	TCP_PCB_LISTENER = 1 << 26,    // it has `children`, no retransmits
	TCP_PCB_LINGER = 1 << 27,      // tcp_set_linger() is on
	TCP_PCB_ADOPTED = 1 << 28,     // half of a connection that others opened
	TCP_PCB_WSCALE = 1 << 29,      // the peer's SYN had the option
	TCP_PCB_PATH_OPEN = 1 << 30,
	TCP_PCB_MANUAL_ACK = 1u << 31, // tcp_set_manual_ack()
};

enum tcp_timer {
	TCP_TIMER_NONE,
	TCP_TIMER_REXMIT,     // RFC 6298
	TCP_TIMER_PROBE,      // of the tail (RFC 8985 7); retransmission follows
	TCP_TIMER_REORDER,    // what RACK waits for (RFC 8985 6.3); retransmission follows
	TCP_TIMER_PERSIST,    // RFC 9293 3.8.6.1
	TCP_TIMER_FIN_WAIT,   // FIN-WAIT-2 of nobody's
	TCP_TIMER_KEEP_ALIVE, // nothing is under way (RFC 1122 4.2.3.6)
	TCP_TIMER_TIME_WAIT,  // 2 MSL
};

// Text received and not consumed. Only one turn's receive buffers are borrowed; tcp_flush()
// copies what is left of them into chunks.
struct tcp_recvq {
	struct tcp_chunk *first, *last;		   // oldest text, in memory of our own
	struct rte_mbuf *borrowed, *borrowed_last; // newer text, in receive buffers
	struct tcp_chunk *early;		   // text beyond RCV.NXT, by sequence number
	uint32_t early_count;			   // chunks
	int32_t held; // TCP_PCB_MANUAL_ACK: octets consumed and not to be acknowledged yet; < 0: so
		      // many unread ones are acknowledged
};

struct tcp_pcb {
	// --- line 0: who speaks with whom, and how to get there; read for every segment
	struct net_path path; // its addresses are the connection's, open or not
	uint16_t local_port, remote_port;
	uint32_t flags; // enum tcp_pcb_flag

	// --- line 1: RFC 9293 3.3.1, RFC 7323 and RFC 5681 variables
	uint32_t snd_una __attribute__((aligned(64)));
	uint32_t snd_nxt;
	uint32_t snd_max; // one past the highest sequence number sent; > snd_nxt after a timeout
	uint32_t snd_wnd; // octets, scaled
	uint32_t snd_wl1, snd_wl2;
	uint32_t snd_wnd_max; // the largest window the peer has offered
	uint32_t cwnd, ssthresh;
	uint32_t rcv_nxt;
	uint32_t rcv_adv; // the right edge we have advertised: RCV.NXT + RCV.WND
	uint32_t last_ack_sent;
	uint32_t ts_recent;
	uint32_t unread;  // octets in recvq before RCV.NXT
	uint16_t mss;	  // octets of text a segment may carry to the peer
	uint16_t events;  // reported at tcp_ready_next()
	uint8_t state;	  // enum tcp_state
	uint8_t timer;	  // enum tcp_timer
	uint8_t dupacks;  // duplicate ACKs in a row
	uint8_t rcv_segs; // segments with text since we last sent an ACK

	// --- line 2: sending
	struct tcp_sendq sendq __attribute__((aligned(64)));
	struct tcp_stack *stack;
	uint32_t flight;  // the record of the flight (flight.h); 0: none
	uint32_t rtt_seq; // TCP_PCB_TIMING: the octet timed, sent at rtt_us

	// --- line 3: receiving
	struct tcp_recvq recvq __attribute__((aligned(64)));
	struct list flush; // in stack->flush

	// --- line 4: timers
	struct wheel_timer wheel __attribute__((aligned(64)));
	struct list ready;  // in stack->ready, or of nobody's: in stack->time_wait
	uint64_t timer_us;  // when `timer` is due
	uint32_t delack_us; // low half of when an owed ACK is due; 0: never
	uint32_t rto_us;

	// --- the rest
	uint32_t srtt_us; // 0: no sample yet
	uint32_t rttvar_us;
	uint32_t rtt_us;      // low half of the time
	uint32_t sent_us;     // low half of when text was last sent
	uint32_t progress_ms; // stack->now_ms when the peer last acknowledged something new
	union {
		uint32_t iss;	  // until ESTABLISHED
		uint32_t recover; // RFC 6582; SND.MAX at the last reduction of the window
	};
	void *user;
	uint64_t bytes_in, bytes_out;
	union tcp_congestion_state congestion_state;
	uint32_t min_rtt_us;  // RFC 8985 5.2; 0: no sample yet
	uint32_t dsack_start; // TCP_PCB_DSACK: dsack_length octets that came twice
	union {
		uint32_t irs;	  // until ESTABLISHED
		uint32_t rcv_fin; // TCP_PCB_EARLY_FIN
	};
	uint32_t ts_offset;    // of our timestamps to stack->now_ms; TCP_PCB_ADOPTED: the timestamp
	uint32_t ts_recent_ms; // stack->now_ms when ts_recent was set
	uint32_t challenged_ms; // when a challenge ACK was last sent
	union {
		uint32_t low_water;	  // while there is an owner
		uint32_t linger_until_ms; // TCP_PCB_LINGER, when there is none any more
	};
	uint32_t heard_ms; // stack->now_ms when the peer last sent something acceptable
	union {		   // tcp_pcb_index(); 0: none
		uint32_t listener_index; // whose child this is; keeps it in memory
		uint32_t twin_index;	 // TCP_PCB_ADOPTED: the other half, while it is there
	};
	union {
		uint32_t retransmits;
		uint32_t children; // of a listener: pcbs whose listener it is
	};
	uint16_t peer_mss; // as announced
	uint16_t dsack_length;
	uint8_t snd_wscale, rcv_wscale;
	uint8_t backoff; // RTO is rto_us << backoff
	uint8_t tries;	 // transmissions of one segment (or probes) without an answer
	uint8_t probes;	 // since the window closed, or since the peer fell silent
	union {
		uint8_t retries;     // RST + SYN again after an unacceptable ACK
		uint8_t unreachable; // enum tcp_unreachable, from the event on
	};
	uint8_t dupacks_due;  // duplicate ACKs to send beside the next one
	uint8_t congestion;   // enum tcp_congestion
	uint8_t reo_wnd_mult; // RFC 8985 6.2 step 4
	union {
		uint8_t reo_wnd_persist; // the same
		uint8_t syn_retries;	 // at most; of one that we open, until ESTABLISHED
	};
	uint8_t keep_probes;
	uint8_t keep_interval_s;
	uint16_t keep_idle_s; // 0: no keep-alives
	uint16_t linger_s;    // TCP_PCB_LINGER
	uint16_t receive_kib; // receive buffer; 0: the stack's
	uint16_t send_kib;    // send buffer; 0: as much as the pool of pieces holds
};

_Static_assert(offsetof(struct tcp_pcb, snd_una) == 64, "line 1");
_Static_assert(offsetof(struct tcp_pcb, sendq) == 128, "line 2");
_Static_assert(offsetof(struct tcp_pcb, recvq) == 192, "what is hot fits three lines");
_Static_assert(offsetof(struct tcp_pcb, wheel) == 256, "line 4");
// The table takes up to four slots a connection, the flights one index.
_Static_assert(sizeof(struct tcp_pcb) + 4 * sizeof(struct tcp_slot) + sizeof(uint32_t) <= 512,
	"an idle connection costs at most 512 bytes");

// --- pcb.c
// NULL when connections_max are in use and no TIME-WAIT can be recycled. State CLOSED, not owned.
struct tcp_pcb *tcp_pcb_alloc(struct tcp_stack *stack);
// Gives everything back. Nobody may hold it afterwards.
void tcp_pcb_free(struct tcp_pcb *pcb);
void tcp_pcb_set_state(struct tcp_pcb *pcb, enum tcp_state state);
// Before it goes into the table.
void tcp_pcb_set_endpoints(
	struct tcp_pcb *pcb, const struct net_endpoint *local, const struct net_endpoint *remote);
// Puts it on the ready list, if it is owned.
void tcp_pcb_raise(struct tcp_pcb *pcb, uint32_t events);
// The protocol is done with it: out of the table, timers off, send queue dropped; CLOSED until the
// owner ends it, freed when there is none. What was received stays readable.
void tcp_pcb_finish(struct tcp_pcb *pcb, uint32_t events);
// tcp_abort_after_send(): the RST, once everything has been sent. The pcb may be gone afterwards.
void tcp_abort_if_sent(struct tcp_pcb *pcb);
// The user lets go; no event names it any more.
void tcp_pcb_disown(struct tcp_pcb *pcb);
// 2 MSL from now on.
void tcp_pcb_enter_time_wait(struct tcp_pcb *pcb);
void tcp_pcb_mark_flush(struct tcp_pcb *pcb);
// Our SYN is acknowledged: initial windows, ESTABLISHED (or FIN-WAIT-1 when shut down before).
void tcp_pcb_established(struct tcp_pcb *pcb);
// Our FIN was sent and SND.NXT stands behind it.
static inline bool tcp_pcb_fin_is_behind(const struct tcp_pcb *pcb)
{
	return pcb->snd_nxt - pcb->snd_una != pcb->sendq.sent;
}
// What is queued may be sent: the handshake is done and our FIN is not acknowledged.
static inline bool tcp_state_sends(uint8_t state)
{
	return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT_1 || state == TCP_CLOSE_WAIT ||
	       state == TCP_CLOSING || state == TCP_LAST_ACK;
}
// Text may arrive.
static inline bool tcp_state_receives(uint8_t state)
{
	return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT_1 || state == TCP_FIN_WAIT_2;
}
static inline bool tcp_pcb_owes_ack(const struct tcp_pcb *pcb)
{
	return (pcb->flags & (TCP_PCB_ACK_OWED | TCP_PCB_ACK_NOW)) != 0;
}
// What our next segment says of the time. An adopted connection has no clock of its own: its
// timestamps are those that the end it stands for was last seen with, so they tell no RTT.
uint32_t tcp_pcb_timestamp(const struct tcp_pcb *pcb);
// The ACK number of what we send: RCV.NXT, unless the user acknowledges. It never goes back.
static inline uint32_t tcp_pcb_ack(const struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_MANUAL_ACK))
		return pcb->rcv_nxt;
	return seq_max(pcb->last_ack_sent, pcb->rcv_nxt - pcb->unread - (uint32_t)pcb->recvq.held);
}
// Text before RCV.NXT that the peer must not hear of yet.
static inline bool tcp_pcb_holds(const struct tcp_pcb *pcb)
{
	return tcp_pcb_ack(pcb) != pcb->rcv_nxt;
}
// An ACK leaves at the next flush.
void tcp_pcb_ack_now(struct tcp_pcb *pcb);

// --- open.c
// Local and remote address are set: resolves the path. Errors of net_path_open().
int tcp_pcb_open_path(struct tcp_pcb *pcb);
// ISN and timestamp offset (RFC 6528, RFC 7323 7.1); the ISN lies behind `beyond` when given.
void tcp_pcb_choose_isn(struct tcp_pcb *pcb, const uint32_t *beyond);
// The peer's SYN tells IRS, MSS, window scale, timestamps.
void tcp_pcb_learn_syn(struct tcp_pcb *pcb, const struct tcp_segment *syn);
// May a new incarnation take the place of this TIME-WAIT? If so it is put out of the way, and
// ret_beyond is where the new ISN has to lie behind.
bool tcp_time_wait_reuse(struct tcp_pcb *pcb, const struct tcp_segment *syn, uint32_t *ret_beyond);

// --- mss.c
// Octets of text that fit the path, the peer and a frame, options taken off.
void tcp_mss_update(struct tcp_pcb *pcb);
// What we announce (RFC 6691): what the path's MTU holds.
uint16_t tcp_mss_announced(const struct tcp_pcb *pcb);
// "Fragmentation needed" said `mtu`: false when that is nothing new.
bool tcp_mss_lower(struct tcp_pcb *pcb, uint16_t mtu);

// The user wants no segment to carry more than this. Lowers the path's MTU, so that all else
// follows.
void tcp_mss_limit(struct tcp_pcb *pcb, uint16_t mss);

// --- options.c
// Whatever was set on the listener.
void tcp_options_inherit(struct tcp_pcb *pcb, const struct tcp_pcb *listener);
uint32_t tcp_receive_buffer(const struct tcp_pcb *pcb);
// -EAGAIN when the send buffer has no room for `length` octets.
int tcp_send_room_check(const struct tcp_pcb *pcb, uint64_t length);

// --- recv.c
// Takes over m (or frees it): `length` octets from `offset` on are the text at RCV.NXT.
void tcp_recvq_append(struct tcp_pcb *pcb, struct rte_mbuf *m, uint32_t offset, uint32_t length);
// Copies what is borrowed into chunks. False when payloads ran out: the rest is still borrowed.
bool tcp_recvq_settle(struct tcp_pcb *pcb);
// Forgets what is borrowed: RCV.NXT goes back, the peer sends it again.
void tcp_recvq_roll_back(struct tcp_pcb *pcb);
void tcp_recvq_clear(struct tcp_pcb *pcb);
// Room for text in sequence, as a right edge; at least rcv_adv (RFC 9293 3.8.6.2.2).
uint32_t tcp_recvq_edge(const struct tcp_pcb *pcb);
void tcp_recvq_check(const struct tcp_pcb *pcb);

// The user does not acknowledge any more: all is.
void tcp_recv_release(struct tcp_pcb *pcb);

// --- reassembly.c
// Keeps a copy of text beyond RCV.NXT. False when there was no room for (all of) it.
bool tcp_reassembly_insert(struct tcp_pcb *pcb, uint32_t seq, const struct rte_mbuf *m,
	uint32_t offset, uint32_t length);
// Moves what is now in order over to the readable text; returns whether RCV.NXT moved.
bool tcp_reassembly_join(struct tcp_pcb *pcb);
// Gives up the last chunk, which the peer will send again; false when there is none.
bool tcp_reassembly_shrink(struct tcp_pcb *pcb);
void tcp_reassembly_clear(struct tcp_pcb *pcb);

// --- input_text.c
// The turn ends: what is borrowed is settled or rolled back, so that an ACK may leave.
void tcp_text_settle(struct tcp_pcb *pcb);

// --- output.c
// Sends what may be sent. False when no frame was free: to be called again.
bool tcp_output(struct tcp_pcb *pcb);
// Text or a FIN waits to be sent (again).
bool tcp_output_waits(const struct tcp_pcb *pcb);
// One new segment, if the peer's window takes one, even if it is one more than CWND allows. False:
// there is none (or no frame).
bool tcp_output_new_segment(struct tcp_pcb *pcb);
// The last segment of the flight again. False: no frame.
bool tcp_output_last_segment(struct tcp_pcb *pcb);
// The retransmission queue from SND.UNA on is to be sent again.
void tcp_output_rewind(struct tcp_pcb *pcb);
// One octet (or what a small window takes), for the persist timer.
void tcp_output_probe(struct tcp_pcb *pcb);

// --- emit.c
// One segment of the connection: RCV.NXT, window and timestamps are filled in.
struct tcp_emission {
	uint32_t seq;
	uint32_t length;	// of text, from `from` on
	struct tcp_cursor from; // moved on
	uint8_t flags;
	bool control; // may use the reserved frames
};
bool tcp_emit(struct tcp_pcb *pcb, struct tcp_emission *emission);
// The window field of a SYN or SYN-ACK.
uint16_t tcp_window_of_syn(const struct tcp_pcb *pcb);
bool tcp_emit_ack(struct tcp_pcb *pcb);
// An ACK before the window, which draws one from a peer that lives (RFC 1122 4.2.3.6).
void tcp_emit_keep_alive(struct tcp_pcb *pcb);
// RST at SND.NXT, for an abort. Lost when no frame is free: the peer's next segment draws another.
void tcp_emit_reset(struct tcp_pcb *pcb);
// A segment of no pcb, without text. False when no frame was free.
bool tcp_emit_bare(
	struct tcp_stack *stack, struct net_path *path, const struct tcp_segment *segment);
// The RST that RFC 9293 3.5.2 and 3.10.7 prescribe as the answer to a segment.
void tcp_emit_reset_to(
	struct tcp_stack *stack, struct net_path *path, const struct tcp_segment *seg);
// ACK now, if the rates allow another one that an attacker may have provoked (RFC 5961 7).
void tcp_challenge_ack(struct tcp_pcb *pcb);

// --- timer.c
void tcp_timer_set(struct tcp_pcb *pcb, enum tcp_timer timer, uint64_t delay_us);
void tcp_timer_stop(struct tcp_pcb *pcb);
// Nothing is under way any more: only a keep-alive may be due some day.
void tcp_timer_idle(struct tcp_pcb *pcb);
void tcp_timer_rexmit(struct tcp_pcb *pcb); // (re)starts the retransmission timer, or the probe's
// New text was sent: the probe, if one is worth sending, is put off.
void tcp_timer_sent(struct tcp_pcb *pcb);
void tcp_timer_reorder(struct tcp_pcb *pcb, uint32_t delay_us);
// An ACK is being waited for, and something happens when none comes.
static inline bool tcp_timer_awaits_ack(const struct tcp_pcb *pcb)
{
	return pcb->timer >= TCP_TIMER_REXMIT && pcb->timer <= TCP_TIMER_REORDER;
}
void tcp_timer_delack(struct tcp_pcb *pcb); // starts the delayed ACK timer unless it runs
// When an owed ACK is due; WHEEL_NEVER.
uint64_t tcp_timer_delack_us(const struct tcp_pcb *pcb);
void tcp_timer_fire(struct tcp_pcb *pcb);

// --- rtt.c
void tcp_rtt_init(struct tcp_pcb *pcb);
// The octet at `seq` is sent for the first time.
void tcp_rtt_start(struct tcp_pcb *pcb, uint32_t seq);
void tcp_rtt_retransmitted(struct tcp_pcb *pcb);
// `ack` acknowledged something new; takes a sample where Karn's rule or a timestamp allows.
void tcp_rtt_acked(struct tcp_pcb *pcb, const struct tcp_segment *seg);
// Text may be sent from now on: the RTO for that, when the handshake gave no sample.
void tcp_rtt_established(struct tcp_pcb *pcb);
// RTO with its backoff.
uint64_t tcp_rtt_timeout_us(const struct tcp_pcb *pcb);

// --- recovery.c: without SACK
void tcp_recovery_duplicate(struct tcp_pcb *pcb);
void tcp_recovery_acked(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight);
void tcp_recovery_timeout(struct tcp_pcb *pcb); // with SACK as well
// What may be outstanding as far as the network is concerned.
uint32_t tcp_recovery_window(const struct tcp_pcb *pcb);

// --- recovery_sack.c
// An acceptable segment with an ACK of `acked` new octets of `flight` outstanding ones.
void tcp_recovery_sack(
	struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked, uint32_t flight);
// The reordering timer has expired.
void tcp_recovery_reorder_expired(struct tcp_pcb *pcb);

// --- check.c
void tcp_pcb_check(const struct tcp_pcb *pcb);
