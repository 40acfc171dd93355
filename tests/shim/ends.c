// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What scenarios are made of: a server's sockets, a client's, patience.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "scenario.h"

static int must(const char *what, int rc)
{
	if (rc >= 0)
		return rc;
	perror(what);
	_exit(3);
}

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&time, &time) < 0)
		;
}

void calm(void)
{
	pause_ms(CALM_MS);
}

// --- options -------------------------------------------------------------------------------------

void set_number(int fd, int level, int name, int value)
{
	must("setsockopt", setsockopt(fd, level, name, &value, sizeof(value)));
}

void set_timeout(int fd, int name, int ms)
{
	struct timeval time = {ms / 1000, ms % 1000 * 1000};

	must("setsockopt", setsockopt(fd, SOL_SOCKET, name, &time, sizeof(time)));
}

void set_nonblocking(int fd, bool on)
{
	int flags = must("F_GETFL", fcntl(fd, F_GETFL));

	must("F_SETFL", fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

// --- server --------------------------------------------------------------------------------------

int end_listen_at(const void *address, socklen_t length, int backlog)
{
	const struct sockaddr *at = address;
	int fd = must("socket", socket(at->sa_family, SOCK_STREAM, 0));

	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	must("bind", bind(fd, at, length));
	must("listen", listen(fd, backlog));
	return fd;
}

int end_listen(struct play *play)
{
	return end_listen_at(&play->address, sizeof(play->address), 16);
}

// --- clients -------------------------------------------------------------------------------------

int end_client_new(struct play *play, int family)
{
	int fd;

	must("setns", setns(play->away, CLONE_NEWNET));
	fd = must("socket", socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must("setns", setns(play->home, CLONE_NEWNET));
	set_timeout(fd, SO_RCVTIMEO, WAIT_MS);
	set_timeout(fd, SO_SNDTIMEO, WAIT_MS);
	return fd;
}

int end_client_at(struct play *play, const void *address, socklen_t length)
{
	const struct sockaddr *at = address;
	int fd = end_client_new(play, at->sa_family);

	must("connect", connect(fd, at, length));
	return fd;
}

int end_client(struct play *play)
{
	return end_client_at(play, &play->address, sizeof(play->address));
}

int end_serve_at(struct play *play, const void *address, socklen_t length, int backlog)
{
	const struct sockaddr *at = address;
	int fd = end_client_new(play, at->sa_family);

	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	must("bind", bind(fd, at, length));
	must("listen", listen(fd, backlog));
	return fd;
}

void client_says(int client, const char *text)
{
	must("client's send", (int)send(client, text, strlen(text), MSG_NOSIGNAL));
}

void client_resets(int client)
{
	struct linger linger = {1, 0};

	must("SO_LINGER", setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	close(client);
}

void client_finds(struct play *play, const char *what, int client)
{
	char data[4096];

	told(play, what, recv(client, data, sizeof(data), 0));
}

void nobody_listens(struct play *play)
{
	int64_t until_ms = now_ms() + WAIT_MS;
	int error = 0;

	// Who comes while the last one goes may be reset.
	while ((error == 0 || error == ECONNRESET) && now_ms() < until_ms) {
		int client = end_client_new(play, AF_INET);

		error = connect(client, (struct sockaddr *)&play->address, sizeof(play->address)) <
					0
				? errno
				: 0;
		close(client);
	}
	errno = error;
	told(play, "connect", error == 0 ? 0 : -1);
}

// --- pairs ---------------------------------------------------------------------------------------

struct pair pair_open(struct play *play)
{
	struct pair pair = {.listener = end_listen(play)};

	pair.client = end_client(play);
	pair.server = must("accept", accept(pair.listener, NULL, NULL));
	return pair;
}

static void close_once(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void pair_close(struct pair *pair)
{
	close_once(&pair->listener);
	close_once(&pair->server);
	close_once(&pair->client);
}

// --- patience ------------------------------------------------------------------------------------

bool wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	return poll(&poll_fd, 1, WAIT_MS) == 1;
}

bool wait_octets(int fd, int octets)
{
	int64_t until_ms = now_ms() + WAIT_MS;
	int there = 0;

	while (ioctl(fd, FIONREAD, &there) == 0 && there < octets && now_ms() < until_ms)
		pause_ms(1);
	return there >= octets;
}

// --- signals -------------------------------------------------------------------------------------

static _Atomic int signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

void count_signals(int signal, int flags)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = flags};

	signals = 0;
	must("sigaction", sigaction(signal, &action, NULL));
}

int signals_counted(void)
{
	return signals;
}

struct nag {
	pthread_t thread, whom;
	int signal;
	_Atomic bool stop;
};

static void *nag(void *ctx)
{
	struct nag *nag = ctx;

	while (!nag->stop) {
		pause_ms(10);
		pthread_kill(nag->whom, nag->signal);
	}
	return NULL;
}

struct nag *nag_start(int signal)
{
	struct nag *made = calloc(1, sizeof(*made));

	made->whom = pthread_self();
	made->signal = signal;
	must("thread", -pthread_create(&made->thread, NULL, nag, made));
	return made;
}

void nag_stop(struct nag *nag)
{
	nag->stop = true;
	pthread_join(nag->thread, NULL);
	free(nag);
}

struct later {
	pthread_t thread;
	int client;
	const char *text;
};

static void *say_later(void *ctx)
{
	const struct later *later = ctx;

	calm();
	client_says(later->client, later->text);
	return NULL;
}

struct later *later_says(int client, const char *text)
{
	struct later *later = calloc(1, sizeof(*later));

	later->client = client;
	later->text = text;
	must("thread", -pthread_create(&later->thread, NULL, say_later, later));
	return later;
}

void later_join(struct later *later)
{
	pthread_join(later->thread, NULL);
	free(later);
}
