// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of the load generator's tests; each returns the number that failed.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_bench_flight(void);
int test_bench_options(void);
int test_bench_plan(void);
int test_bench_stamp(void);
int test_bench_stream(void);
int test_bench_subscriber(void);
int test_bench_track(void);
