// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One end of one connection, as a program has it: what it says goes to its kernel in pieces of any
// size, at any time; what it hears is cut into packets.

#include "world.h"

#include "base/wheel.h"

#include <string.h>

#define RETRY_US 1000
#define READ_MAX 4096u // octets a turn

void text_add(struct text *text, const void *data, uint32_t length)
{
	if (text->length + length > text->capacity) {
		text->capacity = 2 * (text->length + length);
		text->data = realloc(text->data, text->capacity);
	}
	if (length > 0)
		memcpy(text->data + text->length, data, length);
	text->length += length;
}

void text_take(struct text *text, uint32_t length)
{
	text->length -= length;
	if (text->length > 0)
		memmove(text->data, text->data + length, text->length);
}

void talker_open(struct talker *talker, struct tcp_pcb *pcb, bool no_delay)
{
	talker->pcb = pcb;
	tcp_pcb_set_user(pcb, talker);
	tcp_set_no_delay(pcb, no_delay);
}

void talker_say(struct talker *talker, const uint8_t *packet, size_t length)
{
	struct said *said = &talker->said;

	if (said->count == said->capacity) {
		said->capacity = said->capacity ? 2 * said->capacity : 32;
		said->packets = realloc(said->packets, said->capacity * sizeof(said->packets[0]));
	}
	said->packets[said->count++] =
		(struct packet_at){.offset = said->text.length, .length = (uint32_t)length};
	text_add(&said->text, packet, (uint32_t)length);
}

// --- ends ----------------------------------------------------------------------------------------

void talker_end(struct talker *talker)
{
	talker->ends = true;
}

void talker_close(struct talker *talker)
{
	struct tcp_pcb *pcb = talker->pcb;

	talker->pcb = NULL;
	if (pcb)
		tcp_close(pcb);
}

void talker_abort(struct talker *talker)
{
	struct tcp_pcb *pcb = talker->pcb;

	talker->pcb = NULL;
	if (pcb)
		tcp_abort(pcb);
}

void talker_events(struct talker *talker, uint32_t events)
{
	if (events & TCP_EVENT_ESTABLISHED)
		talker->established = true;
	if (events & TCP_EVENTS_TERMINAL) {
		talker_abort(talker);
		talker->ops->reset(talker);
	}
}

void talker_fini(struct talker *talker)
{
	free(talker->said.text.data);
	free(talker->said.packets);
	free(talker->heard.data);
}

// --- saying --------------------------------------------------------------------------------------

static bool has_to_write(const struct talker *talker)
{
	return talker->pcb && talker->established && talker->written < talker->said.text.length;
}

// A few octets, some more, or all there is.
static uint32_t cut(struct talker *talker, uint32_t left)
{
	uint32_t n = left;

	if (talker->cuts) {
		switch (random_below(&talker->rng, 4)) {
		case 0:
			n = 1 + random_below(&talker->rng, 3);
			break;
		case 1:
			n = 1 + random_below(&talker->rng, 100);
			break;
		default:
			break;
		}
	}
	return n < left ? n : left;
}

static void talker_write(struct talker *talker)
{
	uint64_t now_us = talker->host->world->now_us;

	while (has_to_write(talker) && now_us >= talker->next_write_us) {
		const struct text *text = &talker->said.text;
		uint32_t n = cut(talker, text->length - talker->written);

		n = n < QUEUE_MAX ? n : QUEUE_MAX;
		if (tcp_send_queued(talker->pcb) >= QUEUE_MAX ||
			tcp_send_copy(talker->pcb, text->data + talker->written, n)) {
			talker->next_write_us = now_us + RETRY_US;
			return;
		}
		talker->written += n;
		if (talker->pause_us > 0)
			talker->next_write_us =
				now_us + random_below(&talker->rng, talker->pause_us);
	}
	if (talker->ends && !talker->shut && talker->pcb && talker->established &&
		talker->written == talker->said.text.length) {
		talker->shut = true;
		tcp_shutdown(talker->pcb);
	}
}

// --- hearing -------------------------------------------------------------------------------------

static void packets_cut(struct talker *talker)
{
	struct text *heard = &talker->heard;
	struct mqtt_header header;

	while (talker->pcb && heard->length > 0) {
		enum mqtt_error error = mqtt_header_decode(heard->data, heard->length, &header);

		if (error == MQTT_ERROR_TRUNCATED)
			return;
		CHECK(talker->host->world, error == MQTT_OK);
		if (heard->length < header.size + header.remaining)
			return;
		talker->ops->hears(talker, heard->data, header.size + header.remaining);
		text_take(heard, header.size + header.remaining);
	}
}

static void talker_read(struct talker *talker)
{
	uint64_t now_us = talker->host->world->now_us;
	uint32_t left = READ_MAX;
	struct tcp_span span;

	if (talker->nap_us > 0 && talker->octets >= talker->nap_at) {
		talker->wakes_us = now_us + talker->nap_us;
		talker->nap_us = 0;
	}
	while (now_us >= talker->wakes_us && left > 0 && talker->pcb &&
		tcp_recv_peek(talker->pcb, &span, 1) > 0) {
		uint32_t n = span.length < left ? span.length : left;

		text_add(&talker->heard, span.data, n);
		tcp_recv_consume(talker->pcb, n);
		talker->octets += n;
		left -= n;
		if (!talker->raw) {
			packets_cut(talker);
			continue;
		}
		talker->ops->hears(talker, talker->heard.data, talker->heard.length);
		talker->heard.length = 0;
	}
	if (talker->pcb && !talker->eof_told && tcp_recv_eof(talker->pcb) &&
		tcp_recv_readable(talker->pcb) == 0) {
		talker->eof_told = true;
		talker->ops->eof(talker);
	}
}

void talker_turn(struct talker *talker)
{
	if (talker->pcb)
		talker_read(talker);
	if (talker->pcb)
		talker_write(talker);
}

uint64_t talker_next_us(const struct talker *talker)
{
	uint64_t next = WHEEL_NEVER;

	if (!talker->pcb)
		return next;
	if (has_to_write(talker))
		next = talker->next_write_us;
	if (tcp_recv_readable(talker->pcb) > 0)
		next = least(next, talker->wakes_us);
	return next;
}
