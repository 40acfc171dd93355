// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reading one direction of a client's connection: bytes that have come are cut into
// packets, each is dealt with or waits where it is, long ones stream through.
//
//   bytes ─▶ head_look ─▶ framer ──┬─ packet ─▶ dispatch ─▶ dealt with │ waits, and is seen again
//             (a long PUBLISH      ├─ stream ─▶ goes on as it comes
//              asks before it      └─ no memory ─▶ what is gathered goes on as a stream
//              begins)
//
// Both directions run this loop; what differs is in struct reader_ops.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mqtt/framer.h"
#include "tcp/tcp.h"

struct client;

struct reader {
	struct mqtt_framer framer;
	struct mqtt_frame stuck; // a gathered packet that could not be dealt with yet
	bool has_stuck;
	uint32_t begun; // octets of a packet that cannot be told yet; they are not consumed
};

struct reader_ops {
	// The bytes that have come: as tcp_recv_peek(), tcp_recv_consume(), tcp_recv_eof().
	unsigned (*peek)(struct client *client, struct tcp_span *ret_spans, unsigned max);
	void (*consume)(struct client *client, uint32_t n);
	bool (*eof)(const struct client *client);
	bool (*may_read)(struct client *client);
	// A whole packet. False: not now, nothing has happened.
	bool (*packet)(struct client *client, const struct mqtt_frame *frame);
	// A PUBLISH too long to gather: may its first byte go on? False: not now. It may be
	// gathered all the same, when the framer's gather_max is raised for it.
	bool (*begin)(struct client *client, const struct mqtt_header *header,
		const struct mqtt_publish *publish);
	void (*stream)(struct client *client, const struct mqtt_stream *stream);
	void (*raw)(struct client *client, struct mqtt_bytes bytes);
	// Memory ran out: what is gathered goes on, and so will the rest. False: it could not.
	bool (*spill)(struct client *client);
	// A packet must wait: see to it that the client is run again.
	void (*wait)(struct client *client);
};

void reader_init(struct reader *reader, struct payload_pool *pool);
void reader_fini(struct reader *reader);
// Deals with what has come, as far as it may now.
void reader_run(struct client *client, struct reader *reader, const struct reader_ops *ops);
// What the framer has shown is dealt with: its payloads go back now, not at the next byte, which
// may never come.
void reader_settle(struct reader *reader);
// So many octets more than were consumed have been dealt with; negative: less. A packet that is all
// there and waits is not dealt with before its last octet is; of one that is not, everything is,
// for who sends it may want to hear of the beginning before it sends the rest.
int32_t reader_beyond(const struct reader *reader);
