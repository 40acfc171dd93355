// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The test groups of the daemon; each file has one and says how many of its tests failed.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_daemon_bridging(void);
int test_daemon_echo_right(void);
int test_daemon_flows_file(void);
int test_daemon_idle(void);
int test_daemon_ledger_file(void);
int test_daemon_steering(void);
