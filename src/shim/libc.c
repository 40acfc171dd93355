// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// dlsym() of what comes next. Whoever is second in a race writes the same.

#include "shim/libc.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

#define FIND(name) libc.name = (__typeof__(libc.name))dlsym(RTLD_NEXT, #name)

const struct libc *libc_get(void)
{
	static struct libc libc;
	static _Atomic bool found;

	if (atomic_load_explicit(&found, memory_order_acquire))
		return &libc;
	FIND(socket);
	FIND(bind);
	FIND(listen);
	FIND(accept4);
	FIND(connect);
	FIND(close);
	FIND(shutdown);
	FIND(read);
	FIND(readv);
	FIND(recv);
	FIND(recvfrom);
	FIND(recvmsg);
	FIND(recvmmsg);
	FIND(write);
	FIND(writev);
	FIND(send);
	FIND(sendto);
	FIND(sendmsg);
	FIND(sendmmsg);
	FIND(sendfile);
	FIND(splice);
	FIND(fdopen);
	FIND(getsockopt);
	FIND(setsockopt);
	FIND(getsockname);
	FIND(getpeername);
	FIND(fcntl);
	FIND(ioctl);
	FIND(dup);
	FIND(dup2);
	FIND(dup3);
	FIND(ppoll);
	FIND(pselect);
	FIND(epoll_create1);
	FIND(epoll_ctl);
	FIND(epoll_pwait);
	FIND(epoll_pwait2);
	FIND(close_range);
	FIND(syscall);
	atomic_store_explicit(&found, true, memory_order_release);
	return &libc;
}
