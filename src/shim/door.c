// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Over shared memory the welcome brings two descriptors along; over a stream it brings a ticket,
// with which a connection for each lane is made, and then it is said that all are there.

#include "shim/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/libc.h"
#include "shim/state.h"

// All in all.
#define WELCOME_US 3000000
#define LANES_MAX  1024

struct place {
	struct sockaddr_storage address;
	socklen_t length;
	int type;
};

// --- where ---------------------------------------------------------------------------------------

static bool place_unix(const char *path, int type, struct place *ret_place)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&ret_place->address;

	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return false;
	strcpy(address->sun_path, path);
	ret_place->length = sizeof(*address);
	ret_place->type = type;
	return true;
}

// "192.0.2.1:1890" or "[2001:db8::1]:1890".
static bool place_tcp(const char *where, struct place *ret_place)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&ret_place->address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret_place->address;
	const char *colon = strrchr(where, ':');
	bool is_ipv6 = where[0] == '[';
	char text[INET6_ADDRSTRLEN];
	size_t length;
	long port;

	if (colon == NULL || (is_ipv6 && colon[-1] != ']'))
		return false;
	length = (size_t)(colon - where) - (is_ipv6 ? 2 : 0);
	port = strtol(colon + 1, NULL, 10);
	if (length >= sizeof(text) || port < 1 || port > 65535)
		return false;
	memcpy(text, where + is_ipv6, length);
	text[length] = '\0';
	ret_place->address.ss_family = is_ipv6 ? AF_INET6 : AF_INET;
	ret_place->length = is_ipv6 ? sizeof(*in6) : sizeof(*in);
	ret_place->type = SOCK_STREAM;
	if (is_ipv6)
		in6->sin6_port = htons((uint16_t)port);
	else
		in->sin_port = htons((uint16_t)port);
	return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text,
		       is_ipv6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr) == 1;
}

static bool place_of(const char *where, struct place *ret_place)
{
	memset(ret_place, 0, sizeof(*ret_place));
	if (where[0] == '/')
		return place_unix(where, SOCK_SEQPACKET, ret_place);
	if (strncmp(where, "unix:", 5) == 0)
		return place_unix(where + 5, SOCK_STREAM, ret_place);
	return place_tcp(where, ret_place);
}

// --- sockets that do not block -------------------------------------------------------------------

// The application's signals are no reason to give up.
static bool ready(int fd, short events, int64_t until_us)
{
	struct pollfd polled = {.fd = fd, .events = events};
	int n;

	do {
		int64_t left_us = until_us - wait_now_us();
		struct timespec timeout;

		left_us = left_us > 0 ? left_us : 0;
		timeout = (struct timespec){left_us / 1000000, left_us % 1000000 * 1000};
		n = libc_get()->ppoll(&polled, 1, &timeout, NULL);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

static bool has_connected(int fd, int64_t until_us)
{
	socklen_t length = sizeof(int);
	int error = 0;

	return errno == EINPROGRESS && ready(fd, POLLOUT, until_us) &&
	       libc_get()->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

static int place_connect(const struct place *place, int64_t until_us)
{
	int fd = libc_get()->socket(
		place->address.ss_family, place->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (libc_get()->connect(fd, (const struct sockaddr *)&place->address, place->length) == 0 ||
		has_connected(fd, until_us))
		return fd;
	libc_get()->close(fd);
	return -1;
}

static bool say(int fd, const struct channel_message *message)
{
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	size_t length = channel_message_encode(message, bytes);

	return libc_get()->send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool read_whole(int fd, uint8_t *bytes, size_t length, int64_t until_us)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = ready(fd, POLLIN, until_us)
				    ? libc_get()->recv(fd, bytes + done, length - done, 0)
				    : -1;

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

// Nothing is read behind it.
static bool hear(int fd, struct channel_message *ret_message, int64_t until_us)
{
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	int length;

	if (!read_whole(fd, bytes, CHANNEL_MESSAGE_MIN, until_us))
		return false;
	length = channel_message_length(bytes);
	return length > 0 &&
	       read_whole(fd, bytes + CHANNEL_MESSAGE_MIN, (size_t)length - CHANNEL_MESSAGE_MIN,
		       until_us) &&
	       channel_message_decode(bytes, (size_t)length, ret_message) == 0;
}

// --- hello ---------------------------------------------------------------------------------------

static void read_secret(const char *file, struct channel_message *hello)
{
	int fd = file != NULL ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (fd < 0)
		return;
	n = libc_get()->read(fd, hello->hello.secret, CHANNEL_SECRET_MAX);
	libc_get()->close(fd);
	while (n > 0 && (hello->hello.secret[n - 1] == '\n' || hello->hello.secret[n - 1] == '\r'))
		n--;
	hello->hello.secret_length = n > 0 ? (uint32_t)n : 0;
}

static bool hello(int fd, const char *secret_file)
{
	struct channel_message message = {
		.kind = CHANNEL_HELLO,
		.hello = {.version = CHANNEL_VERSION, .pid = (uint32_t)getpid()},
	};

	// What the program calls itself may be a whole command line by now.
	prctl(PR_GET_NAME, message.hello.name);
	read_secret(secret_file, &message);
	return say(fd, &message);
}

static bool is_welcome(const struct channel_message *message)
{
	return message->kind == CHANNEL_WELCOME && message->welcome.version == CHANNEL_VERSION &&
	       message->welcome.lanes > 0 && message->welcome.lanes <= LANES_MAX;
}

// --- welcome -------------------------------------------------------------------------------------

static bool welcome_to_memory(struct door_gifts *gifts, int64_t until_us)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg;
	ssize_t length;
	int fds[2];

	if (!ready(gifts->socket, POLLIN, until_us))
		return false;
	length = libc_get()->recvmsg(gifts->socket, &header, MSG_CMSG_CLOEXEC);
	cmsg = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;
	if (cmsg == NULL || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
		cmsg->cmsg_len != CMSG_LEN(sizeof(fds)))
		return false;
	memcpy(fds, CMSG_DATA(cmsg), sizeof(fds));
	gifts->memory = fds[0];
	gifts->wake = fds[1];
	return channel_message_decode(bytes, (size_t)length, &gifts->welcome) == 0 &&
	       is_welcome(&gifts->welcome);
}

static bool join(const struct place *place, struct door_gifts *gifts, int64_t until_us)
{
	struct channel_message message = {.kind = CHANNEL_JOIN};

	memcpy(message.join.ticket, gifts->welcome.welcome.ticket, CHANNEL_TICKET);
	for (unsigned i = 0; i < gifts->welcome.welcome.lanes; i++) {
		message.join.lane = (uint16_t)i;
		gifts->connections[i] = place_connect(place, until_us);
		if (gifts->connections[i] < 0 || !say(gifts->connections[i], &message))
			return false;
	}
	return hear(gifts->socket, &message, until_us) && message.kind == CHANNEL_DONE &&
	       message.done.error == 0;
}

static bool welcome_to_stream(const struct place *place, struct door_gifts *gifts, int64_t until_us)
{
	if (!hear(gifts->socket, &gifts->welcome, until_us) || !is_welcome(&gifts->welcome))
		return false;
	gifts->connections = malloc(sizeof(int) * gifts->welcome.welcome.lanes);
	if (gifts->connections == NULL)
		return false;
	for (unsigned i = 0; i < gifts->welcome.welcome.lanes; i++)
		gifts->connections[i] = -1;
	return join(place, gifts, until_us);
}

// --- all of it -----------------------------------------------------------------------------------

static void close_if_open(int fd)
{
	if (fd >= 0)
		libc_get()->close(fd);
}

static void give_back(struct door_gifts *gifts)
{
	for (unsigned i = 0; gifts->connections != NULL && i < gifts->welcome.welcome.lanes; i++)
		close_if_open(gifts->connections[i]);
	free(gifts->connections);
	close_if_open(gifts->memory);
	close_if_open(gifts->wake);
	close_if_open(gifts->socket);
}

bool door_knock(const char *where, const char *secret_file, struct door_gifts *ret_gifts)
{
	struct door_gifts gifts = {.memory = -1, .wake = -1};
	int64_t until_us = wait_now_us() + WELCOME_US;
	struct place place;

	if (!place_of(where, &place))
		return false;
	gifts.socket = place_connect(&place, until_us);
	if (gifts.socket < 0)
		return false;
	if (hello(gifts.socket, secret_file) &&
		(place.type == SOCK_SEQPACKET ? welcome_to_memory(&gifts, until_us)
					      : welcome_to_stream(&place, &gifts, until_us))) {
		*ret_gifts = gifts;
		return true;
	}
	give_back(&gifts);
	return false;
}
