// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// UDP: a server's socket, and its peers, which are the kernel's whatever stands in front of the C
// library.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

static int must(const char *what, int rc)
{
	if (rc < 0) {
		perror(what);
		_exit(1);
	}
	return rc;
}

static void *at_of(struct play *play, int family)
{
	return family == AF_INET ? (void *)&play->address : (void *)&play->address6;
}

static socklen_t length_of(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int server_new(int family)
{
	int fd = must("socket", socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	set_timeout(fd, SO_RCVTIMEO, WAIT_MS);
	return fd;
}

static int server_at(struct play *play, int family)
{
	int fd = server_new(family);

	must("bind", bind(fd, at_of(play, family), length_of(family)));
	return fd;
}

// Connected to the server's place; the kernel's.
static int peer_of(struct play *play, int family)
{
	int fd;

	must("setns", setns(play->away, CLONE_NEWNET));
	fd = must("socket", (int)syscall(SYS_socket, family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	must("setns", setns(play->home, CLONE_NEWNET));
	set_timeout(fd, SO_RCVTIMEO, WAIT_MS);
	must("connect", connect(fd, at_of(play, family), length_of(family)));
	return fd;
}

// Where the peer is.
static struct sockaddr_storage place_of(int peer)
{
	struct sockaddr_storage at = {0};
	socklen_t length = sizeof(at);

	must("getsockname", getsockname(peer, (struct sockaddr *)&at, &length));
	return at;
}

// Is that where the peer is?
static bool is_from(const struct sockaddr_storage *from, int peer)
{
	struct sockaddr_storage at = place_of(peer);

	return memcmp(from, &at, at.ss_family == AF_INET ? 8 : sizeof(struct sockaddr_in6)) == 0;
}

static void converse(struct play *play, int family, int fd)
{
	int peer = peer_of(play, family);
	struct sockaddr_storage from = {0};
	socklen_t length = sizeof(from);
	char data[64];

	client_says(peer, "hello");
	told(play, "came", recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "length", length);
	told(play, "from", is_from(&from, peer));
	told(play, "sent", sendto(fd, "good day", 8, 0, (struct sockaddr *)&from, length));
	client_finds(play, "found", peer);
}

static void talks(struct play *play)
{
	converse(play, AF_INET, server_at(play, AF_INET));
}

static void talks_ipv6(struct play *play)
{
	converse(play, AF_INET6, server_at(play, AF_INET6));
}

static void everywhere(struct play *play)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = play->address.sin_port};
	int fd = server_new(AF_INET);

	told(play, "bind", bind(fd, (struct sockaddr *)&any, sizeof(any)));
	converse(play, AF_INET, fd);
}

// An IPv6 socket that takes IPv4, too.
static void both_families(struct play *play)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = play->address.sin_port};
	int fd = server_new(AF_INET6), peer;
	struct sockaddr_in6 from = {0};
	socklen_t length = sizeof(from);
	char data[64];

	told(play, "bind", bind(fd, (struct sockaddr *)&any, sizeof(any)));
	peer = peer_of(play, AF_INET);
	client_says(peer, "hello");
	told(play, "came", recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "length", length);
	told(play, "mapped", IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
	told(play, "sent", sendto(fd, "abc", 3, 0, (struct sockaddr *)&from, length));
	client_finds(play, "found", peer);
}

static void cut_short(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	char data[4];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	for (unsigned i = 0; i < 3; i++)
		client_says(peer, "seven..");
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "whole", recv(fd, data, sizeof(data), MSG_TRUNC));
	told(play, "recvmsg", recvmsg(fd, &message, 0));
	told(play, "flags", message.msg_flags);
	told(play, "none", recv(fd, data, sizeof(data), MSG_DONTWAIT));
}

static void peeks(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET), octets = -1;
	char data[8] = "";

	told(play, "ioctl", ioctl(fd, FIONREAD, &octets));
	told(play, "nothing", octets);
	client_says(peer, "abc");
	client_says(peer, "de");
	told(play, "peek", recv(fd, data, sizeof(data), MSG_PEEK));
	ioctl(fd, FIONREAD, &octets);
	told(play, "first", octets);
	told(play, "short", recv(fd, data, 1, MSG_PEEK | MSG_TRUNC));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "second", recv(fd, data, sizeof(data), 0));
}

static void empty(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET), octets = -1;
	struct sockaddr_storage at = place_of(peer);
	char data[8] = "";

	told(play, "send", send(peer, data, 0, 0));
	told(play, "poll", wait_for(fd, POLLIN));
	ioctl(fd, FIONREAD, &octets);
	told(play, "octets", octets);
	told(play, "read nothing", read(fd, data, 0));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "then", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	told(play, "sendto", sendto(fd, data, 0, 0, (struct sockaddr *)&at, length_of(AF_INET)));
	client_finds(play, "found", peer);
}

static void waits_in_vain(struct play *play)
{
	int fd = server_at(play, AF_INET);
	char data[8];

	told(play, "flag", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	set_timeout(fd, SO_RCVTIMEO, 30);
	told(play, "timeout", recv(fd, data, sizeof(data), 0));
	set_nonblocking(fd, true);
	told(play, "nonblocking", recv(fd, data, sizeof(data), 0));
	count_signals(SIGUSR1, 0);
	set_nonblocking(fd, false);
	set_timeout(fd, SO_RCVTIMEO, WAIT_MS);
	{
		struct nag *nag = nag_start(SIGUSR1);

		told(play, "signal", recv(fd, data, sizeof(data), 0));
		nag_stop(nag);
	}
}

// --- connected -----------------------------------------------------------------------------------

static void connected(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET),
	    other = peer_of(play, AF_INET);
	struct sockaddr_storage at = place_of(peer), name = {0};
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t length = sizeof(name);
	char data[16];

	told(play, "no peer", getpeername(fd, (struct sockaddr *)&name, &length));
	told(play, "no way", send(fd, "x", 1, 0));
	told(play, "connect", connect(fd, (struct sockaddr *)&at, length_of(AF_INET)));
	told(play, "getpeername", getpeername(fd, (struct sockaddr *)&name, &length));
	told(play, "length", length);
	told(play, "is peer", is_from(&name, peer));
	client_says(other, "other");
	client_says(peer, "peer");
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "no more", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	told(play, "write", write(fd, "abcdef", 6));
	client_finds(play, "found", peer);
	at = place_of(other);
	told(play, "sendto", sendto(fd, "ab", 2, 0, (struct sockaddr *)&at, length_of(AF_INET)));
	client_finds(play, "other", other);
	told(play, "disconnect", connect(fd, &none, sizeof(none)));
	told(play, "none", getpeername(fd, (struct sockaddr *)&name, &length));
	client_says(other, "again");
	told(play, "all", recv(fd, data, sizeof(data), 0));
}

// A client's: nobody has bound it.
static void asks(struct play *play)
{
	int peer = peer_of(play, AF_INET), fd = server_new(AF_INET);
	struct sockaddr_storage at = place_of(peer), from = {0};
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in name = {0};
	socklen_t length = sizeof(name);
	char data[16];

	// The peer hears everybody.
	must("disconnect", connect(peer, &none, sizeof(none)));
	must("bind", bind(peer, (struct sockaddr *)&at, length_of(AF_INET)));
	told(play, "connect", connect(fd, (struct sockaddr *)&at, length_of(AF_INET)));
	told(play, "getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
	told(play, "address", name.sin_addr.s_addr == play->address.sin_addr.s_addr);
	told(play, "port", name.sin_port != 0);
	told(play, "send", send(fd, "question", 8, 0));
	length = sizeof(from);
	told(play, "asked",
		recvfrom(peer, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "same", memcmp(&from, &name, 8) == 0);
	sendto(peer, "answer", 6, 0, (struct sockaddr *)&from, length);
	told(play, "answer", recv(fd, data, sizeof(data), 0));
	told(play, "again", connect(fd, &none, sizeof(none)));
	length = sizeof(name);
	getsockname(fd, (struct sockaddr *)&name, &length);
	told(play, "port again", name.sin_port);
}

// Without connect().
static void sends_first(struct play *play)
{
	int peer = peer_of(play, AF_INET), fd = server_new(AF_INET);
	struct sockaddr_storage at = place_of(peer), from = {0};
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t length = sizeof(from);
	char data[16];

	must("disconnect", connect(peer, &none, sizeof(none)));
	must("bind", bind(peer, (struct sockaddr *)&at, length_of(AF_INET)));
	told(play, "sendto", sendto(fd, "question", 8, 0, (struct sockaddr *)&at, sizeof(at)));
	told(play, "asked",
		recvfrom(peer, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	sendto(peer, "answer", 6, 0, (struct sockaddr *)&from, length);
	told(play, "answer", recv(fd, data, sizeof(data), 0));
}

static struct sockaddr_storage nobody(struct play *play, int family)
{
	int peer = peer_of(play, family);
	struct sockaddr_storage at = place_of(peer);

	close(peer);
	return at;
}

static void refused(struct play *play, int family)
{
	int fd = server_at(play, family), error = 0;
	struct sockaddr_storage at = nobody(play, family);
	socklen_t length = sizeof(error);
	char data[8];

	told(play, "connect", connect(fd, (struct sockaddr *)&at, length_of(family)));
	told(play, "send", send(fd, "x", 1, 0));
	told(play, "poll", wait_for(fd, POLLERR));
	told(play, "recv", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	told(play, "once", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	send(fd, "x", 1, 0);
	told(play, "poll", wait_for(fd, POLLERR));
	told(play, "send", send(fd, "x", 1, 0));
	send(fd, "x", 1, 0);
	told(play, "poll", wait_for(fd, POLLERR));
	told(play, "getsockopt", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
	told(play, "error", error);
}

static void refused_ipv4(struct play *play)
{
	refused(play, AF_INET);
}

static void refused_ipv6(struct play *play)
{
	refused(play, AF_INET6);
}

static void refused_and_queued(struct play *play)
{
	int fd = server_at(play, AF_INET);
	struct sockaddr_storage at = nobody(play, AF_INET), to = {0};
	union {
		struct cmsghdr header;
		char bytes[256];
	} control;
	char data[16];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr message = {.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	const struct cmsghdr *cmsg;

	sendto(fd, "abc", 3, 0, (struct sockaddr *)&at, length_of(AF_INET));
	calm();
	told(play, "not told", recv(fd, data, sizeof(data), MSG_DONTWAIT));
	set_number(fd, IPPROTO_IP, IP_RECVERR, 1);
	sendto(fd, "abc", 3, 0, (struct sockaddr *)&at, length_of(AF_INET));
	told(play, "poll", wait_for(fd, POLLERR));
	told(play, "recvmsg", recvmsg(fd, &message, MSG_ERRQUEUE));
	told(play, "flags", message.msg_flags);
	told(play, "to", memcmp(&to, &at, 8) == 0);
	cmsg = CMSG_FIRSTHDR(&message);
	told(play, "control",
		cmsg != NULL && cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_RECVERR);
	if (cmsg != NULL) {
		struct sock_extended_err error;

		memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
		told(play, "errno", error.ee_errno);
		told(play, "origin", error.ee_origin);
		told(play, "type", error.ee_type);
		told(play, "code", error.ee_code);
	}
}

// --- places --------------------------------------------------------------------------------------

static void taken(struct play *play)
{
	int one = server_at(play, AF_INET), two = server_new(AF_INET), three = server_new(AF_INET);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = play->address.sin_port};

	told(play, "bind", bind(two, at_of(play, AF_INET), length_of(AF_INET)));
	told(play, "any", bind(two, (struct sockaddr *)&any, sizeof(any)));
	told(play, "twice", bind(one, at_of(play, AF_INET), length_of(AF_INET)));
	close(one);
	told(play, "now", bind(two, at_of(play, AF_INET), length_of(AF_INET)));
	converse(play, AF_INET, two);
	set_number(three, SOL_SOCKET, SO_REUSEADDR, 1);
	told(play, "one reuses", bind(three, at_of(play, AF_INET), length_of(AF_INET)));
}

static void reused(struct play *play)
{
	int one = server_new(AF_INET), two = server_new(AF_INET);
	char data[8];

	set_number(one, SOL_SOCKET, SO_REUSEADDR, 1);
	set_number(two, SOL_SOCKET, SO_REUSEADDR, 1);
	told(play, "one", bind(one, at_of(play, AF_INET), length_of(AF_INET)));
	told(play, "two", bind(two, at_of(play, AF_INET), length_of(AF_INET)));
	client_says(peer_of(play, AF_INET), "hello");
	told(play, "newest", recv(two, data, sizeof(data), 0));
	told(play, "eldest", recv(one, data, sizeof(data), MSG_DONTWAIT));
}

// Each peer has one of them, always the same.
static void shared(struct play *play)
{
	struct pollfd fds[2];
	int heard[2] = {0, 0}, steady = 1;
	char data[8];

	for (unsigned i = 0; i < 2; i++) {
		fds[i] = (struct pollfd){.fd = server_new(AF_INET), .events = POLLIN};
		set_number(fds[i].fd, SOL_SOCKET, SO_REUSEPORT, 1);
		told(play, "bind", bind(fds[i].fd, at_of(play, AF_INET), length_of(AF_INET)));
	}
	for (unsigned i = 0; i < 32; i++) {
		int peer = peer_of(play, AF_INET), which;

		client_says(peer, "one");
		poll(fds, 2, WAIT_MS);
		which = fds[1].revents != 0;
		heard[which] += recv(fds[which].fd, data, sizeof(data), 0) == 3;
		client_says(peer, "two");
		poll(fds, 2, WAIT_MS);
		steady &= fds[which].revents != 0;
		recv(fds[which].fd, data, sizeof(data), MSG_DONTWAIT);
		close(peer);
	}
	told(play, "all", heard[0] + heard[1]);
	told(play, "both", heard[0] > 0 && heard[1] > 0);
	told(play, "steady", steady);
}

static void given_a_port(struct play *play)
{
	struct sockaddr_in at = play->address, name = {0};
	socklen_t length = sizeof(name);
	int fd = server_new(AF_INET), peer = peer_of(play, AF_INET);
	char data[8];

	at.sin_port = 0;
	told(play, "bind", bind(fd, (struct sockaddr *)&at, sizeof(at)));
	told(play, "getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
	told(play, "address", name.sin_addr.s_addr == at.sin_addr.s_addr);
	told(play, "port", name.sin_port != 0);
	must("connect", connect(peer, (struct sockaddr *)&name, sizeof(name)));
	client_says(peer, "x");
	told(play, "recv", recv(fd, data, sizeof(data), 0));
}

// Two of one host talk to each other.
static void to_oneself(struct play *play)
{
	int fd = server_at(play, AF_INET), other = server_new(AF_INET), error;
	struct sockaddr_storage from = {0};
	socklen_t length = sizeof(from);
	char data[16];

	told(play, "connect", connect(other, at_of(play, AF_INET), length_of(AF_INET)));
	told(play, "send", send(other, "hello", 5, 0));
	told(play, "recv", recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "answer", sendto(fd, "good day", 8, 0, (struct sockaddr *)&from, length));
	told(play, "answered", recv(other, data, sizeof(data), 0));
	close(fd);
	do { // what is closed is gone soon
		send(other, "x", 1, 0);
		error = recv(other, data, sizeof(data), MSG_DONTWAIT) < 0 ? errno : 0;
	} while (error == EAGAIN && (calm(), true));
	told(play, "refused", error == ECONNREFUSED);
}

// --- waiting -------------------------------------------------------------------------------------

static void polled(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
	struct timeval none = {0};
	char data[16];
	fd_set set;

	told(play, "room", poll(&one, 1, WAIT_MS));
	told(play, "events", one.revents);
	one.events = POLLIN;
	told(play, "calm", poll(&one, 1, 30));
	client_says(peer, "hello");
	told(play, "poll", poll(&one, 1, WAIT_MS));
	told(play, "events", one.revents);
	FD_ZERO(&set);
	FD_SET(fd, &set);
	told(play, "select", select(fd + 1, &set, NULL, NULL, &none));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "nothing", poll(&one, 1, 0));
}

static void in_epoll(struct play *play, uint32_t events)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET), epfd = epoll_create1(0);
	struct epoll_event wanted = {.events = EPOLLIN | events}, found = {0};
	char data[16];

	told(play, "add", epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &wanted));
	told(play, "calm", epoll_wait(epfd, &found, 1, 30));
	client_says(peer, "one");
	told(play, "wait", epoll_wait(epfd, &found, 1, WAIT_MS));
	told(play, "events", found.events);
	told(play, "again", epoll_wait(epfd, &found, 1, 30));
	client_says(peer, "two");
	told(play, "another", epoll_wait(epfd, &found, 1, WAIT_MS));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "empty", epoll_wait(epfd, &found, 1, 30));
	wanted.events = EPOLLOUT | events;
	told(play, "modify", epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &wanted));
	told(play, "room", epoll_wait(epfd, &found, 1, WAIT_MS));
	told(play, "events", found.events);
	told(play, "delete", epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
}

static void in_epoll_level(struct play *play)
{
	in_epoll(play, 0);
}

static void in_epoll_edge(struct play *play)
{
	in_epoll(play, EPOLLET);
}

// One socket, what the kernel brings and what Offramp brings.
static void beside_loopback(struct play *play)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = play->address.sin_port};
	struct sockaddr_in loopback = any;
	int fd = server_new(AF_INET), peer, own = server_new(AF_INET);
	char data[16];

	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	told(play, "bind", bind(fd, (struct sockaddr *)&any, sizeof(any)));
	peer = peer_of(play, AF_INET);
	for (unsigned i = 0; i < 2; i++) {
		told(play, "own",
			sendto(own, "abc", 3, 0, (struct sockaddr *)&loopback, sizeof(loopback)));
		told(play, "poll", wait_for(fd, POLLIN));
		told(play, "recv", recv(fd, data, sizeof(data), 0));
		client_says(peer, "abcdef");
		told(play, "poll", wait_for(fd, POLLIN));
		told(play, "recv", recv(fd, data, sizeof(data), 0));
	}
}

// --- ancillary data, and many at once ------------------------------------------------------------

static void addressed(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	struct sockaddr_storage from = {0};
	union {
		struct cmsghdr header;
		char bytes[256];
	} control;
	char data[16];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr message = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct in_pktinfo info = {0};
	struct cmsghdr *cmsg;

	set_number(fd, IPPROTO_IP, IP_PKTINFO, 1);
	set_number(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_number(peer, IPPROTO_IP, IP_TOS, 0x28);
	client_says(peer, "hello");
	told(play, "recvmsg", recvmsg(fd, &message, 0));
	for (cmsg = CMSG_FIRSTHDR(&message); cmsg != NULL; cmsg = CMSG_NXTHDR(&message, cmsg)) {
		told(play, "type", cmsg->cmsg_type);
		if (cmsg->cmsg_type == IP_TOS)
			told(play, "tos", *CMSG_DATA(cmsg));
		if (cmsg->cmsg_type == IP_PKTINFO)
			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
	}
	told(play, "to", info.ipi_addr.s_addr == play->address.sin_addr.s_addr);
	// Back from there, as servers on many addresses do.
	info = (struct in_pktinfo){.ipi_spec_dst = play->address.sin_addr};
	message.msg_control = &control;
	message.msg_controllen = CMSG_SPACE(sizeof(info));
	cmsg = CMSG_FIRSTHDR(&message);
	*cmsg = (struct cmsghdr){.cmsg_level = IPPROTO_IP,
		.cmsg_type = IP_PKTINFO,
		.cmsg_len = CMSG_LEN(sizeof(info))};
	memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
	iov.iov_len = 5;
	told(play, "sendmsg", sendmsg(fd, &message, 0));
	client_finds(play, "found", peer);
}

static void many(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	struct sockaddr_storage from[4] = {0};
	char data[4][8];
	struct iovec iov[4];
	struct mmsghdr messages[4];
	int n;

	for (unsigned i = 0; i < 4; i++) {
		iov[i] = (struct iovec){data[i], sizeof(data[i])};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
						       .msg_namelen = length_of(AF_INET),
						       .msg_iov = &iov[i],
						       .msg_iovlen = 1}};
	}
	for (unsigned i = 0; i < 3; i++)
		client_says(peer, "four");
	n = (int)told(play, "recvmmsg", recvmmsg(fd, messages, 3, 0, NULL));
	for (int i = 0; i < n; i++)
		iov[i].iov_len = messages[i].msg_len;
	told(play, "none", recvmmsg(fd, messages + 3, 1, MSG_DONTWAIT, NULL));
	told(play, "sendmmsg", sendmmsg(fd, messages, (unsigned)n, 0));
	for (int i = 0; i < n; i++)
		client_finds(play, "found", peer);
}

static void too_long(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	struct sockaddr_storage at = place_of(peer);
	char *data = calloc(1, 70000);

	told(play, "sendto", sendto(fd, data, 65508, 0, (struct sockaddr *)&at, sizeof(at)));
	set_number(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	told(play, "whole", sendto(fd, data, 1472, 0, (struct sockaddr *)&at, sizeof(at)));
	told(play, "found", recv(peer, data, 70000, 0));
	free(data);
}

static void in_fragments(struct play *play)
{
	int fd = server_at(play, AF_INET6), peer = peer_of(play, AF_INET6);
	char *data = calloc(1, 70000);
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);

	told(play, "send", send(peer, data, 8000, 0));
	told(play, "came", recvfrom(fd, data, 70000, 0, (struct sockaddr *)&from, &length));
	told(play, "back", sendto(fd, data, 30000, 0, (struct sockaddr *)&from, length));
	told(play, "found", recv(peer, data, 70000, 0));
	free(data);
}

// --- ends ----------------------------------------------------------------------------------------

static void shut(struct play *play)
{
	int fd = server_at(play, AF_INET), peer = peer_of(play, AF_INET);
	struct sockaddr_storage at = place_of(peer);
	struct pollfd one = {.fd = fd, .events = POLLIN | POLLRDHUP};
	char data[8];

	told(play, "unconnected", shutdown(server_new(AF_INET), SHUT_RD));
	told(play, "connect", connect(fd, (struct sockaddr *)&at, length_of(AF_INET)));
	told(play, "shutdown", shutdown(fd, SHUT_RD));
	told(play, "poll", poll(&one, 1, WAIT_MS));
	told(play, "events", one.revents);
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "send", send(fd, "abc", 3, 0));
	client_finds(play, "found", peer);
	told(play, "shutdown", shutdown(fd, SHUT_WR));
	told(play, "none", send(fd, "x", 1, MSG_NOSIGNAL));
	poll(&one, 1, WAIT_MS);
	told(play, "all", one.revents);
}

static void copied(struct play *play)
{
	int fd = server_at(play, AF_INET), copy = dup(fd);

	close(fd);
	converse(play, AF_INET, copy);
	close(copy);
	told(play, "free", bind(server_new(AF_INET), at_of(play, AF_INET), length_of(AF_INET)));
}

// What goes into the background.
static void in_a_child(struct play *play)
{
	int fd = server_at(play, AF_INET), status = 0, found = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct pollfd one = {.fd = fd, .events = POLLIN};
		struct sockaddr_storage from = {0};
		socklen_t length = sizeof(from);
		char data[8];
		ssize_t n;

		poll(&one, 1, WAIT_MS);
		n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &length);
		_exit(n == 5 && sendto(fd, data, 5, 0, (struct sockaddr *)&from, length) == 5 ? 0
											      : 1);
	}
	close(fd);
	calm();
	// Until the child has it, nobody may.
	for (int64_t until_ms = now_ms() + WAIT_MS; found < 0 && now_ms() < until_ms; calm()) {
		int peer = peer_of(play, AF_INET);
		char data[8];

		set_timeout(peer, SO_RCVTIMEO, 500);
		if (send(peer, "hello", 5, 0) == 5)
			found = (int)recv(peer, data, sizeof(data), 0);
		close(peer);
	}
	told(play, "found", found);
	waitpid(pid, &status, 0);
	told(play, "status", status);
}

const struct scenario datagram_scenarios[] = {
	{"udp-talks", talks},
	{"udp-talks-ipv6", talks_ipv6},
	{"udp-everywhere", everywhere},
	{"udp-both-families", both_families},
	{"udp-cut-short", cut_short},
	{"udp-peeks", peeks},
	{"udp-empty", empty},
	{"udp-waits-in-vain", waits_in_vain},
	{"udp-connected", connected},
	{"udp-asks", asks},
	{"udp-sends-first", sends_first},
	{"udp-refused", refused_ipv4},
	{"udp-refused-ipv6", refused_ipv6},
	{"udp-refused-and-queued", refused_and_queued},
	{"udp-taken", taken},
	{"udp-reused", reused},
	{"udp-shared", shared},
	{"udp-given-a-port", given_a_port},
	{"udp-to-oneself", to_oneself},
	{"udp-polled", polled},
	{"udp-in-epoll", in_epoll_level},
	{"udp-in-epoll-edge", in_epoll_edge},
	{"udp-beside-loopback", beside_loopback},
	{"udp-addressed", addressed},
	{"udp-many", many},
	{"udp-too-long", too_long},
	{"udp-in-fragments", in_fragments},
	{"udp-shut", shut},
	{"udp-copied", copied},
	{"udp-in-a-child", in_a_child},
	{0},
};
