// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The programs at the ends: they write a known stream in their own rhythm, read in
// another, compare every octet, and end in one of the ways a program can.

#include "sim.h"

#include "base/assert.h"
#include "base/payload.h"
#include "base/wheel.h"

#include <errno.h>
#include <string.h>

#define PAUSE_US 20000 // after a write that found no memory

uint8_t sim_octet(const struct sim *sim, unsigned host, unsigned pair, uint64_t offset)
{
	uint64_t x = (offset >> 3) * 0x9e3779b97f4a7c15ull + sim->seed + host * 0x1234567 + pair;

	x ^= x >> 29;
	return (uint8_t)((x * 0xbf58476d1ce4e5b9ull) >> ((offset & 7) * 8));
}

static void stream_fill(const struct sim_app *app, uint64_t offset, uint8_t *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = sim_octet(app->sim, app->host, app->pair, offset + i);
}

static void finish(struct sim_app *app)
{
	app->pcb = NULL;
	app->done = true;
}

void sim_app_open(struct sim_app *app)
{
	struct sim *sim = app->sim;
	struct sim_host *host = &sim->hosts[app->host];
	const uint16_t client_port = (uint16_t)(SIM_CLIENTS + app->pair);
	const struct net_endpoint local = {
		.address = host->address, .port = app->client ? client_port : SIM_PORT};
	const struct net_endpoint remote = {.address = sim->hosts[!app->host].address,
		.port = app->client ? SIM_PORT : client_port};
	const struct tcp_connect_options options = {
		.no_delay = random_below(&sim->rng, 2) == 0,
		.hold_ack = random_below(&sim->rng, 4) == 0,
	};

	app->opens = false;
	SIM_CHECK(sim, tcp_connect(host->stack, &local, &remote, &options, app, &app->pcb) == 0);
	if (app->mss != 0)
		tcp_set_mss(app->pcb, app->mss);
	tcp_set_manual_ack(app->pcb, app->manual);
}

// A message as pieces: inline octets, a payload, inline octets again.
static int write_pieces(struct sim_app *app, uint32_t n)
{
	struct sim_host *host = &app->sim->hosts[app->host];
	uint32_t head = n > 6 ? 3 : 0;
	uint32_t tail = n > 12 ? TCP_PIECE_INLINE_MAX : 0;
	struct tcp_piece pieces[3] = {
		{.offset = TCP_PIECE_INLINE, .length = head},
		{.offset = 2, .length = n - head - tail},
		{.offset = TCP_PIECE_INLINE, .length = tail},
	};
	struct payload *p = payload_alloc(host->payloads, pieces[1].length + 2);
	int err;

	if (!p)
		return -ENOMEM;
	stream_fill(app, app->queued, pieces[0].bytes, head);
	stream_fill(app, app->queued + head, p->data + 2, pieces[1].length);
	stream_fill(app, app->queued + n - tail, pieces[2].bytes, tail);
	p->length = pieces[1].length + 2;
	pieces[1].payload = p;
	err = tcp_send(app->pcb, pieces, 3);
	payload_put(p);
	return err;
}

static int write_copy(struct sim_app *app, uint32_t n)
{
	uint8_t data[8192];

	stream_fill(app, app->queued, data, n);
	return tcp_send_copy(app->pcb, data, n);
}

// Is there anything that it would write, at its time?
static bool wants_to_write(const struct sim_app *app)
{
	return app->queued < app->to_send && tcp_send_queued(app->pcb) < 100000 &&
	       (!app->listens_first || tcp_recv_eof(app->pcb));
}

static void write_some(struct sim_app *app, uint64_t now_us)
{
	while (wants_to_write(app) && now_us >= app->next_write_us) {
		uint32_t n = 1 + random_below(&app->sim->rng, app->burst);
		int err;

		if (n > app->to_send - app->queued)
			n = (uint32_t)(app->to_send - app->queued);
		err = app->pieces ? write_pieces(app, n) : write_copy(app, n);
		if (err) {
			SIM_CHECK(app->sim, err == -ENOMEM || (app->fickle && err == -EAGAIN));
			app->next_write_us = now_us + PAUSE_US;
			return;
		}
		app->queued += n;
		if (app->think_us > 0)
			app->next_write_us =
				now_us + 1 + random_below(&app->sim->rng, (uint32_t)app->think_us);
	}
}

static void compare(struct sim_app *app, const struct tcp_span *span, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (span->data[i] != sim_octet(app->sim, !app->host, app->pair, app->received + i))
			sim_fail(app->sim, "host %u pair %u read a wrong octet at %lu", app->host,
				app->pair, (unsigned long)(app->received + i));
}

static void read_some(struct sim_app *app, uint64_t now_us)
{
	uint32_t budget = app->read_max;
	struct tcp_span span;

	if (now_us < app->next_read_us)
		return;
	while (budget > 0 && tcp_recv_peek(app->pcb, &span, 1) > 0) {
		uint32_t n = span.length < budget ? span.length : budget;

		compare(app, &span, n);
		app->received += n;
		SIM_CHECK(app->sim, app->received <= app->sim->apps[!app->host][app->pair].queued);
		tcp_recv_consume(app->pcb, n);
		budget -= n;
	}
	if (app->read_pause_us > 0 && budget < app->read_max)
		app->next_read_us =
			now_us + 1 + random_below(&app->sim->rng, (uint32_t)app->read_pause_us);
	if (app->nap_us > 0 && app->received >= app->nap_at) {
		app->next_read_us = now_us + app->nap_us;
		app->nap_us = 0;
	}
}

static void resize(struct sim_app *app)
{
	struct random *rng = &app->sim->rng;

	if (random_below(rng, 20) > 0)
		return;
	tcp_set_receive_buffer(app->pcb, random_below(rng, 4) * 10000);
	tcp_set_send_buffer(app->pcb, random_below(rng, 4) * 10000);
}

// Never for so long that the peer would think anything lost.
#define HOLD_US 20000

static void acknowledge_some(struct sim_app *app, uint64_t now_us)
{
	int32_t held = tcp_recv_held(app->pcb);
	uint32_t n;

	if (held <= 0 || now_us < app->next_ack_us)
		return;
	n = 1 + random_below(&app->sim->rng, (uint32_t)held);
	app->acknowledged += n;
	tcp_recv_acknowledge(app->pcb, n);
	app->next_ack_us = now_us + 1 + random_below(&app->sim->rng, HOLD_US);
}

static void end(struct sim_app *app)
{
	switch (app->ending) {
	case SIM_END_SHUTDOWN:
		if (!app->shut && app->queued == app->to_send) {
			tcp_shutdown(app->pcb);
			app->shut = app->sent_all = true;
		}
		if (app->shut && tcp_recv_eof(app->pcb) && tcp_recv_readable(app->pcb) == 0) {
			app->eof = true;
			app->eof_us = app->sim->now_us - SIM_START_US;
			tcp_close(app->pcb);
			finish(app);
		}
		break;
	case SIM_END_CLOSE:
		if (app->queued == app->to_send) {
			app->sent_all = tcp_recv_readable(app->pcb) == 0;
			tcp_close(app->pcb);
			finish(app);
		}
		break;
	case SIM_END_ABORT:
		if (app->queued + app->received >= app->abort_at) {
			tcp_abort(app->pcb);
			finish(app);
		}
		break;
	case SIM_END_ABORT_AT:
		if (app->sim->now_us >= app->abort_us) {
			tcp_abort(app->pcb);
			finish(app);
		}
		break;
	default:
		if (app->queued == app->to_send) {
			tcp_abort_after_send(app->pcb);
			finish(app);
		}
	}
}

void sim_app_events(struct sim_app *app, uint32_t events, uint64_t now_us)
{
	struct sim *sim = app->sim;

	SIM_CHECK(sim, app->pcb != NULL);
	SIM_CHECK(sim, events != 0 && !app->terminal);
	if (events & TCP_EVENT_ESTABLISHED) {
		SIM_CHECK(sim, !app->established);
		app->established = true;
		tcp_confirm(app->pcb);
	}
	if (events & TCP_EVENTS_TERMINAL) {
		app->terminal = events & TCP_EVENTS_TERMINAL;
		app->read_max = UINT32_MAX;
		app->next_read_us = 0;
		read_some(app, now_us);
		tcp_close(app->pcb);
		finish(app);
	}
}

void sim_app_turn(struct sim_app *app, uint64_t now_us)
{
	if (app->opens && now_us >= app->open_us)
		sim_app_open(app);
	if (!app->pcb)
		return;
	if (app->fickle)
		resize(app);
	read_some(app, now_us);
	acknowledge_some(app, now_us);
	write_some(app, now_us);
	if (now_us >= app->end_us)
		end(app);
}

uint64_t sim_app_next_us(const struct sim_app *app)
{
	uint64_t next = WHEEL_NEVER;

	if (!app->pcb)
		return app->opens ? app->open_us : WHEEL_NEVER;
	if (app->sim->now_us < app->end_us)
		next = app->end_us;
	if (app->ending == SIM_END_ABORT_AT && app->abort_us < next)
		next = app->abort_us;
	if (tcp_recv_readable(app->pcb) > 0 && app->next_read_us < next)
		next = app->next_read_us;
	if (tcp_recv_held(app->pcb) > 0 && app->next_ack_us < next)
		next = app->next_ack_us;
	if (wants_to_write(app) && app->next_write_us < next)
		next = app->next_write_us;
	return next;
}
