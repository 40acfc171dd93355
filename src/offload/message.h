// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A captured PUBLISH on its way to its subscribers. It is encoded once per wire
// form (v3 or v5, QoS, subscription identifier); a form is one payload that any
// number of send queues refer to:
//
//   QoS 0   │ header, topic │ properties │ message │            one piece
//   QoS 1   │ header, topic ├ identifier ┤ properties │ message │   three pieces: the identifier is
//   in place
//
// A large application message is not copied into the forms; they refer to it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mqtt/framer.h"
#include "mqtt/packet.h"
#include "tcp/tcp.h"

struct offload;

// An application message up to this size is copied into each form: one reference less in every
// queue.
#define MESSAGE_COPY_MAX 2048
// Forms remembered while one message is distributed.
#define MESSAGE_FORMS 4
// Pieces of one delivery: head, identifier, tail and what a gathered message is made of.
#define MESSAGE_PIECES_MAX (3 + MQTT_FRAME_PARTS_MAX)

struct form {
	struct payload *payload; // NULL: unused
	uint32_t id;		 // subscription identifier
	uint32_t head_length;	 // bytes before the packet identifier
	uint32_t length;	 // of the whole packet
	uint32_t expiry_offset;	 // of the message expiry in `payload`; 0: none
	uint8_t qos;
	bool v5;
};

// On the stack of who distributes it.
struct message {
	struct offload *offload;
	const struct mqtt_publish *publish;
	struct mqtt_bytes bytes; // the application message, when it is copied into forms
	struct payload *copy;	 // owned: of a large one that lay in place
	struct payload *table;	 // owned: the body's pieces for deliveries that wait
	unsigned body_count;	 // > 0: forms refer to the body
	struct tcp_piece body[MQTT_FRAME_PARTS_MAX];
	unsigned forms_next;
	struct form forms[MESSAGE_FORMS];
};

// `frame` holds the packet whose decoded head is `publish`; both must outlive the message. -ENOMEM.
int message_init(struct message *message, struct offload *offload, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish);
void message_fini(struct message *message);

// The form for a subscriber; valid until message_fini() or MESSAGE_FORMS further forms. NULL: no
// memory.
const struct form *message_form(struct message *message, bool v5, uint8_t qos, uint32_t id);

// Pieces of a delivery of `form` under packet identifier `id` (QoS 0: unused). `out` has room for
// MESSAGE_PIECES_MAX. No references are taken.
unsigned message_pieces(
	const struct message *message, const struct form *form, uint16_t id, struct tcp_piece *out);

// --- pieces that outlive their message -----------------------------------------------------------

// A payload that holds a list of pieces and a reference on each piece's payload.
struct piece_table {
	uint32_t count;
	uint32_t reserved;
	struct tcp_piece pieces[];
};

// NULL: no memory. Takes a reference on every payload.
struct payload *piece_table_create(
	struct offload *offload, const struct tcp_piece *pieces, unsigned count);
void piece_table_put(struct payload *table); // accepts NULL
static inline const struct piece_table *piece_table(const struct payload *table)
{
	return (const struct piece_table *)(const void *)table->data;
}

// The body as a table with a reference for the caller; NULL when forms hold it (*ret_error 0) or
// when memory ran out (-ENOMEM).
struct payload *message_body_table(struct message *message, int *ret_error);

// The pieces of a whole packet as it came: the frame's parts, or a copy of it (a new payload, which
// the caller owns: *ret_copy). -ENOMEM.
int frame_pieces(struct offload *offload, const struct mqtt_frame *frame, struct tcp_piece *out,
	unsigned *ret_count, struct payload **ret_copy);
