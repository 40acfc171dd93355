// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Connections that are none of MQTT's: each octet of both streams follows from where it stands,
// so whoever touches one is found.

#include "world.h"

#include "base/wheel.h"

#define CHUNK 700u

static uint8_t octet(const struct foreign_end *end, uint32_t offset)
{
	uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15ull + end->foreign->port;

	if (offset == 0)
		return 0x16; // no CONNECT
	return (uint8_t)((x ^ x >> 31) * 0xbf58476d1ce4e5b9ull >> 56) + end->is_client;
}

static struct foreign_end *other(struct foreign_end *end)
{
	return &end->foreign->ends[end->is_client];
}

static void hears(struct talker *talker, const uint8_t *octets, uint32_t length)
{
	struct foreign_end *end = (struct foreign_end *)talker;

	for (uint32_t i = 0; i < length; i++)
		if (octets[i] != octet(other(end), end->received + i))
			FAIL(talker->host->world, "port %u: octet %u is not what was said",
				end->foreign->port, end->received + i);
	end->received += length;
}

static void finish(struct foreign_end *end)
{
	end->done = true;
	talker_close(&end->talker);
}

static void eof(struct talker *talker)
{
	struct foreign_end *end = (struct foreign_end *)talker;

	if (!end->foreign->broken && end->received != other(end)->to_send)
		FAIL(talker->host->world, "port %u: %u octets of %u", end->foreign->port,
			end->received, other(end)->to_send);
}

static void reset(struct talker *talker)
{
	struct foreign_end *end = (struct foreign_end *)talker;

	end->done = true;
	end->foreign->broken = true;
}

static const struct talker_ops ops = {.hears = hears, .eof = eof, .reset = reset};

void foreign_init(struct foreign *foreign, enum foreign_kind kind)
{
	struct world *world = foreign->world;

	foreign->kind = kind;
	for (unsigned e = 0; e < 2; e++) {
		struct foreign_end *end = &foreign->ends[e];

		end->foreign = foreign;
		end->is_client = e == 0;
		end->talker.ops = &ops;
		end->talker.raw = true;
		end->talker.host = &world->hosts[e == 0 ? foreign->port % 2 : HOST_BROKER];
		end->talker.cuts = random_below(&world->rng, 2);
		random_init(&end->talker.rng, world->seed + foreign->port);
		end->to_send = 1 + random_below(&world->rng, 1u << random_below(&world->rng, 14));
		if (kind == FOREIGN_SILENT)
			end->to_send = 0;
	}
}

static void begin(struct foreign *foreign)
{
	struct talker *talker = &foreign->ends[0].talker;
	const struct net_endpoint local = {
		.address = host_address(talker->host->index), .port = foreign->port};
	const struct net_endpoint remote = {.address = host_address(HOST_BROKER),
		.port = foreign->kind == FOREIGN_OTHER_PORT ? PORT_OTHER : PORT_BROKER};
	struct tcp_pcb *pcb;

	foreign->begun = true;
	CHECK(foreign->world,
		tcp_connect(talker->host->stack, &local, &remote, NULL, talker, &pcb) == 0);
	talker_open(talker, pcb, true);
}

void foreign_accept(struct world *world, struct tcp_pcb *pcb)
{
	struct foreign *foreign = &world->foreigns[tcp_pcb_remote(pcb).port - PORT_FOREIGN];
	struct foreign_end *end = &foreign->ends[1];

	// A SYN that has outlived its connection.
	if (end->talker.pcb || end->done) {
		tcp_refuse(pcb);
		return;
	}
	talker_open(&end->talker, pcb, true);
	tcp_accept(pcb);
}

static bool may_speak(const struct foreign_end *end)
{
	if (end->foreign->kind == FOREIGN_OTHER_PORT)
		return true;
	return end->is_client == (end->foreign->kind == FOREIGN_CLIENT_FIRST) || end->received > 0;
}

static void speak(struct foreign_end *end)
{
	struct talker *talker = &end->talker;
	uint32_t at = talker->said.text.length;
	uint8_t text[CHUNK];
	uint32_t n = end->to_send - at;

	if (talker->written < at || !may_speak(end))
		return;
	n = n < CHUNK ? n : CHUNK;
	for (uint32_t i = 0; i < n; i++)
		text[i] = octet(end, at + i);
	if (n > 0)
		talker_say(talker, text, n);
}

static void end_turn(struct foreign_end *end)
{
	struct foreign *foreign = end->foreign;
	struct talker *talker = &end->talker;

	if (!talker->pcb)
		return;
	speak(end);
	if (talker->said.text.length == end->to_send &&
		foreign->world->now_us >= foreign->ends_us && (end->is_client || talker->eof_told))
		talker_end(talker);
	talker_turn(talker);
	if (talker->pcb && talker->shut && talker->eof_told)
		finish(end);
}

void foreign_turn(struct foreign *foreign, struct host *host)
{
	if (!foreign->begun && foreign->world->now_us >= foreign->begins_us &&
		host == foreign->ends[0].talker.host)
		begin(foreign);
	for (unsigned e = 0; e < 2; e++)
		if (foreign->ends[e].talker.host == host)
			end_turn(&foreign->ends[e]);
}

uint64_t foreign_next_us(const struct foreign *foreign)
{
	uint64_t now_us = foreign->world->now_us;
	uint64_t next = foreign->begun ? WHEEL_NEVER : foreign->begins_us;

	for (unsigned e = 0; e < 2; e++)
		next = least(next, talker_next_us(&foreign->ends[e].talker));
	if (foreign->begun && now_us < foreign->ends_us)
		next = least(next, foreign->ends_us);
	return next;
}

bool foreign_done(const struct foreign *foreign)
{
	return foreign->ends[0].done && !foreign->ends[1].talker.pcb;
}
