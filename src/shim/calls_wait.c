// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Waiting: epoll, poll, select.

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "shim/answer.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/polls.h"
#include "shim/state.h"
#include "shim/table.h"

static int64_t us_of(const struct timespec *time)
{
	return time == NULL ? -1 : (int64_t)time->tv_sec * 1000000 + (time->tv_nsec + 999) / 1000;
}

static int64_t us_of_ms(int ms)
{
	return ms < 0 ? -1 : (int64_t)ms * 1000;
}

static bool is_time(const struct timespec *time)
{
	return time == NULL ||
	       (time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
}

// --- epoll ---------------------------------------------------------------------------------------

EXPORT int epoll_create1(int flags)
{
	int epfd = libc_get()->epoll_create1(flags);

	epoll_created(epfd);
	return epfd;
}

EXPORT int epoll_create(int size)
{
	return size > 0 ? epoll_create1(0) : (int)answer(-EINVAL);
}

// What the kernel has in an epoll it knows when that is put into another one; of ours it does not.
static int control_both(int epfd, int op, int fd, struct object *object, struct epoll_event *event)
{
	int rc = libc_get()->epoll_ctl(epfd, op, fd, event);

	return rc < 0 ? -errno : epoll_control(epfd, op, fd, object, event);
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct object *object = table_look(fd) != NULL && fd != epfd ? object_get(fd) : NULL;
	int rc;

	if (object != NULL) {
		rc = object->kind == OBJECT_EPOLL ? control_both(epfd, op, fd, object, event)
						  : epoll_control(epfd, op, fd, object, event);
		object_put(object);
		return (int)answer(rc);
	}
	rc = libc_get()->epoll_ctl(epfd, op, fd, event);
	if (rc == 0 && op != EPOLL_CTL_MOD && table_look(epfd) != NULL && shim_lock()) {
		epoll_count_kernel(epfd, op == EPOLL_CTL_ADD ? 1 : -1);
		shim_unlock();
	}
	return rc;
}

static int await(int epfd, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask, bool *ret_ours)
{
	struct object *object = object_get(epfd);
	int rc = 0;

	// Also while there is nothing of ours in it: another thread may put something in meanwhile.
	*ret_ours = object != NULL && object->kind == OBJECT_EPOLL && max > 0;
	if (*ret_ours)
		rc = epoll_await((struct epoll *)object, events, max, timeout_us, mask);
	if (object != NULL)
		object_put(object);
	return rc;
}

EXPORT int epoll_pwait(
	int epfd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
	bool ours;
	int rc = await(epfd, events, max, us_of_ms(timeout_ms), mask, &ours);

	return ours ? (int)answer(rc)
		    : libc_get()->epoll_pwait(epfd, events, max, timeout_ms, mask);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	return epoll_pwait(epfd, events, max, timeout_ms, NULL);
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
	const struct timespec *timeout, const sigset_t *mask)
{
	bool ours;
	int rc;

	if (!is_time(timeout))
		return (int)answer(-EINVAL);
	rc = await(epfd, events, max, us_of(timeout), mask, &ours);
	if (ours)
		return (int)answer(rc);
	if (libc_get()->epoll_pwait2 == NULL)
		return (int)answer(-ENOSYS);
	return libc_get()->epoll_pwait2(epfd, events, max, timeout, mask);
}

// --- poll ----------------------------------------------------------------------------------------

static bool any_ours(const struct pollfd *fds, nfds_t count)
{
	for (nfds_t i = 0; i < count; i++)
		if (table_look(fds[i].fd) != NULL)
			return true;
	return false;
}

EXPORT int ppoll(
	struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int rc;

	if (!any_ours(fds, count) || !shim_lock())
		return libc_get()->ppoll(fds, count, timeout, mask);
	rc = is_time(timeout) ? polls_await(fds, count, us_of(timeout), mask) : -EINVAL;
	shim_unlock();
	return (int)answer(rc);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};

	return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
	const sigset_t *mask, size_t size);
void __chk_fail(void) __attribute__((noreturn));

EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size)
{
	if (size / sizeof(*fds) < count)
		__chk_fail();
	return poll(fds, count, timeout_ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
	const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < count)
		__chk_fail();
	return ppoll(fds, count, timeout, mask);
}

// --- select --------------------------------------------------------------------------------------

static bool in(int fd, const fd_set *set)
{
	return set != NULL && FD_ISSET(fd, set);
}

static bool any_selected(int count, const fd_set *read, const fd_set *write, const fd_set *except)
{
	for (int fd = table_next(-1); fd >= 0 && fd < count && fd < FD_SETSIZE; fd = table_next(fd))
		if (in(fd, read) || in(fd, write) || in(fd, except))
			return true;
	return false;
}

EXPORT int pselect(int count, fd_set *read, fd_set *write, fd_set *except,
	const struct timespec *timeout, const sigset_t *mask)
{
	int rc;

	if (!any_selected(count, read, write, except) || !shim_lock())
		return libc_get()->pselect(count, read, write, except, timeout, mask);
	rc = is_time(timeout) ? polls_select(count, read, write, except, us_of(timeout), mask)
			      : -EINVAL;
	shim_unlock();
	return (int)answer(rc);
}

// Linux says how much time was left.
EXPORT int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout)
{
	struct timespec time;
	int64_t begin_us = wait_now_us(), left_us;
	int rc;

	if (timeout == NULL)
		return pselect(count, read, write, except, NULL, NULL);
	time = (struct timespec){timeout->tv_sec, timeout->tv_usec * 1000};
	rc = pselect(count, read, write, except, &time, NULL);
	left_us = us_of(&time) - (wait_now_us() - begin_us);
	left_us = left_us < 0 ? 0 : left_us;
	*timeout = (struct timeval){left_us / 1000000, left_us % 1000000};
	return rc;
}
