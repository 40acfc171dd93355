// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Cuts what a connection receives into MQTT packets. Nearly every packet lies
// whole in the thread's large receive buffer and is shown in place; the rest of a
// split one is read straight behind its beginning, so that no byte is copied twice:
//
//      partial (the connection's)            buffer (the thread's)
//    +-----------+- - - - - - - -+         +-----------------------------+
//    | have      | length - have |   then  | further packets …           |
//    +-----------+- - - - - - - -+         +-----------------------------+
//                 iov[0]                     iov[1]
//
// No I/O in here: the caller reads into the iov and says how much came.

#pragma once

#include "mqtt/packet.h"

#include <sys/uio.h>

struct bench_stream {
	uint8_t *partial;
	uint32_t capacity; // of partial
	uint32_t have;	   // bytes in partial
	uint32_t length;   // of the packet in partial; 0: its fixed header is not complete
};

// What is done with each packet; false stops the cutting (the connection is gone).
typedef bool bench_stream_handler(
	void *context, const struct mqtt_header *header, struct mqtt_bytes body);

struct bench_buffer {
	uint8_t *data; // MQTT_HEADER_MAX bytes of headroom, then `size` bytes
	uint32_t size;
};

// A zeroed struct is a stream at its beginning.
void bench_stream_fini(struct bench_stream *stream);
// Where the next bytes are to be read to; returns the number of entries in iov, 1 or 2.
int bench_stream_room(
	const struct bench_stream *stream, const struct bench_buffer *buffer, struct iovec iov[2]);
// `n` bytes were read. Shows every packet that is now complete. False when the handler stopped it
// or the bytes are no MQTT (then *ret_error is not MQTT_OK).
bool bench_stream_take(struct bench_stream *stream, const struct bench_buffer *buffer, size_t n,
	bench_stream_handler *handler, void *context, enum mqtt_error *ret_error);
