// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of this floor's test program. Each returns its number of failures.

#pragma once

int test_config(const char *source_root);
int test_counters(void);
int test_exhook(void);
int test_man_page(const char *source_root);
int test_secret(void);
