// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How what the shim's floors return (0 or more, or -errno) becomes what a call of the C library
// returns.

#pragma once

#include <errno.h>
#include <sys/types.h>

#define EXPORT __attribute__((visibility("default")))

static inline ssize_t answer(ssize_t rc)
{
	if (rc >= 0)
		return rc;
	errno = (int)-rc;
	return -1;
}
