// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a run found out, for people and for programs.

#pragma once

#include "bench/run.h"

#include <stdio.h>

void bench_report_table(FILE *out, const struct bench_options *options,
	const struct bench_address *target, const struct bench_result *result);
// One JSON object on one line; offramp-bench(1) describes its fields.
void bench_report_json(FILE *out, const struct bench_options *options,
	const struct bench_address *target, const struct bench_result *result);
