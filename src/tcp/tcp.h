// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The TCP engine (RFC 9293): one `struct tcp_stack` a worker, one `struct tcp_pcb`
// a connection. No globals, no clock, no randomness of its own, no callbacks.
// Everything runs on the owner's thread.
//
// One turn of the owner's loop:
//
//   tcp_advance(now)                 timers up to now; sets the turn's time
//   tcp_input(delivery) …            consumes segments
//   while ((pcb = tcp_ready_next()))  what happened to whom: event bits
//       tcp_recv_peek/consume, tcp_send, tcp_shutdown, tcp_close …
//   tcp_flush()                      builds and sends segments, settles what was not read
//   sleep until tcp_next_deadline()  at the latest
//
// Ownership. A pcb belongs to the user from the call (or TCP_EVENT_SYN or COOKIE) that made it
// until exactly one of tcp_close(), tcp_abort(), tcp_abort_after_send(), tcp_refuse(); after that
// the pointer must not be used, no further event names it, and the engine finishes alone (FIN
// handshake, TIME-WAIT). Also a pcb that has reported RESET, TIMEOUT, REFUSED or UNREACHABLE stays
// the user's until then.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counters.h"
#include "net/address.h"

struct net;
struct net_delivery;
struct net_path;
struct payload;
struct payload_pool;
struct random;
struct tcp_pcb;
struct tcp_segment;
struct tcp_stack;

// RFC 1122 4.2.3.6: what asks a silent peer whether it is still there.
struct tcp_keep_alive {
	uint32_t idle_s;     // silence before the first probe; 0: never; at most 65535
	uint32_t interval_s; // between probes without an answer; at most 255
	uint32_t probes;     // without an answer, before TIMEOUT; at most 255
};

enum tcp_congestion {
	TCP_CONGESTION_CUBIC,	// RFC 9438
	TCP_CONGESTION_NEWRENO, // RFC 5681, RFC 6582
	TCP_CONGESTIONS,
};
const char *tcp_congestion_name(enum tcp_congestion congestion); // "cubic"

enum tcp_ecn {
	TCP_ECN_PASSIVE, // accepted from clients, not offered to servers
	TCP_ECN_ACTIVE,	 // offered, too
	TCP_ECN_OFF,
};

struct tcp_config {
	uint32_t connections_max; // pcbs, TIME-WAIT and half-open ones included
	uint32_t pieces_max;	  // pieces in all send queues together
	uint32_t receive_buffer;  // bytes a connection may hold unread; 256 KiB
	uint32_t backlog; // connections in SYN-RECEIVED or waiting for tcp_accept(), all listeners
	uint32_t rto_min_us;		// RFC 6298 (2.4) asks for 1 s; 200 ms, as Linux
	uint32_t rto_max_us;		// 60 s
	uint32_t rto_initial_us;	// 1 s
	uint32_t syn_retries;		// 6
	uint32_t retries;		// retransmissions of one segment before TIMEOUT; 15
	uint32_t time_wait_us;		// 2 MSL; 60 s
	uint32_t fin_wait_us;		// FIN-WAIT-2 without an owner; 60 s
	uint32_t delayed_ack_us;	// 40 ms
	uint32_t connect_retries;	// RST + retry after an unacceptable ACK in SYN-SENT, before
					// REFUSED; 1
	uint32_t resets_per_s;		// RSTs for segments of no connection; 1000
	uint32_t challenge_acks_per_s;	// RFC 5961 (7); 1000
	enum tcp_congestion congestion; // of new connections; CUBIC
	enum tcp_ecn ecn;		// RFC 3168; PASSIVE
	bool sack;			// RFC 2018 and what builds on it; true
	bool timestamps;		// RFC 7323; true
	bool syn_cookies; // past the backlog (RFC 4987 3.6), else SYNs are dropped there; true
	struct tcp_keep_alive keep_alive; // of new connections; {0, 75, 9}: off, as RFC 1122 asks
	// Parts of payloads from this size on are referred to by frames instead of copied into
	// them, where the netif takes chains; 2048, measured: a reference costs as much as copying
	// 2 KiB that are in the cache.
	uint32_t reference_least;
	uint8_t secret[16]; // ISNs (RFC 6528) and timestamp offsets; survives restarts
};

// Defaults for every number above.
void tcp_config_init(struct tcp_config *config);

// `net`, `payloads`, `rng` must outlive the stack. -ENOMEM.
int tcp_stack_create(const char *name, const struct tcp_config *config, struct net *net,
	struct payload_pool *payloads, struct random *rng, uint64_t now_us,
	struct tcp_stack **ret_stack);
// Frees everything, silently (nothing is sent). Accepts NULL.
void tcp_stack_destroy(struct tcp_stack *stack);

// --- opening -------------------------------------------------------------------------------------

// LISTEN on local (all zero address: every address of ours). SYNs become TCP_EVENT_SYN on a new pcb
// whose tcp_pcb_listener() is this one; past the backlog, SYN cookies answer at once and the
// connection begins with TCP_EVENT_COOKIE. -EADDRINUSE, -ENOMEM.
int tcp_listen(struct tcp_stack *stack, const struct net_endpoint *local, void *user,
	struct tcp_pcb **ret_listener);

struct tcp_connect_options {
	bool hold_ack; // on the SYN-ACK report ESTABLISHED but send the final ACK only on
		       // tcp_confirm(), (or with the first data): the peer's accept() waits for it
	bool no_delay; // RFC 9293 3.7.4: Nagle off
	// May a connection between the two be made from this port? Asked of ephemeral ones; NULL:
	// every port will do.
	bool (*port_suits)(
		void *ctx, const struct net_endpoint *local, const struct net_endpoint *remote);
	void *port_ctx;
	uint8_t syn_retries; // 0: config.syn_retries
};

// SYN-SENT from the given local address (zeros: the one the route suggests) and port (0: an
// ephemeral one). -EADDRINUSE: the
// 4-tuple lives (a TIME-WAIT of ours is reused when RFC 6191 allows); -EHOSTUNREACH,
// -EADDRNOTAVAIL, -ENOMEM. An unacceptable ACK is answered with RST and the SYN repeated at once
// (the peer's TIME-WAIT, RFC 9293 3.10.7.3), connect_retries times, then REFUSED.
int tcp_connect(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct tcp_connect_options *options, void *user,
	struct tcp_pcb **ret_pcb);

// One end of a connection, as the handshake on the wire has shown it.
struct tcp_adopted_end {
	struct net_endpoint endpoint;
	uint32_t isn;
	uint32_t right_edge; // the highest ACK + (scaled) window that it has sent
	uint32_t tsval;	     // the latest it has sent
	uint16_t mss;	     // options of its SYN; 0: none
	uint8_t wscale;
	bool has_wscale, sack_permitted, timestamps;
	bool ecn; // its SYN had ECE and CWR, or its SYN-ACK had ECE alone (RFC 3168 6.1.1)
};

struct tcp_adoption {
	struct tcp_adopted_end self; // whose place is taken
	struct tcp_adopted_end peer; // who is spoken to, and must not notice
	struct tcp_pcb *twin; // the half that speaks to `self` (adopted with the ends exchanged),
			      // which hears its clock; NULL: it does not exist (yet)
};

// ESTABLISHED in the place of an end whose handshake is complete and of which nothing is in flight;
// the role that it had in the handshake does not matter. Nothing is sent and no event reported. The
// pcb takes over the opened `path`: one of net_path_observe() carries the MACs, VLAN tag, TTL,
// DSCP, flow label and MTU that the end was seen with, and its local address need not be ours.
// Handshake segments that are repeated draw an ACK. Timestamps stand still between those that
// `self` sends through its twin, so they never run ahead of its clock. -EADDRINUSE, -ENOMEM (the
// path stays the caller's).
int tcp_adopt(struct tcp_stack *stack, const struct tcp_adoption *adoption,
	const struct net_path *path, void *user, struct tcp_pcb **ret_pcb);
// `self` was seen with this timestamp elsewhere.
void tcp_adopted_clock(struct tcp_pcb *pcb, uint32_t tsval);

// Could the peer have sent this segment just now, or a moment ago? For who has to decide whether
// the peer is where the segment came from. Its ACK stands at the latest one or behind it, its text
// within a window of what is expected, before it too (what is sent again; a keep-alive), and its
// timestamp is not old: what whoever cannot see the connection would have to guess (RFC 5961 1.2).
bool tcp_plausible(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct tcp_segment *segment);
// From now on the connection's segments go down this path, which is the engine's from here on. What
// was learned of the MTU holds if it is less than the path's.
void tcp_reroute(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote, const struct net_path *path);

// For who decides which segments are tcp_input()'s: is there a connection between the two?
enum tcp_presence {
	TCP_ABSENT,
	TCP_ORPHAN, // its user has let go of it, and it is about to end
	TCP_OWNED,
};
enum tcp_presence tcp_presence(const struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote);
// Frees it, if it is there; nothing is sent. Nobody may own it but who calls.
void tcp_forget(struct tcp_stack *stack, const struct net_endpoint *local,
	const struct net_endpoint *remote);
// A segment to somebody whose place was taken, of a connection that is there no more: RST down
// `path`, within config.resets_per_s. The delivery stays the caller's.
void tcp_stray_reset(
	struct tcp_stack *stack, struct net_path *path, const struct net_delivery *delivery);
// Asks the other end of such a connection to show where it stands: a segment that no end accepts
// draws an ACK (RFC 9293 3.10.7.4), to which tcp_stray_reset() is the answer.
void tcp_stray_ask(
	struct tcp_stack *stack, struct net_path *path, uint16_t local_port, uint16_t remote_port);

// The deferred decision on a SYN (after TCP_EVENT_SYN). Until it is made, repeats of the SYN are
// ignored and counted.
void tcp_accept(struct tcp_pcb *pcb); // SYN-ACK; ESTABLISHED follows
void tcp_refuse(struct tcp_pcb *pcb); // RST; ends ownership
// Sends the final ACK that hold_ack held back. Harmless later.
void tcp_confirm(struct tcp_pcb *pcb);

// --- events --------------------------------------------------------------------------------------

enum tcp_event {
	TCP_EVENT_SYN = 1 << 0, // a client knocks: tcp_accept() or tcp_refuse()
	TCP_EVENT_ESTABLISHED = 1 << 1,
	TCP_EVENT_READABLE = 1 << 2, // bytes in order wait (edge: reported when bytes were added)
	TCP_EVENT_EOF = 1 << 3,	     // peer's FIN: nothing follows what is readable
	TCP_EVENT_WRITABLE = 1 << 4, // the send queue fell to tcp_set_low_water() or below (edge)
	TCP_EVENT_RESET = 1 << 5,    // terminal: RST from the peer
	TCP_EVENT_REFUSED = 1 << 6,  // terminal: RST while connecting
	TCP_EVENT_TIMEOUT = 1 << 7,  // terminal: retransmissions used up
	TCP_EVENT_UNREACHABLE = 1 << 8, // terminal while connecting: no neighbour, ICMP
	// A client that was answered with a SYN cookie has come back: a new pcb with a
	// tcp_pcb_listener() and no user, together with ESTABLISHED (and with all that follows it).
	// SYN was not and will not be reported: tcp_abort() is the way to turn it away.
	TCP_EVENT_COOKIE = 1 << 9,
	// tcp_set_manual_ack(): the peer has acknowledged something, text or FIN.
	TCP_EVENT_ACKNOWLEDGED = 1 << 10,
};
#define TCP_EVENTS_TERMINAL \
	(TCP_EVENT_RESET | TCP_EVENT_REFUSED | TCP_EVENT_TIMEOUT | TCP_EVENT_UNREACHABLE)

// The pcb with news that has waited longest, and its event bits (now cleared); NULL when none is
// left.
struct tcp_pcb *tcp_ready_next(struct tcp_stack *stack, uint32_t *ret_events);

// Why: of a pcb that has reported UNREACHABLE.
enum tcp_unreachable {
	TCP_UNREACHABLE_HOST, // nobody answers for the next hop, or says so for the host
	TCP_UNREACHABLE_NET,
	TCP_UNREACHABLE_PORT,
	TCP_UNREACHABLE_PROTOCOL,
	TCP_UNREACHABLE_PROHIBITED,
};
enum tcp_unreachable tcp_pcb_unreachable(const struct tcp_pcb *pcb);

void *tcp_pcb_user(const struct tcp_pcb *pcb);
void tcp_pcb_set_user(struct tcp_pcb *pcb, void *user);
struct tcp_pcb *tcp_pcb_listener(const struct tcp_pcb *pcb); // NULL unless accepted
struct net_endpoint tcp_pcb_local(const struct tcp_pcb *pcb);
struct net_endpoint tcp_pcb_remote(const struct tcp_pcb *pcb);

// --- receiving -----------------------------------------------------------------------------------

struct tcp_span {
	const uint8_t *data;
	uint32_t length;
};

// The bytes in order that wait, as at most `max` spans, oldest first; returns how many. They stay
// valid until consumed or until tcp_flush(). Reading leaves them: tcp_recv_consume() takes.
unsigned tcp_recv_peek(struct tcp_pcb *pcb, struct tcp_span *ret_spans, unsigned max);
// Takes n bytes (n <= readable); opens the window.
void tcp_recv_consume(struct tcp_pcb *pcb, uint32_t n);
uint32_t tcp_recv_readable(const struct tcp_pcb *pcb);
// tcp_set_manual_ack(): what has been consumed and is not acknowledged to the peer. Negative: so
// much more than was consumed is.
int32_t tcp_recv_held(const struct tcp_pcb *pcb);
// The oldest n octets that are not acknowledged are now (n <= held + readable); readable ones among
// them are when they have outlived this turn.
void tcp_recv_acknowledge(struct tcp_pcb *pcb, uint32_t n);
// RFC 7323 4.3 for who acknowledges late. TS.Recent is the timestamp of the first segment that is
// not acknowledged, and while there always is one it would stay for ever. So whoever acknowledges
// what came up to some time can echo the timestamp of then: the latest one of an adopted connection
// (of others, TS.Recent). Older ones than TS.Recent are not echoed.
uint32_t tcp_recv_clock(const struct tcp_pcb *pcb);
void tcp_recv_echo(struct tcp_pcb *pcb, uint32_t tsval);
// Was EOF reported? (true also with bytes left to read)
bool tcp_recv_eof(const struct tcp_pcb *pcb);

// --- sending -------------------------------------------------------------------------------------

// A piece of the byte stream: a range of a payload, or up to 8 bytes in place (packet identifiers,
// acknowledgements). 16 bytes; the send queue, which is the retransmission queue too, is made of
// them.
#define TCP_PIECE_INLINE     UINT32_MAX
#define TCP_PIECE_INLINE_MAX 8

struct tcp_piece {
	union {
		struct payload *payload;
		uint8_t bytes[TCP_PIECE_INLINE_MAX];
	};
	uint32_t offset; // TCP_PIECE_INLINE: the bytes are in place
	uint32_t length;
};

// Queues all pieces or none; takes a reference of its own on each payload. Sent at tcp_flush() at
// the latest; pieces of one call and of later ones are packed into as few segments as fit. -ENOMEM:
// no room for the pieces (pieces_max); -EPIPE: closed, shut down or dead. Empty pieces are skipped.
// Data may be queued before ESTABLISHED.
int tcp_send(struct tcp_pcb *pcb, const struct tcp_piece *pieces, unsigned count);
// Copies `length` bytes into payloads of the pool (appending to the queue's last payload while
// that is this pcb's own and has room). Same errors.
int tcp_send_copy(struct tcp_pcb *pcb, const void *data, size_t length);

uint64_t tcp_send_queued(const struct tcp_pcb *pcb); // bytes not yet acknowledged, sent or not
uint64_t tcp_send_unsent(const struct tcp_pcb *pcb); // bytes never transmitted
uint32_t tcp_send_pieces(const struct tcp_pcb *pcb); // pieces those bytes are made of
// The sequence number behind all that is queued, a FIN included, and up to where the peer has
// acknowledged. The former lies behind the latter for ever when the connection has ended before its
// time: what it is given is lost.
uint32_t tcp_send_end(const struct tcp_pcb *pcb);
uint32_t tcp_send_acknowledged(const struct tcp_pcb *pcb);
// WRITABLE is reported when tcp_send_queued() comes down to `bytes` from above.
void tcp_set_low_water(struct tcp_pcb *pcb, uint32_t bytes);
// When the peer last acknowledged new data (or the connection was established).
uint64_t tcp_send_progress_us(const struct tcp_pcb *pcb);
// pieces in all queues together, permille of pieces_max.
unsigned tcp_pieces_pressure(const struct tcp_stack *stack);

// --- options -------------------------------------------------------------------------------------
//
// At any time; those of a listener are inherited by the connections that come to it.

// Nagle's algorithm (RFC 9293 3.7.4) off. Off by default: small segments wait.
void tcp_set_no_delay(struct tcp_pcb *pcb, bool on);
// Larger values are cut to what struct tcp_keep_alive says.
void tcp_set_keep_alive(struct tcp_pcb *pcb, const struct tcp_keep_alive *keep_alive);
// What tcp_close() does with what is queued: < 0: sends it, however long it takes (default); 0: RST
// at once; else RST when it is not acknowledged within so many seconds (at most 65535).
void tcp_set_linger(struct tcp_pcb *pcb, int seconds);
// Octets that may wait unread, in units of 1024; 0: config.receive_buffer, which is also what the
// window scale is made for. A right edge once advertised stays.
void tcp_set_receive_buffer(struct tcp_pcb *pcb, uint32_t bytes);
// tcp_send() and tcp_send_copy() return -EAGAIN when more octets than this would be queued (one
// call always fits an empty queue), in units of 1024; 0: no bound but pieces_max and the payloads.
void tcp_set_send_buffer(struct tcp_pcb *pcb, uint32_t bytes);
// No segment carries more text in either direction (RFC 9293 3.7.1); announced to the peer when set
// before the SYN or SYN-ACK is flushed. Can only be lowered.
void tcp_set_mss(struct tcp_pcb *pcb, uint16_t mss);

// Delivery apart from acknowledgement: what is received from now on can be read as ever, but the
// peer hears of it only as far as tcp_recv_acknowledge() has said after it was consumed. The peer's
// FIN counts as one octet, consumed when EOF is reported. No delayed ACKs are sent then, and early
// text is not reported before everything in front of it is acknowledged, or the peer would take
// what is held for lost. Held octets take no room in the receive buffer: whoever holds them bounds
// them, by not consuming more. Text that is acknowledged before it is consumed is what a sender may
// have to hear of before it sends the rest (Nagle's algorithm). Both ends may have ended before the
// peer's FIN is acknowledged: that is TIME-WAIT, too. tcp_close(), and turning it off, acknowledge
// all that is held; tcp_abort() and tcp_abort_after_send() do not. TCP_EVENT_ACKNOWLEDGED is
// reported.
void tcp_set_manual_ack(struct tcp_pcb *pcb, bool on);

void tcp_set_congestion(struct tcp_pcb *pcb, enum tcp_congestion congestion);

// --- ending --------------------------------------------------------------------------------------

// FIN after what is queued; receiving goes on. Ownership stays.
void tcp_shutdown(struct tcp_pcb *pcb);
// Orderly end: FIN after what is queued. With unread bytes, or bytes arriving later, RST
// (RFC 2525 2.17, as Linux). Ends ownership.
void tcp_close(struct tcp_pcb *pcb);
// RST now; queued data is dropped. Ends ownership.
void tcp_abort(struct tcp_pcb *pcb);
// RST right behind everything queued, as soon as all of it has been sent (or given up): like a
// reset that travels from end to end, it may overtake what is lost on the way, and it keeps its
// place among other connections. Received bytes are dropped. Ends ownership.
void tcp_abort_after_send(struct tcp_pcb *pcb);

// --- the owner's loop ----------------------------------------------------------------------------

// Consumes delivery->m (kinds TCP and ICMP_ERROR).
void tcp_input(struct tcp_stack *stack, const struct net_delivery *delivery);
// The same for a burst: the connections are fetched into the cache together, which is what counts
// when there are more than the cache holds.
void tcp_input_burst(
	struct tcp_stack *stack, const struct net_delivery *deliveries, unsigned count);
// Fetches the connection into the cache: for who goes over many of them, a few ahead.
void tcp_prefetch(const struct tcp_pcb *pcb);
// Sets the turn's time and runs what is due.
void tcp_advance(struct tcp_stack *stack, uint64_t now_us);
// Builds the turn's segments and acknowledgements; copies unread bytes out of receive mbufs.
void tcp_flush(struct tcp_stack *stack);
// Nothing happens before this by itself (a lower bound: timers are put off lazily); now while
// something waits for tcp_ready_next() or tcp_flush(); WHEEL_NEVER when idle.
uint64_t tcp_next_deadline(const struct tcp_stack *stack);

// --- looking in ----------------------------------------------------------------------------------

enum tcp_state { // RFC 9293 3.3.2; SYN_DEFERRED waits for tcp_accept()
	TCP_CLOSED,
	TCP_LISTEN,
	TCP_SYN_DEFERRED,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
};
const char *tcp_state_name(enum tcp_state state); // "ESTABLISHED"

struct tcp_info {
	enum tcp_state state;
	struct net_endpoint local, remote;
	uint32_t snd_una, snd_nxt, snd_wnd, rcv_nxt, rcv_wnd;
	uint32_t cwnd, ssthresh, mss; // bytes
	uint32_t srtt_us, rttvar_us;
	uint32_t rto_us; // as it stands, doublings included
	uint8_t backoff; // how often it was doubled since the last measurement
	uint32_t in_flight;
	uint64_t queued, unread;
	uint32_t held; // tcp_recv_held(), when positive
	uint64_t bytes_in, bytes_out;
	uint32_t retransmits;
	uint32_t pipe; // octets of those in flight that are thought to be in the network (RFC 6675)
	bool sack, timestamps, ecn; // what was negotiated
	bool recovery;		    // fast recovery is under way
	enum tcp_congestion congestion;
};
void tcp_pcb_info(const struct tcp_pcb *pcb, struct tcp_info *ret_info);

// Gauges and counters: tcp_connections{state}, tcp_retransmits_total, packets_dropped_total{reason}
// …
struct counter_set tcp_counters(const struct tcp_stack *stack);
// Pcbs and pieces in use, for "everything came back" checks.
struct tcp_usage {
	uint32_t pcbs, pcbs_max;
	uint32_t pieces, pieces_max;
	uint32_t pcb_bytes, piece_bytes; // of memory that each takes, its share of tables included
};
void tcp_stack_usage(const struct tcp_stack *stack, struct tcp_usage *ret_usage);
// Invariants of every pcb, for tests and fuzzers.
void tcp_stack_check(const struct tcp_stack *stack);
