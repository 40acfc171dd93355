// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RFC 9293 3.10 as tables: every state against every kind of segment (3.10.7), every call of the
// user (3.10.1 to 3.10.6) and the timeouts (3.10.8): the reply and the state that follow. Longer
// than other files because the tables belong together.

#include "tcp_tests.h"

#include <rte_mbuf.h>

#include <errno.h>

// Our stream: octet 1 is sent and not acknowledged, where the state sends; then our FIN, where it
// has one. The peer's next sequence number is 1, or 2 behind its FIN.
enum kind {
	OLD_SYN,     // its SYN again
	NEW_SYN,     // a SYN within the window
	RST_EXACT,   // at RCV.NXT
	RST_INSIDE,  // elsewhere in the window
	RST_OUTSIDE, // beyond it
	ACK_OLD,     // of nothing new
	ACK_ALL,     // of everything sent
	ACK_AHEAD,   // of what was never sent
	TEXT_NEXT,   // 10 octets in sequence
	TEXT_OLD,    // what it has sent before
	TEXT_BEYOND, // beyond the window
	FIN_NEXT,    // in sequence, acknowledging nothing new
	NO_ACK,	     // text without the ACK bit
	SYN_ACK,     // its SYN again, with an ACK of everything sent
	ACK_ANCIENT, // of what was sent more than a window ago
	TEXT_EARLY,  // in the window, behind a hole
	FIN_EARLY,   // likewise
	FIN_ALL,     // in sequence, acknowledging everything sent
	KINDS,
};

static const char *const kind_names[KINDS] = {"OLD_SYN", "NEW_SYN", "RST_EXACT", "RST_INSIDE",
	"RST_OUTSIDE", "ACK_OLD", "ACK_ALL", "ACK_AHEAD", "TEXT_NEXT", "TEXT_OLD", "TEXT_BEYOND",
	"FIN_NEXT", "NO_ACK", "SYN_ACK", "ACK_ANCIENT", "TEXT_EARLY", "FIN_EARLY", "FIN_ALL"};

struct expectation {
	char reply; // '-' none, 'A' ACK, 'R' RST, 'S' SYN or SYN-ACK
	uint8_t state;
};

#define STAYS(r)       \
	{              \
		r, 255 \
	}
#define GOES(r, next)         \
	{                     \
		r, TCP_##next \
	}

static const struct expectation table[TCP_TIME_WAIT + 1][KINDS] =
	{
		[TCP_SYN_DEFERRED] =
			{
				[OLD_SYN] = STAYS('-'),
				[NEW_SYN] = STAYS('-'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('-'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('-'),
				[TEXT_NEXT] = STAYS('-'),
				[TEXT_OLD] = STAYS('-'),
				[TEXT_BEYOND] = STAYS('-'),
				[FIN_NEXT] = STAYS('-'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('-'),
				[ACK_ANCIENT] = STAYS('-'),
				[TEXT_EARLY] = STAYS('-'),
				[FIN_EARLY] = STAYS('-'),
				[FIN_ALL] = STAYS('-'),
			},
		[TCP_SYN_SENT] =
			{
				[OLD_SYN] = GOES('S', SYN_RECEIVED),
				[NEW_SYN] = GOES('S', SYN_RECEIVED),
				[RST_EXACT] = STAYS('-'), // without an ACK
				[RST_INSIDE] = STAYS('-'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('R'), // and the SYN again
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('R'),
				[TEXT_NEXT] = STAYS('R'),
				[TEXT_OLD] = STAYS('R'),
				[TEXT_BEYOND] = STAYS('R'),
				[FIN_NEXT] = STAYS('R'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = GOES('A', ESTABLISHED),
				[ACK_ANCIENT] = STAYS('R'),
				[TEXT_EARLY] = STAYS('R'),
				[FIN_EARLY] = STAYS('R'),
				[FIN_ALL] = STAYS('-'),
			},
		[TCP_SYN_RECEIVED] =
			{
				[OLD_SYN] = STAYS('S'),
				[NEW_SYN] = GOES('-', CLOSED), // "return to LISTEN"
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('R'),
				[ACK_ALL] = GOES('-', ESTABLISHED),
				[ACK_AHEAD] = STAYS('R'),
				[TEXT_NEXT] = STAYS('R'), // acknowledges nothing new: not our SYN
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = STAYS('R'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('S'),
				[ACK_ANCIENT] = STAYS('R'),
				[TEXT_EARLY] = STAYS('R'),
				[FIN_EARLY] = STAYS('R'),
				[FIN_ALL] = GOES('A', CLOSE_WAIT),
			},
		[TCP_ESTABLISHED] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('A'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = GOES('A', CLOSE_WAIT),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('A'),
				[FIN_EARLY] = STAYS('A'),
				[FIN_ALL] = GOES('A', CLOSE_WAIT),
			},
		[TCP_FIN_WAIT_1] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = GOES('-', FIN_WAIT_2),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('A'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = GOES('A', CLOSING),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('A'),
				[FIN_EARLY] = STAYS('A'),
				[FIN_ALL] = GOES('A', TIME_WAIT),
			},
		[TCP_FIN_WAIT_2] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('A'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = GOES('A', TIME_WAIT),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('A'),
				[FIN_EARLY] = STAYS('A'),
				[FIN_ALL] = GOES('A', TIME_WAIT),
			},
		[TCP_CLOSE_WAIT] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('-'), // behind its FIN: ignored
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = STAYS('-'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('-'),
				[FIN_EARLY] = STAYS('-'),
				[FIN_ALL] = STAYS('-'),
			},
		[TCP_CLOSING] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = GOES('-', TIME_WAIT),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('-'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = STAYS('-'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('-'),
				[FIN_EARLY] = STAYS('-'),
				[FIN_ALL] = GOES('-', TIME_WAIT),
			},
		[TCP_LAST_ACK] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = STAYS('A'),
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = GOES('-', CLOSED),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('-'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = STAYS('-'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('-'),
				[FIN_EARLY] = STAYS('-'),
				[FIN_ALL] = GOES('-', CLOSED),
			},
		[TCP_TIME_WAIT] =
			{
				[OLD_SYN] = STAYS('A'),
				[NEW_SYN] = GOES('-', CLOSED), // a new connection takes its place
				[RST_EXACT] = GOES('-', CLOSED),
				[RST_INSIDE] = STAYS('A'),
				[RST_OUTSIDE] = STAYS('-'),
				[ACK_OLD] = STAYS('-'),
				[ACK_ALL] = STAYS('-'),
				[ACK_AHEAD] = STAYS('A'),
				[TEXT_NEXT] = STAYS('-'),
				[TEXT_OLD] = STAYS('A'),
				[TEXT_BEYOND] = STAYS('A'),
				[FIN_NEXT] = STAYS('-'),
				[NO_ACK] = STAYS('-'),
				[SYN_ACK] = STAYS('A'),
				[ACK_ANCIENT] = STAYS('A'),
				[TEXT_EARLY] = STAYS('-'),
				[FIN_EARLY] = STAYS('-'),
				[FIN_ALL] = STAYS('-'),
			},
};

// Where a connection in the state stands.
struct position {
	uint32_t rcv_nxt, snd_una, snd_max;
};

static struct tcp_pcb *state_reach(struct fixture *f, enum tcp_state state, struct position *at)
{
	struct tcp_pcb *pcb;

	*at = (struct position){.rcv_nxt = 1, .snd_una = 0, .snd_max = 1};
	switch (state) {
	case TCP_SYN_DEFERRED:
		f->iss = 0;
		return knock(f);
	case TCP_SYN_SENT:
		listen_here(f);
		return connecting(f, NULL);
	case TCP_SYN_RECEIVED:
		pcb = knock(f);
		tcp_accept(pcb);
		flush(f);
		expect(f, SYN | ACK, 0, 1, 0);
		return pcb;
	default:
		pcb = established_passive(f);
	}
	at->snd_una = 1;
	if (state == TCP_FIN_WAIT_2 || state == TCP_TIME_WAIT) {
		tcp_shutdown(pcb);
		flush(f);
		expect(f, ACK | FIN, 1, 1, 0);
		peer(f, ACK, 1, 2, 0);
		at->snd_una = at->snd_max = 2;
		assert_int_equal(state_of(pcb), TCP_FIN_WAIT_2);
	} else {
		send_text(f, pcb, 1, 1);
		flush(f);
		expect(f, ACK, 1, 1, 1);
		at->snd_max = 2;
	}
	if (state == TCP_FIN_WAIT_1 || state == TCP_CLOSING) {
		tcp_shutdown(pcb);
		flush(f);
		expect(f, ACK | FIN, 2, 1, 0);
		at->snd_max = 3;
	}
	if (state == TCP_CLOSE_WAIT || state == TCP_CLOSING || state == TCP_LAST_ACK ||
		state == TCP_TIME_WAIT) {
		peer(f, ACK | FIN, 1, at->snd_una, 0);
		flush(f);
		expect(f, ACK, at->snd_max, 2, 0);
		at->rcv_nxt = 2;
	}
	if (state == TCP_LAST_ACK) {
		tcp_shutdown(pcb);
		flush(f);
		expect(f, ACK | FIN, 2, 2, 0);
		at->snd_max = 3;
	}
	return pcb;
}

static void kind_send(struct fixture *f, enum kind kind, const struct position *at)
{
	switch (kind) {
	case OLD_SYN:
		peer(f, SYN, 0, 0, 0);
		break;
	case NEW_SYN:
		peer(f, SYN, at->rcv_nxt + 100, 0, 0);
		break;
	case RST_EXACT:
		peer(f, RST, at->rcv_nxt, 0, 0);
		break;
	case RST_INSIDE:
		peer(f, RST, at->rcv_nxt + 7, 0, 0);
		break;
	case RST_OUTSIDE:
		peer(f, RST, at->rcv_nxt + 1000000, 0, 0);
		break;
	case ACK_OLD:
		peer(f, ACK, at->rcv_nxt, at->snd_una, 0);
		break;
	case ACK_ALL:
		peer(f, ACK, at->rcv_nxt, at->snd_max, 0);
		break;
	case ACK_AHEAD:
		peer(f, ACK, at->rcv_nxt, at->snd_max + 10, 0);
		break;
	case TEXT_NEXT:
		peer(f, ACK, at->rcv_nxt, at->snd_una, 10);
		break;
	case TEXT_OLD:
		peer(f, ACK, at->rcv_nxt - 20, at->snd_una, 10);
		break;
	case TEXT_BEYOND:
		peer(f, ACK, at->rcv_nxt + 1000000, at->snd_una, 10);
		break;
	case FIN_NEXT:
		peer(f, ACK | FIN, at->rcv_nxt, at->snd_una, 0);
		break;
	case SYN_ACK:
		peer(f, SYN | ACK, 0, at->snd_max, 0);
		break;
	case ACK_ANCIENT:
		peer(f, ACK, at->rcv_nxt, at->snd_una - 1000000, 10);
		break;
	case TEXT_EARLY:
		peer(f, ACK, at->rcv_nxt + 50, at->snd_una, 10);
		break;
	case FIN_EARLY:
		peer(f, ACK | FIN, at->rcv_nxt + 50, at->snd_una, 10);
		break;
	case FIN_ALL:
		peer(f, ACK | FIN, at->rcv_nxt, at->snd_max, 0);
		break;
	default:
		peer(f, 0, at->rcv_nxt, 0, 10);
	}
}

static char reply_take(struct fixture *f)
{
	struct tcp_segment seg;
	const uint8_t *ip;

	if (f->sent_count == 0)
		return '-';
	ip = rte_pktmbuf_mtod(f->sent[0], const uint8_t *);
	assert_true(tcp_segment_decode(ip + 20, 60, 60, &seg));
	drop_sent(f);
	return seg.flags & RST ? 'R' : seg.flags & SYN ? 'S' : 'A';
}

static void each_segment_in_each_state_gets_its_reply(void **state)
{
	struct fixture *f = *state;

	for (unsigned s = TCP_SYN_DEFERRED; s <= TCP_TIME_WAIT; s++)
		for (unsigned k = 0; k < KINDS; k++) {
			const struct expectation *e = &table[s][k];
			unsigned wanted = e->state == 255 ? s : e->state;
			struct position at;
			struct tcp_pcb *pcb, *other;
			char reply;

			fixture_restart(f);
			f->now_us += SECOND;
			tcp_advance(f->stack, f->now_us);
			pcb = state_reach(f, s, &at);
			assert_int_equal(state_of(pcb), s);
			kind_send(f, k, &at);
			pass(f, f->config.delayed_ack_us + 2 * MS);
			reply = reply_take(f);
			if (reply != e->reply || state_of(pcb) != wanted)
				fail_msg("%s in %s: reply %c, state %s", kind_names[k],
					tcp_state_name(s), reply, tcp_state_name(state_of(pcb)));
			// A terminal event says that it is over, unless it was over in order.
			if (wanted == TCP_CLOSED && s != TCP_LAST_ACK && s != TCP_TIME_WAIT)
				assert_true(events(f, &other) & TCP_EVENT_RESET);
			tcp_abort(pcb);
			drop_sent(f);
		}
}

// --- without a connection ------------------------------------------------------------------------

// RFC 9293 3.10.7.1 (CLOSED) and 3.10.7.2 (LISTEN): whether somebody listens matters only to a SYN.
static const struct {
	uint8_t flags;
	uint32_t length;
	char closed, listen; // '?': the user is asked
} strangers[] = {
	{SYN, 0, 'R', '?'},
	{SYN | FIN, 0, 'R', '?'},
	{SYN, 10, 'R', '?'},
	{SYN | ACK, 0, 'R', 'R'},
	{ACK, 0, 'R', 'R'},
	{ACK, 10, 'R', 'R'},
	{ACK | FIN, 0, 'R', 'R'},
	{0, 10, 'R', 'R'},
	{FIN, 0, 'R', 'R'},
	{RST, 0, '-', '-'},
	{RST | ACK, 0, '-', '-'},
	{RST | SYN, 0, '-', '-'},
};

static void a_stranger_is_reset_unless_it_knocks(void **state)
{
	struct fixture *f = *state;

	for (unsigned listens = 0; listens < 2; listens++)
		for (unsigned i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
			char wanted = listens ? strangers[i].listen : strangers[i].closed;
			struct tcp_pcb *pcb;
			uint32_t bits;
			char reply;

			fixture_restart(f);
			if (listens)
				listen_here(f);
			peer(f, strangers[i].flags, 100, 200, strangers[i].length);
			bits = events(f, &pcb);
			flush(f);
			reply = bits == TCP_EVENT_SYN ? '?' : reply_take(f);
			if (reply != wanted)
				fail_msg("flags %#x, listener %u: %c", strangers[i].flags, listens,
					reply);
		}
}

// --- calls and timeouts --------------------------------------------------------------------------

enum call {
	SEND,	  // 10 octets, Nagle's algorithm off
	RECEIVE,  // nothing is there to be read
	OPEN,	  // the same tuple once more
	SHUTDOWN, // CLOSE of the RFC, which lets the user go on receiving
	CLOSE,	  // and to have nothing to do with it any more
	ABORT,
	RTO,	 // the retransmission timeout, once
	GIVE_UP, // until it is given up
	CALLS,
};

static const char *const call_names[CALLS] = {
	"SEND", "RECEIVE", "OPEN", "SHUTDOWN", "CLOSE", "ABORT", "RTO", "GIVE_UP"};

// What leaves first at the flush: 'D' text, 'F' a FIN, others as above. `error` of SEND and OPEN.
struct outcome {
	int error;
	char reply;
	uint8_t state;
};

#define OK(r, next)              \
	{                        \
		0, r, TCP_##next \
	}
#define ERR(e, next)                  \
	{                             \
		-(e), '-', TCP_##next \
	}

static const struct outcome outcomes[TCP_TIME_WAIT + 1][CALLS] =
	{
		[TCP_SYN_DEFERRED] =
			{
				[SEND] = OK('-', SYN_DEFERRED),
				[RECEIVE] = OK('-', SYN_DEFERRED),
				[OPEN] = ERR(EADDRINUSE, SYN_DEFERRED),
				[SHUTDOWN] = OK('-', SYN_DEFERRED),
				[CLOSE] = OK('R', CLOSED),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('-', SYN_DEFERRED),
				[GIVE_UP] = OK('-', SYN_DEFERRED),
			},
		[TCP_SYN_SENT] =
			{
				[SEND] = OK('-', SYN_SENT),
				[RECEIVE] = OK('-', SYN_SENT),
				[OPEN] = ERR(EADDRINUSE, SYN_SENT),
				[SHUTDOWN] = OK('-', SYN_SENT),
				[CLOSE] = OK('-', CLOSED),
				[ABORT] = OK('-', CLOSED),
				[RTO] = OK('S', SYN_SENT),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_SYN_RECEIVED] =
			{
				[SEND] = OK('-', SYN_RECEIVED),
				[RECEIVE] = OK('-', SYN_RECEIVED),
				[OPEN] = ERR(EADDRINUSE, SYN_RECEIVED),
				[SHUTDOWN] = OK('-', SYN_RECEIVED),
				[CLOSE] = OK('-', SYN_RECEIVED),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('S', SYN_RECEIVED),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_ESTABLISHED] =
			{
				[SEND] = OK('D', ESTABLISHED),
				[RECEIVE] = OK('-', ESTABLISHED),
				[OPEN] = ERR(EADDRINUSE, ESTABLISHED),
				[SHUTDOWN] = OK('F', FIN_WAIT_1),
				[CLOSE] = OK('F', FIN_WAIT_1),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('D', ESTABLISHED),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_FIN_WAIT_1] =
			{
				[SEND] = ERR(EPIPE, FIN_WAIT_1),
				[RECEIVE] = OK('-', FIN_WAIT_1),
				[OPEN] = ERR(EADDRINUSE, FIN_WAIT_1),
				[SHUTDOWN] = OK('-', FIN_WAIT_1),
				[CLOSE] = OK('-', FIN_WAIT_1),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('D', FIN_WAIT_1),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_FIN_WAIT_2] =
			{
				[SEND] = ERR(EPIPE, FIN_WAIT_2),
				[RECEIVE] = OK('-', FIN_WAIT_2),
				[OPEN] = ERR(EADDRINUSE, FIN_WAIT_2),
				[SHUTDOWN] = OK('-', FIN_WAIT_2),
				[CLOSE] = OK('-', FIN_WAIT_2),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('-', FIN_WAIT_2),
				[GIVE_UP] = OK('-', FIN_WAIT_2),
			},
		[TCP_CLOSE_WAIT] =
			{
				[SEND] = OK('D', CLOSE_WAIT),
				[RECEIVE] = OK('-', CLOSE_WAIT),
				[OPEN] = ERR(EADDRINUSE, CLOSE_WAIT),
				[SHUTDOWN] = OK('F', LAST_ACK),
				[CLOSE] = OK('F', LAST_ACK),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('D', CLOSE_WAIT),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_CLOSING] =
			{
				[SEND] = ERR(EPIPE, CLOSING),
				[RECEIVE] = OK('-', CLOSING),
				[OPEN] = ERR(EADDRINUSE, CLOSING),
				[SHUTDOWN] = OK('-', CLOSING),
				[CLOSE] = OK('-', CLOSING),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('D', CLOSING),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_LAST_ACK] =
			{
				[SEND] = ERR(EPIPE, LAST_ACK),
				[RECEIVE] = OK('-', LAST_ACK),
				[OPEN] = ERR(EADDRINUSE, LAST_ACK),
				[SHUTDOWN] = OK('-', LAST_ACK),
				[CLOSE] = OK('-', LAST_ACK),
				[ABORT] = OK('R', CLOSED),
				[RTO] = OK('D', LAST_ACK),
				[GIVE_UP] = OK('-', CLOSED),
			},
		[TCP_TIME_WAIT] =
			{
				[SEND] = ERR(EPIPE, TIME_WAIT),
				[RECEIVE] = OK('-', TIME_WAIT),
				[OPEN] = ERR(EADDRINUSE, TIME_WAIT),
				[SHUTDOWN] = OK('-', TIME_WAIT),
				[CLOSE] = OK('-', TIME_WAIT),
				[ABORT] = OK('-', CLOSED),
				[RTO] = OK('-', TIME_WAIT),
				[GIVE_UP] = OK('-', CLOSED),
			},
};

// The one connection's state, also when it is nobody's any more.
static enum tcp_state connection_state(const struct fixture *f)
{
	for (unsigned s = TCP_SYN_DEFERRED; s <= TCP_TIME_WAIT; s++)
		if (count_of(f, "tcp_connections", tcp_state_name(s)) > 0)
			return s;
	return TCP_CLOSED;
}

static char first_sent(struct fixture *f)
{
	struct tcp_segment seg;
	const uint8_t *ip;

	if (f->sent_count == 0)
		return '-';
	ip = rte_pktmbuf_mtod(f->sent[0], const uint8_t *);
	assert_true(tcp_segment_decode(ip + 20, 60, f->sent[0]->pkt_len - 20, &seg));
	return seg.length > 0 && !(seg.flags & RST) ? 'D' : seg.flags & FIN ? 'F' : reply_take(f);
}

static int call_make(struct fixture *f, enum call call, struct tcp_pcb *pcb)
{
	struct tcp_span span;
	struct tcp_pcb *other;

	switch (call) {
	case SEND:
		return tcp_send_copy(pcb, "0123456789", 10);
	case RECEIVE:
		return (int)tcp_recv_peek(pcb, &span, 1);
	case OPEN:
		return tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &other);
	case SHUTDOWN:
		tcp_shutdown(pcb);
		return 0;
	case CLOSE:
		tcp_close(pcb);
		return 0;
	case ABORT:
		tcp_abort(pcb);
		return 0;
	case RTO:
		pass(f, 1150 * MS);
		return 0;
	default:
		for (unsigned i = 0; i < 20; i++) {
			drop_sent(f);
			pass(f, 61 * SECOND);
		}
		return 0;
	}
}

static void each_call_in_each_state_has_its_outcome(void **state)
{
	struct fixture *f = *state;

	for (unsigned s = TCP_SYN_DEFERRED; s <= TCP_TIME_WAIT; s++)
		for (unsigned c = 0; c < CALLS; c++) {
			const struct outcome *o = &outcomes[s][c];
			struct position at;
			struct tcp_pcb *pcb;
			char reply;
			int error;

			fixture_restart(f);
			f->now_us += SECOND;
			tcp_advance(f->stack, f->now_us);
			pcb = state_reach(f, s, &at);
			tcp_set_no_delay(pcb, true);
			drop_sent(f);
			error = call_make(f, c, pcb);
			tcp_stack_check(f->stack);
			flush(f);
			reply = first_sent(f);
			if (error != o->error || reply != o->reply ||
				connection_state(f) != o->state)
				fail_msg("%s in %s: error %d, reply %c, state %s", call_names[c],
					tcp_state_name(s), error, reply,
					tcp_state_name(connection_state(f)));
			if (c != CLOSE && c != ABORT)
				tcp_abort(pcb);
			drop_sent(f);
		}
}

int test_tcp_states(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(each_segment_in_each_state_gets_its_reply),
		FIXTURE_TEST(a_stranger_is_reset_unless_it_knocks),
		FIXTURE_TEST(each_call_in_each_state_has_its_outcome),
	};

	return cmocka_run_group_tests_name("tcp_states", tests, NULL, NULL);
}
