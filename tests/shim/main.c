// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Plays the scenarios one by one, each in a child that is ended when it hangs.
//
//   shim-scenarios --address A --address6 A --port N --peer A --peer6 A --clients NETNS
//   [--user UID] [--part K/N] [NAME…]
//
// IPv6 is at the port after N; the clients' servers are at N + 100. Part K (from 0) of N is every
// N-th scenario. This process itself never listens, so each child begins anew.

#include <arpa/inet.h>
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

#define HANGS_MS 15000

static const struct scenario *const groups[] = {listening_scenarios, accepting_scenarios,
	closing_scenarios, reading_scenarios, writing_scenarios, option_scenarios, name_scenarios,
	descriptor_scenarios, epoll_scenarios, poll_scenarios, signal_scenarios, thread_scenarios,
	fork_scenarios, datagram_scenarios, kernel_scenarios, connecting_scenarios};

// --- results -------------------------------------------------------------------------------------

void say(struct play *play, const char *what, const char *value)
{
	size_t room = sizeof(play->line) - play->used;
	int n = snprintf(play->line + play->used, room, " %s=%s", what, value);

	play->used += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

long told(struct play *play, const char *what, long value)
{
	const char *name = value == -1 ? strerrorname_np(errno) : NULL;
	char number[32];

	snprintf(number, sizeof(number), "%ld", value);
	say(play, what, name != NULL ? name : number);
	return value;
}

// --- one -----------------------------------------------------------------------------------------

static void play_here(struct play *play, const struct scenario *scenario)
{
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	scenario->play(play);
	printf("%s:%s\n", scenario->name, play->line);
	fflush(stdout);
	_exit(0);
}

// What became of it is its line, unless it came to no end.
static void play_one(struct play *play, const struct scenario *scenario)
{
	pid_t pid = fork();
	struct pollfd ended;
	int status = 0;

	if (pid == 0)
		play_here(play, scenario);
	ended = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	if (poll(&ended, 1, HANGS_MS) == 0)
		printf("%s: hangs\n", scenario->name);
	kill(-pid, SIGKILL); // its children, too
	close(ended.fd);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		printf("%s: ended by SIG%s\n", scenario->name, sigabbrev_np(WTERMSIG(status)));
	else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		printf("%s: cannot be played\n", scenario->name);
	fflush(stdout);
}

static bool is_wanted(const char *name, char **wanted)
{
	if (*wanted == NULL)
		return true;
	for (; *wanted != NULL; wanted++)
		if (strcmp(name, *wanted) == 0)
			return true;
	return false;
}

// --- options -------------------------------------------------------------------------------------

struct options {
	struct play play;
	unsigned part, parts;
	char *none;
	char **wanted;
};

static const struct argp_option known[] = {
	{"address", 'a', "IPV4", 0, "where the server listens", 0},
	{"address6", '6', "IPV6", 0, "likewise, at the next port", 0},
	{"port", 'p', "N", 0, "its port", 0},
	{"peer", 'r', "IPV4", 0, "the clients' address", 0},
	{"peer6", 'R', "IPV6", 0, "likewise", 0},
	{"clients", 'c', "NETNS", 0, "the clients' network namespace", 0},
	{"part", 'k', "K/N", 0, "some of them", 0},
	{"user", 'u', "UID", 0, "a user who may attach", 0},
	{0},
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;
	struct play *play = &options->play;

	switch (key) {
	case 'a':
		return inet_pton(AF_INET, arg, &play->address.sin_addr) == 1 ? 0 : EINVAL;
	case '6':
		return inet_pton(AF_INET6, arg, &play->address6.sin6_addr) == 1 ? 0 : EINVAL;
	case 'p':
		play->address.sin_port = htons((uint16_t)atoi(arg));
		play->address6.sin6_port = htons((uint16_t)(atoi(arg) + 1));
		play->peer.sin_port = htons((uint16_t)(atoi(arg) + 100));
		play->peer6.sin6_port = play->peer.sin_port;
		return 0;
	case 'r':
		return inet_pton(AF_INET, arg, &play->peer.sin_addr) == 1 ? 0 : EINVAL;
	case 'R':
		return inet_pton(AF_INET6, arg, &play->peer6.sin6_addr) == 1 ? 0 : EINVAL;
	case 'c':
		play->away = open(arg, O_RDONLY | O_CLOEXEC);
		return play->away >= 0 ? 0 : errno;
	case 'u':
		play->user = (unsigned)atoi(arg);
		return 0;
	case 'k':
		return sscanf(arg, "%u/%u", &options->part, &options->parts) == 2 ? 0 : EINVAL;
	case ARGP_KEY_ARG:
		options->wanted = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = known, .parser = option, .args_doc = "[NAME…]"};
	struct options options = {.parts = 1, .wanted = &options.none};
	struct play *play = &options.play;
	unsigned number = 0;

	play->address.sin_family = AF_INET;
	play->address6.sin6_family = play->peer6.sin6_family = AF_INET6;
	play->peer.sin_family = AF_INET;
	play->self = argv[0];
	play->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	play->away = play->home;
	if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
		return 2;
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		for (const struct scenario *s = groups[i]; s->name != NULL; s++)
			if (number++ % options.parts == options.part &&
				is_wanted(s->name, options.wanted))
				play_one(play, s);
	return 0;
}
