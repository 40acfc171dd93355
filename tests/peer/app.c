// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a connection does. sink: reads, compares with the pattern, closes after the peer. source:
// sends the pattern, shuts down, waits for the peer's end. echo: sends back what comes, in both
// roles' bounds.

#include "peer.h"

#include <rte_common.h>

#include <errno.h>

#define QUEUED_MAX (512u * 1024) // what a source keeps in its send queue
#define CHUNK	   16384u
#define SPANS	   16

const char *const outcome_names[OUTCOMES] = {
	"open", "done", "reset", "refused", "timeout", "unreachable"};

static void begin(
	struct peer *peer, struct app *app, enum role role, const struct net_endpoint *remote)
{
	*app = (struct app){
		.role = role,
		.remote = *remote,
		.wrong_at = UINT64_MAX,
		.begun_us = peer->now_us,
		.ended_us = peer->now_us,
	};
	peer->apps_open++;
}

// A place never used, or one whose connection has ended; NULL when all are open.
static struct app *app_take(struct peer *peer)
{
	if (peer->apps_used < peer->options.connections_max)
		return &peer->apps[peer->apps_used++];
	if (peer->apps_open == peer->apps_used)
		return NULL;
	for (unsigned i = 0; i < peer->apps_used; i++)
		if (peer->apps[i].pcb == NULL)
			return &peer->apps[i];
	return NULL;
}

static void sample(struct peer *peer, struct app *app)
{
	app->ended_us = peer->now_us; // as far as we know
	tcp_pcb_info(app->pcb, &app->info);
	if (app->established)
		waits_sample(peer, app);
}

// The engine finishes alone, or has: the place is free.
static void end(struct peer *peer, struct app *app, enum outcome outcome)
{
	sample(peer, app);
	app->outcome = outcome;
	if (outcome == OUTCOME_DONE)
		tcp_close(app->pcb);
	else
		tcp_abort(app->pcb);
	app->pcb = NULL;
	peer->apps_open--;
	peer->ended++;
	peer->outcomes[outcome]++;
	peer->wrong += app->wrong_at != UINT64_MAX;
}

int app_connect(struct peer *peer, const struct connect_option *option)
{
	const struct tcp_connect_options options = {.no_delay = true};
	struct app *app = app_take(peer);
	struct net_endpoint local = {0};
	int r;

	if (app == NULL)
		return -ENOMEM;
	r = net_source_select(peer->net, &option->remote.address, &local.address);
	if (r < 0)
		return r;
	begin(peer, app, option->role, &option->remote);
	r = tcp_connect(peer->tcp, &local, &option->remote, &options, app, &app->pcb);
	if (r < 0)
		peer->apps_open--;
	return r;
}

// A client knocks, or comes in with a SYN cookie. NULL: turned away.
static struct app *accept(struct peer *peer, struct tcp_pcb *pcb, uint32_t events)
{
	const struct listen_option *listen = tcp_pcb_user(tcp_pcb_listener(pcb));
	struct app *app = events & TCP_EVENTS_TERMINAL ? NULL : app_take(peer);
	const struct net_endpoint remote = tcp_pcb_remote(pcb);

	if (app == NULL) {
		tcp_abort(pcb);
		return NULL;
	}
	begin(peer, app, listen->role, &remote);
	app->pcb = pcb;
	tcp_pcb_set_user(pcb, app);
	if (events & TCP_EVENT_SYN)
		tcp_accept(pcb);
	return app;
}

static void source_send(struct peer *peer, struct app *app)
{
	uint8_t chunk[CHUNK];

	while (app->sent < peer->options.bytes && tcp_send_queued(app->pcb) < QUEUED_MAX) {
		uint32_t length = (uint32_t)RTE_MIN(CHUNK, peer->options.bytes - app->sent);

		pattern_fill(&peer->pattern, app->sent, chunk, length);
		if (tcp_send_copy(app->pcb, chunk, length) < 0)
			return;
		app->sent += length;
	}
	if (app->sent == peer->options.bytes && !app->shut) {
		app->shut = true;
		tcp_shutdown(app->pcb);
	}
}

static void sink_check(struct peer *peer, struct app *app, const struct tcp_span *span)
{
	uint32_t right = pattern_match(&peer->pattern, app->received, span->data, span->length);

	if (right < span->length && app->wrong_at == UINT64_MAX)
		app->wrong_at = app->received + right;
}

// Takes one span; false when an echo has no room for it.
static bool take(struct peer *peer, struct app *app, const struct tcp_span *span)
{
	if (app->role == ROLE_ECHO) {
		if (tcp_send_queued(app->pcb) >= QUEUED_MAX ||
			tcp_send_copy(app->pcb, span->data, span->length) < 0)
			return false;
		app->sent += span->length;
	} else if (app->role == ROLE_SINK) {
		sink_check(peer, app, span);
	}
	app->received += span->length;
	waits_read(peer, app);
	return true;
}

static void receive(struct peer *peer, struct app *app)
{
	struct tcp_span spans[SPANS];
	unsigned count, i;

	do {
		uint32_t taken = 0;

		count = tcp_recv_peek(app->pcb, spans, SPANS);
		for (i = 0; i < count && take(peer, app, &spans[i]); i++)
			taken += spans[i].length;
		tcp_recv_consume(app->pcb, taken);
	} while (count == SPANS && i == count);
}

static void finish(struct peer *peer, struct app *app)
{
	if (!tcp_recv_eof(app->pcb) || tcp_recv_readable(app->pcb) > 0)
		return;
	if (app->role != ROLE_SINK && tcp_send_queued(app->pcb) > 0)
		return;
	if (app->role == ROLE_SOURCE && !app->shut)
		return;
	waits_read(peer, app);
	end(peer, app, OUTCOME_DONE);
}

static enum outcome outcome_of(uint32_t events)
{
	if (events & TCP_EVENT_RESET)
		return OUTCOME_RESET;
	if (events & TCP_EVENT_REFUSED)
		return OUTCOME_REFUSED;
	return events & TCP_EVENT_TIMEOUT ? OUTCOME_TIMEOUT : OUTCOME_UNREACHABLE;
}

void app_events(struct peer *peer, struct tcp_pcb *pcb, uint32_t events)
{
	struct app *app;

	if (events & (TCP_EVENT_SYN | TCP_EVENT_COOKIE))
		app = accept(peer, pcb, events);
	else
		app = tcp_pcb_user(pcb);
	if (app == NULL)
		return;
	if (events & TCP_EVENT_ESTABLISHED) {
		app->established = true;
		waits_begin(peer, app);
		tcp_set_low_water(pcb, app->role == ROLE_SINK ? 0 : QUEUED_MAX / 2);
	}
	if (events & (TCP_EVENT_READABLE | TCP_EVENT_WRITABLE))
		receive(peer, app);
	if (events & TCP_EVENTS_TERMINAL) {
		end(peer, app, outcome_of(events));
		return;
	}
	if (app->role == ROLE_SOURCE && app->established)
		source_send(peer, app);
	finish(peer, app);
}

void app_sample(struct peer *peer)
{
	for (unsigned i = 0; i < peer->apps_used; i++) {
		struct app *app = &peer->apps[i];

		if (app->pcb == NULL || !app->established)
			continue;
		sample(peer, app);
		// The last byte is acknowledged below the low water mark, without an event.
		if (app->role == ROLE_ECHO && tcp_recv_readable(app->pcb) > 0)
			receive(peer, app);
		finish(peer, app);
	}
}
