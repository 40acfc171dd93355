// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The test groups of the port floor; each file has one and says how many of its tests failed.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_port_arguments(void);
int test_port_burst(void);
int test_port_caps(void);
int test_port_flow_rules(void);
int test_port_impair(void);
int test_port_open(void);
int test_port_tap(void);
