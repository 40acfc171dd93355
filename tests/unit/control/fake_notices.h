// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where a worker of the fake daemon writes down what it is told; NULL: nowhere.

#pragma once

#include <stdio.h>

struct offload;

FILE *fake_told(const struct offload *offload);
