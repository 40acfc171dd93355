// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of the session floor's tests.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_acks(void);
int test_aliases(void);
int test_changes(void);
int test_exchanges(void);
int test_holders(void);
int test_identifiers(void);
int test_map(void);
int test_pings(void);
int test_replica(void);
