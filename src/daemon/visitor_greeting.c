// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Hello, and what is given for it.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "daemon/visitor_state.h"

// A process's lanes have joined by then.
#define JOIN_MS 3000

// --- messages ------------------------------------------------------------------------------------

static int send_message(
	int fd, const struct channel_message *message, const int *fds, unsigned fds_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, channel_message_encode(message, bytes)};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fds_count > 0) {
		struct cmsghdr *cmsg;

		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fds_count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

// What has come of a message. 1: it is whole, 0: more must come, or -errno. Over a stream nothing
// is read behind it.
static int receive(struct visitor *visitor, struct channel_message *ret_message)
{
	size_t wanted = sizeof(visitor->greeting);
	int whole;

	for (;;) {
		ssize_t n;

		if (visitor->door != NULL) {
			whole = visitor->greeted < CHANNEL_MESSAGE_MIN
					? CHANNEL_MESSAGE_MIN
					: channel_message_length(visitor->greeting);
			if (whole < 0)
				return whole;
			wanted = (size_t)whole - visitor->greeted;
			if (wanted == 0)
				break;
		}
		n = recv(visitor->fd, visitor->greeting + visitor->greeted, wanted, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -ECONNRESET;
		visitor->greeted += (uint32_t)n;
		if (visitor->door == NULL)
			break;
	}
	whole = channel_message_decode(visitor->greeting, visitor->greeted, ret_message);
	visitor->greeted = 0;
	return whole < 0 ? whole : 1;
}

static void refuse(struct visitor *visitor, const char *why)
{
	struct channel_message message = {.kind = CHANNEL_REFUSED};

	strncpy(message.refused.reason, why, CHANNEL_NAME_MAX);
	send_message(visitor->fd, &message, NULL, 0);
	log_warning("socket", "%s[%u] cannot attach: %s", visitor->name, visitor->pid, why);
}

// --- welcome -------------------------------------------------------------------------------------

static void list_listens(const struct config *config, struct channel_message *message)
{
	unsigned count = config->brokers_count < CHANNEL_LISTENS_MAX ? config->brokers_count
								     : CHANNEL_LISTENS_MAX;

	for (unsigned i = 0; i < count; i++) {
		const struct net_endpoint *from = &config->brokers[i].listen;
		struct channel_endpoint *to = &message->welcome.listens[i];

		to->port = from->port;
		to->ipv6 = !net_address_is_ipv4(&from->address);
		if (to->ipv6)
			memcpy(to->address, from->address.bytes, 16);
		else
			memcpy(to->address, &from->address.words[3], 4);
	}
	message->welcome.listens_count = count;
}

static void list_connects(const struct config *config, struct channel_message *message)
{
	for (unsigned i = 0; i < config->socket.connects_count; i++) {
		const struct config_network *from = &config->socket.connects[i];
		struct channel_prefix *to = &message->welcome.connects[i];

		to->length = from->prefix;
		to->ipv6 = !net_address_is_ipv4(&from->address);
		if (to->ipv6)
			memcpy(to->address, from->address.bytes, 16);
		else
			memcpy(to->address, &from->address.words[3], 4);
	}
	message->welcome.connects_count = config->socket.connects_count;
}

static int welcome(struct visitors *visitors, struct visitor *visitor)
{
	struct channel_message message = {
		.kind = CHANNEL_WELCOME,
		.welcome =
			{
				.version = CHANNEL_VERSION,
				.lanes = (uint16_t)visitors->config->workers,
				// What shows a right to one cannot be shown over a stream.
				.icmp = visitor->door == NULL,
				.udp = visitors->config->socket.udp_count > 0,
				.epoch = visitors->epoch,
				.lane_bytes = visitors->lane_bytes,
			},
	};
	int fds[2], rc = visitor_make_lanes(visitors, visitor);

	if (rc < 0)
		return rc;
	list_listens(visitors->config, &message);
	list_connects(visitors->config, &message);
	if (visitor->door != NULL) {
		if (getrandom(visitor->ticket, CHANNEL_TICKET, 0) != CHANNEL_TICKET)
			return -EIO;
		memcpy(message.welcome.ticket, visitor->ticket, CHANNEL_TICKET);
		message.welcome.lane_bytes = 0;
		message.welcome.slots = visitors->geometry.slots;
		message.welcome.chunks = visitors->geometry.chunks;
		message.welcome.silence_ms =
			(uint32_t)(visitors->config->socket.silence_us / US_IN_MS);
		return send_message(visitor->fd, &message, NULL, 0);
	}
	rc = visitor_give_memory(visitors, visitor, fds);
	if (rc < 0)
		return rc;
	rc = send_message(visitor->fd, &message, fds, 2);
	for (unsigned i = 0; i < 2; i++)
		close(fds[i]);
	return rc;
}

// --- who comes -----------------------------------------------------------------------------------

// The kernel says who it is, but for TCP; what it calls itself is for the eye.
static bool identify(struct visitor *visitor, const struct channel_message *hello)
{
	struct ucred cred = {.pid = (pid_t)hello->hello.pid};
	socklen_t length = sizeof(cred);
	bool is_unix = visitor->door == NULL || visitor->door->path != NULL;

	if (is_unix && getsockopt(visitor->fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return false;
	visitor->pid = (uint32_t)cred.pid;
	for (unsigned i = 0; hello->hello.name[i] != 0; i++)
		visitor->name[i] = hello->hello.name[i] > ' ' && hello->hello.name[i] < 127
					   ? hello->hello.name[i]
					   : '?';
	if (is_unix)
		visitor->pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	return true;
}

// In a time that says nothing about where they differ.
static bool equal(const uint8_t *a, const uint8_t *b, size_t length)
{
	uint8_t different = 0;

	for (size_t i = 0; i < length; i++)
		different |= a[i] ^ b[i];
	return different == 0;
}

static bool knows_secret(const struct visitor *visitor, const struct channel_message *hello)
{
	const struct config_door *door = visitor->door;

	if (door == NULL || door->secret == NULL)
		return true;
	return hello->hello.secret_length == door->secret_length &&
	       equal(hello->hello.secret, door->secret, door->secret_length);
}

static bool let_in(struct visitors *visitors, struct visitor *visitor,
	const struct channel_message *hello, uint64_t now_us)
{
	int rc;

	if (!identify(visitor, hello))
		return false;
	if (hello->hello.version != CHANNEL_VERSION) {
		refuse(visitor, "its shim is of another version of Offramp");
		return false;
	}
	if (!knows_secret(visitor, hello)) {
		refuse(visitor, "it does not know the secret");
		return false;
	}
	rc = welcome(visitors, visitor);
	if (rc < 0) {
		refuse(visitor, rc == -ENOSPC ? "too many processes are attached"
					      : "out of memory (socket.memory)");
		return false;
	}
	visitor->state = visitor->door != NULL ? VISITOR_JOINING : VISITOR_ATTACHED;
	visitor->until_us = now_us + JOIN_MS * US_IN_MS;
	if (visitor->state == VISITOR_ATTACHED)
		log_info("socket", "%s[%u] attached", visitor->name, visitor->pid);
	return true;
}

// --- lanes that join -----------------------------------------------------------------------------

static struct visitor *find_ticket(
	struct visitors *visitors, const struct visitor *from, const struct channel_message *join)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *visitor = &visitors->all[i];

		if (visitor->fd >= 0 && visitor->state == VISITOR_JOINING &&
			visitor->door == from->door &&
			equal(visitor->ticket, join->join.ticket, CHANNEL_TICKET))
			return visitor;
	}
	return NULL;
}

static bool all_have_joined(const struct visitors *visitors, const struct visitor *visitor)
{
	for (unsigned i = 0; i < visitors->config->workers; i++)
		if (visitor->lanes[i].connection < 0)
			return false;
	return true;
}

// When it cannot be attached its time is over.
static void attach(struct visitors *visitors, struct visitor *visitor)
{
	const struct channel_message done = {.kind = CHANNEL_DONE};

	visitor->state = VISITOR_ATTACHED;
	if (visitor_give_connections(visitors, visitor) < 0) {
		refuse(visitor, "too many processes are attached, or out of memory");
		visitor->state = VISITOR_NEW;
		visitor->until_us = 0;
	} else if (send_message(visitor->fd, &done, NULL, 0) == 0) {
		log_info("socket", "%s[%u] attached at %s", visitor->name, visitor->pid,
			visitor->door->address);
	}
}

// The connection is the other visitor's lane from now on.
static bool join(
	struct visitors *visitors, struct visitor *visitor, const struct channel_message *message)
{
	struct visitor *with =
		visitor->door != NULL ? find_ticket(visitors, visitor, message) : NULL;
	unsigned lane = message->join.lane;

	if (with == NULL || lane >= visitors->config->workers || with->lanes[lane].connection >= 0)
		return false;
	with->lanes[lane].connection = visitor->fd;
	visitor->fd = -1;
	if (all_have_joined(visitors, with))
		attach(visitors, with);
	return true;
}

bool visitor_greet(struct visitors *visitors, struct visitor *visitor, uint64_t now_us)
{
	struct channel_message message;
	int rc = receive(visitor, &message);

	if (rc == 0)
		return true;
	if (rc < 0)
		return false;
	if (message.kind == CHANNEL_JOIN)
		return join(visitors, visitor, &message);
	return message.kind == CHANNEL_HELLO && let_in(visitors, visitor, &message, now_us);
}
