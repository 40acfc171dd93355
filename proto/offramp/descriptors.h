// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What all files under proto/ say, as protoc puts it: a packed
// google.protobuf.FileDescriptorSet. Made by the build.

#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t proto_descriptors[];
extern const size_t proto_descriptors_length;
