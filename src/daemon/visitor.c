// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Hello, what is given for it, and the end.

#include "daemon/visitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach/sockets.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "channel/shared.h"
#include "control/config.h"
#include "daemon/echo_right.h"
#include "daemon/worker.h"

struct visitor {
	int fd; // -1: nobody
	int pidfd;
	int wake;		 // a counter
	uint64_t hello_until_us; // 0: it has said hello
	uint32_t pid;
	char name[CHANNEL_NAME_MAX + 1];
	uint8_t *memory;
	size_t bytes;
	unsigned lanes_count; // that workers have
	struct visitor_lane {
		struct lane *lane;
		struct sockets *sockets;
		int number; // the worker's
	} * lanes;
	unsigned place; // of its first entry in what is polled
};

struct visitors {
	const struct config *config;
	struct worker *const *workers;
	uint64_t epoch;
	size_t lane_bytes;
	struct shared_geometry geometry;
	struct visitor all[VISITORS_MAX];
};

int visitors_create(
	const struct config *config, struct worker *const *workers, struct visitors **ret_visitors)
{
	struct visitors *visitors = calloc(1, sizeof(*visitors));

	if (visitors == NULL)
		return -ENOMEM;
	visitors->config = config;
	visitors->workers = workers;
	visitors->epoch = clock_now_us();
	visitors->geometry.slots = config_share(config, config->memory.connections);
	visitors->geometry.chunks =
		(uint32_t)(config->socket.memory / 2 / config->workers / CHANNEL_CHUNK);
	visitors->lane_bytes = shared_size(&visitors->geometry);
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		visitors->all[i].fd = -1;
	*ret_visitors = visitors;
	return 0;
}

// --- workers -------------------------------------------------------------------------------------

struct hand_over {
	struct mailbox_message message;
	struct sockets *sockets;
	struct sockets_process process;
	int number;
	bool back;
};

static void hand_over(struct mailbox_message *message, void *worker)
{
	struct hand_over *over = container_of(message, struct hand_over, message);

	(void)worker;
	if (over->back)
		sockets_detach(over->sockets, (unsigned)over->number);
	else
		over->number = sockets_attach(over->sockets, &over->process);
}

// Until it has been done: what a worker holds must not go away under it.
static void tell(struct worker *worker, struct hand_over *over)
{
	over->message.run = hand_over;
	while (worker_call(worker, &over->message) < 0)
		usleep(1000);
}

static void wake(void *ctx)
{
	const struct visitor *visitor = ctx;
	const uint64_t one = 1;

	// A full counter is awake, too.
	if (write(visitor->wake, &one, sizeof(one)) < 0)
		return;
}

static void lane_wake(void *ctx)
{
	const struct visitor_lane *lane = ctx;

	sockets_wake(lane->sockets, (unsigned)lane->number);
}

static int give_lane(struct visitors *visitors, struct visitor *visitor, unsigned i)
{
	struct visitor_lane *lane = &visitor->lanes[i];
	struct hand_over over = {.sockets = worker_sockets(visitors->workers[i])};
	int rc;

	lane->sockets = over.sockets;
	rc = shared_create(visitor->memory + i * visitors->lane_bytes, &visitors->geometry,
		visitors->epoch, lane_wake, lane, &lane->lane);
	if (rc < 0)
		return rc;
	over.process = (struct sockets_process){lane->lane, wake, visitor};
	tell(visitors->workers[i], &over);
	if (over.number < 0) {
		lane_destroy(lane->lane);
		return over.number;
	}
	lane->number = over.number;
	visitor->lanes_count = i + 1;
	return 0;
}

// --- what is given -------------------------------------------------------------------------------

static int make_memory(struct visitors *visitors, struct visitor *visitor)
{
	int fd = memfd_create("offramp channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory;

	if (fd < 0)
		return -errno;
	visitor->bytes = visitors->lane_bytes * visitors->config->workers;
	// Nobody may take the ground from under the workers.
	if (ftruncate(fd, (off_t)visitor->bytes) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto err;
	memory = mmap(NULL, visitor->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		goto err;
	visitor->memory = memory;
	return fd;
err:
	close(fd);
	return -ENOMEM;
}

// What the process waits for is an epoll with a counter in it, not the counter: with that it would
// have its flags, too, and could make a worker's write wait.
static int make_waker(struct visitor *visitor)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int fd = epoll_create1(EPOLL_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	visitor->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (visitor->wake >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, visitor->wake, &event) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

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

static int welcome(struct visitors *visitors, struct visitor *visitor)
{
	unsigned workers = visitors->config->workers;
	struct channel_message message = {
		.kind = CHANNEL_WELCOME,
		.welcome =
			{
				.version = CHANNEL_VERSION,
				.lanes = (uint16_t)workers,
				.icmp = true,
				.epoch = visitors->epoch,
				.lane_bytes = visitors->lane_bytes,
			},
	};
	int fds[2], rc;

	visitor->lanes = calloc(workers, sizeof(*visitor->lanes));
	if (visitor->lanes == NULL)
		return -ENOMEM;
	fds[0] = make_memory(visitors, visitor);
	if (fds[0] < 0)
		return fds[0];
	fds[1] = rc = make_waker(visitor);
	for (unsigned i = 0; rc >= 0 && i < workers; i++)
		rc = give_lane(visitors, visitor, i);
	list_listens(visitors->config, &message);
	if (rc >= 0)
		rc = send_message(visitor->fd, &message, fds, 2);
	for (unsigned i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return rc;
}

// --- coming and going ----------------------------------------------------------------------------

int visitors_add(struct visitors *visitors, int fd, uint64_t hello_until_us)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *visitor = &visitors->all[i];

		if (visitor->fd >= 0)
			continue;
		*visitor = (struct visitor){
			.fd = fd,
			.pidfd = -1,
			.wake = -1,
			.hello_until_us = hello_until_us,
		};
		return 0;
	}
	return -ENOSPC;
}

static void show_out(struct visitors *visitors, struct visitor *visitor, const char *why)
{
	for (unsigned i = 0; i < visitor->lanes_count; i++) {
		struct visitor_lane *lane = &visitor->lanes[i];
		struct hand_over over = {
			.sockets = lane->sockets, .number = lane->number, .back = true};

		tell(visitors->workers[i], &over);
		lane_destroy(lane->lane);
	}
	if (visitor->hello_until_us == 0)
		log_info("socket", "%s[%u] %s", visitor->name, visitor->pid, why);
	if (visitor->memory != NULL)
		munmap(visitor->memory, visitor->bytes);
	if (visitor->wake >= 0)
		close(visitor->wake);
	if (visitor->pidfd >= 0)
		close(visitor->pidfd);
	close(visitor->fd);
	free(visitor->lanes);
	visitor->lanes = NULL;
	visitor->fd = -1;
}

void visitors_destroy(struct visitors *visitors)
{
	if (visitors == NULL)
		return;
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (visitors->all[i].fd >= 0)
			show_out(visitors, &visitors->all[i], "is left alone");
	free(visitors);
}

static void refuse(struct visitor *visitor, const char *why)
{
	struct channel_message message = {.kind = CHANNEL_REFUSED};

	strncpy(message.refused.reason, why, CHANNEL_NAME_MAX);
	send_message(visitor->fd, &message, NULL, 0);
	log_warning("socket", "%s[%u] cannot attach: %s", visitor->name, visitor->pid, why);
}

// The kernel says who it is; what it calls itself is for the eye.
static bool identify(struct visitor *visitor, const struct channel_message *hello)
{
	struct ucred cred;
	socklen_t length = sizeof(cred);

	if (getsockopt(visitor->fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return false;
	visitor->pid = (uint32_t)cred.pid;
	for (unsigned i = 0; hello->hello.name[i] != 0; i++)
		visitor->name[i] = hello->hello.name[i] > ' ' && hello->hello.name[i] < 127
					   ? hello->hello.name[i]
					   : '?';
	visitor->pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	return true;
}

static bool greet(struct visitors *visitors, struct visitor *visitor)
{
	struct channel_message hello;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	ssize_t length = recv(visitor->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	int rc;

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (length <= 0 || channel_message_decode(bytes, (size_t)length, &hello) < 0 ||
		hello.kind != CHANNEL_HELLO || !identify(visitor, &hello))
		return false;
	if (hello.hello.version != CHANNEL_VERSION) {
		refuse(visitor, "its shim is of another version of Offramp");
		return false;
	}
	rc = welcome(visitors, visitor);
	if (rc < 0) {
		refuse(visitor, rc == -ENOSPC ? "too many processes are attached"
					      : "out of memory (socket.memory)");
		return false;
	}
	visitor->hello_until_us = 0;
	log_info("socket", "%s[%u] attached", visitor->name, visitor->pid);
	return true;
}

// --- ICMP sockets --------------------------------------------------------------------------------

// One message, and the descriptor that came with it (-1: none). Returns its length; as recv().
static ssize_t receive(int fd, uint8_t bytes[CHANNEL_MESSAGE_MAX], int *ret_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {bytes, CHANNEL_MESSAGE_MAX};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int)), // one, not two with the padding
	};
	ssize_t length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;

	*ret_fd = -1;
	if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
		cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	return length;
}

struct hand_echo {
	struct mailbox_message message;
	const struct visitor_lane *lane;
	struct sockets_echo echo;
};

static void hand_echo(struct mailbox_message *message, void *worker)
{
	struct hand_echo *hand = container_of(message, struct hand_echo, message);

	(void)worker;
	sockets_open_echo(hand->lane->sockets, (unsigned)hand->lane->number, &hand->echo);
}

// Nothing but a request for an ICMP socket comes after the hello. False: it has gone, or speaks
// nonsense.
static bool serve(struct visitors *visitors, struct visitor *visitor)
{
	struct channel_message message;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	int socket;
	ssize_t length = receive(visitor->fd, bytes, &socket);
	struct hand_echo hand = {
		.message.run = hand_echo,
		.lane = &visitor->lanes[WORKER_OF_ECHOES],
	};
	bool good = length > 0 && channel_message_decode(bytes, (size_t)length, &message) == 0 &&
		    message.kind == CHANNEL_ICMP && socket >= 0;

	if (good) {
		hand.echo.call = message.call;
		hand.echo.socket = message.icmp.socket;
		hand.echo.error = echo_right(socket, &hand.echo);
		while (worker_call(visitors->workers[WORKER_OF_ECHOES], &hand.message) < 0)
			usleep(1000);
	}
	if (socket >= 0)
		close(socket);
	return good || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool is_broken(const struct visitor *visitor)
{
	for (unsigned i = 0; i < visitor->lanes_count; i++)
		if (sockets_is_broken(
			    visitor->lanes[i].sockets, (unsigned)visitor->lanes[i].number))
			return true;
	return false;
}

// --- looking -------------------------------------------------------------------------------------

unsigned visitors_poll(struct visitors *visitors, struct pollfd *ret_fds)
{
	unsigned count = 0;

	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *visitor = &visitors->all[i];

		if (visitor->fd < 0)
			continue;
		visitor->place = count;
		ret_fds[count++] = (struct pollfd){.fd = visitor->fd, .events = POLLIN};
		ret_fds[count++] = (struct pollfd){.fd = visitor->pidfd, .events = POLLIN};
	}
	return count;
}

static void look(struct visitors *visitors, struct visitor *visitor, const struct pollfd *fds,
	uint64_t now_us)
{
	const struct pollfd *socket = &fds[visitor->place], *process = socket + 1;

	if (process->revents != 0)
		show_out(visitors, visitor, "has ended");
	else if (is_broken(visitor))
		show_out(visitors, visitor, "wrote what no shim writes, and is cut off");
	else if (visitor->hello_until_us != 0) {
		if ((socket->revents != 0 && !greet(visitors, visitor)) ||
			(visitor->hello_until_us != 0 && now_us > visitor->hello_until_us))
			show_out(visitors, visitor, "");
	} else if (socket->revents != 0 && !serve(visitors, visitor)) {
		show_out(visitors, visitor, "has gone");
	}
}

void visitors_look(struct visitors *visitors, const struct pollfd *fds, uint64_t now_us)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (visitors->all[i].fd >= 0)
			look(visitors, &visitors->all[i], fds, now_us);
}
