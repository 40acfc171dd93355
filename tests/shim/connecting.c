// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Connections that a program makes, to servers on the clients' host, to an address that nobody has
// (it takes three seconds until that is known) and to one to which no route leads.

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

#define ALL (POLLIN | POLLOUT | POLLRDHUP | POLLPRI)

static const char *const nobody = "\xc6\x12\x63\x63", *const nowhere = "\xcb\x00\x71\x01";

static struct sockaddr_in at(const struct play *play, const char *address)
{
	struct sockaddr_in to = play->peer;

	memcpy(&to.sin_addr, address, 4);
	return to;
}

static int tcp(int flags)
{
	return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static long to_in(struct play *play, const char *what, int fd, const struct sockaddr_in *to)
{
	return told(play, what, connect(fd, (const struct sockaddr *)to, sizeof(*to)));
}

static long to_peer(struct play *play, const char *what, int fd)
{
	return to_in(play, what, fd, &play->peer);
}

static int serve(struct play *play)
{
	return end_serve_at(play, &play->peer, sizeof(play->peer), 16);
}

// What SO_ERROR has, by its name.
static void error_of(struct play *play, const char *what, int fd)
{
	socklen_t length = sizeof(int);
	int error = -1;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	errno = error;
	told(play, what, error == 0 ? 0 : -1);
}

static void polled(struct play *play, const char *what, int fd, int ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = ALL};

	told(play, what, poll(&poll_fd, 1, ms) > 0 ? poll_fd.revents : 0);
}

// Whether names are there, of which family, and, of the peer's, which port.
static void names(struct play *play, int fd)
{
	struct sockaddr_storage name = {0};
	socklen_t length = sizeof(name);

	told(play, "own", getsockname(fd, (struct sockaddr *)&name, &length));
	told(play, "family", name.ss_family);
	told(play, "port", ((struct sockaddr_in *)&name)->sin_port != 0);
	length = sizeof(name);
	if (told(play, "peer", getpeername(fd, (struct sockaddr *)&name, &length)) == 0)
		told(play, "length", length);
}

static void speak(struct play *play, int fd, int server)
{
	char data[16];

	told(play, "send", send(fd, "hello", 5, 0));
	told(play, "there", wait_octets(server, 5));
	told(play, "recv", recv(server, data, sizeof(data), 0));
	told(play, "send", send(server, "hi", 2, 0));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
}

// --- it stands -----------------------------------------------------------------------------------

static void blocking(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	names(play, fd);
	speak(play, fd, server);
	to_peer(play, "again", fd);
	error_of(play, "error", fd);
	told(play, "listen", listen(fd, 1));
	told(play, "bind", bind(fd, (struct sockaddr *)&play->peer, sizeof(play->peer)));
}

static void nonblocking(struct play *play)
{
	int listener = serve(play), fd = tcp(SOCK_NONBLOCK), server;

	to_peer(play, "connect", fd);
	told(play, "out", wait_for(fd, POLLOUT));
	error_of(play, "error", fd);
	to_peer(play, "again", fd);
	to_peer(play, "and-again", fd);
	server = accept(listener, NULL, NULL);
	polled(play, "events", fd, 0);
	set_nonblocking(fd, false);
	speak(play, fd, server);
}

static void ipv6(struct play *play)
{
	int listener = end_serve_at(play, &play->peer6, sizeof(play->peer6), 16), server;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	told(play, "connect", connect(fd, (struct sockaddr *)&play->peer6, sizeof(play->peer6)));
	server = accept(listener, NULL, NULL);
	names(play, fd);
	speak(play, fd, server);
}

static struct sockaddr_in6 mapped(const struct play *play)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = play->peer.sin_port};

	to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
	memcpy(to.sin6_addr.s6_addr + 12, &play->peer.sin_addr, 4);
	return to;
}

static void of_both(struct play *play)
{
	struct sockaddr_in6 to = mapped(play), name;
	int listener = serve(play), fd = socket(AF_INET6, SOCK_STREAM, 0), server;
	socklen_t length = sizeof(name);

	told(play, "connect", connect(fd, (struct sockaddr *)&to, sizeof(to)));
	server = accept(listener, NULL, NULL);
	names(play, fd);
	getpeername(fd, (struct sockaddr *)&name, &length);
	told(play, "mapped", IN6_IS_ADDR_V4MAPPED(&name.sin6_addr));
	speak(play, fd, server);
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	set_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	told(play, "only", connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

static void in_epoll(struct play *play)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u64 = 77};
	int listener = serve(play), fd = tcp(SOCK_NONBLOCK), epfd = epoll_create1(0);

	told(play, "add", epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
	told(play, "before", epoll_wait(epfd, &event, 1, 0));
	told(play, "events", event.events);
	to_peer(play, "connect", fd);
	told(play, "wait", epoll_wait(epfd, &event, 1, WAIT_MS));
	told(play, "events", event.events);
	told(play, "data", (long)event.data.u64);
	told(play, "again", epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
	told(play, "delete", epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
	told(play, "none", epoll_wait(epfd, &event, 1, 0));
	close(listener);
}

static void in_epoll_by_edges(struct play *play)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	int listener = serve(play), fd = tcp(SOCK_NONBLOCK), epfd = epoll_create1(0), server;

	to_peer(play, "connect", fd);
	told(play, "add", epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
	told(play, "wait", epoll_wait(epfd, &event, 1, WAIT_MS));
	told(play, "events", event.events);
	told(play, "no-more", epoll_wait(epfd, &event, 1, CALM_MS));
	server = accept(listener, NULL, NULL);
	client_says(server, "x");
	told(play, "wait", epoll_wait(epfd, &event, 1, WAIT_MS));
	told(play, "events", event.events);
}

static void in_select(struct play *play)
{
	int listener = serve(play), fd = tcp(SOCK_NONBLOCK);
	struct timeval patience = {WAIT_MS / 1000, 0};
	fd_set read, write;

	to_peer(play, "connect", fd);
	FD_ZERO(&read);
	FD_ZERO(&write);
	FD_SET(fd, &read);
	FD_SET(fd, &write);
	told(play, "select", select(fd + 1, &read, &write, NULL, &patience));
	told(play, "write", FD_ISSET(fd, &write));
	told(play, "read", FD_ISSET(fd, &read));
	close(listener);
}

static void fast(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;
	char data[16];

	told(play, "sendto",
		sendto(fd, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&play->peer,
			sizeof(play->peer)));
	server = accept(listener, NULL, NULL);
	told(play, "there", wait_octets(server, 5));
	told(play, "recv", recv(server, data, sizeof(data), 0));
	told(play, "again",
		sendto(fd, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&play->peer,
			sizeof(play->peer)));
	told(play, "without",
		sendto(tcp(0), "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&play->peer,
			sizeof(play->peer)));
}

static void much(struct play *play)
{
	static char data[65536];
	int listener = serve(play), fd = tcp(0), server;
	size_t sent = 0, got = 0;
	pid_t child;

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	child = fork();
	if (child == 0) { // the kernel's end gives everything back
		ssize_t n;

		close(fd);
		while ((n = read(server, data, sizeof(data))) > 0)
			for (ssize_t done = 0; done < n;)
				done += write(server, data + done, (size_t)(n - done));
		_exit(0);
	}
	close(server);
	set_nonblocking(fd, true);
	while (got < 4 << 20) {
		struct pollfd both = {
			.fd = fd, .events = sent < 4 << 20 ? POLLIN | POLLOUT : POLLIN};
		ssize_t n;

		if (poll(&both, 1, WAIT_MS) <= 0)
			break;
		n = (both.revents & POLLIN) ? read(fd, data, sizeof(data)) : 0;
		got += n > 0 ? (size_t)n : 0;
		n = (both.revents & POLLOUT) && sent < 4 << 20 ? write(fd, data, 4096) : 0;
		sent += n > 0 ? (size_t)n : 0;
	}
	told(play, "got", (long)got);
	shutdown(fd, SHUT_WR);
	told(play, "end", wait_for(fd, POLLIN));
	told(play, "read", read(fd, data, 1));
	waitpid(child, NULL, 0);
}

// --- ends ----------------------------------------------------------------------------------------

static void halves(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;
	char data[16];

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	told(play, "shutdown", shutdown(fd, SHUT_WR));
	client_finds(play, "server", server);
	client_says(server, "late");
	told(play, "there", wait_octets(fd, 4));
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	close(server);
	told(play, "end", recv(fd, data, sizeof(data), 0));
}

static void peer_resets(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;
	char data[16];

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	client_says(server, "last");
	told(play, "there", wait_octets(fd, 4));
	client_resets(server);
	told(play, "hup", wait_for(fd, 0));
	told(play, "recv", recv(fd, data, 2, 0));
	told(play, "recv", recv(fd, data, 2, 0));
	told(play, "recv", recv(fd, data, 2, 0));
	told(play, "recv", recv(fd, data, 2, 0));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
}

static void closed_unread(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	client_says(server, "unread");
	told(play, "there", wait_octets(fd, 6));
	close(fd);
	client_finds(play, "server", server);
}

// What was written arrives, though nobody reads it yet.
static void closed_at_once(struct play *play)
{
	static char data[600000];
	int listener = serve(play), fd = tcp(0), server;
	ssize_t n, got = 0;
	size_t sent = 0;

	set_number(listener, SOL_SOCKET, SO_RCVBUF, 4096);
	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	set_nonblocking(fd, true);
	while (sent < sizeof(data) && (n = write(fd, data, sizeof(data) - sent)) > 0)
		sent += (size_t)n;
	close(fd);
	calm();
	while ((n = recv(server, data, sizeof(data), 0)) > 0)
		got += n;
	told(play, "end", n);
	told(play, "all", (size_t)got == sent);
}

static void closed_by_reset(struct play *play)
{
	struct linger linger = {1, 0};
	int listener = serve(play), fd = tcp(0), server;

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	close(fd);
	client_finds(play, "server", server);
}

static void unconnected(struct play *play)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int listener = serve(play), fd = tcp(0), server;

	told(play, "none", connect(fd, &none, sizeof(none)));
	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	told(play, "none", connect(fd, &none, sizeof(none)));
	client_finds(play, "server", server);
	told(play, "peer", getpeername(fd, (struct sockaddr *)&none, &(socklen_t){sizeof(none)}));
	to_peer(play, "again", fd);
	server = accept(listener, NULL, NULL);
	speak(play, fd, server);
}

static void copied(struct play *play)
{
	int listener = serve(play), fd = tcp(0), copy, server;

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	copy = dup(fd);
	close(fd);
	speak(play, copy, server);
	close(copy);
	client_finds(play, "server", server);
}

static void in_child(struct play *play)
{
	int listener = serve(play), fd = tcp(0), server;
	char data[16];
	pid_t child;

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	child = fork();
	if (child == 0)
		_exit(write(fd, "child", 5) == 5 ? 0 : 1);
	told(play, "there", wait_octets(server, 5));
	told(play, "recv", recv(server, data, sizeof(data), 0));
	waitpid(child, NULL, 0);
	speak(play, fd, server);
}

// --- it does not ---------------------------------------------------------------------------------

static void refused(struct play *play)
{
	int fd = tcp(0), listener, server;

	to_peer(play, "connect", fd);
	error_of(play, "error", fd);
	polled(play, "events", fd, 0);
	listener = serve(play);
	to_peer(play, "again", fd);
	server = accept(listener, NULL, NULL);
	speak(play, fd, server);
}

static void refused_later(struct play *play)
{
	int fd = tcp(SOCK_NONBLOCK);
	char data[4];

	to_peer(play, "connect", fd);
	told(play, "out", wait_for(fd, POLLOUT));
	polled(play, "events", fd, 0);
	error_of(play, "error", fd);
	error_of(play, "error", fd);
	polled(play, "events", fd, 0);
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	to_peer(play, "again", fd);
	to_peer(play, "anew", fd);
}

static void refused_told_by_connect(struct play *play)
{
	int fd = tcp(SOCK_NONBLOCK);

	to_peer(play, "connect", fd);
	told(play, "out", wait_for(fd, POLLOUT));
	to_peer(play, "again", fd);
	error_of(play, "error", fd);
	polled(play, "events", fd, 0);
}

static void refused_told_by_send(struct play *play)
{
	int fd = tcp(SOCK_NONBLOCK);

	to_peer(play, "connect", fd);
	told(play, "out", wait_for(fd, POLLOUT));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	error_of(play, "error", fd);
}

static void no_route(struct play *play)
{
	struct sockaddr_in to = at(play, nowhere);
	int fd = tcp(0);

	to_in(play, "connect", fd, &to);
	to_in(play, "nonblocking", tcp(SOCK_NONBLOCK), &to);
	error_of(play, "error", fd);
}

// It is known at the same time of both; one of them goes on after signals.
static void no_neighbour(struct play *play)
{
	struct sockaddr_in to = at(play, nobody);
	int fd = tcp(SOCK_NONBLOCK);
	struct nag *nag;

	to_in(play, "nonblocking", fd, &to);
	count_signals(SIGUSR1, SA_RESTART);
	nag = nag_start(SIGUSR1);
	to_in(play, "connect", tcp(0), &to);
	nag_stop(nag);
	told(play, "out", wait_for(fd, POLLOUT));
	error_of(play, "error", fd);
}

// A full queue answers nothing.
static void no_answer(struct play *play)
{
	int listener = end_serve_at(play, &play->peer, sizeof(play->peer), 0), fd = tcp(0);

	for (unsigned i = 0; i < 2; i++) {
		int filler = end_client_new(play, AF_INET);

		set_nonblocking(filler, true);
		connect(filler, (struct sockaddr *)&play->peer, sizeof(play->peer));
		calm();
	}
	set_number(fd, IPPROTO_TCP, TCP_SYNCNT, 1);
	to_peer(play, "connect", fd);
	close(listener);
}

static void odd_addresses(struct play *play)
{
	int fd = tcp(0);

	told(play, "short", connect(fd, (struct sockaddr *)&play->peer, 8));
	told(play, "family", connect(fd, (struct sockaddr *)&play->peer6, sizeof(play->peer6)));
	told(play, "family",
		connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&play->peer6,
			sizeof(play->peer)));
	told(play, "bad", connect(-1, (struct sockaddr *)&play->peer, sizeof(play->peer)));
}

// --- it takes its time ---------------------------------------------------------------------------

static void under_way(struct play *play)
{
	struct sockaddr_in to = at(play, nobody);
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);
	int fd = tcp(SOCK_NONBLOCK), there = -1;
	char data[4];

	to_in(play, "connect", fd, &to);
	to_in(play, "again", fd, &to);
	polled(play, "events", fd, CALM_MS);
	names(play, fd);
	error_of(play, "error", fd);
	told(play, "recv", recv(fd, data, sizeof(data), 0));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	told(play, "FIONREAD", ioctl(fd, FIONREAD, &there));
	told(play, "octets", there);
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
	told(play, "state", info.tcpi_state);
	told(play, "accept", accept(fd, NULL, NULL));
	told(play, "close", close(fd));
}

static void shut_under_way(struct play *play)
{
	struct sockaddr_in to = at(play, nobody);
	int fd = tcp(SOCK_NONBLOCK);

	to_in(play, "connect", fd, &to);
	told(play, "shutdown", shutdown(fd, SHUT_WR));
	error_of(play, "error", fd);
	told(play, "shutdown", shutdown(fd, SHUT_WR));
}

static void left_under_way(struct play *play)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in to = at(play, nobody);
	int listener = serve(play), fd = tcp(SOCK_NONBLOCK);

	to_in(play, "connect", fd, &to);
	told(play, "none", connect(fd, &none, sizeof(none)));
	to_peer(play, "again", fd);
	told(play, "out", wait_for(fd, POLLOUT));
	error_of(play, "error", fd);
	close(listener);
}

static void with_timeout(struct play *play)
{
	struct sockaddr_in to = at(play, nobody);
	int fd = tcp(0);

	set_timeout(fd, SO_SNDTIMEO, 4 * CALM_MS);
	to_in(play, "connect", fd, &to);
	to_in(play, "again", fd, &to);
}

static void interrupted(struct play *play)
{
	struct sockaddr_in to = at(play, nobody);
	struct nag *nag;
	int fd = tcp(0);

	count_signals(SIGUSR1, 0);
	nag = nag_start(SIGUSR1);
	to_in(play, "connect", fd, &to);
	to_in(play, "again", fd, &to);
	nag_stop(nag);
	set_nonblocking(fd, true);
	to_in(play, "under-way", fd, &to);
}

// --- from where ----------------------------------------------------------------------------------

static uint16_t port_of(int fd)
{
	struct sockaddr_in name = {0};
	socklen_t length = sizeof(name);

	getsockname(fd, (struct sockaddr *)&name, &length);
	return ntohs(name.sin_port);
}

static int bound(const struct play *play, uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = tcp(0);

	(void)play;
	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	bind(fd, (struct sockaddr *)&any, sizeof(any));
	return fd;
}

static void from_port(struct play *play)
{
	int listener = serve(play), fd = bound(play, 0), server, second;
	uint16_t port = port_of(fd);

	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	told(play, "kept", port_of(fd) == port);
	speak(play, fd, server);
	second = bound(play, port);
	told(play, "same", port_of(second) == port);
	to_peer(play, "busy", second);
}

static void from_address(struct play *play)
{
	struct sockaddr_in own = play->address, name = {0};
	int listener = serve(play), fd = tcp(0), server;
	socklen_t length = sizeof(name);

	own.sin_port = 0;
	told(play, "bind", bind(fd, (struct sockaddr *)&own, sizeof(own)));
	to_peer(play, "connect", fd);
	server = accept(listener, NULL, NULL);
	getsockname(fd, (struct sockaddr *)&name, &length);
	told(play, "own", name.sin_addr.s_addr == own.sin_addr.s_addr);
	speak(play, fd, server);
}

static void many(struct play *play)
{
	int listener = end_serve_at(play, &play->peer, sizeof(play->peer), 128), fds[64];
	unsigned good = 0;

	for (unsigned i = 0; i < 64; i++) {
		fds[i] = tcp(SOCK_NONBLOCK);
		connect(fds[i], (struct sockaddr *)&play->peer, sizeof(play->peer));
	}
	for (unsigned i = 0; i < 64; i++)
		good += wait_for(fds[i], POLLOUT) && port_of(fds[i]) != 0;
	told(play, "good", good);
	close(listener);
}

const struct scenario connecting_scenarios[] = {
	{"connect-blocking", blocking},
	{"connect-nonblocking", nonblocking},
	{"connect-ipv6", ipv6},
	{"connect-mapped", of_both},
	{"connect-epoll", in_epoll},
	{"connect-epoll-edges", in_epoll_by_edges},
	{"connect-select", in_select},
	{"connect-fast", fast},
	{"connect-much", much},
	{"connect-halves", halves},
	{"connect-peer-resets", peer_resets},
	{"connect-closed-unread", closed_unread},
	{"connect-closed-at-once", closed_at_once},
	{"connect-closed-by-reset", closed_by_reset},
	{"connect-unconnected", unconnected},
	{"connect-copied", copied},
	{"connect-in-child", in_child},
	{"connect-refused", refused},
	{"connect-refused-later", refused_later},
	{"connect-refused-told-by-connect", refused_told_by_connect},
	{"connect-refused-told-by-send", refused_told_by_send},
	{"connect-no-route", no_route},
	{"connect-no-neighbour", no_neighbour},
	{"connect-no-answer", no_answer},
	{"connect-odd-addresses", odd_addresses},
	{"connect-under-way", under_way},
	{"connect-shut-under-way", shut_under_way},
	{"connect-left-under-way", left_under_way},
	{"connect-with-timeout", with_timeout},
	{"connect-interrupted", interrupted},
	{"connect-from-port", from_port},
	{"connect-from-address", from_address},
	{"connect-many", many},
	{0},
};
