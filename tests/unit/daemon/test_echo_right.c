// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who may have an ICMP socket: who could open one of the kernel's, in a network of ours.

#include "daemon_tests.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/sockets.h"
#include "daemon/echo_right.h"

// What a socket gives, or -1: the kernel does not even let us open it.
static int right(int family, int type, int protocol, struct sockets_echo *ret_echo)
{
	int fd = socket(family, type, protocol), error;

	if (fd < 0)
		return -1;
	error = echo_right(fd, ret_echo);
	close(fd);
	return error;
}

static void test_other_sockets_give_none(void **state)
{
	struct sockets_echo echo = {0};

	(void)state;
	assert_int_equal(right(AF_INET, SOCK_DGRAM, 0, &echo), EPROTONOSUPPORT);
	assert_int_equal(right(AF_INET, SOCK_STREAM, 0, &echo), EPROTONOSUPPORT);
	assert_int_equal(right(AF_INET6, SOCK_DGRAM, 0, &echo), EPROTONOSUPPORT);
	assert_int_equal(right(AF_UNIX, SOCK_DGRAM, 0, &echo), EPROTONOSUPPORT);
	assert_int_equal(echo_right(-1, &echo), EPROTONOSUPPORT);
}

static void test_a_raw_socket_gives_it(void **state)
{
	struct sockets_echo echo = {0};
	int error = right(AF_INET, SOCK_RAW, IPPROTO_ICMP, &echo);

	(void)state;
	if (error < 0 || error == EPERM)
		skip(); // not root, or root of something small
	assert_int_equal(error, 0);
	assert_true(echo.raw && !echo.ipv6);
	assert_int_equal(right(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, &echo), 0);
	assert_true(echo.raw && echo.ipv6);
	assert_int_equal(right(AF_INET, SOCK_RAW, IPPROTO_UDP, &echo), EPROTONOSUPPORT);
}

static void send_fd(int to, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {"x", 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int))};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	if (sendmsg(to, &message, 0) < 0)
		_exit(1);
}

// -1: none came.
static int receive_fd(int from)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char octet;
	struct iovec iov = {&octet, 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(from, &message, 0) == 1 && (cmsg = CMSG_FIRSTHDR(&message)) != NULL)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

// Everybody is root in a user namespace of his own: a socket from in there is judged out here.
static void test_a_network_of_ones_own_gives_none(void **state)
{
	struct sockets_echo echo = {0};
	int pair[2], fd;
	pid_t child;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			_exit(1);
		fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
		if (fd >= 0)
			send_fd(pair[1], fd);
		_exit(0);
	}
	close(pair[1]);
	fd = receive_fd(pair[0]);
	close(pair[0]);
	waitpid(child, NULL, 0);
	if (fd < 0)
		skip(); // no such namespaces here
	assert_int_equal(echo_right(fd, &echo), EPERM);
	close(fd);
}

int test_daemon_echo_right(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_sockets_give_none),
		cmocka_unit_test(test_a_raw_socket_gives_it),
		cmocka_unit_test(test_a_network_of_ones_own_gives_none),
	};

	return cmocka_run_group_tests_name("echo right", tests, NULL, NULL);
}
