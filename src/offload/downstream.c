// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the broker sends. Everything passes unchanged, but for PINGRESPs that answer
// Offramp.
//
//   type        passes                  learned
//   CONNACK     yes                     the session (client.c)
//   PUBLISH     in its turn (output.c)  identifiers
//   PUBACK …    yes                     frees captured acknowledgements behind it
//   SUBACK      yes                     subscriptions; releases what waited for it
//   UNSUBACK    yes                     subscriptions
//   PINGRESP    unless ours             fences
//   DISCONNECT  yes                     the session's end
//   AUTH        yes                     the client may be somebody else now
//   others      yes                     -

#include "offload/downstream.h"

#include <errno.h>

#include "offload/client.h"
#include "offload/dispatch.h"
#include "offload/evidence.h"
#include "offload/exact.h"
#include "offload/fencing.h"
#include "offload/head.h"
#include "offload/move.h"
#include "offload/output.h"
#include "offload/pending.h"

// More than this waits for the client: the broker is not read further.
#define OUTPUT_HIGH_WATER (256u << 10)
// So much of a PUBLISH surely holds its topic and identifier, or else its client suffers.
#define SPILL_HEAD 512u

// --- what each packet teaches --------------------------------------------------------------------

bool downstream_pass(struct client *client, const struct mqtt_frame *frame)
{
	return output_broker_packet(client, frame, NULL) == 0;
}

bool downstream_malformed(struct client *client, const struct mqtt_frame *frame)
{
	if (!downstream_pass(client, frame))
		return false;
	counter_inc(&client->offload->counters.malformed);
	return true;
}

bool downstream_connack(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_connack connack;
	bool legal =
		mqtt_connack_decode(client->version, head_body(client, frame), &connack) == MQTT_OK;

	// Other workers may have the session, and must know that it is here.
	if (legal && client->state == CLIENT_CONNECT && !move_run(client, &connack))
		return false;
	if (!(legal ? downstream_pass(client, frame) : downstream_malformed(client, frame)))
		return false;
	if (client->state != CLIENT_CONNECT)
		return true;
	if (legal)
		client_connack(client, &connack);
	else
		client_set_raw(client);
	return true;
}

bool downstream_publish(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_publish publish;

	if (mqtt_publish_decode(
		    client->version, &frame->header, mqtt_frame_body(frame), &publish) != MQTT_OK)
		return downstream_malformed(client, frame);
	if (output_broker_packet(client, frame, &publish) < 0)
		return false;
	evidence_delivered(client, &publish);
	return true;
}

void downstream_acks_flush(struct client *client)
{
	uint8_t bytes[MQTT_ACK_MAX];
	uint8_t type, reason;
	uint16_t id;

	while (acks_next(client_acks(client), &id, &type, &reason))
		output_control(
			client, bytes, mqtt_ack_encode(client->version, type, id, reason, bytes));
	if (!acks_empty(client_acks(client)))
		return;
	payload_put(client->acks);
	client->acks = NULL;
}

bool downstream_ack(struct client *client, const struct mqtt_frame *frame)
{
	uint8_t type = frame->header.type;
	struct mqtt_ack ack;

	if (mqtt_ack_decode(client->version, type, mqtt_frame_body(frame), &ack) != MQTT_OK)
		return downstream_malformed(client, frame);
	switch (exact_broker_ack(client, &ack, type)) {
	case EXACT_WAIT:
		return false;
	case EXACT_SWALLOW:
		return true;
	case EXACT_PASS:
		break;
	}
	if (!downstream_pass(client, frame))
		return false;
	exact_broker_acked(client, &ack, type);
	if (type != MQTT_PUBCOMP && client->acks != NULL &&
		acks_broker(client_acks(client), ack.packet_id))
		downstream_acks_flush(client);
	return true;
}

bool downstream_suback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_suback suback;

	if (mqtt_suback_decode(client->version, head_body(client, frame), &suback) != MQTT_OK)
		return downstream_malformed(client, frame);
	if (!client_settled(client) || !downstream_pass(client, frame))
		return false;
	if (client->session != NULL)
		session_granted(client->broker->map, client->session, suback.packet_id,
			suback.codes, NULL, NULL);
	pending_release(client);
	return true;
}

bool downstream_unsuback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_suback unsuback;

	if (mqtt_unsuback_decode(client->version, head_body(client, frame), &unsuback) != MQTT_OK)
		return downstream_malformed(client, frame);
	if (!downstream_pass(client, frame))
		return false;
	if (client->session != NULL)
		session_unsubscribed(client->broker->map, client->session, unsuback.packet_id,
			unsuback.codes, NULL, NULL);
	return true;
}

bool downstream_auth(struct client *client, const struct mqtt_frame *frame)
{
	if (!downstream_pass(client, frame))
		return false;
	evidence_identity(client);
	return true;
}

bool downstream_pingresp(struct client *client, const struct mqtt_frame *frame)
{
	uint64_t what = pings_first(&client->pings);

	if (what == PING_CLIENT && !downstream_pass(client, frame))
		return false;
	pings_answered(&client->pings);
	if (what >= PING_FENCE)
		fencing_answered(client, what);
	return true;
}

// The last packet of all ([MQTT-3.14.4-1]): what waited is kept for the session, or for nobody.
bool downstream_disconnect(struct client *client, const struct mqtt_frame *frame)
{
	if (!downstream_pass(client, frame))
		return false;
	client_end_session(client);
	output_clear(client);
	return true;
}

// --- the run -------------------------------------------------------------------------------------

// Memory is short: half a packet that is gathered goes on as a stream, lest half packets wait for
// each other. Only where nothing else waits.
static bool spill(struct client *client)
{
	const struct mqtt_header *header = &client->down.framer.header;
	struct mqtt_publish publish = {0};
	struct mqtt_frame part;
	bool identified = header->type == MQTT_PUBLISH && (header->flags & 6) != 0;

	if ((identified && client->down.framer.have < SPILL_HEAD) || client->waiting_count > 0 ||
		client->windowed_count > 0 || !mqtt_framer_spill(&client->down.framer, &part))
		return false;
	if (identified &&
		(mqtt_publish_decode(client->version, header, mqtt_frame_body(&part), &publish) !=
				MQTT_OK ||
			output_broker_stream_begin(client, &publish, UINT32_MAX) != OUTPUT_STREAMS))
		client->failed = true;
	for (unsigned i = 0; i < part.parts_count && !client->failed; i++) {
		const struct mqtt_stream stream = {
			.bytes = mqtt_bytes(part.parts[i]->data, part.parts[i]->length),
			.type = part.header.type,
		};

		output_broker_stream(client, &stream);
	}
	reader_settle(&client->down);
	evidence_unseen(client);
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

static unsigned peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	return client->link->peek(client, ret_spans, max);
}

static void consume(struct client *client, uint32_t n)
{
	client->link->consume(client, n);
}

static bool eof(const struct client *client)
{
	return client->link->eof(client);
}

static bool packet(struct client *client, const struct mqtt_frame *frame)
{
	return dispatch_packet(client, FROM_BROKER, frame);
}

static bool begin(
	struct client *client, const struct mqtt_header *header, const struct mqtt_publish *publish)
{
	uint32_t length = header->size + header->remaining;

	switch (output_broker_stream_begin(client, publish, length)) {
	case OUTPUT_STREAMS:
		evidence_delivered(client, publish);
		return true;
	case OUTPUT_GATHERS:
		client->down.framer.gather_max = length;
		return true;
	case OUTPUT_WAITS:
		break;
	}
	return false;
}

static void stream(struct client *client, const struct mqtt_stream *stream)
{
	if (stream->type == MQTT_RESERVED)
		client_set_broken(client);
	if (client->state == CLIENT_RAW)
		client_raw_answered(client, stream->bytes);
	output_broker_stream(client, stream);
}

// A broker that speaks to a client whose CONNECT could not be read may be serving it.
static void raw(struct client *client, struct mqtt_bytes bytes)
{
	const struct mqtt_stream stream = {.bytes = bytes};

	client_raw_answered(client, bytes);
	output_broker_stream(client, &stream);
}

static const struct reader_ops reader_ops = {
	.peek = peek,
	.consume = consume,
	.eof = eof,
	.may_read = may_read,
	.packet = packet,
	.begin = begin,
	.stream = stream,
	.raw = raw,
	.spill = spill,
	.wait = client_pause,
};

// A server that speaks first is no MQTT broker.
static bool begins(const struct client *client)
{
	struct tcp_span first;

	return client->state == CLIENT_NEW && mqtt_framer_idle(&client->down.framer) &&
	       client->link->peek((struct client *)client, &first, 1) > 0;
}

void downstream_run(struct client *client)
{
	if (begins(client))
		client_set_raw(client);
	reader_run(client, &client->down, &reader_ops);
}
