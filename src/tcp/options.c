// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a user may set on a connection, or on a listener for those to come: no-delay,
// keep-alive, linger, buffers, MSS (RFC 9293 3.9.1.7 and 3.8.4, RFC 1122 4.2.3.6).
// Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/stack.h"

#include <errno.h>

#define KIB 1024u

static uint32_t at_most(uint32_t value, uint32_t max)
{
	return value < max ? value : max;
}

static uint16_t to_kib(uint32_t bytes)
{
	return (uint16_t)at_most(bytes / KIB + (bytes % KIB != 0), UINT16_MAX);
}

void tcp_set_no_delay(struct tcp_pcb *pcb, bool on)
{
	if (!on) {
		pcb->flags &= ~(uint32_t)TCP_PCB_NO_DELAY;
		return;
	}
	pcb->flags |= TCP_PCB_NO_DELAY;
	if (tcp_output_waits(pcb))
		tcp_pcb_mark_flush(pcb);
}

void tcp_set_keep_alive(struct tcp_pcb *pcb, const struct tcp_keep_alive *keep_alive)
{
	pcb->keep_idle_s = (uint16_t)at_most(keep_alive->idle_s, UINT16_MAX);
	pcb->keep_interval_s = (uint8_t)at_most(keep_alive->interval_s, UINT8_MAX);
	pcb->keep_probes = (uint8_t)at_most(keep_alive->probes, UINT8_MAX);
	if (pcb->timer == TCP_TIMER_NONE || pcb->timer == TCP_TIMER_KEEP_ALIVE)
		tcp_timer_idle(pcb);
}

void tcp_set_linger(struct tcp_pcb *pcb, int seconds)
{
	if (seconds < 0) {
		pcb->flags &= ~(uint32_t)TCP_PCB_LINGER;
		return;
	}
	pcb->flags |= TCP_PCB_LINGER;
	pcb->linger_s = (uint16_t)at_most((uint32_t)seconds, UINT16_MAX);
}

void tcp_set_receive_buffer(struct tcp_pcb *pcb, uint32_t bytes)
{
	pcb->receive_kib = to_kib(bytes);
}

void tcp_set_send_buffer(struct tcp_pcb *pcb, uint32_t bytes)
{
	pcb->send_kib = to_kib(bytes);
}

// A listener has no path, and no family perhaps: it keeps the number itself there.
void tcp_set_mss(struct tcp_pcb *pcb, uint16_t mss)
{
	if (pcb->state == TCP_LISTEN)
		pcb->path.mtu = mss;
	else if (pcb->flags & TCP_PCB_PATH_OPEN)
		tcp_mss_limit(pcb, mss);
}

void tcp_options_inherit(struct tcp_pcb *pcb, const struct tcp_pcb *listener)
{
	pcb->flags |= listener->flags & (TCP_PCB_NO_DELAY | TCP_PCB_LINGER | TCP_PCB_MANUAL_ACK);
	pcb->keep_idle_s = listener->keep_idle_s;
	pcb->keep_interval_s = listener->keep_interval_s;
	pcb->keep_probes = listener->keep_probes;
	pcb->linger_s = listener->linger_s;
	pcb->receive_kib = listener->receive_kib;
	pcb->send_kib = listener->send_kib;
	pcb->congestion = listener->congestion;
	if (listener->path.mtu != 0)
		tcp_mss_limit(pcb, listener->path.mtu);
}

uint32_t tcp_receive_buffer(const struct tcp_pcb *pcb)
{
	return pcb->receive_kib ? pcb->receive_kib * KIB : pcb->stack->config.receive_buffer;
}

int tcp_send_room_check(const struct tcp_pcb *pcb, uint64_t length)
{
	uint64_t queued = pcb->sendq.bytes;

	if (pcb->send_kib == 0 || queued == 0 || queued + length <= pcb->send_kib * KIB)
		return 0;
	return -EAGAIN;
}
