// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Dispatch of what clients send. A packet is passed first and learned from
// afterwards: what cannot be passed now is left where it is and looked at again.
//
//   type        passes            learned
//   CONNECT     yes               version, identifier, limits (client.c)
//   PUBLISH     when not captured topics on their way through the broker
//   PUBACK      unless ours       identifiers
//   PUBREC …    yes               identifiers
//   SUBSCRIBE   yes               pending subscriptions
//   UNSUBSCRIBE yes               what the UNSUBACK will end
//   PINGREQ     yes               whose PINGRESP comes back
//   DISCONNECT  yes               the session's end
//   AUTH        yes               -
//   malformed   yes               - (the broker rejects it)

#include "offload/upstream.h"

#include <errno.h>

#include "offload/capture.h"
#include "offload/client.h"
#include "offload/head.h"
#include "offload/output.h"
#include "offload/pace.h"
#include "offload/pass.h"

// Bytes of one client dealt with before others get their turn.
#define QUANTUM (64u << 10)

// --- what each packet teaches --------------------------------------------------------------------
// True: dealt with. False: not now, nothing has happened.

typedef bool upstream_handler(struct client *client, const struct mqtt_frame *frame);

static bool pass(struct client *client, const struct mqtt_frame *frame)
{
	return pass_packet(client, frame) == 0;
}

static bool pass_malformed(struct client *client, const struct mqtt_frame *frame)
{
	if (!pass(client, frame))
		return false;
	counter_inc(&client->offload->counters.malformed);
	client->violated = true;
	return true;
}

static bool on_connect(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_connect connect;
	enum mqtt_error error = mqtt_connect_decode(mqtt_frame_body(frame), &connect);

	if (!pass(client, frame))
		return false;
	if (client->state != CLIENT_NEW) {
		client->violated = true; // [MQTT-3.1.0-2]
		return true;
	}
	if (error != MQTT_OK) {
		counter_inc(&client->offload->counters.malformed);
		client_set_raw(client);
		return true;
	}
	client_connect(client, &connect);
	return true;
}

static bool acks_ready(struct client *client)
{
	if (client->acks == NULL) {
		client->acks = payload_alloc(client->offload->payloads, sizeof(struct acks));
		if (client->acks == NULL)
			return false;
		acks_init(client_acks(client));
	}
	return !acks_full(client_acks(client));
}

static void acks_release(struct client *client)
{
	if (client->acks != NULL && acks_empty(client_acks(client))) {
		payload_put(client->acks);
		client->acks = NULL;
	}
}

static bool publish_pass(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason reason)
{
	if (publish->qos == 1 && !acks_ready(client))
		return false;
	if (!pass(client, frame)) {
		acks_release(client);
		return false;
	}
	if (publish->qos == 1)
		acks_passed(client_acks(client), publish->packet_id);
	capture_passed(client, publish->topic, publish->qos, reason);
	return true;
}

static bool on_publish(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_publish publish = {0};
	enum proof_reason reason = PROOF_MALFORMED;
	enum mqtt_error error = mqtt_publish_decode(
		client->version, &frame->header, mqtt_frame_body(frame), &publish);
	int rc = 0;

	// Stopping: what is not acknowledged is the client's to send again, to whoever comes next.
	if (client->offload->draining)
		return true;
	if (error != MQTT_OK) {
		// A head longer than what is contiguous of the packet, or no legal PUBLISH: its
		// topic is not known.
		bool cut = error == MQTT_ERROR_TRUNCATED && frame->parts_count > 1;

		if (!pass(client, frame))
			return false;
		if (!cut) {
			counter_inc(&client->offload->counters.malformed);
			client->violated = true;
		}
		capture_passed(client, mqtt_bytes(NULL, 0), 0, cut ? PROOF_TOO_LARGE : reason);
		return true;
	}
	rc = capture_publish(client, frame, &publish, &reason);
	if (rc == 0)
		return publish_pass(client, frame, &publish, reason);
	return rc > 0;
}

static bool on_ack(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_ack ack;

	if (mqtt_ack_decode(client->version, frame->header.type, mqtt_frame_body(frame), &ack) !=
		MQTT_OK)
		return pass_malformed(client, frame);
	if (frame->header.type == MQTT_PUBREL)
		return pass(client, frame);
	if (output_is_ours(client, ack.packet_id, frame->header.type)) {
		pass_keep_alive(client);
	} else if (!pass(client, frame)) {
		return false;
	}
	output_acknowledged(client, &ack, frame->header.type);
	client->down_blocked = false;
	return true;
}

static bool on_subscribe(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_subscribe subscribe;
	struct mqtt_subscribe_filter filter;
	bool legal = mqtt_subscribe_decode(client->version, mqtt_frame_body(frame), &subscribe) ==
		     MQTT_OK;
	uint16_t index = 0;

	if (!(legal ? pass(client, frame) : pass_malformed(client, frame)))
		return false;
	if (!legal) {
		client_set_unknown(client);
		return true;
	}
	while (mqtt_subscribe_next(&subscribe.filters, &filter))
		client_subscribe(
			client, subscribe.packet_id, index++, &filter, subscribe.subscription_id);
	return true;
}

static bool on_unsubscribe(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_unsubscribe unsubscribe;
	struct mqtt_bytes filter;
	uint16_t index = 0;
	bool legal = mqtt_unsubscribe_decode(
			     client->version, mqtt_frame_body(frame), &unsubscribe) == MQTT_OK;

	if (!(legal ? pass(client, frame) : pass_malformed(client, frame)))
		return false;
	if (!legal) {
		// Longer than what is contiguous of it, perhaps: the broker can read it.
		client_set_unknown(client);
		return true;
	}
	while (client->session != NULL && mqtt_unsubscribe_next(&unsubscribe.filters, &filter))
		session_unsubscribe(client->broker->map, client->session, unsubscribe.packet_id,
			index++, filter);
	return true;
}

static bool on_pingreq(struct client *client, const struct mqtt_frame *frame)
{
	if (pings_full(&client->pings) || !pass(client, frame))
		return false;
	pings_sent(&client->pings, PING_CLIENT);
	return true;
}

static bool on_disconnect(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_disconnect disconnect;

	if (mqtt_disconnect_decode(client->version, mqtt_frame_body(frame), &disconnect) != MQTT_OK)
		return pass_malformed(client, frame);
	if (!pass(client, frame))
		return false;
	if (disconnect.has_session_expiry)
		client_set_expiry(client, disconnect.session_expiry);
	client_end_session(client);
	return true;
}

static upstream_handler *const upstream_handlers[16] = {
	[MQTT_RESERVED] = pass_malformed,
	[MQTT_CONNECT] = on_connect,
	[MQTT_CONNACK] = pass_malformed,
	[MQTT_PUBLISH] = on_publish,
	[MQTT_PUBACK] = on_ack,
	[MQTT_PUBREC] = on_ack,
	[MQTT_PUBREL] = on_ack,
	[MQTT_PUBCOMP] = on_ack,
	[MQTT_SUBSCRIBE] = on_subscribe,
	[MQTT_SUBACK] = pass_malformed,
	[MQTT_UNSUBSCRIBE] = on_unsubscribe,
	[MQTT_UNSUBACK] = pass_malformed,
	[MQTT_PINGREQ] = on_pingreq,
	[MQTT_PINGRESP] = pass_malformed,
	[MQTT_DISCONNECT] = on_disconnect,
	[MQTT_AUTH] = pass,
};

// A client may send on without waiting for its CONNACK (3.1.4). Until the broker has answered there
// is no session to keep subscriptions in, so all but the exchange itself waits; the broker sees no
// difference.
static bool before_connack(uint8_t type)
{
	return type == MQTT_CONNECT || type == MQTT_AUTH || type == MQTT_DISCONNECT;
}

static bool packet(struct client *client, const struct mqtt_frame *frame)
{
	// Who does not begin with CONNECT is no MQTT client (3.1.0).
	if (client->state == CLIENT_NEW && frame->header.type != MQTT_CONNECT) {
		if (!pass(client, frame))
			return false;
		client_set_raw(client);
		return true;
	}
	if (client->state == CLIENT_CONNECT && !before_connack(frame->header.type))
		return false;
	return upstream_handlers[frame->header.type](client, frame);
}

// --- long and broken packets ---------------------------------------------------------------------

// A PUBLISH that streams through begins: its first byte may go on when this is true.
static bool stream_begin(struct client *client, const struct mqtt_publish *publish)
{
	if (publish->qos == 1 && !acks_ready(client))
		return false;
	if (publish->qos == 1)
		acks_passed(client_acks(client), publish->packet_id);
	capture_passed(client, publish->topic, publish->qos, PROOF_TOO_LARGE);
	return true;
}

static void stream(struct client *client, const struct mqtt_stream *stream)
{
	if (stream->type == MQTT_RESERVED || client->state == CLIENT_NEW)
		client_set_broken(client);
	else if (stream->first && stream->type != MQTT_PUBLISH)
		client_set_unknown(client); // a SUBSCRIBE, perhaps, that cannot be followed
	if (pass_stream(client, stream->bytes) == 0)
		client->up_in_packet = !stream->last;
}

// Memory ran out in the middle of a packet: what is gathered goes on, and so will the rest.
static bool spill(struct client *client)
{
	struct mqtt_frame frame;
	bool begun = mqtt_framer_spill(&client->up, &frame);

	if (begun && frame.header.type == MQTT_PUBLISH)
		capture_passed(client, mqtt_bytes(NULL, 0), 0, PROOF_NO_MEMORY);
	else if (begun)
		client_set_unknown(client);
	if (begun && pass_packet(client, &frame) < 0)
		client->failed = true;
	if (begun) {
		client->up_in_packet = true;
		framer_settle(&client->up);
	}
	return begun;
}

// --- the run -------------------------------------------------------------------------------------

static bool may_read(struct client *client)
{
	const struct offload *offload = client->offload;

	if (client->failed || client->gone || list_linked(&client->fence.link))
		return false;
	if (client->waits_serial != 0) {
		if (!pace_may_resume(client)) {
			client_pause(client);
			return false;
		}
		client->waits_serial = 0;
	}
	if (offload_tight(offload)) {
		// Half packets in memory would wait for each other.
		spill(client);
		client_pause(client);
		return false;
	}
	return pass_has_room(client);
}

enum step { STEP_ON, STEP_STOP };

// A packet that could not be dealt with: something will come about that changes it.
static enum step packet_waits(struct client *client)
{
	if (!list_linked(&client->fence.link))
		client_pause(client);
	return STEP_STOP;
}

static enum step step_stuck(struct client *client)
{
	if (!packet(client, &client->stuck))
		return packet_waits(client);
	client->has_stuck = false;
	framer_settle(&client->up);
	return STEP_ON;
}

// At the start of a packet: a long one is announced before its bytes go on.
static enum step step_head(struct client *client, const struct tcp_span *first)
{
	struct tcp_span spans[HEAD_SPANS];
	struct mqtt_publish publish;
	unsigned count;

	if (head_is_short(first))
		return STEP_ON;
	count = tcp_recv_peek(client->pcb, spans, HEAD_SPANS);
	switch (head_look(client->offload, spans, count, &client->up, &publish)) {
	case HEAD_ORDINARY:
		return STEP_ON;
	case HEAD_MORE:
		// What never gets longer than a header is nothing.
		if (tcp_recv_eof(client->pcb))
			tcp_recv_consume(client->pcb, tcp_recv_readable(client->pcb));
		return STEP_STOP;
	case HEAD_LONG:
		break;
	}
	if (client->offload->draining ||
		(client->state != CLIENT_NEW && !stream_begin(client, &publish)))
		return packet_waits(client);
	return STEP_ON;
}

static enum step step(struct client *client, uint32_t *budget)
{
	struct tcp_span span;
	struct mqtt_frame frame;
	struct mqtt_stream long_packet;
	enum step next = STEP_ON;
	size_t used;

	if (client->has_stuck)
		return step_stuck(client);
	if (tcp_recv_peek(client->pcb, &span, 1) == 0)
		return STEP_STOP;
	if (client->state == CLIENT_RAW) {
		pass_stream(client, mqtt_bytes(span.data, span.length));
		tcp_recv_consume(client->pcb, span.length);
		return STEP_ON;
	}
	if (mqtt_framer_idle(&client->up)) {
		client->up.gather_max = offload_gather_max(client->offload, client->broker);
		if (step_head(client, &span) == STEP_STOP)
			return STEP_STOP;
	}
	switch (mqtt_framer_push(
		&client->up, span.data, span.length, &used, &frame, &long_packet)) {
	case MQTT_FRAMER_MORE:
		break;
	case MQTT_FRAMER_PACKET:
		if (packet(client, &frame)) {
			framer_settle(&client->up);
			break;
		}
		next = packet_waits(client);
		// One that lies in place is simply seen again; a gathered one is kept.
		if (frame.parts_count == 0)
			return next;
		client->stuck = frame;
		client->has_stuck = true;
		break;
	case MQTT_FRAMER_STREAM:
		stream(client, &long_packet);
		break;
	case MQTT_FRAMER_NOMEM:
		if (spill(client))
			break;
		client_pause(client);
		return STEP_STOP;
	}
	tcp_recv_consume(client->pcb, (uint32_t)used);
	*budget -= used < *budget ? (uint32_t)used : *budget;
	return next;
}

void upstream_run(struct client *client)
{
	uint32_t budget = QUANTUM;

	while (may_read(client)) {
		if (budget == 0 || client->offload->work >= OFFLOAD_TURN_WORK) {
			client_kick(client);
			break;
		}
		if (step(client, &budget) == STEP_STOP)
			break;
	}
}
