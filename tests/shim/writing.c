// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// write, send and their kin; files that go out.

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "scenario.h"

#define LARGE (8u << 20)

static void nothing(struct play *play)
{
	struct pair pair = pair_open(play);

	told(play, "write", write(pair.server, "", 0));
	told(play, "send", send(pair.server, NULL, 0, 0));
	told(play, "writev", writev(pair.server, NULL, 0));
	told(play, "more", send(pair.server, "a", 1, MSG_MORE));
	told(play, "confirm", send(pair.server, "b", 1, MSG_CONFIRM));
	told(play, "came", wait_octets(pair.client, 2));
}

// Until there is no room; then until there is some again.
static void full(struct play *play)
{
	struct pair pair = pair_open(play);
	char *block = calloc(1, 65536);
	uint64_t sent = 0, came = 0;
	ssize_t n;

	set_nonblocking(pair.server, true);
	// The kernel's buffers grow for a while.
	for (int round = 0; round < 3; round++) {
		while ((n = send(pair.server, block, 65536, 0)) > 0)
			sent += (uint64_t)n;
		if (round == 0)
			told(play, "full", n);
		calm();
	}
	told(play, "some", sent > 65536);
	while (came < sent && (n = recv(pair.client, block, 65536, 0)) > 0)
		came += (uint64_t)n;
	told(play, "all", came == sent);
	told(play, "writable", wait_for(pair.server, POLLOUT));
	told(play, "send", send(pair.server, "x", 1, 0));
	free(block);
}

static void times_out(struct play *play)
{
	struct pair pair = pair_open(play);
	char *block = calloc(1, LARGE);
	int64_t begin_ms;

	set_timeout(pair.server, SO_SNDTIMEO, 100);
	told(play, "partly", send(pair.server, block, LARGE, 0) < (long)LARGE);
	for (int i = 0; i < 20 && send(pair.server, block, LARGE, 0) > 0; i++)
		;
	begin_ms = now_ms();
	told(play, "then", send(pair.server, block, LARGE, 0));
	told(play, "waited", now_ms() - begin_ms >= 99);
	free(block);
}

static void *read_all(void *ctx)
{
	const struct pair *pair = ctx;
	unsigned char data[10000];
	uint32_t next = 0;
	ssize_t n;

	while ((n = recv(pair->client, data, sizeof(data), 0)) > 0)
		for (ssize_t i = 0; i < n; i++, next++)
			if (data[i] != (unsigned char)(next * 7 + next / 251))
				return (void *)1;
	return (void *)(intptr_t)(next == LARGE ? 0 : 2);
}

// A call that blocks until all is gone.
static void large(struct play *play)
{
	struct pair pair = pair_open(play);
	unsigned char *block = malloc(LARGE);
	pthread_t thread;
	void *result;

	for (uint32_t i = 0; i < LARGE; i++)
		block[i] = (unsigned char)(i * 7 + i / 251);
	pthread_create(&thread, NULL, read_all, &pair);
	told(play, "send", send(pair.server, block, LARGE, 0));
	shutdown(pair.server, SHUT_WR);
	pthread_join(thread, &result);
	told(play, "wrong", (long)(intptr_t)result);
	free(block);
}

static void *write_all(void *ctx)
{
	const struct pair *pair = ctx;
	char block[5000] = "";

	for (unsigned i = 0; i < 400; i++)
		send(pair->client, block, sizeof(block), 0);
	shutdown(pair->client, SHUT_WR);
	return NULL;
}

static void comes_large(struct play *play)
{
	struct pair pair = pair_open(play);
	pthread_t thread;
	char data[3000];
	uint64_t came = 0;
	ssize_t n;

	pthread_create(&thread, NULL, write_all, &pair);
	while ((n = recv(pair.server, data, sizeof(data), 0)) > 0)
		came += (uint64_t)n;
	pthread_join(thread, NULL);
	told(play, "end", n);
	told(play, "came", (long)came);
}

static void addressed(struct play *play)
{
	struct pair pair = pair_open(play);

	told(play, "sendto",
		sendto(pair.server, "abc", 3, 0, (struct sockaddr *)&play->address,
			sizeof(play->address)));
	told(play, "came", wait_octets(pair.client, 3));
	told(play, "urgent", send(pair.server, "!", 1, MSG_OOB));
}

static void unsent(struct play *play)
{
	struct pair pair = pair_open(play);
	int64_t until_ms = now_ms() + WAIT_MS;
	int left = -1;

	send(pair.server, "abc", 3, 0);
	wait_octets(pair.client, 3);
	while (ioctl(pair.server, SIOCOUTQ, &left) == 0 && left != 0 && now_ms() < until_ms)
		usleep(1000);
	told(play, "left", left);
	told(play, "listener", ioctl(pair.listener, SIOCOUTQ, &left));
}

static int file_of(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	if (write(fd, text, strlen(text)) < 0)
		return -1;
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void files(struct play *play)
{
	struct pair pair = pair_open(play);
	int file = file_of("0123456789"), pipes[2];
	off_t offset = 4;

	told(play, "some", sendfile(pair.server, file, NULL, 3));
	told(play, "place", lseek(file, 0, SEEK_CUR));
	told(play, "offset", sendfile(pair.server, file, &offset, 100));
	told(play, "moved", offset);
	told(play, "place", lseek(file, 0, SEEK_CUR));
	told(play, "beyond", sendfile(pair.server, file, &offset, 100));
	told(play, "none", sendfile(pair.server, file, NULL, 0));
	told(play, "rest", sendfile(pair.server, file, NULL, 1000));
	told(play, "came", wait_octets(pair.client, 16));
	told(play, "pipe", pipe(pipes));
	told(play, "from-pipe", sendfile(pair.server, pipes[0], NULL, 10));
	told(play, "no-file", sendfile(pair.server, -1, NULL, 10));
	told(play, "listener", sendfile(pair.listener, file, &offset, 0));
}

static void file_to_closed(struct play *play)
{
	struct pair pair = pair_open(play);
	int file = file_of("0123456789");

	count_signals(SIGPIPE, 0);
	shutdown(pair.server, SHUT_WR);
	told(play, "sendfile", sendfile(pair.server, file, NULL, 3));
	told(play, "signals", signals_counted());
	told(play, "place", lseek(file, 0, SEEK_CUR));
}

static void spliced(struct play *play)
{
	struct pair pair = pair_open(play);
	int pipes[2];

	told(play, "pipe", pipe(pipes));
	told(play, "write", write(pipes[1], "abc", 3));
	told(play, "splice", splice(pipes[0], NULL, pair.server, NULL, 3, 0));
	client_says(pair.client, "defg");
	wait_octets(pair.server, 4);
	told(play, "back", splice(pair.server, NULL, pipes[1], NULL, 4, SPLICE_F_NONBLOCK));
}

static void stdio(struct play *play)
{
	struct pair pair = pair_open(play);
	FILE *file = fdopen(pair.server, "r+");
	char line[16] = "";

	client_says(pair.client, "hello\n");
	wait_octets(pair.server, 6);
	told(play, "fgets", fgets(line, sizeof(line), file) != NULL);
	told(play, "fputs", fputs("world\n", file) >= 0);
	told(play, "fflush", fflush(file));
	told(play, "came", wait_octets(pair.client, 6));
	told(play, "fclose", fclose(file));
	pair.server = -1;
}

const struct scenario writing_scenarios[] = {
	{"write-nothing", nothing},
	{"write-full", full},
	{"write-times-out", times_out},
	{"write-large", large},
	{"write-comes-large", comes_large},
	{"write-addressed", addressed},
	{"write-unsent", unsent},
	{"write-files", files},
	{"write-file-to-closed", file_to_closed},
	{"write-spliced", spliced},
	{"write-stdio", stdio},
	{0},
};
