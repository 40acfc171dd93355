// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Epoll descriptors of the application. What is the kernel's in them stays with the kernel; what is
// Offramp's is kept here. Under the shim's lock.

#pragma once

#include "shim/object.h"

struct shim;

// epoll_ctl() of an object of ours: 0, or -errno.
int epoll_control(int epfd, int op, int fd, struct object *object, const struct epoll_event *event);
// The application has made one: it is known from the beginning, with all its copies.
void epoll_created(int epfd);
// In a child: what one sleeps in is not shared.
void epoll_inherit(struct epoll *epoll);
// The kernel's own are counted, so that nobody asks it about nothing.
void epoll_count_kernel(int epfd, int change);
// What is ready, without waiting: how many.
int epoll_collect(struct epoll *epoll, struct epoll_event *events, int max);
// epoll_pwait(): how many, or -errno.
int epoll_await(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask);
void epoll_destroy(struct epoll *epoll);

// The object of ours has been touched: epolls that watch it look at it.
void entries_touch(struct object *object);
// Its last descriptor is closed: epolls do not watch it any more.
void entries_forget(struct object *object);
// A listener has fallen (the kernel watches it), or is Offramp's again.
void entries_to_kernel(struct object *object, bool kernel);
uint32_t object_events(struct object *object);
