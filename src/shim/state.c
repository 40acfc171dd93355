// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The one state, its lock, and what a fork makes of it.

#include "shim/state.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/dgrams.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/loans.h"
#include "shim/streams.h"

#define PATH_DEFAULT "/run/offramp/channel.sock"

static struct shim shim = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .watcher_bell = -1, .lender = -1, .legacy = -1};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
	pthread_mutex_lock(&shim.lock);
	loans_before_fork(&shim);
}

static void after_fork_in_parent(void)
{
	loans_in_parent(&shim);
	pthread_mutex_unlock(&shim.lock);
}

// The lanes are the parent's. A child that uses what it has inherited gets its own attachment for
// listeners; connections it borrows.
static void after_fork_in_child(void)
{
	struct attachment *attached = shim.attached;

	pthread_mutex_init(&shim.lock, NULL);
	shim.held = false;
	shim.pid = getpid();
	shim.attached = NULL;
	shim.ask_again_us = attached != NULL ? 0 : shim.ask_again_us;
	watcher_forget(&shim);
	list_init(&shim.waiters);
	shim.sleepers = 0;
	wait_inherit();
	list_for_each (link, &shim.epolls) {
		epoll_inherit(container_of(link, struct epoll, link));
	}
	while (list_pop(&shim.outgoing) != NULL) // of threads that are not here
		;
	loans_in_child(&shim);
	list_for_each (link, &shim.dgrams) {
		dgram_inherit(container_of(link, struct dgram, link));
	}
	if (attached == NULL)
		return;
	// The memory stays mapped and is not looked at: unmapping it here could take long.
	attach_inherit(&shim, attached);
	list_for_each (link, &shim.listeners) {
		listener_inherit(container_of(link, struct listener, link));
	}
}

static void prepare(void)
{
	const char *where = getenv("OFFRAMP_CHANNEL");

	list_init(&shim.listeners);
	list_init(&shim.waiters);
	list_init(&shim.epolls);
	list_init(&shim.dgrams);
	list_init(&shim.outgoing);
	list_init(&shim.heirs);
	list_init(&shim.relays);
	shim.pid = getpid();
	shim.where = where != NULL && where[0] != '\0' ? where : PATH_DEFAULT;
	shim.secret_file = getenv("OFFRAMP_CHANNEL_SECRET_FILE");
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

struct shim *shim_get(void)
{
	return &shim;
}

bool shim_is_held(void)
{
	return atomic_load_explicit(&shim.held, memory_order_relaxed) &&
	       pthread_equal(
		       atomic_load_explicit(&shim.owner, memory_order_relaxed), pthread_self());
}

bool shim_lock(void)
{
	pthread_once(&once, prepare);
	if (shim_is_held())
		return false;
	pthread_mutex_lock(&shim.lock);
	atomic_store_explicit(&shim.owner, pthread_self(), memory_order_relaxed);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &shim.cancel_state);
	atomic_store_explicit(&shim.held, true, memory_order_relaxed);
	return true;
}

void shim_unlock(void)
{
	int cancel_state = shim.cancel_state;

	if (shim.attached != NULL && shim.attached->unsaid)
		attach_flush(shim.attached);
	atomic_store_explicit(&shim.held, false, memory_order_relaxed);
	pthread_mutex_unlock(&shim.lock);
	pthread_setcancelstate(cancel_state, NULL);
}
