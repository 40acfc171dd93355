// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "channel_tests.h"

int main(void)
{
	int failed = 0;

	failed += test_message();
	failed += test_lane();
	failed += test_shared();
	failed += test_stream();
	failed += test_hostile();
	failed += test_sides();
	return failed;
}
