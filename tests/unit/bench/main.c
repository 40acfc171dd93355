// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs the groups.

#include "bench_tests.h"

int main(void)
{
	int failed = 0;

	failed += test_bench_options();
	failed += test_bench_plan();
	failed += test_bench_stamp();
	failed += test_bench_track();
	failed += test_bench_flight();
	failed += test_bench_stream();
	failed += test_bench_subscriber();
	return failed != 0;
}
