// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// test-control SOURCE_ROOT

#include "tests.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s SOURCE_ROOT\n", argv[0]);
		return 2;
	}
	return !!(test_config(argv[1]) + test_counters() + test_exhook() + test_man_page(argv[1]) +
		  test_secret());
}
