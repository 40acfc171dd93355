// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Several descriptors of one thing.

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

static void serves(struct play *play, const char *what, int server, int client)
{
	char data[8];

	client_says(client, "ping");
	told(play, what, wait_octets(server, 4) ? recv(server, data, 4, 0) : 0);
}

static void copies(struct play *play)
{
	struct pair pair = pair_open(play);
	int copy = dup(pair.server);

	told(play, "dup", copy >= 0);
	serves(play, "copy", copy, pair.client);
	told(play, "close", close(pair.server));
	serves(play, "other", copy, pair.client);
	told(play, "send", write(copy, "x", 1));
	client_finds(play, "client", pair.client);
	told(play, "close", close(copy));
	client_finds(play, "client", pair.client);
}

static void copy_over(struct play *play)
{
	struct pair one = pair_open(play), two;
	int file = open("/dev/null", O_RDWR), copy;

	close(one.listener);
	two = pair_open(play);
	told(play, "same", dup2(one.server, one.server) == one.server);
	told(play, "same", dup3(one.server, one.server, 0));
	told(play, "over", dup2(one.server, two.server) == two.server);
	client_finds(play, "replaced", two.client);
	serves(play, "new", two.server, one.client);
	told(play, "file", dup2(one.server, file) == file);
	serves(play, "file", file, one.client);
	copy = dup3(one.server, file, O_CLOEXEC);
	told(play, "cloexec", fcntl(copy, F_GETFD));
	told(play, "flags", dup3(one.server, file, 1));
	told(play, "none", dup2(-1, two.server));
	serves(play, "still", two.server, one.client);
	told(play, "away", dup2(play->home, two.server) == two.server);
	told(play, "away", dup2(play->home, file) == file);
	told(play, "away", dup2(play->home, one.server) == one.server);
	client_finds(play, "client", one.client);
	told(play, "dup", dup(-1));
}

static void numbered(struct play *play)
{
	struct pair pair = pair_open(play);
	int copy = fcntl(pair.server, F_DUPFD, 300);

	told(play, "dupfd", copy);
	told(play, "flags", fcntl(copy, F_GETFD));
	serves(play, "copy", copy, pair.client);
	copy = fcntl(pair.server, F_DUPFD_CLOEXEC, 400);
	told(play, "cloexec", copy);
	told(play, "flags", fcntl(copy, F_GETFD));
	serves(play, "copy", copy, pair.client);
	told(play, "negative", fcntl(pair.server, F_DUPFD, -1));
	told(play, "none", fcntl(-1, F_DUPFD, 1));
	told(play, "unknown", fcntl(pair.server, 9999));
}

static void flags(struct play *play)
{
	struct pair pair = pair_open(play);
	int copy = dup(pair.server), on = 1;
	char data[4];

	told(play, "ioctl", ioctl(pair.server, FIONBIO, &on));
	told(play, "shared", (fcntl(copy, F_GETFL) & O_NONBLOCK) != 0);
	told(play, "recv", recv(copy, data, 4, 0));
	told(play, "cloexec", ioctl(copy, FIOCLEX));
	told(play, "flags", fcntl(copy, F_GETFD));
	told(play, "other", fcntl(pair.server, F_GETFD));
	told(play, "append", fcntl(copy, F_SETFL, O_NONBLOCK | O_APPEND));
	told(play, "recv", recv(pair.server, data, 4, 0));
	told(play, "owner", fcntl(copy, F_SETOWN, getpid()));
	told(play, "own", fcntl(copy, F_GETOWN) == getpid());
}

static void ranges(struct play *play)
{
	struct pair pair = pair_open(play);
	int server = fcntl(pair.server, F_DUPFD, 500);
	char octet;

	close(pair.server);
	told(play, "cloexec", close_range(500, 600, CLOSE_RANGE_CLOEXEC));
	told(play, "flags", fcntl(server, F_GETFD));
	serves(play, "open", server, pair.client);
	told(play, "wrong", close_range(600, 500, 0));
	told(play, "unknown", close_range(500, 600, 1u << 30));
	serves(play, "open", server, pair.client);
	told(play, "close", close_range(500, 600, 0));
	client_finds(play, "client", pair.client);
	told(play, "read", read(server, &octet, 1));
}

static void from(struct play *play)
{
	struct pair pair = pair_open(play);
	int server = fcntl(pair.server, F_DUPFD, 500);
	char octet;

	close(pair.server);
	closefrom(500);
	client_finds(play, "client", pair.client);
	told(play, "read", read(server, &octet, 1));
}

static void used_again(struct play *play)
{
	struct pair pair = pair_open(play);
	int number = pair.server, pipes[2];
	char data[8];

	close(pair.server);
	told(play, "pipe", pipe(pipes));
	told(play, "number", pipes[0] == number);
	told(play, "write", write(pipes[1], "abc", 3));
	told(play, "read", read(pipes[0], data, sizeof(data)));
}

const struct scenario descriptor_scenarios[] = {
	{"descriptor-copies", copies},
	{"descriptor-copy-over", copy_over},
	{"descriptor-numbered", numbered},
	{"descriptor-flags", flags},
	{"descriptor-ranges", ranges},
	{"descriptor-from", from},
	{"descriptor-used-again", used_again},
	{0},
};
