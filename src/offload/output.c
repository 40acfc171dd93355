// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Merging. See output.h for the order; identifiers.h for whose identifier is whose.

#include "offload/output.h"

#include "offload/owed.h"
#include "offload/window.h"

#include <errno.h>

// PUBLISHes of the broker that may wait behind the window; more wait in the broker.
#define WINDOWED_BROKER_MAX 64
// The longest of them.
#define GATHER_MAX (MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST)
// So much every client may hold, however little is free.
#define CLIENT_FLOOR_BYTES  4096u
#define CLIENT_FLOOR_PIECES 64u
// A subscriber this far behind makes publishers wait, if it is alive and nobody is faster.
#define SOFT_BYTES  (256u << 10)
#define SOFT_PIECES 1024u

static void drop(struct client *client, enum offload_drop reason)
{
	counter_inc(&client->offload->counters.dropped[reason]);
}

static void delivered(struct client *client, uint8_t qos)
{
	counter_inc(&client->offload->counters.deliveries[qos]);
	client->delivered++;
}

// --- bounds --------------------------------------------------------------------------------------

// What one client may hold is bounded by the configuration, and shrinks with what is free (dynamic
// threshold), in bytes and in pieces.
static bool bytes_have_room(const struct client *client, uint64_t bytes)
{
	if (bytes < CLIENT_FLOOR_BYTES)
		return true;
	return bytes < client->broker->config->client.queue_bytes &&
	       bytes < client->offload->share_bytes;
}

bool output_has_room(const struct client *client)
{
	uint32_t pieces = tcp_send_pieces(client->pcb) + client->waiting_count;
	uint32_t limit = client->broker->config->client.queue_messages, share;
	struct tcp_usage usage;

	if (!bytes_have_room(client, tcp_send_queued(client->pcb)))
		return false;
	if (pieces < CLIENT_FLOOR_PIECES)
		return true;
	tcp_stack_usage(client->offload->tcp, &usage);
	share = (usage.pieces_max - usage.pieces) / 8;
	return pieces < (share < limit ? share : limit);
}

// Bytes that are on their way to it: what TCP holds, or a session until they are acknowledged.
static uint64_t bytes_under_way(const struct client *client)
{
	uint64_t queued = tcp_send_queued(client->pcb);
	uint64_t owed = client->session == NULL ? 0 : client->session->owed_bytes;

	return queued > owed ? queued : owed;
}

// One more QoS 1 delivery may wait for the window.
static bool window_has_room(const struct client *client)
{
	return client->windowed_count < client->broker->config->client.queued_qos1 &&
	       bytes_have_room(client, bytes_under_way(client) + client->windowed_bytes);
}

// It may be sent as far as the client's bounds go.
static bool may_send(const struct client *client)
{
	return output_has_room(client) && bytes_have_room(client, bytes_under_way(client));
}

bool output_above_soft_mark(const struct client *client)
{
	return client->windowed_count >= client->broker->config->client.queued_qos1 / 4 ||
	       tcp_send_pieces(client->pcb) >= SOFT_PIECES ||
	       tcp_send_queued(client->pcb) >= SOFT_BYTES;
}

bool output_above_hard_mark(const struct client *client)
{
	const struct offload_client_config *bounds = &client->broker->config->client;

	return client->windowed_count >= bounds->queued_qos1 / 2 ||
	       tcp_send_pieces(client->pcb) >= bounds->queue_messages / 2 ||
	       tcp_send_queued(client->pcb) >= bounds->queue_bytes / 2;
}

uint32_t output_waiting(const struct client *client)
{
	return client->windowed_count + client->pending_count;
}

// --- waiting -------------------------------------------------------------------------------------

// What waits for the client's acknowledgements, or for a long packet to end, goes on when they
// come. What waits for memory is announced by nobody.
static void keep_trying(struct client *client)
{
	bool waiting = client->waiting_count > 0;
	bool windowed = client->windowed_count > 0 && window_idle(client);

	if (!client->in_packet && (waiting || windowed))
		client_pause(client);
}

static bool is_windowed(const struct delivery *delivery)
{
	return delivery->kind == DELIVERY_BROKER || delivery->qos > 0;
}

// The broker's, and it needs room in the window.
static bool is_numbered(const struct delivery *delivery)
{
	return delivery->kind == DELIVERY_BROKER && delivery->qos > 0;
}

static void wait_append(struct client *client, struct delivery *delivery)
{
	bool windowed = is_windowed(delivery);

	list_append(windowed ? &client->windowed : &client->waiting, &delivery->link);
	client->windowed_count += windowed;
	client->windowed_bytes += windowed ? delivery->length : 0;
	client->waiting_count += !windowed;
	client->windowed_broker += delivery->kind == DELIVERY_BROKER;
	client->windowed_numbered += is_numbered(delivery);
	keep_trying(client);
}

// Takes it out of its list.
static void wait_remove(struct client *client, struct delivery *delivery)
{
	client->windowed_count -= is_windowed(delivery);
	client->windowed_bytes -= is_windowed(delivery) ? delivery->length : 0;
	client->waiting_count -= !is_windowed(delivery);
	client->windowed_broker -= delivery->kind == DELIVERY_BROKER;
	client->windowed_numbered -= is_numbered(delivery);
	list_remove(&delivery->link);
}

static void wait_drop(struct client *client, struct delivery *delivery)
{
	wait_remove(client, delivery);
	delivery_drop(client->offload, delivery);
}

// It cannot go now. False: no memory.
static bool wait_message(struct client *client, struct message *message, const struct form *form)
{
	struct delivery *delivery = delivery_create(client->offload, message, form);

	if (delivery != NULL)
		wait_append(client, delivery);
	return delivery != NULL;
}

// --- our deliveries ------------------------------------------------------------------------------

static int send_message(
	struct client *client, const struct message *message, const struct form *form, uint16_t id)
{
	struct tcp_piece pieces[MESSAGE_PIECES_MAX];
	unsigned count = message_pieces(message, form, id, pieces);

	return tcp_send(client->pcb, pieces, count);
}

static void deliver_qos0(struct client *client, struct message *message, const struct form *form)
{
	if (!output_has_room(client)) {
		drop(client, OFFLOAD_DROP_QUEUE_FULL);
	} else if (client->in_packet || !list_empty(&client->waiting)) {
		if (!wait_message(client, message, form))
			drop(client, OFFLOAD_DROP_QUEUE_FULL);
	} else {
		int rc = send_message(client, message, form, 0);

		if (rc == 0)
			delivered(client, 0);
		else
			drop(client, rc == -EPIPE ? OFFLOAD_DROP_CLOSED : OFFLOAD_DROP_QUEUE_FULL);
	}
}

// Under an identifier. False: no memory. What is kept counts as sent also when nobody is there any
// more to read it.
static bool send_windowed(
	struct client *client, struct message *message, const struct form *form, uint16_t id)
{
	struct delivery *kept = NULL;
	int rc;

	if (owed_keeps(client, form->qos)) {
		kept = delivery_create(client->offload, message, form);
		if (kept == NULL)
			return false;
		kept->id = id;
	}
	rc = send_message(client, message, form, id);
	if (rc < 0 && (rc == -ENOMEM || kept == NULL)) {
		if (kept != NULL)
			delivery_drop(client->offload, kept);
		return false;
	}
	delivered(client, form->qos);
	if (kept != NULL)
		owed_sent(client, kept);
	return true;
}

static void deliver_windowed(
	struct client *client, struct message *message, const struct form *form)
{
	uint16_t id = 0;

	if (!client->in_packet && client->windowed_count == 0 && may_send(client))
		id = window_take(client, form->qos);
	if (id != 0) {
		if (send_windowed(client, message, form, id))
			return;
		identifiers_give(client_identifiers(client), id);
		window_release(client);
	}
	if (window_has_room(client) && wait_message(client, message, form))
		return;
	drop(client, OFFLOAD_DROP_QUEUE_FULL);
}

void output_deliver(struct client *client, struct message *message, uint8_t qos, uint32_t id)
{
	const struct form *form = message_form(message, client->version == MQTT_VERSION_5, qos, id);

	if (form == NULL)
		drop(client, OFFLOAD_DROP_QUEUE_FULL);
	else if (form->length > client->maximum_packet_size)
		drop(client, OFFLOAD_DROP_PACKET_SIZE); // [MQTT-3.1.2-25]
	else if (qos == 0)
		deliver_qos0(client, message, form);
	else
		deliver_windowed(client, message, form);
}

void output_control(struct client *client, const uint8_t *bytes, unsigned length)
{
	struct tcp_piece piece = {.offset = TCP_PIECE_INLINE, .length = length};
	struct delivery *delivery;
	int rc = -ENOMEM;

	memcpy(piece.bytes, bytes, length);
	if (!client->in_packet && list_empty(&client->waiting))
		rc = tcp_send(client->pcb, &piece, 1);
	if (rc != -ENOMEM)
		return; // sent, or nobody is there to read it
	delivery = delivery_take(client->offload, DELIVERY_CONTROL);
	if (delivery == NULL) {
		client->failed = true;
		return;
	}
	delivery->pieces[0] = piece;
	delivery->count = 1;
	wait_append(client, delivery);
}

// --- pumping -------------------------------------------------------------------------------------

// It will never go out.
static int pump_drop(struct client *client, struct delivery *delivery, enum offload_drop reason)
{
	drop(client, reason);
	if (delivery->kind == DELIVERY_OURS && delivery->id != 0)
		window_resend_drop(client, delivery->id);
	wait_drop(client, delivery);
	return 0;
}

// One of ours under an identifier; for the first time, or again.
static int pump_windowed(struct client *client, struct delivery *delivery)
{
	struct tcp_piece pieces[DELIVERY_PIECES_MAX];
	uint32_t length = delivery->length;
	bool again = delivery->id != 0;
	uint16_t id;
	int rc;

	if (!output_has_room(client) || (!again && !may_send(client)))
		return -EAGAIN;
	rc = owed_adapt(client, delivery);
	client->windowed_bytes += delivery->length - length;
	if (rc == -ENOMEM)
		return -EAGAIN;
	// Of an earlier connection, which may have taken longer ones ([MQTT-3.1.2-25]).
	if (rc < 0 || delivery->length > client->maximum_packet_size)
		return pump_drop(client, delivery, OFFLOAD_DROP_PACKET_SIZE);
	id = again ? window_resend(client, delivery->id) : window_take(client, delivery->qos);
	if (id == 0)
		return -EAGAIN;
	rc = tcp_send(client->pcb, pieces,
		delivery_pieces(
			delivery, id, delivery_waited_s(client->offload, delivery), pieces));
	if (rc == -ENOMEM) {
		if (again)
			window_resend_undo(client);
		else
			identifiers_give(client_identifiers(client), id);
		return -EAGAIN;
	}
	if (again)
		counter_inc(&client->offload->counters.resent);
	else if (rc == 0 || owed_keeps(client, delivery->qos))
		delivered(client, delivery->qos);
	else
		drop(client, OFFLOAD_DROP_CLOSED);
	delivery->id = id;
	if (owed_keeps(client, delivery->qos)) {
		wait_remove(client, delivery);
		owed_sent(client, delivery);
	} else {
		wait_drop(client, delivery);
	}
	return 0;
}

// -EAGAIN: it waits on. Otherwise it waits no longer.
static int pump_one(struct client *client, struct delivery *delivery)
{
	bool broker_windowed = is_numbered(delivery);
	struct tcp_piece pieces[DELIVERY_PIECES_MAX];
	uint32_t waited = delivery_waited_s(client->offload, delivery);
	int rc;

	if (delivery->expires && waited >= delivery->expiry_s)
		return pump_drop(client, delivery, OFFLOAD_DROP_EXPIRED); // [MQTT-3.3.2-5]
	if (delivery->kind == DELIVERY_OURS && delivery->qos > 0)
		return pump_windowed(client, delivery);
	if (broker_windowed && !window_broker_take(client, delivery->id))
		return -EAGAIN;
	rc = tcp_send(client->pcb, pieces, delivery_pieces(delivery, 0, waited, pieces));
	if (rc == -ENOMEM) {
		if (broker_windowed)
			identifiers_broker_give(client_identifiers(client), delivery->id);
		return -EAGAIN;
	}
	if (delivery->kind == DELIVERY_OURS && rc == 0)
		delivered(client, delivery->qos);
	else if (delivery->kind == DELIVERY_OURS)
		drop(client, OFFLOAD_DROP_CLOSED);
	wait_drop(client, delivery);
	return 0;
}

static void pump_list(struct client *client, struct list *head)
{
	while (!client->in_packet && !list_empty(head))
		if (pump_one(client, container_of(head->next, struct delivery, link)) < 0)
			return;
}

// While a packet of the broker is held up, what it sent at QoS 0 waits for no acknowledgement of
// ours: it overtakes none of the broker's.
static void pump_overtaking(struct client *client)
{
	list_for_each_safe (link, &client->windowed) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (is_numbered(delivery) || client->in_packet)
			return;
		if (delivery->kind == DELIVERY_BROKER && pump_one(client, delivery) < 0)
			return;
	}
}

// --- the broker's packets ------------------------------------------------------------------------

static int send_frame(struct client *client, const struct mqtt_frame *frame)
{
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX];
	struct payload *copy;
	unsigned count;
	int rc;

	if (frame->parts_count == 0)
		rc = tcp_send_copy(client->pcb, frame->head.data, frame->length);
	else if ((rc = frame_pieces(client->offload, frame, pieces, &count, &copy)) == 0)
		rc = tcp_send(client->pcb, pieces, count);
	// Nobody is there to read it: the broker will hear of that soon.
	return rc == -ENOMEM ? -EAGAIN : 0;
}

// What waits for the window, or the window itself, holds up the broker's next PUBLISH.
static int hold_up(struct client *client, const struct mqtt_publish *publish)
{
	client->broker_waits = true;
	client->broker_needs = publish->qos > 0;
	return -EAGAIN;
}

static int wait_frame(
	struct client *client, const struct mqtt_frame *frame, const struct mqtt_publish *publish)
{
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX];
	struct delivery *delivery;
	struct payload *copy;
	unsigned count;

	// Behind the broker's end nothing is left to wait for.
	if (client->windowed_broker >= WINDOWED_BROKER_MAX && !client->link->eof(client))
		return hold_up(client, publish);
	delivery = delivery_take(client->offload, DELIVERY_BROKER);
	if (delivery == NULL)
		return hold_up(client, publish);
	if (frame_pieces(client->offload, frame, pieces, &count, &copy) == 0) {
		delivery->body = piece_table_create(client->offload, pieces, count);
		if (copy != NULL)
			payload_put(copy);
	}
	if (delivery->body == NULL) {
		delivery_drop(client->offload, delivery);
		return hold_up(client, publish);
	}
	delivery->qos = publish->qos;
	delivery->id = publish->packet_id;
	delivery->length = frame->length;
	wait_append(client, delivery);
	return 0;
}

// The broker has nothing more to say: what it sent goes out whatever the window says. Only who has
// left, or cannot say anything any more, gets no more than it asked for ([MQTT-3.3.4-9]).
static void windowed_flush(struct client *client)
{
	bool over = client->left || tcp_recv_eof(client->pcb);

	list_for_each_safe (link, &client->windowed) {
		struct delivery *delivery = container_of(link, struct delivery, link);
		struct tcp_piece pieces[DELIVERY_PIECES_MAX];

		if (delivery->kind != DELIVERY_BROKER)
			continue;
		if (delivery->qos > 0 && !window_broker_take(client, delivery->id) && over)
			continue;
		if (tcp_send(client->pcb, pieces, delivery_pieces(delivery, 0, 0, pieces)) !=
			-ENOMEM)
			wait_drop(client, delivery);
	}
}

int output_broker_packet(
	struct client *client, const struct mqtt_frame *frame, const struct mqtt_publish *publish)
{
	client->broker_waits = false;
	// What waited for a long packet to end goes first.
	pump_list(client, &client->waiting);
	if (!list_empty(&client->waiting))
		return -EAGAIN;
	if (frame->header.type == MQTT_DISCONNECT)
		windowed_flush(client);
	if (publish == NULL)
		return send_frame(client, frame);
	if (client->windowed_broker > 0 || (publish->qos > 0 && client->windowed_count > 0))
		return wait_frame(client, frame, publish);
	if (publish->qos > 0 && !window_broker_take(client, publish->packet_id))
		return wait_frame(client, frame, publish);
	if (send_frame(client, frame) < 0) {
		if (publish->qos > 0)
			identifiers_broker_give(client_identifiers(client), publish->packet_id);
		return -EAGAIN;
	}
	return 0;
}

static bool stream_may_begin(struct client *client, const struct mqtt_publish *publish)
{
	if (client->waiting_count > 0 || client->windowed_broker > 0 ||
		(publish->qos > 0 && client->windowed_count > 0))
		return false;
	return publish->qos == 0 || window_broker_take(client, publish->packet_id);
}

static bool stream_may_gather(const struct client *client, uint32_t length)
{
	return client->windowed_broker < WINDOWED_BROKER_MAX && length <= GATHER_MAX &&
	       bytes_have_room(client, bytes_under_way(client) + client->windowed_bytes + length);
}

enum output_stream output_broker_stream_begin(
	struct client *client, const struct mqtt_publish *publish, uint32_t length)
{
	client->broker_waits = false;
	if (stream_may_begin(client, publish))
		return OUTPUT_STREAMS;
	if (stream_may_gather(client, length))
		return OUTPUT_GATHERS;
	hold_up(client, publish);
	return OUTPUT_WAITS;
}

int output_broker_stream(struct client *client, const struct mqtt_stream *stream)
{
	int rc = tcp_send_copy(client->pcb, stream->bytes.data, stream->bytes.length);

	client->in_packet = !stream->last;
	if (rc == -ENOMEM)
		client->failed = true;
	return rc;
}

// --- what outlives a connection ------------------------------------------------------------------

struct delivery *output_take_windowed(struct client *client)
{
	list_for_each (link, &client->windowed) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (delivery->kind != DELIVERY_OURS || delivery->qos != 1)
			continue;
		client->resends -= delivery->id != 0;
		wait_remove(client, delivery);
		return delivery;
	}
	return NULL;
}

void output_wait(struct client *client, struct delivery *delivery)
{
	wait_append(client, delivery);
}

void output_resend_acknowledged(struct client *client, uint16_t id)
{
	if (client->resends == 0)
		return;
	list_for_each (link, &client->windowed) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (delivery->kind != DELIVERY_OURS || delivery->id != id)
			continue;
		client->resends--;
		wait_drop(client, delivery);
		return;
	}
}

// --- the whole ---------------------------------------------------------------------------------

void output_pump(struct client *client)
{
	pump_list(client, &client->waiting);
	if (list_empty(&client->waiting)) {
		pump_list(client, &client->windowed);
		if (client->broker_waits && client->windowed_broker > 0)
			pump_overtaking(client);
	}
	keep_trying(client);
}

static void clear_list(struct client *client, struct list *head, bool count)
{
	list_for_each_safe (link, head) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (count && delivery->kind == DELIVERY_OURS)
			drop(client, OFFLOAD_DROP_CLOSED);
		wait_drop(client, delivery);
	}
}

void output_finish(struct client *client)
{
	// Behind half a packet anything would be taken for its other half.
	if (!client->in_packet) {
		pump_list(client, &client->waiting);
		windowed_flush(client);
	}
	output_clear(client);
}

void output_clear(struct client *client)
{
	clear_list(client, &client->waiting, true);
	clear_list(client, &client->windowed, true);
	if (client->identifiers != NULL)
		payload_put(client->identifiers);
	client->identifiers = NULL;
}
