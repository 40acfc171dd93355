// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP sockets: a process that shares memory shows one of the kernel's at the door, which says what
// it has a right to; the worker whose lane has them is told.

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach/sockets.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "daemon/echo_right.h"
#include "daemon/visitor_state.h"
#include "daemon/worker.h"

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

bool visitor_serve(struct visitors *visitors, struct visitor *visitor)
{
	struct channel_message message;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	int socket;
	ssize_t length = receive(visitor->fd, bytes, &socket);
	struct hand_echo hand = {
		.message.run = hand_echo,
		.lane = &visitor->lanes[WORKER_OF_DATAGRAMS],
	};
	bool good = length > 0 && channel_message_decode(bytes, (size_t)length, &message) == 0 &&
		    message.kind == CHANNEL_ICMP && socket >= 0;

	if (good) {
		hand.echo.call = message.call;
		hand.echo.socket = message.icmp.socket;
		hand.echo.error = echo_right(socket, &hand.echo);
		while (worker_call(visitors->workers[WORKER_OF_DATAGRAMS], &hand.message) < 0)
			usleep(1000);
	}
	if (socket >= 0)
		close(socket);
	return good || (length < 0 && (errno == EAGAIN || errno == EINTR));
}
