// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Signals that come while a call waits.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include "scenario.h"

static void interrupted(struct play *play)
{
	struct pair pair = pair_open(play);
	struct nag *nag;
	char data[8];

	count_signals(SIGUSR1, 0);
	nag = nag_start(SIGUSR1);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "read", read(pair.server, data, sizeof(data)));
	told(play, "accept", accept(pair.listener, NULL, NULL));
	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "partly", recv(pair.server, data, sizeof(data), MSG_WAITALL));
	nag_stop(nag);
}

static void goes_on(struct play *play)
{
	struct pair pair = pair_open(play);
	struct later *later;
	struct nag *nag;
	char data[8];

	count_signals(SIGUSR1, SA_RESTART);
	nag = nag_start(SIGUSR1);
	later = later_says(pair.client, "abc");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	later_join(later);
	told(play, "signals", signals_counted() > 0);
	nag_stop(nag);
}

// With a timeout the kernel begins no call anew.
static void with_timeout(struct play *play)
{
	struct pair pair = pair_open(play);
	struct nag *nag;
	char data[8];

	count_signals(SIGUSR1, SA_RESTART);
	set_timeout(pair.server, SO_RCVTIMEO, WAIT_MS);
	set_timeout(pair.listener, SO_RCVTIMEO, WAIT_MS);
	nag = nag_start(SIGUSR1);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "accept", accept(pair.listener, NULL, NULL));
	nag_stop(nag);
}

// One signal's calls go on, another's do not.
static void of_two_kinds(struct play *play)
{
	struct pair pair = pair_open(play);
	struct later *later;
	struct nag *nag;
	char data[8];

	count_signals(SIGUSR2, 0);
	count_signals(SIGUSR1, SA_RESTART);
	nag = nag_start(SIGUSR1);
	later = later_says(pair.client, "abc");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	later_join(later);
	nag_stop(nag);
	nag = nag_start(SIGUSR2);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	nag_stop(nag);
}

static void while_sending(struct play *play)
{
	struct pair pair = pair_open(play);
	size_t size = 32u << 20;
	char *block = calloc(1, size);
	struct nag *nag;
	ssize_t n;

	count_signals(SIGUSR1, 0);
	nag = nag_start(SIGUSR1);
	do
		n = send(pair.server, block, size, 0);
	while (n > 0);
	told(play, "send", n);
	nag_stop(nag);
	free(block);
}

static void while_waiting(struct play *play)
{
	struct pair pair = pair_open(play);
	struct pollfd fd = {pair.server, POLLIN, 0};
	struct epoll_event event = {.events = EPOLLIN};
	int epfd = epoll_create1(0);
	struct nag *nag;
	fd_set read;

	FD_ZERO(&read);
	FD_SET(pair.server, &read);
	epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &event);
	count_signals(SIGUSR1, SA_RESTART);
	nag = nag_start(SIGUSR1);
	told(play, "poll", poll(&fd, 1, WAIT_MS));
	told(play, "select", select(pair.server + 1, &read, NULL, NULL, NULL));
	told(play, "epoll", epoll_wait(epfd, &event, 1, WAIT_MS));
	nag_stop(nag);
}

static void ignored(struct play *play)
{
	struct pair pair = pair_open(play);
	struct later *later;
	struct nag *nag;
	char data[8];

	signal(SIGUSR1, SIG_IGN);
	count_signals(SIGUSR2, 0);
	nag = nag_start(SIGUSR1);
	later = later_says(pair.client, "abc");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	later_join(later);
	nag_stop(nag);
}

static struct pair *handler_pair(struct pair *set)
{
	static struct pair *pair;

	if (set != NULL)
		pair = set;
	return pair;
}

static void writes(int signal)
{
	(void)signal;
	if (write(handler_pair(NULL)->server, "from a handler", 14) < 0 && errno != EAGAIN)
		_exit(4);
}

// A handler may write to what another call waits for.
static void handler_writes(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sigaction action = {.sa_handler = writes, .sa_flags = SA_RESTART};
	struct later *later;
	struct nag *nag;
	char data[8];

	handler_pair(&pair);
	sigaction(SIGUSR1, &action, NULL);
	nag = nag_start(SIGUSR1);
	later = later_says(pair.client, "abc");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	later_join(later);
	nag_stop(nag);
	told(play, "came", wait_octets(pair.client, 14));
}

const struct scenario signal_scenarios[] = {
	{"signal-interrupts", interrupted},
	{"signal-goes-on", goes_on},
	{"signal-with-timeout", with_timeout},
	{"signal-of-two-kinds", of_two_kinds},
	{"signal-while-sending", while_sending},
	{"signal-while-waiting", while_waiting},
	{"signal-ignored", ignored},
	{"signal-handler-writes", handler_writes},
	{0},
};
