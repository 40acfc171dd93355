// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a fuzz target defines: libFuzzer calls it, or replay.c over a corpus.

#pragma once

#include <stddef.h>
#include <stdint.h>

// Optional.
int LLVMFuzzerInitialize(int *argc, char ***argv);
// Returns 0; aborts on a finding.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
