// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of the offload's tests.

#pragma once

#include "packets.h"

// A bed with the usual configuration, not started yet; *state keeps it for bed_end().
struct bed *bed_new(void **state);
int bed_end(void **state);

int test_alias(void);
int test_announced(void);
int test_capture(void);
int test_exact(void);
int test_fences(void);
int test_filters(void);
int test_handshakes(void);
int test_hooks(void);
int test_ledger(void);
int test_moves(void);
int test_output(void);
int test_owed(void);
int test_peers(void);
int test_pending(void);
int test_proofs(void);
int test_proofs_workers(void);
int test_routes(void);
int test_threads(void);
int test_upstream(void);
