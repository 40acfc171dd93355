// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Markers: what Offramp says to the broker's side in band, as the payload of a QoS 0
// PUBLISH to MARKER_TOPIC, so that it is in step with a client's other packets. Only who
// has the key of the stream (proto/offramp/v1/broker.proto) can make one; none is ever
// sent twice. Pure; used by the offload, which writes them, and by plugins.
//
//   0        1      2              3          4           12                    n-8    n
//   │version │ kind │ except_count │ reserved │ token (8) │ except (8 each) ... │ tag  │
//
// Integers are big-endian. The tag is SipHash-2-4 of all before it, under the key.

#pragma once

#include <stddef.h>
#include <stdint.h>

#define MARKER_TOPIC	  "$CONTROL/offramp/v1"
#define MARKER_KEY_SIZE	  16
#define MARKER_VERSION	  1
#define MARKER_EXCEPT_MAX 64
#define MARKER_SIZE_MAX	  (20 + 8 * MARKER_EXCEPT_MAX)

enum marker_kind {
	MARKER_JOIN = 1, // token: the nonce of this connection
	MARKER_ASK,	 // tell of the next PUBLISH of this connection, under this token
	MARKER_END,	 // the broker has routed it by now
	// The next PUBLISH, of QoS 0 or 1, is not for the clients whose ClientJoined was among the
	// events up to number `token`, but `except`. Who joins later may be on the way to be told.
	MARKER_SKIP,
};

struct marker {
	enum marker_kind kind;
	uint64_t token;
	uint8_t except_count;
	uint64_t except[MARKER_EXCEPT_MAX]; // keys of connections (ClientJoined)
};

// Returns how many bytes it has written.
size_t marker_encode(const uint8_t key[MARKER_KEY_SIZE], const struct marker *marker,
	uint8_t out[MARKER_SIZE_MAX]);
// 0; -EBADMSG: not made under this key, or no marker at all. *ret_marker is untouched then.
int marker_decode(const uint8_t key[MARKER_KEY_SIZE], const void *data, size_t length,
	struct marker *ret_marker);
