// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What clients send. A packet is passed first and learned from afterwards: what cannot
// be passed now is left where it is and looked at again.
//
//   type        passes            learned
//   CONNECT     yes               version, identifier, limits (client.c)
//   PUBLISH     when not captured topics on their way through the broker
//   PUBACK      unless ours       identifiers
//   PUBREC …    unless ours       identifiers
//   SUBSCRIBE   yes               pending subscriptions
//   UNSUBSCRIBE yes               what the UNSUBACK will end
//   PINGREQ     yes               whose PINGRESP comes back
//   DISCONNECT  yes               the session's end
//   AUTH        yes               it may be somebody else now
//   malformed   yes               - (the broker rejects it)

#include "offload/upstream.h"

#include "offload/capture.h"
#include "offload/client.h"
#include "offload/dispatch.h"
#include "offload/evidence.h"
#include "offload/exact.h"
#include "offload/head.h"
#include "offload/output.h"
#include "offload/pace.h"
#include "offload/pass.h"
#include "offload/peers.h"
#include "offload/probes.h"

// --- what each packet teaches --------------------------------------------------------------------

bool upstream_pass(struct client *client, const struct mqtt_frame *frame)
{
	return pass_packet(client, frame) == 0;
}

bool upstream_malformed(struct client *client, const struct mqtt_frame *frame)
{
	if (!upstream_pass(client, frame))
		return false;
	counter_inc(&client->offload->counters.malformed);
	client->violated = true;
	return true;
}

bool upstream_connect(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_connect connect;
	enum mqtt_error error = mqtt_connect_decode(head_body(client, frame), &connect);

	if (!upstream_pass(client, frame))
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

bool upstream_puback(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_ack ack;

	if (mqtt_ack_decode(client->version, frame->header.type, mqtt_frame_body(frame), &ack) !=
		MQTT_OK)
		return upstream_malformed(client, frame);
	if (output_is_ours(client, ack.packet_id, frame->header.type)) {
		pass_keep_alive(client);
	} else if (!upstream_pass(client, frame)) {
		return false;
	}
	output_acknowledged(client, &ack, frame->header.type);
	return true;
}

bool upstream_pubrel(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_ack ack;
	struct delivery *held;

	if (mqtt_ack_decode(client->version, frame->header.type, mqtt_frame_body(frame), &ack) !=
		MQTT_OK)
		return upstream_malformed(client, frame);
	held = exact_find(client, ack.packet_id);
	if (held != NULL)
		return exact_release(client, held);
	if (!upstream_pass(client, frame))
		return false;
	probe_released(client, ack.packet_id);
	return true;
}

bool upstream_subscribe(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_subscribe subscribe;
	struct mqtt_subscribe_filter filter;
	bool legal = mqtt_subscribe_decode(client->version, head_body(client, frame), &subscribe) ==
		     MQTT_OK;
	uint16_t index = 0;

	if (!(legal ? upstream_pass(client, frame) : upstream_malformed(client, frame)))
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

bool upstream_unsubscribe(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_unsubscribe unsubscribe;
	struct mqtt_bytes filter;
	uint16_t index = 0;
	bool legal = mqtt_unsubscribe_decode(
			     client->version, head_body(client, frame), &unsubscribe) == MQTT_OK;

	if (!(legal ? upstream_pass(client, frame) : upstream_malformed(client, frame)))
		return false;
	if (!legal) {
		client_set_unknown(client);
		return true;
	}
	while (client->session != NULL && mqtt_unsubscribe_next(&unsubscribe.filters, &filter))
		session_unsubscribe(client->broker->map, client->session, unsubscribe.packet_id,
			index++, filter);
	return true;
}

bool upstream_pingreq(struct client *client, const struct mqtt_frame *frame)
{
	if (pings_full(&client->pings) || !upstream_pass(client, frame))
		return false;
	pings_sent(&client->pings, PING_CLIENT);
	return true;
}

bool upstream_auth(struct client *client, const struct mqtt_frame *frame)
{
	if (!upstream_pass(client, frame))
		return false;
	evidence_identity(client); // 4.12.1
	return true;
}

bool upstream_disconnect(struct client *client, const struct mqtt_frame *frame)
{
	struct mqtt_disconnect disconnect;

	if (mqtt_disconnect_decode(client->version, mqtt_frame_body(frame), &disconnect) != MQTT_OK)
		return upstream_malformed(client, frame);
	if (!upstream_pass(client, frame))
		return false;
	if (client->session != NULL)
		session_goodbye(client->session);
	client->left = true;
	client->has_will &= disconnect.reason != 0; // [MQTT-3.14.4-3]; 4: with its will
	if (disconnect.has_session_expiry)
		client_set_expiry(client, disconnect.session_expiry);
	client_end_session(client);
	return true;
}

// --- the run -------------------------------------------------------------------------------------

// A client may send on without waiting for its CONNACK (3.1.4). Until the broker has answered there
// is no session to keep subscriptions in, so all but the exchange itself waits; the broker sees no
// difference.
static bool before_connack(uint8_t type)
{
	return type == MQTT_CONNECT || type == MQTT_AUTH || type == MQTT_DISCONNECT;
}

// What has been captured for subscribers of other workers is with them before anything that follows
// is with the broker. PUBLISHes see to that themselves.
static bool may_overtake(uint8_t type)
{
	return type >= MQTT_PUBLISH && type <= MQTT_PUBCOMP;
}

static bool packet(struct client *client, const struct mqtt_frame *frame)
{
	if (client->state == CLIENT_NEW && !peers_caught_up(client))
		return false;
	// Who does not begin with CONNECT is no MQTT client (3.1.0).
	if (client->state == CLIENT_NEW && frame->header.type != MQTT_CONNECT) {
		if (!upstream_pass(client, frame))
			return false;
		client_set_raw(client);
		return true;
	}
	if (client->state == CLIENT_CONNECT && !before_connack(frame->header.type))
		return false;
	if (client->crossings > 0 && !may_overtake(frame->header.type))
		return false;
	return dispatch_packet(client, FROM_CLIENT, frame);
}

// A PUBLISH that streams through begins: its first byte may go on when this is true.
static void stream(struct client *client, const struct mqtt_stream *stream)
{
	struct mqtt_bytes bytes = stream->bytes;
	uint32_t skip = client->up_skip < bytes.length ? client->up_skip : bytes.length;

	if (stream->type == MQTT_RESERVED || client->state == CLIENT_NEW)
		client_set_broken(client);
	else if (stream->first && stream->type != MQTT_PUBLISH)
		client_set_unknown(client); // a SUBSCRIBE, perhaps, that cannot be followed
	client->up_skip -= skip;
	if (pass_stream(client, mqtt_bytes(bytes.data + skip, bytes.length - skip)) == 0)
		client->up_in_packet = !stream->last;
}

// Memory ran out in the middle of a packet: what is gathered goes on, and so will the rest.
static bool spill(struct client *client)
{
	struct mqtt_frame frame;
	bool begun = mqtt_framer_spill(&client->up.framer, &frame);

	if (begun && frame.header.type == MQTT_PUBLISH)
		capture_passed(client, mqtt_bytes(NULL, 0), 0, PROOF_NO_MEMORY);
	else if (begun)
		client_set_unknown(client);
	if (begun && pass_packet(client, &frame) < 0)
		client->failed = true;
	if (begun) {
		client->up_in_packet = true;
		reader_settle(&client->up);
	}
	return begun;
}

// A turn's deliveries are shared: nobody takes more than a part of them while others wait, and who
// comes too late in one turn is first in the next.
static bool turn_over(struct client *client)
{
	const struct offload *offload = client->offload;
	uint32_t own = offload->work - offload->work_before;

	if (own >= OFFLOAD_CLIENT_WORK || (own > 0 && offload->work >= OFFLOAD_TURN_WORK))
		client_kick(client);
	else if (offload->work < OFFLOAD_TURN_WORK)
		return false;
	else if (client->up.has_stuck || tcp_recv_readable(client->pcb) > 0)
		client_kick_first(client);
	return true;
}

static bool may_read(struct client *client)
{
	const struct offload *offload = client->offload;

	if (client->failed || client->gone || list_linked(&client->fence.link))
		return false;
	if (exact_is_late(client)) {
		client_pause(client);
		return false;
	}
	if (client->wait.serial != 0) {
		if (!pace_over(offload, &client->wait)) {
			client_pause(client);
			return false;
		}
		client->wait.serial = 0;
	}
	if (offload_tight(offload)) {
		// Half packets in memory would wait for each other.
		spill(client);
		client_pause(client);
		return false;
	}
	return pass_has_room(client) && !turn_over(client);
}

static unsigned peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	return tcp_recv_peek(client->pcb, ret_spans, max);
}

static void consume(struct client *client, uint32_t n)
{
	tcp_recv_consume(client->pcb, n);
	if (client->link->consumed != NULL)
		client->link->consumed(client);
}

static bool eof(const struct client *client)
{
	return tcp_recv_eof(client->pcb);
}

static void raw(struct client *client, struct mqtt_bytes bytes)
{
	pass_stream(client, bytes);
}

// A fence under way runs the client again by itself.
static void wait(struct client *client)
{
	if (!list_linked(&client->fence.link))
		client_pause(client);
}

static const struct reader_ops reader_ops = {
	.peek = peek,
	.consume = consume,
	.eof = eof,
	.may_read = may_read,
	.packet = packet,
	.begin = upstream_publish_begin,
	.stream = stream,
	.raw = raw,
	.spill = spill,
	.wait = wait,
};

// Who does not begin with CONNECT is no MQTT client (3.1.0), and what it says is not to wait for
// what MQTT would make of it.
static bool begins_otherwise(const struct client *client)
{
	struct tcp_span first;

	// A CONNECT that was gathered may wait, and its followers are not the beginning.
	return client->state == CLIENT_NEW && !client->up.has_stuck &&
	       mqtt_framer_idle(&client->up.framer) && tcp_recv_peek(client->pcb, &first, 1) > 0 &&
	       first.data[0] >> 4 != MQTT_CONNECT;
}

void upstream_run(struct client *client)
{
	if (begins_otherwise(client)) {
		if (!peers_caught_up(client)) {
			client_pause(client);
			return;
		}
		client_set_raw(client);
	}
	client->offload->work_before = client->offload->work;
	reader_run(client, &client->up, &reader_ops);
}
