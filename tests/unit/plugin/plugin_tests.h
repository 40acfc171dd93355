// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of tests, and what they share.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int test_plugin_clients(void);
int test_plugin_options(void);
int test_plugin_plugin(void);
int test_plugin_queue(void);
int test_plugin_secret(void);
int test_plugin_witness(void);
int test_plugin_witness_random(void);
