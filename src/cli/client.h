// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One gRPC call to the daemon over its unix socket, on the C-core API. Blocks.

#pragma once

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Calls `path` ("/offramp.v1.Admin/Status") with the request (NULL: an empty one); `message` is
// given each message of the answer, one or many, and returns false when it cannot read it. What
// went wrong is written into `error` and false returned.
bool client_call(const char *socket, const char *path, const ProtobufCMessage *request,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length), void *ctx, char *error,
	size_t error_size);

// The same for a stream that goes on: no end of patience, and until look(), asked several times a
// second, is not 0 the daemon goes on, too. 1: it is told that no more is wanted, and ends; more:
// the call ends now. An end that was asked for is no error.
bool client_follow(const char *socket, const char *path, const ProtobufCMessage *request,
	bool (*message)(void *ctx, const uint8_t *bytes, size_t length),
	unsigned (*look)(void *ctx), void *ctx, char *error, size_t error_size);
