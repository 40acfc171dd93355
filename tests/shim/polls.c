// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// poll, ppoll, select, pselect.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "scenario.h"

static void look(struct play *play, const char *what, int fd, short events, int ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	if (told(play, what, poll(&poll_fd, 1, ms)) > 0)
		told(play, "events", poll_fd.revents);
}

static void states(struct play *play)
{
	struct pair pair = pair_open(play);
	const short all = POLLIN | POLLOUT | POLLRDHUP | POLLPRI | POLLRDNORM | POLLWRNORM;

	look(play, "open", pair.server, all, WAIT_MS);
	look(play, "in", pair.server, POLLIN, 0);
	client_says(pair.client, "a");
	look(play, "in", pair.server, POLLIN, WAIT_MS);
	look(play, "all", pair.server, all, 0);
	look(play, "nothing-asked", pair.server, 0, 0);
	shutdown(pair.client, SHUT_WR);
	look(play, "half", pair.server, POLLRDHUP, WAIT_MS);
	look(play, "all", pair.server, all, 0);
	shutdown(pair.server, SHUT_WR);
	look(play, "both", pair.server, 0, WAIT_MS);
	look(play, "all", pair.server, all, 0);
}

static void reset(struct play *play)
{
	struct pair pair = pair_open(play);
	const short all = POLLIN | POLLOUT | POLLRDHUP | POLLPRI;
	char data[4];

	client_resets(pair.client);
	look(play, "nothing-asked", pair.server, 0, WAIT_MS);
	look(play, "all", pair.server, all, 0);
	told(play, "recv", recv(pair.server, data, 4, 0));
	look(play, "told", pair.server, all, 0);
}

static void shut(struct play *play)
{
	struct pair pair = pair_open(play);
	const short all = POLLIN | POLLOUT | POLLRDHUP | POLLPRI;

	shutdown(pair.server, SHUT_RD);
	look(play, "read", pair.server, all, 0);
	shutdown(pair.server, SHUT_WR);
	look(play, "both", pair.server, all, 0);
	look(play, "unconnected", socket(AF_INET, SOCK_STREAM, 0), all, 0);
}

static void wrong(struct play *play)
{
	struct pair pair = pair_open(play);
	struct pollfd fds[3] = {{pair.server, POLLIN, 99}, {-1, POLLIN, 99}, {1 << 20, POLLIN, 99}};
	struct timespec bad = {0, -1};

	told(play, "poll", poll(fds, 3, 0));
	told(play, "server", fds[0].revents);
	told(play, "negative", fds[1].revents);
	told(play, "not-open", fds[2].revents);
	told(play, "none", poll(NULL, 0, 1));
	told(play, "bad", ppoll(fds, 3, &bad, NULL));
}

static void times(struct play *play)
{
	struct pair pair = pair_open(play);
	struct pollfd fd = {pair.server, POLLIN, 0};
	struct timespec time = {0, 60000000};
	int64_t begin_ms = now_ms();

	told(play, "poll", poll(&fd, 1, 60));
	told(play, "waited", now_ms() - begin_ms >= 59);
	begin_ms = now_ms();
	told(play, "ppoll", ppoll(&fd, 1, &time, NULL));
	told(play, "waited", now_ms() - begin_ms >= 59);
	told(play, "kept", time.tv_nsec);
}

static void several(struct play *play)
{
	struct pair pair = pair_open(play);
	int pipes[2];
	struct later *later;

	told(play, "pipe", pipe(pipes));
	{
		struct pollfd fds[4] = {{pair.server, POLLIN, 0}, {pipes[0], POLLIN, 0},
			{pair.server, POLLOUT, 0}, {pair.listener, POLLIN, 0}};

		told(play, "poll", poll(fds, 4, WAIT_MS));
		told(play, "out", fds[2].revents);
		told(play, "write", write(pipes[1], "x", 1));
		told(play, "poll", poll(fds, 2, WAIT_MS));
		told(play, "pipe", fds[1].revents);
		later = later_says(pair.client, "x");
		fds[1].events = 0;
		told(play, "poll", poll(fds, 2, WAIT_MS));
		told(play, "in", fds[0].revents);
		later_join(later);
		end_client(play);
		told(play, "poll", poll(&fds[3], 1, WAIT_MS));
		told(play, "listener", fds[3].revents);
	}
}

static void selected(struct play *play)
{
	struct pair pair = pair_open(play);
	struct timeval time = {WAIT_MS / 1000, 0}, none = {0, 50000};
	fd_set read, write, except;
	int most = pair.server + 1, n;

	FD_ZERO(&read);
	FD_ZERO(&write);
	FD_ZERO(&except);
	FD_SET(pair.server, &read);
	told(play, "select", select(most, &read, NULL, NULL, &none));
	told(play, "in", FD_ISSET(pair.server, &read));
	told(play, "left", none.tv_usec);
	FD_SET(pair.server, &read);
	FD_SET(pair.server, &write);
	FD_SET(pair.server, &except);
	client_says(pair.client, "x");
	wait_octets(pair.server, 1);
	told(play, "select", select(most, &read, &write, &except, &time));
	told(play, "in", FD_ISSET(pair.server, &read));
	told(play, "out", FD_ISSET(pair.server, &write));
	told(play, "except", FD_ISSET(pair.server, &except));
	told(play, "left", time.tv_sec >= WAIT_MS / 1000 - 2);
	client_resets(pair.client);
	wait_for(pair.server, POLLHUP);
	FD_ZERO(&read);
	FD_SET(pair.server, &write);
	n = select(most, NULL, &write, NULL, NULL);
	told(play, "reset", n);
}

static void selected_wrong(struct play *play)
{
	struct pair pair = pair_open(play);
	struct timeval none = {0, 0}, bad = {-1, 0};
	int not_open = dup(pair.client);
	fd_set read;

	close(not_open);
	FD_ZERO(&read);
	FD_SET(pair.server, &read);
	told(play, "negative", select(-1, &read, NULL, NULL, &none));
	told(play, "time", select(pair.server + 1, &read, NULL, NULL, &bad));
	FD_SET(not_open, &read);
	told(play, "not-open", select(not_open + 1, &read, NULL, NULL, &none));
	FD_CLR(not_open, &read);
	told(play, "beyond", select(pair.server, &read, NULL, NULL, &none));
	told(play, "nothing", select(0, NULL, NULL, NULL, &none));
}

// A signal comes in only while it waits.
static void masked(struct play *play)
{
	struct pair pair = pair_open(play);
	struct pollfd fd = {pair.server, POLLIN, 0};
	struct timespec time = {WAIT_MS / 1000, 0};
	sigset_t blocked, open;
	fd_set read;

	count_signals(SIGUSR1, SA_RESTART);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &open);
	raise(SIGUSR1);
	told(play, "blocked", poll(&fd, 1, CALM_MS));
	told(play, "signals", signals_counted());
	told(play, "ppoll", ppoll(&fd, 1, &time, &open));
	told(play, "signals", signals_counted());
	raise(SIGUSR1);
	FD_ZERO(&read);
	FD_SET(pair.server, &read);
	told(play, "pselect", pselect(pair.server + 1, &read, NULL, NULL, &time, &open));
	told(play, "signals", signals_counted());
	raise(SIGUSR1);
	client_says(pair.client, "x");
	wait_octets(pair.server, 1);
	told(play, "ready", ppoll(&fd, 1, &time, &open));
}

const struct scenario poll_scenarios[] = {
	{"poll-states", states},
	{"poll-reset", reset},
	{"poll-shutdown", shut},
	{"poll-wrong", wrong},
	{"poll-times", times},
	{"poll-several", several},
	{"poll-select", selected},
	{"poll-select-wrong", selected_wrong},
	{"poll-masked", masked},
	{0},
};
