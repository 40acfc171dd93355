// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// epoll, over connections and whatever else is in it.

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "scenario.h"

static int add(int epfd, int fd, uint32_t events)
{
	struct epoll_event event = {
		.events = events, .data.u64 = 0x1234567800000000u + (unsigned)fd};

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

static int modify(int epfd, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = 77};

	return epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
}

// What one wait finds: a letter an event.
static void look(struct play *play, const char *what, int epfd, int ms)
{
	static const struct {
		uint32_t event;
		char letter;
	} letters[] = {{EPOLLIN, 'i'}, {EPOLLOUT, 'o'}, {EPOLLRDHUP, 'r'}, {EPOLLHUP, 'h'},
		{EPOLLERR, 'e'}, {EPOLLPRI, 'p'}};
	struct epoll_event event = {0};
	int n = epoll_wait(epfd, &event, 1, ms);
	char text[16] = "";
	size_t length = 0;

	if (n <= 0) {
		told(play, what, n);
		return;
	}
	for (unsigned i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (event.events & letters[i].event)
			text[length++] = letters[i].letter;
	say(play, what, text);
}

static void level(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	char data[8];

	told(play, "add", add(epfd, pair.server, EPOLLIN));
	look(play, "nothing", epfd, 0);
	client_says(pair.client, "ab");
	look(play, "first", epfd, WAIT_MS);
	look(play, "again", epfd, WAIT_MS);
	told(play, "recv", recv(pair.server, data, 1, 0));
	look(play, "rest", epfd, 0);
	told(play, "recv", recv(pair.server, data, 1, 0));
	look(play, "empty", epfd, CALM_MS);
}

static void edge(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);
	char data[8];

	told(play, "add", add(epfd, pair.server, EPOLLIN | EPOLLOUT | EPOLLET));
	look(play, "at-once", epfd, WAIT_MS);
	look(play, "once", epfd, 0);
	client_says(pair.client, "a");
	look(play, "first", epfd, WAIT_MS);
	look(play, "once", epfd, 0);
	client_says(pair.client, "b");
	look(play, "more", epfd, WAIT_MS);
	look(play, "once", epfd, 0);
	told(play, "recv", recv(pair.server, data, 1, 0));
	look(play, "taken", epfd, 0);
	told(play, "mod", modify(epfd, pair.server, EPOLLIN | EPOLLET));
	look(play, "told-anew", epfd, 0);
}

static void oneshot(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);

	told(play, "add", add(epfd, pair.server, EPOLLIN | EPOLLONESHOT));
	client_says(pair.client, "a");
	look(play, "first", epfd, WAIT_MS);
	client_says(pair.client, "b");
	look(play, "spent", epfd, CALM_MS);
	told(play, "add", add(epfd, pair.server, EPOLLIN));
	told(play, "mod", modify(epfd, pair.server, EPOLLIN | EPOLLONESHOT));
	look(play, "again", epfd, WAIT_MS);
	shutdown(pair.client, SHUT_WR);
	look(play, "spent", epfd, CALM_MS);
}

static void exclusive(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);

	told(play, "add", add(epfd, pair.listener, EPOLLIN | EPOLLEXCLUSIVE));
	told(play, "mod", modify(epfd, pair.listener, EPOLLIN));
	told(play, "wrong", add(epfd, pair.server, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT));
	told(play, "wrong", add(epfd, pair.server, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP));
	told(play, "mod", modify(epfd, pair.server, EPOLLIN));
	close(end_client(play));
	look(play, "ready", epfd, WAIT_MS);
}

static void control(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event event = {.events = EPOLLIN};
	int epfd = epoll_create1(0), file = fileno(tmpfile());

	told(play, "mod", modify(epfd, pair.server, EPOLLIN));
	told(play, "del", epoll_ctl(epfd, EPOLL_CTL_DEL, pair.server, NULL));
	told(play, "add", add(epfd, pair.server, EPOLLIN));
	told(play, "again", add(epfd, pair.server, EPOLLIN));
	told(play, "op", epoll_ctl(epfd, 99, pair.server, &event));
	told(play, "null", epoll_ctl(epfd, EPOLL_CTL_MOD, pair.server, NULL));
	told(play, "none", add(epfd, -1, EPOLLIN));
	told(play, "no-epoll", add(-1, pair.server, EPOLLIN));
	told(play, "not-epoll", add(play->home, pair.server, EPOLLIN));
	told(play, "not-epoll", add(pair.listener, pair.server, EPOLLIN));
	told(play, "itself", add(epfd, epfd, EPOLLIN));
	told(play, "file", add(epfd, file, EPOLLIN));
	told(play, "del", epoll_ctl(epfd, EPOLL_CTL_DEL, pair.server, NULL));
	told(play, "del", epoll_ctl(epfd, EPOLL_CTL_DEL, pair.server, NULL));
	client_says(pair.client, "a");
	look(play, "deleted", epfd, CALM_MS);
}

static void waiting(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event events[4];
	struct timespec time = {0, 50000000}, bad = {0, -1};
	int epfd = epoll_create1(0);
	volatile int negative = -1; // which a compiler would warn of
	int64_t begin_ms = now_ms();

	add(epfd, pair.server, EPOLLIN);
	told(play, "wait", epoll_wait(epfd, events, 4, 60));
	told(play, "waited", now_ms() - begin_ms >= 59);
	told(play, "none", epoll_wait(epfd, events, 0, 0));
	told(play, "negative", epoll_wait(epfd, events, negative, 0));
	told(play, "no-epoll", epoll_wait(-1, events, 4, 0));
	told(play, "not-epoll", epoll_wait(pair.server, events, 4, 0));
	told(play, "pwait2", epoll_pwait2(epfd, events, 4, &time, NULL));
	told(play, "bad", epoll_pwait2(epfd, events, 4, &bad, NULL));
	client_says(pair.client, "a");
	told(play, "pwait2", epoll_pwait2(epfd, events, 4, NULL, NULL));
	told(play, "data", events[0].data.u64 == 0x1234567800000000u + (unsigned)pair.server);
	modify(epfd, pair.server, EPOLLIN);
	told(play, "pwait", epoll_pwait(epfd, events, 4, -1, NULL));
	told(play, "data", (long)events[0].data.u64);
}

static void ends(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);

	add(epfd, pair.server, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	look(play, "open", epfd, WAIT_MS);
	modify(epfd, pair.server, EPOLLIN | EPOLLRDHUP);
	shutdown(pair.client, SHUT_WR);
	look(play, "half", epfd, WAIT_MS);
	modify(epfd, pair.server, 0);
	look(play, "not-asked", epfd, 0);
	modify(epfd, pair.server, EPOLLIN | EPOLLRDHUP);
	shutdown(pair.server, SHUT_WR);
	wait_for(pair.server, POLLHUP);
	look(play, "both", epfd, WAIT_MS);
	modify(epfd, pair.server, 0);
	look(play, "not-asked", epfd, WAIT_MS);
}

static void reset(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);

	add(epfd, pair.server, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	look(play, "open", epfd, WAIT_MS);
	client_resets(pair.client);
	look(play, "reset", epfd, WAIT_MS);
	modify(epfd, pair.server, EPOLLIN | EPOLLRDHUP);
	look(play, "again", epfd, WAIT_MS);
}

static void closed(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0), pipes[2];

	add(epfd, pair.server, EPOLLIN);
	client_says(pair.client, "a");
	look(play, "ready", epfd, WAIT_MS);
	close(pair.server);
	look(play, "closed", epfd, 0);
	told(play, "pipe", pipe(pipes));
	told(play, "number", pipes[0] == pair.server);
	told(play, "add", add(epfd, pipes[0], EPOLLIN));
	told(play, "write", write(pipes[1], "x", 1));
	look(play, "pipe", epfd, WAIT_MS);
}

// The kernel watches what a descriptor stands for, as long as there is another of it.
static void closed_copy(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0), copy = dup(pair.server);

	add(epfd, pair.server, EPOLLIN);
	told(play, "copy", add(epfd, copy, EPOLLOUT));
	epoll_ctl(epfd, EPOLL_CTL_DEL, copy, NULL);
	close(pair.server);
	client_says(pair.client, "a");
	look(play, "copy-left", epfd, WAIT_MS);
	close(copy);
	look(play, "closed", epfd, 0);
}

static void writable(struct play *play)
{
	struct pair pair = pair_open(play);
	int epfd = epoll_create1(0);
	int64_t until_ms = now_ms() + WAIT_MS;
	struct epoll_event event = {0};
	char *block = calloc(1, 65536);

	set_nonblocking(pair.server, true);
	add(epfd, pair.server, EPOLLOUT | EPOLLET);
	look(play, "at-once", epfd, WAIT_MS);
	for (int round = 0; round < 3; round++) {
		while (send(pair.server, block, 65536, 0) > 0)
			;
		calm();
	}
	while (epoll_wait(epfd, &(struct epoll_event){0}, 1, CALM_MS) > 0)
		while (send(pair.server, block, 65536, 0) > 0)
			;
	look(play, "full", epfd, 0);
	set_nonblocking(pair.client, true);
	do
		while (recv(pair.client, block, 65536, 0) > 0)
			;
	while (epoll_wait(epfd, &event, 1, 10) == 0 && now_ms() < until_ms);
	told(play, "room", event.events);
	free(block);
}

static void mixed(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event events[8];
	int epfd = epoll_create1(0), event = eventfd(0, 0), pipes[2], pairs[2], n;
	uint64_t sum = 0;

	told(play, "pipe", pipe(pipes));
	told(play, "pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pairs));
	add(epfd, event, EPOLLIN);
	add(epfd, pipes[0], EPOLLIN);
	add(epfd, pair.server, EPOLLIN);
	add(epfd, pairs[0], EPOLLIN);
	told(play, "nothing", epoll_wait(epfd, events, 8, 0));
	told(play, "write", write(pipes[1], "x", 1));
	look(play, "pipe", epfd, WAIT_MS);
	told(play, "write", write(pairs[1], "x", 1));
	eventfd_write(event, 1);
	client_says(pair.client, "x");
	wait_octets(pair.server, 1);
	n = epoll_wait(epfd, events, 8, WAIT_MS);
	for (int i = 0; i < n; i++)
		sum += events[i].data.u64 & 0xffff;
	told(play, "all", n);
	told(play, "data", sum == (uint64_t)(event + pipes[0] + pair.server + pairs[0]));
	told(play, "del", epoll_ctl(epfd, EPOLL_CTL_DEL, pipes[0], NULL));
	told(play, "left", epoll_wait(epfd, events, 8, 0));
}

// One place for events: everybody's turn comes.
static void fair(struct play *play)
{
	int fd = end_listen(play), epfd = epoll_create1(0), servers[4];
	bool seen[4] = {false};
	struct epoll_event event;

	for (unsigned i = 0; i < 4; i++) {
		client_says(end_client(play), "x");
		servers[i] = accept(fd, NULL, NULL);
		wait_octets(servers[i], 1);
		add(epfd, servers[i], EPOLLIN);
	}
	for (unsigned i = 0; i < 4; i++) {
		told(play, "wait", epoll_wait(epfd, &event, 1, WAIT_MS));
		for (unsigned k = 0; k < 4; k++)
			seen[k] |= (event.data.u64 & 0xffff) == (unsigned)servers[k];
	}
	told(play, "all", seen[0] && seen[1] && seen[2] && seen[3]);
}

static void nested(struct play *play)
{
	struct pair pair = pair_open(play);
	int inner = epoll_create1(0), outer = epoll_create1(0);
	struct pollfd poll_fd = {.fd = inner, .events = POLLIN};
	char data[4];

	add(inner, pair.server, EPOLLIN);
	told(play, "add", add(outer, inner, EPOLLIN));
	look(play, "nothing", outer, 0);
	told(play, "poll", poll(&poll_fd, 1, 0));
	client_says(pair.client, "a");
	told(play, "poll", poll(&poll_fd, 1, WAIT_MS));
	look(play, "outer", outer, WAIT_MS);
	look(play, "inner", inner, 0);
	told(play, "recv", recv(pair.server, data, 4, 0));
	look(play, "taken", outer, CALM_MS);
	told(play, "poll", poll(&poll_fd, 1, 0));
}

static void two(struct play *play)
{
	struct pair pair = pair_open(play);
	int one = epoll_create1(0), other = epoll_create1(0), copy = dup(one);

	add(one, pair.server, EPOLLIN);
	add(other, pair.server, EPOLLIN | EPOLLET);
	client_says(pair.client, "a");
	look(play, "one", one, WAIT_MS);
	look(play, "other", other, WAIT_MS);
	look(play, "copy", copy, WAIT_MS);
	close(one);
	look(play, "copy", copy, WAIT_MS);
	look(play, "closed", one, 0);
	look(play, "other", other, 0);
}

static void listener(struct play *play)
{
	int fd = end_listen(play), epfd = epoll_create1(0), client;

	set_nonblocking(fd, true);
	add(epfd, fd, EPOLLIN | EPOLLET);
	look(play, "nothing", epfd, 0);
	client = end_client(play);
	look(play, "one", epfd, WAIT_MS);
	look(play, "once", epfd, 0);
	end_client(play);
	look(play, "two", epfd, WAIT_MS);
	told(play, "accept", accept(fd, NULL, NULL) >= 0);
	told(play, "accept", accept(fd, NULL, NULL) >= 0);
	told(play, "accept", accept(fd, NULL, NULL));
	client_says(client, "x");
	look(play, "nothing", epfd, CALM_MS);
}

const struct scenario epoll_scenarios[] = {
	{"epoll-level", level},
	{"epoll-edge", edge},
	{"epoll-oneshot", oneshot},
	{"epoll-exclusive", exclusive},
	{"epoll-control", control},
	{"epoll-waiting", waiting},
	{"epoll-ends", ends},
	{"epoll-reset", reset},
	{"epoll-closed", closed},
	{"epoll-closed-copy", closed_copy},
	{"epoll-writable", writable},
	{"epoll-mixed", mixed},
	{"epoll-fair", fair},
	{"epoll-nested", nested},
	{"epoll-two", two},
	{"epoll-listener", listener},
	{0},
};
