// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Several threads at one connection, one listener, one epoll.

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "scenario.h"

// A call in a thread of its own, and what came of it.
struct task {
	pthread_t thread;
	int fd;
	long result;
	int error;
	size_t octets;
	_Atomic bool done;
	long (*call)(struct task *task);
};

static void *run(void *ctx)
{
	struct task *task = ctx;

	task->result = task->call(task);
	task->error = errno;
	task->done = true;
	return NULL;
}

static void start(struct task *task, long (*call)(struct task *), int fd)
{
	*task = (struct task){.fd = fd, .call = call};
	pthread_create(&task->thread, NULL, run, task);
}

static void end(struct play *play, const char *what, struct task *task)
{
	pthread_join(task->thread, NULL);
	errno = task->error;
	told(play, what, task->result);
}

static long call_recv(struct task *task)
{
	char octet;

	return recv(task->fd, &octet, 1, 0);
}

static long call_accept(struct task *task)
{
	return accept(task->fd, NULL, NULL) < 0 ? -1 : 0;
}

static long call_epoll(struct task *task)
{
	struct epoll_event event;

	return epoll_wait(task->fd, &event, 1, WAIT_MS);
}

static long call_poll(struct task *task)
{
	struct pollfd fd = {task->fd, POLLIN, 0};

	return poll(&fd, 1, WAIT_MS);
}

static void two_readers(struct play *play)
{
	struct pair pair = pair_open(play);
	struct task one, two;

	start(&one, call_recv, pair.server);
	start(&two, call_recv, pair.server);
	calm();
	client_says(pair.client, "a");
	calm();
	told(play, "one", one.done + two.done);
	client_says(pair.client, "b");
	end(play, "recv", &one);
	end(play, "recv", &two);
}

static long call_echo(struct task *task)
{
	char data[1024];
	ssize_t n;

	while ((n = recv(task->fd, data, sizeof(data), 0)) > 0)
		task->octets += (size_t)n;
	return n;
}

static void reader_and_writer(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[2000] = "";
	struct task reader, client;

	start(&reader, call_echo, pair.server);
	start(&client, call_echo, pair.client);
	for (unsigned i = 0; i < 300; i++) {
		send(pair.server, data, sizeof(data), 0);
		send(pair.client, data, sizeof(data), 0);
	}
	shutdown(pair.server, SHUT_WR);
	shutdown(pair.client, SHUT_WR);
	end(play, "reader", &reader);
	end(play, "client", &client);
	told(play, "read", (long)reader.octets);
	told(play, "came", (long)client.octets);
}

static void shutdown_wakes(struct play *play)
{
	struct pair pair = pair_open(play);
	struct task task;

	start(&task, call_recv, pair.server);
	calm();
	shutdown(pair.server, SHUT_RD);
	end(play, "recv", &task);
	start(&task, call_accept, pair.listener);
	calm();
	shutdown(pair.listener, SHUT_RD);
	end(play, "accept", &task);
}

// Who waits goes on waiting for what has no descriptor any more.
static void close_does_not_wake(struct play *play)
{
	struct pair pair = pair_open(play);
	struct task task;

	start(&task, call_recv, pair.server);
	calm();
	close(pair.server);
	calm();
	told(play, "done", task.done);
	client_says(pair.client, "x");
	end(play, "recv", &task);
	client_finds(play, "client", pair.client);
}

static void close_listener(struct play *play)
{
	struct pair pair = pair_open(play);
	struct task task;

	start(&task, call_accept, pair.listener);
	calm();
	close(pair.listener);
	calm();
	told(play, "done", task.done);
	close(end_client(play));
	end(play, "accept", &task);
}

static void epoll_changes(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event event = {.events = EPOLLIN};
	int epfd = epoll_create1(0);
	struct task task;

	start(&task, call_epoll, epfd);
	calm();
	client_says(pair.client, "x");
	told(play, "add", epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &event));
	end(play, "wait", &task);
	event.events = EPOLLRDHUP;
	epoll_ctl(epfd, EPOLL_CTL_MOD, pair.server, &event);
	start(&task, call_epoll, epfd);
	calm();
	event.events = EPOLLOUT;
	told(play, "mod", epoll_ctl(epfd, EPOLL_CTL_MOD, pair.server, &event));
	end(play, "wait", &task);
}

static void epoll_shared(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
	int epfd = epoll_create1(0);
	struct task one, two;

	epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &event);
	start(&one, call_epoll, epfd);
	start(&two, call_epoll, epfd);
	calm();
	client_says(pair.client, "x");
	calm();
	calm();
	told(play, "woken", one.done + two.done);
	epoll_ctl(epfd, EPOLL_CTL_MOD, pair.server, &event);
	end(play, "wait", &one);
	end(play, "wait", &two);
}

static void poll_and_epoll(struct play *play)
{
	struct pair pair = pair_open(play);
	struct epoll_event event = {.events = EPOLLIN};
	int epfd = epoll_create1(0);
	struct task tasks[3];

	epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &event);
	start(&tasks[0], call_epoll, epfd);
	start(&tasks[1], call_poll, pair.server);
	start(&tasks[2], call_poll, pair.server);
	calm();
	client_says(pair.client, "x");
	for (unsigned i = 0; i < 3; i++)
		end(play, "wait", &tasks[i]);
}

static void accepters(struct play *play)
{
	int fd = end_listen(play);
	struct task tasks[3];

	for (unsigned i = 0; i < 3; i++)
		start(&tasks[i], call_accept, fd);
	calm();
	for (unsigned i = 0; i < 3; i++)
		end_client(play);
	for (unsigned i = 0; i < 3; i++)
		end(play, "accept", &tasks[i]);
}

static void cancelled(struct play *play)
{
	struct pair pair = pair_open(play);
	struct task task;
	char data[4];
	void *result;

	start(&task, call_recv, pair.server);
	calm();
	told(play, "cancel", pthread_cancel(task.thread));
	pthread_join(task.thread, &result);
	told(play, "cancelled", result == PTHREAD_CANCELED);
	client_says(pair.client, "x");
	told(play, "recv", recv(pair.server, data, 4, 0));
	close(pair.server);
	client_finds(play, "client", pair.client);
}

const struct scenario thread_scenarios[] = {
	{"thread-two-readers", two_readers},
	{"thread-reader-and-writer", reader_and_writer},
	{"thread-shutdown-wakes", shutdown_wakes},
	{"thread-close-does-not-wake", close_does_not_wake},
	{"thread-close-listener", close_listener},
	{"thread-epoll-changes", epoll_changes},
	{"thread-epoll-shared", epoll_shared},
	{"thread-poll-and-epoll", poll_and_epoll},
	{"thread-accepters", accepters},
	{"thread-cancelled", cancelled},
	{0},
};
