// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The peer that the test plays, and connections brought up with it.

#include "tcp_tests.h"

#include <rte_mbuf.h>

uint8_t text_octet(uint32_t seq)
{
	return (uint8_t)(seq * 31 + (seq >> 8));
}

static struct tcp_segment header_of(struct fixture *f, const struct peer_segment *s)
{
	struct tcp_segment seg = {
		.source = f->remote.port,
		.destination = f->local.port,
		.seq = PEER_ISN + s->seq,
		.ack = s->flags & ACK ? f->iss + s->ack : 0,
		.flags = s->flags,
		.wnd = s->wnd == 0		 ? PEER_WND
		       : s->wnd == PEER_WND_ZERO ? 0
						 : (uint16_t)s->wnd,
	};

	if (s->flags & SYN)
		seg.options = f->peer_options;
	else if (f->timestamps)
		seg.options.present = TCP_OPTION_TIMESTAMPS;
	if (s->sack_count > 0) {
		seg.options.present |= TCP_OPTION_SACK;
		seg.options.sack_count = s->sack_count;
		for (unsigned i = 0; i < s->sack_count; i++)
			seg.options.sack[i] = (struct tcp_sack_block){
				f->iss + s->sack[i].start, f->iss + s->sack[i].end};
	}
	seg.options.tsval = f->peer_options.tsval;
	seg.options.tsecr = s->flags & ACK ? f->ts_recent : 0;
	return seg;
}

void peer_send(struct fixture *f, const struct peer_segment *s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->receive);
	struct tcp_segment seg = header_of(f, s);
	struct net_delivery delivery = {
		.kind = NET_DELIVERY_TCP,
		.m = m,
		.source = f->remote.address,
		.destination = f->local.address,
		.netif = &f->netif,
		.ttl = 64,
		.ecn = s->ecn,
	};
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned header = tcp_segment_encode(ip + 20, &seg);

	for (uint32_t i = 0; i < s->length; i++)
		ip[20 + header + i] = text_octet(s->seq + i);
	m->l3_len = 20;
	m->data_len = (uint16_t)(20 + header + s->length);
	m->pkt_len = m->data_len;
	tcp_input(f->stack, &delivery);
	tcp_stack_check(f->stack);
}

void peer(struct fixture *f, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length)
{
	peer_send(f,
		&(struct peer_segment){.flags = flags, .seq = seq, .ack = ack, .length = length});
}

void listen_here(struct fixture *f)
{
	if (!f->listener)
		assert_int_equal(tcp_listen(f->stack, &f->local, f, &f->listener), 0);
}

struct tcp_pcb *knock(struct fixture *f)
{
	struct tcp_pcb *pcb;

	listen_here(f);
	peer(f, SYN, 0, 0, 0);
	assert_int_equal(events(f, &pcb), TCP_EVENT_SYN);
	assert_ptr_equal(tcp_pcb_listener(pcb), f->listener);
	return pcb;
}

struct tcp_pcb *established_passive(struct fixture *f)
{
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	f->timestamps = (f->last.options.present & TCP_OPTION_TIMESTAMPS) != 0;
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	flush(f);
	expect_nothing(f);
	return pcb;
}

struct tcp_pcb *connecting(struct fixture *f, const struct tcp_connect_options *options)
{
	struct tcp_pcb *pcb;

	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, options, f, &pcb), 0);
	assert_ptr_equal(tcp_pcb_user(pcb), f);
	flush(f);
	expect(f, SYN, 0, 0, 0);
	f->timestamps = (f->peer_options.present & TCP_OPTION_TIMESTAMPS) != 0;
	return pcb;
}

struct tcp_pcb *established_active(struct fixture *f)
{
	struct tcp_pcb *pcb = connecting(f, NULL);

	peer(f, SYN | ACK, 0, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	return pcb;
}

struct tcp_pcb *established_sack(struct fixture *f)
{
	struct tcp_pcb *pcb;

	f->peer_options.present |= TCP_OPTION_SACK_PERMITTED | TCP_OPTION_WSCALE;
	f->peer_options.wscale = 6;
	pcb = knock(f);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	f->timestamps = (f->last.options.present & TCP_OPTION_TIMESTAMPS) != 0;
	pass(f, SACK_RTT);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	flush(f);
	tcp_set_no_delay(pcb, true);
	return pcb;
}

void peer_sack(struct fixture *f, uint32_t ack, uint32_t start1, uint32_t end1, uint32_t start2,
	uint32_t end2)
{
	peer_send(f, &(struct peer_segment){
			     .flags = ACK,
			     .seq = 1,
			     .ack = ack,
			     .sack_count = (uint8_t)((start1 != end1) + (start2 != end2)),
			     .sack = {{start1, end1}, {start2, end2}},
		     });
}
