// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RFC 9293 3.10.7.4 (and 3.10.7.3) as a table: every state, every kind of segment, the
// reply and the state that follow.

#include "tcp_tests.h"

#include <rte_mbuf.h>

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
	KINDS,
};

static const char *const kind_names[KINDS] = {"OLD_SYN", "NEW_SYN", "RST_EXACT", "RST_INSIDE",
	"RST_OUTSIDE", "ACK_OLD", "ACK_ALL", "ACK_AHEAD", "TEXT_NEXT", "TEXT_OLD", "TEXT_BEYOND",
	"FIN_NEXT", "NO_ACK"};

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

int test_tcp_states(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(each_segment_in_each_state_gets_its_reply),
	};

	return cmocka_run_group_tests_name("tcp_states", tests, NULL, NULL);
}
