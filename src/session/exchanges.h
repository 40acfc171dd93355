// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// QoS 2 exchanges that a publisher has under way with its broker (4.3.3): from the
// PUBLISH that passed to the PUBCOMP that ends it. Until then the broker may not have routed the
// message. One that Offramp began late, for a message it had acknowledged itself, it also carries
// on itself (offload/exact.h). Lives only while there are any.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define EXCHANGES_MAX 480

struct exchanges {
	uint16_t count;
	bool lost; // more than fit were under way: whether all have ended is not known any more
	struct exchange {
		uint16_t id;
		bool late;
	} list[EXCHANGES_MAX];
};

void exchanges_init(struct exchanges *exchanges);
// No message of the publisher is on its way to being routed: the table may go.
bool exchanges_settled(const struct exchanges *exchanges);
bool exchanges_full(const struct exchanges *exchanges);

// A PUBLISH has passed; again (DUP) is no new exchange.
void exchanges_begin(struct exchanges *exchanges, uint16_t id, bool late);
bool exchanges_under_way(const struct exchanges *exchanges, uint16_t id);
// Is it one that Offramp began late?
bool exchanges_late(const struct exchanges *exchanges, uint16_t id);
// The exchange has ended; harmless when it is none.
void exchanges_end(struct exchanges *exchanges, uint16_t id);
