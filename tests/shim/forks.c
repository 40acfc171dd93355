// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Children, other users, other programs, other processes.

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

// What the child says with its exit code.
static void child_told(struct play *play, const char *what, pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	told(play, what, WIFEXITED(status) ? WEXITSTATUS(status) : -2);
}

// Serves one client: what it says comes back. 0, or what went wrong.
static int echo_one(int server)
{
	char data[64];
	ssize_t n = recv(server, data, sizeof(data), 0);

	if (n <= 0)
		return n < 0 ? errno : 200;
	return send(server, data, (size_t)n, MSG_NOSIGNAL) == n ? 0 : errno;
}

static void child_accepts(struct play *play)
{
	int fd = end_listen(play), client;
	pid_t pid = fork();

	if (pid == 0)
		_exit(echo_one(accept(fd, NULL, NULL)));
	client = end_client(play);
	client_says(client, "hello");
	client_finds(play, "client", client);
	client_finds(play, "end", client);
	child_told(play, "child", pid);
}

// The classical server: accept, fork, serve.
static void child_serves(struct play *play)
{
	int fd = end_listen(play);

	for (unsigned i = 0; i < 3; i++) {
		int client = end_client(play), server = accept(fd, NULL, NULL);
		pid_t pid = fork();

		if (pid == 0) {
			close(fd);
			close(client);
			_exit(echo_one(server));
		}
		close(server);
		calm();
		client_says(client, "hello");
		client_finds(play, "client", client);
		client_finds(play, "end", client);
		child_told(play, "child", pid);
		close(client);
	}
}

// Something was said before the child came, and is not read yet.
static void child_reads_on(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[8] = "";
	pid_t pid;

	client_says(pair.client, "ab");
	wait_octets(pair.server, 2);
	told(play, "recv", recv(pair.server, data, 1, 0));
	send(pair.server, "first ", 6, 0);
	pid = fork();
	if (pid == 0) {
		struct epoll_event event = {.events = EPOLLIN};
		int epfd = epoll_create1(0);

		epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &event);
		if (epoll_wait(epfd, &event, 1, WAIT_MS) != 1)
			_exit(100);
		if (recv(pair.server, data, 1, 0) != 1 || data[0] != 'b')
			_exit(101);
		_exit(echo_one(pair.server));
	}
	close(pair.server);
	client_says(pair.client, "second");
	told(play, "came", wait_octets(pair.client, 12));
	child_told(play, "child", pid);
}

static void both_write(struct play *play)
{
	struct pair pair = pair_open(play);
	pid_t pid = fork();
	char data[32] = "";

	if (pid == 0)
		_exit(write(pair.server, "child", 5) == 5 ? 0 : errno);
	child_told(play, "child", pid);
	told(play, "write", write(pair.server, "parent", 6));
	told(play, "came", wait_octets(pair.client, 11));
	told(play, "recv", recv(pair.client, data, 11, 0));
	told(play, "child", strstr(data, "child") != NULL);
	told(play, "parent", strstr(data, "parent") != NULL);
	close(pair.server);
	client_finds(play, "client", pair.client);
}

// A child's end, and what it closes, is its own business.
static void child_closes(struct play *play)
{
	struct pair pair = pair_open(play);
	pid_t pid = fork();
	char data[8];

	if (pid == 0) {
		close(pair.listener);
		_exit(close(pair.server));
	}
	child_told(play, "child", pid);
	client_says(pair.client, "x");
	told(play, "recv", recv(pair.server, data, 8, 0));
	told(play, "write", write(pair.server, "y", 1));
	client_finds(play, "client", pair.client);
	close(pair.client);
	end_client(play);
	told(play, "accept", accept(pair.listener, NULL, NULL) >= 0);
}

static void child_shuts(struct play *play)
{
	struct pair pair = pair_open(play);
	pid_t pid = fork();

	if (pid == 0)
		_exit(shutdown(pair.server, SHUT_WR) < 0 ? errno : 0);
	child_told(play, "child", pid);
	client_finds(play, "client", pair.client);
	told(play, "write", send(pair.server, "x", 1, MSG_NOSIGNAL));
}

// What the parent closes stays open while the child has it, and ends with the child.
static void child_holds(struct play *play)
{
	struct pair pair = pair_open(play);
	int ready[2];
	pid_t pid;
	char octet;

	if (pipe(ready) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		close(ready[1]);
		_exit(read(ready[0], &octet, 1) != 1);
	}
	close(ready[0]);
	close(pair.server);
	set_timeout(pair.client, SO_RCVTIMEO, 2 * CALM_MS);
	client_finds(play, "held", pair.client);
	told(play, "tell", write(ready[1], "x", 1));
	child_told(play, "child", pid);
	set_timeout(pair.client, SO_RCVTIMEO, WAIT_MS);
	client_finds(play, "end", pair.client);
}

// Much in both directions, from a child.
static void child_serves_much(struct play *play)
{
	struct pair pair = pair_open(play);
	const size_t size = 3u << 20;
	char *block = calloc(1, size);
	pid_t pid = fork();
	size_t came = 0;
	ssize_t n;

	if (pid == 0) {
		for (size_t got = 0; got < size; got += (size_t)n) {
			n = recv(pair.server, block, 50000, 0);
			if (n <= 0)
				_exit(100);
		}
		if (write(pair.server, block, size) != (ssize_t)size)
			_exit(101);
		_exit(0);
	}
	close(pair.server);
	told(play, "send", send(pair.client, block, size, 0));
	while ((n = recv(pair.client, block, 50000, 0)) > 0)
		came += (size_t)n;
	told(play, "came", (long)came);
	told(play, "end", n);
	child_told(play, "child", pid);
	free(block);
}

static void many_children(struct play *play)
{
	int fd = end_listen(play), clients[12];
	pid_t pids[12];

	for (unsigned i = 0; i < 12; i++) {
		int server;

		clients[i] = end_client(play);
		server = accept(fd, NULL, NULL);
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(echo_one(server) + echo_one(server));
		close(server);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 12; i++)
			client_says(clients[i], "hello");
		for (unsigned i = 0; i < 12; i++)
			client_finds(play, "client", clients[i]);
	}
	for (unsigned i = 0; i < 12; i++)
		client_finds(play, "end", clients[i]);
	for (unsigned i = 0; i < 12; i++)
		child_told(play, "child", pids[i]);
}

static void child_is_killed(struct play *play)
{
	struct pair pair = pair_open(play);
	pid_t pid = fork();

	if (pid == 0) {
		echo_one(pair.server);
		for (;;)
			pause();
	}
	close(pair.server);
	client_says(pair.client, "hello");
	client_finds(play, "client", pair.client);
	kill(pid, SIGKILL);
	client_finds(play, "end", pair.client);
	waitpid(pid, NULL, 0);
	close(pair.client);
	pair.client = end_client(play);
	told(play, "accept", accept(pair.listener, NULL, NULL) >= 0);
}

static void child_leaves_unread(struct play *play)
{
	struct pair pair = pair_open(play);
	char octet;
	pid_t pid;

	client_says(pair.client, "hello");
	wait_octets(pair.server, 5);
	pid = fork();
	if (pid == 0)
		_exit(read(pair.server, &octet, 1) != 1);
	close(pair.server);
	client_finds(play, "client", pair.client);
	child_told(play, "child", pid);
}

static void client_resets_child(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[8];
	pid_t pid = fork();

	if (pid == 0) {
		close(pair.client);
		if (echo_one(pair.server) != 0)
			_exit(100);
		_exit(recv(pair.server, data, sizeof(data), 0) < 0 ? errno : 101);
	}
	close(pair.server);
	client_says(pair.client, "hello");
	client_finds(play, "client", pair.client);
	client_resets(pair.client);
	child_told(play, "child", pid);
}

// What a child may ask of it.
static int ask_all(int server, const struct sockaddr_in *client)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	int one = 1, value = 0;

	if (getpeername(server, (struct sockaddr *)&name, &length) < 0 ||
		memcmp(&name, client, sizeof(name)) != 0)
		return 1;
	if (getsockname(dup(server), (struct sockaddr *)&name, &length) < 0 ||
		name.sin_family != AF_INET)
		return 2;
	if (setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return 3;
	length = sizeof(value);
	if (getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &value, &length) < 0 || value != 1)
		return 4;
	if (getsockopt(server, SOL_SOCKET, SO_DOMAIN, &value, &length) < 0 || value != AF_INET)
		return 5;
	if (getsockopt(server, SOL_SOCKET, SO_ERROR, &value, &length) < 0 || value != 0)
		return 6;
	return (fcntl(server, F_GETFL) & O_NONBLOCK) && fcntl(server, F_GETFD) == FD_CLOEXEC ? 0
											     : 7;
}

static void child_asks(struct play *play)
{
	int fd = end_listen(play), client = end_client(play), server;
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	struct pollfd ready;
	pid_t pid;

	server = accept4(fd, (struct sockaddr *)&name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	pid = fork();
	if (pid == 0) {
		ready = (struct pollfd){server, POLLIN, 0};
		if (poll(&ready, 1, WAIT_MS) != 1)
			_exit(50);
		_exit(ask_all(server, &name) + echo_one(server));
	}
	close(server);
	client_says(client, "hello");
	client_finds(play, "client", client);
	child_told(play, "child", pid);
}

// The parent ends, its child serves on.
static void parent_ends(struct play *play)
{
	int fd = end_listen(play), client = end_client(play);
	pid_t pid = fork();

	if (pid == 0) {
		int server = accept(fd, NULL, NULL);

		if (fork() == 0) {
			calm();
			_exit(echo_one(server));
		}
		_exit(0);
	}
	child_told(play, "parent", pid);
	calm();
	client_says(client, "hello");
	client_finds(play, "client", client);
	client_finds(play, "end", client);
}

static void daemonised(struct play *play)
{
	int client = end_client_new(play, AF_INET);
	int tell[2];
	char octet;

	if (pipe(tell) < 0)
		return;
	if (fork() == 0) {
		int fd;

		if (daemon(1, 1) < 0)
			_exit(1);
		fd = end_listen(play);
		if (write(tell[1], "x", 1) == 1)
			_exit(echo_one(accept(fd, NULL, NULL)));
	}
	close(tell[1]);
	told(play, "ready", read(tell[0], &octet, 1));
	told(play, "connect",
		connect(client, (struct sockaddr *)&play->address, sizeof(play->address)));
	client_says(client, "hello");
	client_finds(play, "client", client);
	told(play, "ended", read(tell[0], &octet, 1));
}

// A server that listens and goes into the background then: who comes meanwhile waits.
static void daemonised_late(struct play *play)
{
	int tell[2], client;
	pid_t pid;
	char octet;

	if (pipe(tell) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		int fd = end_listen(play);

		if (daemon(1, 1) < 0)
			_exit(1);
		alarm(2 * WAIT_MS / 1000); // out of reach of whoever ends what hangs
		for (unsigned i = 0; i < 5; i++)
			calm();
		_exit(echo_one(accept(fd, NULL, NULL)) || write(tell[1], "x", 1) != 1 ||
			echo_one(accept(fd, NULL, NULL)));
	}
	close(tell[1]);
	child_told(play, "parent", pid);
	client = end_client(play);
	client_says(client, "hello");
	client_finds(play, "client", client);
	// It listens by itself now.
	told(play, "served", read(tell[0], &octet, 1));
	client = end_client(play);
	client_says(client, "again");
	client_finds(play, "client", client);
	told(play, "ended", read(tell[0], &octet, 1));
	nobody_listens(play);
}

// The same with an epoll descriptor, of which its child has a copy. Who comes while it ends may be
// lost with it.
static void daemonised_watching(struct play *play)
{
	int64_t until_ms = now_ms() + WAIT_MS;
	int tell[2], n = -1;
	char octet, data[8];

	if (pipe(tell) < 0)
		return;
	if (fork() == 0) {
		int fd = end_listen(play), epfd = epoll_create1(0);
		struct epoll_event event = {.events = EPOLLIN};

		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
		if (daemon(1, 1) < 0 || write(tell[1], "x", 1) != 1)
			_exit(1);
		alarm(2 * WAIT_MS / 1000);
		while (epoll_wait(epfd, &event, 1, WAIT_MS) == 1)
			if (echo_one(accept(fd, NULL, NULL)) == 0)
				_exit(0);
		_exit(2);
	}
	close(tell[1]);
	told(play, "ready", read(tell[0], &octet, 1));
	while (n != 5 && now_ms() < until_ms) {
		int client = end_client_new(play, AF_INET);

		if (connect(client, (struct sockaddr *)&play->address, sizeof(play->address)) ==
				0 &&
			send(client, "hello", 5, MSG_NOSIGNAL) == 5)
			n = (int)recv(client, data, sizeof(data), 0);
		close(client);
	}
	told(play, "client", n);
	told(play, "ended", read(tell[0], &octet, 1));
}

// Nobody comes who accepts: the place is free when the last one is gone.
static void heir_ends(struct play *play)
{
	int ready[2], client;
	char octet;
	pid_t pid;

	if (pipe(ready) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		end_listen(play);
		if (fork() == 0) {
			close(ready[1]);
			_exit(read(ready[0], &octet, 1) != 1);
		}
		_exit(0);
	}
	child_told(play, "parent", pid);
	client = end_client(play);
	told(play, "tell", write(ready[1], "x", 1));
	client_finds(play, "client", client);
	nobody_listens(play);
}

static void other_user(struct play *play)
{
	int client = end_client_new(play, AF_INET), fd;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	told(play, "bind", bind(fd, (struct sockaddr *)&play->address, sizeof(play->address)));
	told(play, "groups", setgroups(0, NULL));
	told(play, "setgid", setgid(play->user));
	told(play, "setuid", setuid(play->user));
	told(play, "listen", listen(fd, 4));
	told(play, "connect",
		connect(client, (struct sockaddr *)&play->address, sizeof(play->address)));
	client_says(client, "hello");
	told(play, "echo", echo_one(accept(fd, NULL, NULL)));
	client_finds(play, "client", client);
}

// Another program finds the connection at its descriptors, as inetd's do.
static void other_program(struct play *play)
{
	struct pair pair = pair_open(play);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(pair.server, 0);
		dup2(pair.server, 1);
		closefrom(3);
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	close(pair.server);
	client_says(pair.client, "hello");
	client_finds(play, "client", pair.client);
	shutdown(pair.client, SHUT_WR);
	client_finds(play, "end", pair.client);
	child_told(play, "child", pid);
}

// A program that becomes another.
static void becomes_other(struct play *play)
{
	int fd = end_listen(play), client = end_client(play);
	pid_t pid = fork();

	if (pid == 0) {
		int server = accept(fd, NULL, NULL);

		dup2(server, 0);
		dup2(server, 1);
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	client_says(client, "hello");
	client_finds(play, "client", client);
	shutdown(client, SHUT_WR);
	child_told(play, "child", pid);
}

// Programs that have nothing to do with connections.
static void other_programs(struct play *play)
{
	struct pair pair = pair_open(play);
	FILE *output;
	char line[32] = "", data[8];

	told(play, "system", system("true"));
	output = popen("echo hello", "r");
	told(play, "popen", fgets(line, sizeof(line), output) != NULL);
	told(play, "pclose", pclose(output));
	client_says(pair.client, "x");
	told(play, "recv", recv(pair.server, data, 8, 0));
	close(pair.server);
	client_finds(play, "client", pair.client);
}

static bool send_descriptor(int over, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {"x", 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return sendmsg(over, &message, 0) == 1;
}

static int receive_descriptor(int over)
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
		.msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(over, &message, 0) != 1 || message.msg_controllen < CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void handed_over(struct play *play)
{
	int pairs[2];
	struct pair pair;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pairs) < 0)
		return;
	pid = fork();
	if (pid == 0)
		_exit(receive_descriptor(pairs[1]) < 0 ||
			echo_one(receive_descriptor(pairs[1])) != 0);
	pair = pair_open(play);
	told(play, "own", send_descriptor(pairs[0], play->home)); // none of Offramp's
	told(play, "send", send_descriptor(pairs[0], pair.server));
	client_says(pair.client, "hello");
	close(pair.server);
	client_finds(play, "client", pair.client);
	client_finds(play, "end", pair.client);
	child_told(play, "child", pid);
}

// Whoever of the two is there serves.
static void both_accept(struct play *play)
{
	int fd = end_listen(play), clients[4];
	pid_t pids[2];

	for (unsigned i = 0; i < 2; i++) {
		pids[i] = fork();
		while (pids[i] == 0)
			echo_one(accept(fd, NULL, NULL));
	}
	calm();
	for (unsigned i = 0; i < 4; i++) {
		clients[i] = end_client(play);
		client_says(clients[i], "hello");
	}
	for (unsigned i = 0; i < 4; i++)
		client_finds(play, "client", clients[i]);
	for (unsigned i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	close(fd);
}

const struct scenario fork_scenarios[] = {
	{"fork-child-accepts", child_accepts},
	{"fork-child-serves", child_serves},
	{"fork-child-reads-on", child_reads_on},
	{"fork-both-write", both_write},
	{"fork-child-closes", child_closes},
	{"fork-child-shuts", child_shuts},
	{"fork-child-holds", child_holds},
	{"fork-child-serves-much", child_serves_much},
	{"fork-many-children", many_children},
	{"fork-child-is-killed", child_is_killed},
	{"fork-child-leaves-unread", child_leaves_unread},
	{"fork-client-resets-child", client_resets_child},
	{"fork-child-asks", child_asks},
	{"fork-parent-ends", parent_ends},
	{"fork-daemon", daemonised},
	{"fork-daemon-late", daemonised_late},
	{"fork-daemon-watching", daemonised_watching},
	{"fork-heir-ends", heir_ends},
	{"fork-both-accept", both_accept},
	{"fork-other-user", other_user},
	{"fork-other-program", other_program},
	{"fork-becomes-other", becomes_other},
	{"fork-other-programs", other_programs},
	{"fork-handed-over", handed_over},
	{0},
};
