// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Dispatch of what the broker sends. Everything passes unchanged, but for PINGRESPs
// that answer Offramp.
//
//   type      passes                  learned
//   CONNACK   yes                     the session (client.c)
//   PUBLISH   in its turn (output.c)  identifiers
//   PUBACK    yes                     frees captured acknowledgements behind it
//   SUBACK    yes                     subscriptions; releases what waited for it
//   UNSUBACK  yes                     subscriptions
//   PINGRESP  unless ours             fences
//   others    yes                     -

#include "offload/downstream.h"

#include <errno.h>

#include "offload/client.h"
#include "offload/head.h"
#include "offload/output.h"
#include "offload/pending.h"

// Bytes of one broker link dealt with before others get their turn.
#define QUANTUM (64u << 10)
// More than this waits for the client: the broker is not read further.
#define OUTPUT_HIGH_WATER (256u << 10)
// So much of a PUBLISH surely holds its topic and identifier, or else its client suffers.
#define SPILL_HEAD 512u

// --- what each packet teaches --------------------------------------------------------------------
// True: dealt with. False: not now, nothing has happened.

typedef bool downstream_handler(struct client *client, const struct mqtt_frame *frame);

static bool pass(struct client *client, const struct mqtt_frame *frame)
{
	return output_broker_packet(client, frame, NULL) == 0;
}

static bool pass_malformed(struct client *client, const struct mqtt_frame *frame)
{
	if (!pass(client, frame))
		return false;
	counter_inc(&client->offload->counters.malformed);
	return true;
}

static bool on_connack(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_connack connack;
	bool legal =
		mqtt_connack_decode(client->version, mqtt_frame_body(frame), &connack) == MQTT_OK;

	if (!(legal ? pass(client, frame) : pass_malformed(client, frame)))
		return false;
	if (client->state != CLIENT_CONNECT)
		return true;
	if (legal)
		client_connack(client, &connack);
	else
		client_set_raw(client);
	return true;
}

static bool on_publish(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_publish publish;

	if (mqtt_publish_decode(
		    client->version, &frame->header, mqtt_frame_body(frame), &publish) != MQTT_OK)
		return pass_malformed(client, frame);
	return output_broker_packet(client, frame, &publish) == 0;
}

static void acks_flush(struct client *client)
{
	uint8_t bytes[MQTT_ACK_MAX];
	uint8_t reason;
	uint16_t id;

	while (acks_next(client_acks(client), &id, &reason))
		output_control(client, bytes,
			mqtt_ack_encode(client->version, MQTT_PUBACK, id, reason, bytes));
	if (!acks_empty(client_acks(client)))
		return;
	payload_put(client->acks);
	client->acks = NULL;
}

static bool on_puback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_ack ack;

	if (mqtt_ack_decode(client->version, frame->header.type, mqtt_frame_body(frame), &ack) !=
		MQTT_OK)
		return pass_malformed(client, frame);
	if (!pass(client, frame))
		return false;
	if (client->acks != NULL && acks_broker(client_acks(client), ack.packet_id))
		acks_flush(client);
	return true;
}

static bool on_suback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_suback suback;

	if (mqtt_suback_decode(client->version, mqtt_frame_body(frame), &suback) != MQTT_OK)
		return pass_malformed(client, frame);
	if (!pass(client, frame))
		return false;
	if (client->session != NULL)
		session_granted(client->broker->map, client->session, suback.packet_id,
			suback.codes, NULL, NULL);
	pending_release(client);
	return true;
}

static bool on_unsuback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_suback unsuback;

	if (mqtt_unsuback_decode(client->version, mqtt_frame_body(frame), &unsuback) != MQTT_OK)
		return pass_malformed(client, frame);
	if (!pass(client, frame))
		return false;
	if (client->session != NULL)
		session_unsubscribed(client->broker->map, client->session, unsuback.packet_id,
			unsuback.codes, NULL, NULL);
	return true;
}

static bool on_pingresp(struct client *client, const struct mqtt_frame *frame)
{
	uint64_t what = pings_first(&client->pings);

	if (what == PING_CLIENT && !pass(client, frame))
		return false;
	pings_answered(&client->pings);
	if (what >= PING_FENCE)
		client->pong_epoch = what;
	return true;
}

static downstream_handler *const downstream_handlers[16] = {
	[MQTT_RESERVED] = pass_malformed,
	[MQTT_CONNECT] = pass_malformed,
	[MQTT_CONNACK] = on_connack,
	[MQTT_PUBLISH] = on_publish,
	[MQTT_PUBACK] = on_puback,
	[MQTT_PUBREC] = pass,
	[MQTT_PUBREL] = pass,
	[MQTT_PUBCOMP] = pass,
	[MQTT_SUBSCRIBE] = pass_malformed,
	[MQTT_SUBACK] = on_suback,
	[MQTT_UNSUBSCRIBE] = pass_malformed,
	[MQTT_UNSUBACK] = on_unsuback,
	[MQTT_PINGREQ] = pass_malformed,
	[MQTT_PINGRESP] = on_pingresp,
	[MQTT_DISCONNECT] = pass,
	[MQTT_AUTH] = pass,
};

static bool packet(struct client *client, const struct mqtt_frame *frame)
{
	return downstream_handlers[frame->header.type](client, frame);
}

// --- the run -------------------------------------------------------------------------------------

// Memory is short: half a packet that is gathered goes on as a stream, lest half packets wait for
// each other. Only where nothing else waits.
static bool spill(struct client *client)
{
	const struct mqtt_header *header = &client->down.header;
	struct mqtt_publish publish = {0};
	struct mqtt_frame part;
	bool identified = header->type == MQTT_PUBLISH && (header->flags & 6) != 0;

	if ((identified && client->down.have < SPILL_HEAD) || client->waiting_count > 0 ||
		client->windowed_count > 0 || !mqtt_framer_spill(&client->down, &part))
		return false;
	if (identified && (mqtt_publish_decode(client->version, header, mqtt_frame_body(&part),
				   &publish) != MQTT_OK ||
				  !output_broker_stream_begin(client, &publish)))
		client->failed = true;
	for (unsigned i = 0; i < part.parts_count && !client->failed; i++) {
		const struct mqtt_stream stream = {
			.bytes = mqtt_bytes(part.parts[i]->data, part.parts[i]->length),
			.type = part.header.type,
		};

		output_broker_stream(client, &stream);
	}
	framer_settle(&client->down);
	return !client->failed;
}

static bool may_read(struct client *client)
{
	if (client->failed || tcp_send_queued(client->pcb) >= OUTPUT_HIGH_WATER)
		return false;
	if (offload_tight(client->offload)) {
		spill(client);
		client_pause(client);
		return false;
	}
	return true;
}

enum step { STEP_ON, STEP_STOP };

static enum step packet_waits(struct client *client)
{
	client_pause(client);
	return STEP_STOP;
}

static enum step step_head(struct client *client, const struct tcp_span *first)
{
	struct tcp_span spans[HEAD_SPANS];
	struct mqtt_publish publish;
	unsigned count;

	if (head_is_short(first))
		return STEP_ON;
	count = client->link->peek(client, spans, HEAD_SPANS);
	switch (head_look(client->offload, spans, count, &client->down, &publish)) {
	case HEAD_ORDINARY:
		return STEP_ON;
	case HEAD_MORE:
		// What never gets longer than a header is nothing.
		for (unsigned i = 0; i < count && client->link->eof(client); i++)
			client->link->consume(client, spans[i].length);
		return STEP_STOP;
	case HEAD_LONG:
		break;
	}
	return output_broker_stream_begin(client, &publish) ? STEP_ON : packet_waits(client);
}

// A broker that speaks to a client whose CONNECT could not be read may be serving it.
static enum step step_raw(struct client *client, const struct tcp_span *span)
{
	const struct mqtt_stream stream = {.bytes = mqtt_bytes(span->data, span->length)};

	client_raw_answered(client, stream.bytes);
	output_broker_stream(client, &stream);
	client->link->consume(client, span->length);
	return STEP_ON;
}

static enum step step(struct client *client, uint32_t *budget)
{
	struct tcp_span span;
	struct mqtt_frame frame;
	struct mqtt_stream stream;
	enum step next = STEP_ON;
	size_t used;

	if (client->has_down_stuck) {
		if (!packet(client, &client->down_stuck))
			return packet_waits(client);
		client->has_down_stuck = false;
		framer_settle(&client->down);
		return STEP_ON;
	}
	if (client->link->peek(client, &span, 1) == 0)
		return STEP_STOP;
	if (client->state == CLIENT_RAW)
		return step_raw(client, &span);
	if (mqtt_framer_idle(&client->down)) {
		client->down.gather_max = offload_gather_max(client->offload, client->broker);
		if (step_head(client, &span) == STEP_STOP)
			return STEP_STOP;
	}
	switch (mqtt_framer_push(&client->down, span.data, span.length, &used, &frame, &stream)) {
	case MQTT_FRAMER_MORE:
		break;
	case MQTT_FRAMER_PACKET:
		if (packet(client, &frame)) {
			framer_settle(&client->down);
			break;
		}
		next = packet_waits(client);
		if (frame.parts_count == 0)
			return next;
		client->down_stuck = frame;
		client->has_down_stuck = true;
		break;
	case MQTT_FRAMER_STREAM:
		if (stream.type == MQTT_RESERVED)
			client_set_broken(client);
		output_broker_stream(client, &stream);
		break;
	case MQTT_FRAMER_NOMEM:
		if (spill(client))
			break;
		return packet_waits(client);
	}
	client->link->consume(client, (uint32_t)used);
	*budget -= used < *budget ? (uint32_t)used : *budget;
	return next;
}

void downstream_run(struct client *client)
{
	uint32_t budget = QUANTUM;

	while (may_read(client)) {
		if (budget == 0) {
			client_kick(client);
			break;
		}
		if (step(client, &budget) == STEP_STOP)
			break;
	}
}
