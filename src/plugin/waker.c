// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whoever leaves something looks at `sleeping` after it; who goes to sleep says so before it
// looks for the last time. With a fence between the two on either side one of them sees
// the other.

#include "plugin/waker.h"

#include <grpc/grpc.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct waker {
	_Atomic bool sleeping, stopping;
	int fd;
	void *tag;
	grpc_channel *channel;
	grpc_call *call;
	pthread_t thread;
};

static void *run(void *arg)
{
	struct waker *waker = arg;
	eventfd_t count;

	for (;;) {
		if (eventfd_read(waker->fd, &count) < 0 && errno != EINTR)
			return NULL;
		if (atomic_load(&waker->stopping))
			return NULL;
		grpc_call_start_batch(waker->call, NULL, 0, waker->tag, NULL);
	}
}

static void waker_free(struct waker *waker)
{
	if (waker->call)
		grpc_call_unref(waker->call);
	if (waker->channel)
		grpc_channel_destroy(waker->channel);
	if (waker->fd >= 0)
		close(waker->fd);
	free(waker);
}

int waker_start(grpc_completion_queue *queue, void *tag, struct waker **ret_waker)
{
	struct waker *waker = calloc(1, sizeof(*waker));
	int err;

	if (!waker)
		return -ENOMEM;
	waker->tag = tag;
	waker->fd = eventfd(0, EFD_CLOEXEC);
	if (waker->fd < 0) {
		err = -errno;
		goto err;
	}
	waker->channel = grpc_lame_client_channel_create(NULL, GRPC_STATUS_UNAVAILABLE, "");
	waker->call = grpc_channel_create_call(waker->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
		grpc_slice_from_static_string("/"), NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC),
		NULL);
	err = -pthread_create(&waker->thread, NULL, run, waker);
	if (err)
		goto err;
	pthread_setname_np(waker->thread, "offramp-waker");
	*ret_waker = waker;
	return 0;
err:
	waker_free(waker);
	return err;
}

void waker_stop(struct waker *waker)
{
	if (!waker)
		return;
	atomic_store(&waker->stopping, true);
	eventfd_write(waker->fd, 1);
	pthread_join(waker->thread, NULL);
	waker_free(waker);
}

void waker_set_sleeping(struct waker *waker, bool sleeping)
{
	atomic_store(&waker->sleeping, sleeping);
	atomic_thread_fence(memory_order_seq_cst);
}

void waker_wake(struct waker *waker)
{
	atomic_thread_fence(memory_order_seq_cst);
	// The counter of an eventfd takes 2^64 wake-ups before a write would block.
	if (atomic_load_explicit(&waker->sleeping, memory_order_relaxed) &&
		atomic_exchange(&waker->sleeping, false))
		eventfd_write(waker->fd, 1);
}
