// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes the decoder of control messages. What it takes for a message is one: encoded again it is
// read as the same.

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "channel/message.h"

static void expect(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_message message, again;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	// Nothing is read behind the end.
	uint8_t *copy = malloc(size + 1);

	memcpy(copy, data, size);
	if (channel_message_decode(copy, size, &message) == 0) {
		size_t length = channel_message_encode(&message, bytes);

		expect(length <= sizeof(bytes) && channel_message_length(copy) == (int)size);
		expect(channel_message_length(bytes) == (int)length);
		expect(channel_message_decode(bytes, length, &again) == 0);
		expect(memcmp(&message, &again, sizeof(message)) == 0);
	}
	free(copy);
	return 0;
}
