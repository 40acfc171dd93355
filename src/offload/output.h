// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The output of one client: what the broker sends and what Offramp delivers, merged
// at packet boundaries, in an order in which nobody can tell the two apart.
//
//   control, QoS 0 ──────────────────────┐
//   QoS 1, broker's PUBLISH ─▶ windowed ─┼─▶ tcp send queue
//   other packets of the broker ─────────┘
//
// `windowed` waits for the client's acknowledgements: one budget (Receive Maximum,
// 4.9) for the broker's and Offramp's unacknowledged messages. A PUBLISH of the broker never
// overtakes one of the broker (topic aliases, 3.3.2.3.4) nor a QoS 1 delivery that was made
// before it (4.6). While a long packet of the broker streams through, everything waits. One that
// would have to wait itself is gathered when there is room: what is no PUBLISH waits for no window
// ([MQTT-3.3.4-10]).

#pragma once

#include "offload/message.h"
#include "offload/state.h"

enum delivery_kind {
	DELIVERY_OURS,
	DELIVERY_BROKER,  // a PUBLISH of the broker
	DELIVERY_CONTROL, // an acknowledgement of ours
	DELIVERY_HELD,	  // a whole PUBLISH that waits for a SUBACK (offload/pending.c)
};

// Something that waits: in an output, or for a SUBACK. From a slab.
struct delivery {
	struct list link;
	struct tcp_piece pieces[3]; // with references
	struct payload *body;	    // piece table; NULL: none
	uint64_t since_us;
	uint32_t length;
	uint32_t expiry_s, expiry_offset; // where the expiry stands in the form; 0: nowhere (v3)
	uint16_t id; // of the broker's PUBLISH, or the held one; ours: that it was sent under, 0:
		     // never
	uint8_t count, kind, qos;
	uint8_t version; // ours: of its form; held: of the publisher
	bool expires;	 // after expiry_s, whatever the subscriber's version
	bool own;	 // held: the client's own message
	// Held until its PUBREL: nothing before it is on its way through the broker; it goes to the
	// broker after all.
	bool in_order, late;
};

// NULL when all are in use.
struct delivery *delivery_take(struct offload *offload, enum delivery_kind kind);
void delivery_drop(struct offload *offload, struct delivery *delivery);
// A delivery of ours that outlives its message. NULL: no memory.
struct delivery *delivery_create(
	struct offload *offload, struct message *message, const struct form *form);
// A copy of one of ours that another worker holds, and leaves as it is meanwhile. NULL: no memory.
struct delivery *delivery_copy(struct offload *offload, const struct delivery *theirs);
uint32_t delivery_waited_s(const struct offload *offload, const struct delivery *delivery);
// Pieces of a delivery as they go out: one more for DUP, two for the expiry.
#define DELIVERY_PIECES_MAX (MESSAGE_PIECES_MAX + 3)
// The delivery's pieces as they go out now: with its identifier, and with the time it waited taken
// off its expiry (3.3.2.3.3). `out` has room for DELIVERY_PIECES_MAX.
unsigned delivery_pieces(
	const struct delivery *delivery, uint16_t id, uint32_t waited_s, struct tcp_piece *out);

// One delivery of a captured message under the subscription (granted `qos` is already the lower of
// the two; `id`: subscription identifier). What cannot be delivered is counted.
void output_deliver(struct client *client, struct message *message, uint8_t qos, uint32_t id);

// An acknowledgement of ours: at most TCP_PIECE_INLINE_MAX bytes.
void output_control(struct client *client, const uint8_t *bytes, unsigned length);

// A whole packet of the broker; `publish`: its decoded head if it is a PUBLISH. -EAGAIN: it must
// wait, nothing has happened.
int output_broker_packet(
	struct client *client, const struct mqtt_frame *frame, const struct mqtt_publish *publish);
// A PUBLISH of the broker that is too long to gather.
enum output_stream {
	OUTPUT_STREAMS, // it begins now; its identifier is taken
	OUTPUT_GATHERS, // it must wait, and there is room to gather it, so that nothing waits
			// behind it
	OUTPUT_WAITS,	// and so must what comes behind it
};
enum output_stream output_broker_stream_begin(
	struct client *client, const struct mqtt_publish *publish, uint32_t length);
// Bytes of a packet that streams through. -ENOMEM: the client has failed.
int output_broker_stream(struct client *client, const struct mqtt_stream *stream);

// Does an acknowledgement by the client concern a delivery of Offramp's? It must not pass then.
bool output_is_ours(const struct client *client, uint16_t packet_id, uint8_t type);
// The client has acknowledged (PUBACK, PUBREC, PUBCOMP), ours or the broker's.
void output_acknowledged(struct client *client, const struct mqtt_ack *ack, uint8_t type);

// For offload/owed.c. The first delivery of ours that waits for the window, taken out of it; NULL:
// none does.
struct delivery *output_take_windowed(struct client *client);
// One more waits for it.
void output_wait(struct client *client, struct delivery *delivery);
// One that still waits to be sent again has been acknowledged.
void output_resend_acknowledged(struct client *client, uint16_t id);

// Sends what may be sent now.
void output_pump(struct client *client);
// The broker has ended: its packets go out whatever the window says, deliveries are dropped.
// Nothing follows half a packet.
void output_finish(struct client *client);
// Drops everything that waits.
void output_clear(struct client *client);

// Deliveries that wait, and messages Offramp has not seen acknowledged.
uint32_t output_waiting(const struct client *client);
uint32_t output_inflight(const struct client *client);
// What waits for it is within its bounds.
bool output_has_room(const struct client *client);
// So much waits for it that publishers had better wait too.
bool output_above_soft_mark(const struct client *client);
// It will soon lose deliveries to its bounds.
bool output_above_hard_mark(const struct client *client);
// Nothing unacknowledged of the broker's: a PINGRESP will prove that all it had has been sent.
bool output_broker_settled(const struct client *client);
