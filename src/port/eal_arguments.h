// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The EAL's command line, made from the configuration: apart from rte_eal_init() so that it can be
// tested. Why these options: docs/decisions/0001-eal-start.md.

#pragma once

#include <stdbool.h>

#include "port/port.h"

#define EAL_FIXED_ARGUMENTS 16

struct eal_arguments {
	int count;
	char **values; // `count` strings of the heap and a NULL, as main() has them
};

// `hugepages`: there are enough, use them. `programs`: of each kind of filter, a path; NULL: the
// kernel does not take it. -ENOMEM.
int eal_arguments_make(const struct port_eal_config *config, bool hugepages,
	const char *const programs[PORT_FILTERS], unsigned process_id,
	struct eal_arguments *ret_arguments);
void eal_arguments_free(struct eal_arguments *arguments);

// True for what has a bus address ("0000:03:00.0", "auxiliary:mlx5_core.sf.2"), false for a vdev.
bool eal_device_is_physical(const char *device);
