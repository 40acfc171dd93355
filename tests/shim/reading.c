// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// read, recv and their kin.

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "scenario.h"

static void would_block(struct play *play)
{
	struct pair pair = pair_open(play);
	int on = 1, off = 0;
	char data[16];

	told(play, "dontwait", recv(pair.server, data, sizeof(data), MSG_DONTWAIT));
	set_nonblocking(pair.server, true);
	told(play, "fcntl", read(pair.server, data, sizeof(data)));
	told(play, "ioctl", ioctl(pair.server, FIONBIO, &off));
	set_timeout(pair.server, SO_RCVTIMEO, 50);
	told(play, "timeout", read(pair.server, data, sizeof(data)));
	told(play, "ioctl", ioctl(pair.server, FIONBIO, &on));
	set_timeout(pair.server, SO_RCVTIMEO, 0);
	told(play, "read", read(pair.server, data, sizeof(data)));
}

static void peek(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16] = "";
	int there = -1;

	client_says(pair.client, "abcdef");
	wait_octets(pair.server, 6);
	told(play, "peek", recv(pair.server, data, 3, MSG_PEEK));
	told(play, "peek", recv(pair.server, data, sizeof(data), MSG_PEEK));
	say(play, "data", data);
	told(play, "recv", recv(pair.server, data, 2, 0));
	memset(data, 0, sizeof(data));
	told(play, "peek", recv(pair.server, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT));
	say(play, "data", data);
	told(play, "ioctl", ioctl(pair.server, FIONREAD, &there));
	told(play, "there", there);
}

static void wait_all(struct play *play)
{
	struct pair pair = pair_open(play);
	struct later *later;
	char data[32] = "";

	client_says(pair.client, "first ");
	later = later_says(pair.client, "second");
	told(play, "recv", recv(pair.server, data, 12, MSG_WAITALL));
	say(play, "data", strchr(data, ' ') != NULL ? strchr(data, ' ') + 1 : "");
	later_join(later);
	client_says(pair.client, "third");
	shutdown(pair.client, SHUT_WR);
	told(play, "short", recv(pair.server, data, 12, MSG_WAITALL));
}

static void wait_all_in_vain(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[32] = "";

	set_timeout(pair.server, SO_RCVTIMEO, 100);
	client_says(pair.client, "some");
	told(play, "recv", recv(pair.server, data, 12, MSG_WAITALL));
	client_says(pair.client, "some");
	wait_octets(pair.server, 4);
	told(play, "dontwait", recv(pair.server, data, 12, MSG_WAITALL | MSG_DONTWAIT));
	client_says(pair.client, "some");
	told(play, "peek", recv(pair.server, data, 12, MSG_WAITALL | MSG_PEEK));
}

static void truncated(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16] = "";

	client_says(pair.client, "abcdef");
	wait_octets(pair.server, 6);
	told(play, "thrown", recv(pair.server, NULL, 4, MSG_TRUNC));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	say(play, "data", data);
}

static void vectors(struct play *play)
{
	struct pair pair = pair_open(play);
	char a[3] = "", b[3] = "", c[16] = "";
	volatile int negative = -1; // which a compiler would warn of
	struct iovec iov[] = {{a, 2}, {NULL, 0}, {b, 2}, {c, sizeof(c) - 1}};

	client_says(pair.client, "abcdefgh");
	wait_octets(pair.server, 8);
	told(play, "none", readv(pair.server, iov, 0));
	told(play, "negative", readv(pair.server, iov, negative));
	told(play, "readv", readv(pair.server, iov, 4));
	say(play, "a", a);
	say(play, "b", b);
	say(play, "c", c);
}

static void too_many_vectors(struct play *play)
{
	struct pair pair = pair_open(play);
	struct iovec *iov = calloc(IOV_MAX + 1, sizeof(*iov));
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = IOV_MAX + 1};
	char data[IOV_MAX + 1];

	for (unsigned i = 0; i <= IOV_MAX; i++)
		iov[i] = (struct iovec){&data[i], 1};
	told(play, "readv", readv(pair.server, iov, IOV_MAX + 1));
	told(play, "writev", writev(pair.server, iov, IOV_MAX + 1));
	told(play, "recvmsg", recvmsg(pair.server, &message, MSG_DONTWAIT));
	told(play, "sendmsg", sendmsg(pair.server, &message, 0));
	told(play, "most", writev(pair.server, iov, IOV_MAX));
	told(play, "came", wait_octets(pair.client, IOV_MAX));
	free(iov);
}

static void nothing(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16] = "";

	told(play, "read", read(pair.server, data, 0));
	told(play, "recv", recv(pair.server, data, 0, MSG_DONTWAIT));
	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "read", read(pair.server, data, 0));
	told(play, "recv", recv(pair.server, data, 0, MSG_DONTWAIT));
	told(play, "there", recv(pair.server, data, sizeof(data), MSG_DONTWAIT));
}

static void messages(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sockaddr_in from;
	char data[16] = "", control[64];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr message = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
		.msg_flags = -1,
	};
	socklen_t length = sizeof(from);

	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "recvmsg", recvmsg(pair.server, &message, 0));
	told(play, "name", message.msg_namelen);
	told(play, "control", (long)message.msg_controllen);
	told(play, "flags", message.msg_flags);
	client_says(pair.client, "abc");
	told(play, "recvfrom",
		recvfrom(pair.server, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "name", length);
	message.msg_iovlen = 0;
	told(play, "empty", recvmsg(pair.server, &message, MSG_DONTWAIT));
}

static void many_messages(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[3][4] = {"", "", ""};
	struct iovec iov[3] = {{data[0], 2}, {data[1], 2}, {data[2], 2}};
	struct mmsghdr messages[3] = {{.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
		{.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}},
		{.msg_hdr = {.msg_iov = &iov[2], .msg_iovlen = 1}}};

	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "recvmmsg", recvmmsg(pair.server, messages, 3, MSG_WAITFORONE, NULL));
	told(play, "first", messages[0].msg_len);
	told(play, "second", messages[1].msg_len);
	told(play, "nothing", recvmmsg(pair.server, messages, 3, MSG_DONTWAIT, NULL));
	told(play, "sendmmsg", sendmmsg(pair.server, messages, 3, 0));
	told(play, "came", wait_octets(pair.client, 6));
	close(pair.client);
	wait_for(pair.server, POLLRDHUP);
}

static void urgent(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16] = "";

	told(play, "none", recv(pair.server, data, 1, MSG_OOB));
	client_says(pair.client, "ab");
	send(pair.client, "!", 1, MSG_OOB);
	client_says(pair.client, "cd");
	calm();
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "urgent", recv(pair.server, data, 1, MSG_OOB));
}

static void error_queue(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16] = "";

	told(play, "recv", recv(pair.server, data, sizeof(data), MSG_ERRQUEUE));
}

static void counted(struct play *play)
{
	struct pair pair = pair_open(play);
	int there = -1;

	told(play, "listener", ioctl(pair.listener, FIONREAD, &there));
	told(play, "ioctl", ioctl(pair.server, FIONREAD, &there));
	told(play, "there", there);
	client_says(pair.client, "abc");
	close(pair.client);
	wait_for(pair.server, POLLRDHUP);
	ioctl(pair.server, FIONREAD, &there);
	told(play, "there", there);
	told(play, "unknown", ioctl(pair.server, 0x5fff, &there));
}

static void low_water(struct play *play)
{
	struct pair pair = pair_open(play);
	struct pollfd ready = {.fd = pair.server, .events = POLLIN};
	struct later *later;
	char data[16] = "";

	set_number(pair.server, SOL_SOCKET, SO_RCVLOWAT, 4);
	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "poll", poll(&ready, 1, CALM_MS));
	told(play, "dontwait", recv(pair.server, data, sizeof(data), MSG_DONTWAIT));
	client_says(pair.client, "abc");
	later = later_says(pair.client, "defg");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	later_join(later);
}

static void times_out(struct play *play)
{
	struct pair pair = pair_open(play);
	int64_t begin_ms = now_ms();
	char data[16] = "";

	set_timeout(pair.server, SO_RCVTIMEO, 100);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "waited", now_ms() - begin_ms >= 99);
	client_says(pair.client, "abc");
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
}

static void bad_address(struct play *play)
{
	struct pair pair = pair_open(play);

	client_says(pair.client, "abc");
	wait_octets(pair.server, 3);
	told(play, "recv", recv(pair.server, (void *)8, 3, 0));
}

static void no_descriptor(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[4];
	int fd = pair.server;

	told(play, "none", read(-1, data, 4));
	told(play, "big", recv(1 << 30, data, 4, 0));
	close(fd);
	told(play, "closed", recv(fd, data, 4, 0));
	told(play, "write", write(fd, data, 4));
	told(play, "again", close(fd));
}

const struct scenario reading_scenarios[] = {
	{"read-would-block", would_block},
	{"read-peek", peek},
	{"read-wait-all", wait_all},
	{"read-wait-all-in-vain", wait_all_in_vain},
	{"read-truncated", truncated},
	{"read-vectors", vectors},
	{"read-too-many-vectors", too_many_vectors},
	{"read-nothing", nothing},
	{"read-messages", messages},
	{"read-many-messages", many_messages},
	{"read-urgent", urgent},
	{"read-error-queue", error_queue},
	{"read-counted", counted},
	{"read-low-water", low_water},
	{"read-times-out", times_out},
	{"read-bad-address", bad_address},
	{"read-no-descriptor", no_descriptor},
	{0},
};
