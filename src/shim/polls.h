// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// poll() and select() over descriptors of which some are Offramp's. Under the shim's lock, which is
// let go while they sleep.

#pragma once

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/select.h>

// How many are ready, or -errno.
int polls_await(struct pollfd *fds, nfds_t count, int64_t timeout_us, const sigset_t *mask);
int polls_select(int count, fd_set *read, fd_set *write, fd_set *except, int64_t timeout_us,
	const sigset_t *mask);
