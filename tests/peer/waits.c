// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What connections waited for. A writer that has something under way makes a step with every
// segment it sends and with every ACK that moves SND.UNA: the retransmission timer runs from there
// (RFC 6298 5), so no silence may last longer than it.

#include "peer.h"

#include "base/clock.h"

static void add(struct peer *peer, const struct wait *wait)
{
	static const uint32_t least_us[WAIT_KINDS] = {
		[WAIT_BYTES] = 100 * US_IN_MS, [WAIT_TO_ADVANCE] = 20 * US_IN_MS};
	struct waits *waits = &peer->waits;

	if (wait->end_us - wait->begin_us < least_us[wait->kind])
		return;
	if (waits->count < WAITS_MAX)
		waits->list[waits->count] = *wait;
	waits->count++;
}

static void begin_to_advance(const struct peer *peer, struct app *app)
{
	app->advance = (struct wait){
		.kind = WAIT_TO_ADVANCE,
		.port = app->remote.port,
		.begin_us = peer->now_us,
		.rto_us = app->info.rto_us,
		.srtt_us = app->info.srtt_us,
		.rttvar_us = app->info.rttvar_us,
		.backoff = app->info.backoff,
	};
}

void waits_begin(const struct peer *peer, struct app *app)
{
	app->read_us = peer->now_us;
	tcp_pcb_info(app->pcb, &app->info);
	begin_to_advance(peer, app);
}

void waits_read(struct peer *peer, struct app *app)
{
	const struct wait wait = {
		.kind = WAIT_BYTES,
		.port = app->remote.port,
		.begin_us = app->read_us,
		.end_us = peer->now_us,
	};

	app->read_us = peer->now_us;
	// Only for those bytes is nobody to blame but the wire: an echo waits for its client.
	if (app->role == ROLE_SINK)
		add(peer, &wait);
}

void waits_sample(struct peer *peer, struct app *app)
{
	uint32_t step = app->info.snd_una + app->info.snd_nxt + app->info.retransmits;

	if (step == app->step && app->info.in_flight > 0)
		return;
	app->step = step;
	app->advance.end_us = peer->now_us;
	add(peer, &app->advance);
	begin_to_advance(peer, app);
}
