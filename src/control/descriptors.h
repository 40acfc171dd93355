// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The files under proto/, found by name and by what they define. Read-only once made.
// Private to control.

#pragma once

#include <protobuf-c/protobuf-c.h>

struct descriptors;

// -ENOMEM.
int descriptors_create(struct descriptors **ret_descriptors);
void descriptors_destroy(struct descriptors *descriptors); // accepts NULL

// A google.protobuf.FileDescriptorProto; NULL: there is none.
const ProtobufCMessage *descriptors_file(const struct descriptors *descriptors, const char *name);
// The one that defines "package.Message", "package.Service" or "package.Service.Method".
const ProtobufCMessage *descriptors_symbol(
	const struct descriptors *descriptors, const char *symbol);
