// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The test groups of the base floor; each file has one and says how many of its tests failed.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_base_crossing(void);
int test_base_histogram(void);
int test_base_list(void);
int test_base_log(void);
int test_base_mailbox(void);
int test_base_marker(void);
int test_base_payload(void);
int test_base_random(void);
int test_base_slab(void);
int test_base_sum(void);
int test_base_wheel(void);
