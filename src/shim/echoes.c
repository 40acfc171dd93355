// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lives of ICMP sockets, and what they send. The kernel's own socket is shown at the daemon's door
// once there is something to send to where the daemon has a way.

#include "shim/echoes.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/libc.h"
#include "shim/state.h"

#define ICMP_HEADER 8
#define RECORD_MAX  (sizeof(struct channel_datagram) + CHANNEL_DATAGRAM_MAX)
#define CAME_MAX    (CHANNEL_DATAGRAM_MAX + 60) // with an IPv4 header
// The daemon is asked again for a way that it did not have.
#define ASK_AGAIN_US 1000000
// Flags of sendmsg() that mean something here, or nothing anywhere.
#define FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM)

// --- beginning and end ---------------------------------------------------------------------------

void echo_create(int fd, int family, int type)
{
	struct echo *echo;

	if (!shim_lock())
		return;
	echo = calloc(1, sizeof(*echo));
	if (echo != NULL) {
		echo->object.kind = OBJECT_ECHO;
		echo->object.nonblocking = (type & SOCK_NONBLOCK) != 0;
		echo->ipv6 = family == AF_INET6;
		echo->raw = (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_RAW;
		list_init(&echo->object.entries);
		list_init(&echo->link);
		list_init(&echo->packets);
		list_init(&echo->errors);
		echo->number = ++shim_get()->numbers;
		echo_options_read(echo, fd);
		if (object_bind(&echo->object, fd))
			list_append(&shim_get()->echoes, &echo->link);
		else
			free(echo);
	}
	shim_unlock();
}

static struct lane *lane_of(const struct echo *echo)
{
	return echo->open ? shim_get()->attached->lanes[CHANNEL_LANE_OF_ECHOES] : NULL;
}

void echo_close(struct echo *echo)
{
	list_remove(&echo->link);
	if (echo->open)
		lane_post(lane_of(echo),
			&(struct lane_item){.what = LANE_POST_CLOSE, .slot = echo->slot});
	echo->open = false;
	wait_touch(shim_get(), &echo->object);
}

void echo_destroy(struct echo *echo)
{
	while (!list_empty(&echo->packets))
		echo_packet_drop(echo, &echo->packets);
	while (!list_empty(&echo->errors))
		echo_packet_drop(echo, &echo->errors);
	free(echo->record);
	free(echo->came);
	free(echo);
}

// --- news ----------------------------------------------------------------------------------------

static struct echo *echo_at(struct shim *shim, uint32_t slot)
{
	list_for_each (link, &shim->echoes) {
		struct echo *echo = container_of(link, struct echo, link);

		if (echo->open && echo->slot == slot)
			return echo;
	}
	return NULL;
}

bool echo_opened(struct shim *shim, uint32_t slot, const struct lane_slot *state)
{
	list_for_each (link, &shim->echoes) {
		struct echo *echo = container_of(link, struct echo, link);

		if (echo->number != state->opened.listener || echo->open)
			continue;
		echo->open = true;
		echo->slot = slot;
		echo->record_at = echo->record_length = 0;
		return true;
	}
	return false;
}

void echo_lost(struct echo *echo)
{
	echo->open = false;
	wait_touch(shim_get(), &echo->object);
}

static void peek(const struct echo *echo, uint32_t skip, void *to, uint32_t length)
{
	lane_copy(lane_of(echo), echo->slot, skip, to, length);
}

// Takes one datagram out of the lane. False: there is none that is whole.
static bool take_one(struct echo *echo)
{
	struct channel_datagram head;
	struct lane_slot slot;

	lane_slot(lane_of(echo), echo->slot, &slot);
	if (slot.came < sizeof(head))
		return false;
	peek(echo, 0, &head, sizeof(head));
	if (head.length > CAME_MAX) { // no daemon writes that
		echo->open = false;
		return false;
	}
	if (slot.came < sizeof(head) + head.length)
		return false;
	peek(echo, sizeof(head), echo->came, head.length);
	lane_post(lane_of(echo), &(struct lane_item){.what = LANE_POST_TAKEN,
					 .slot = echo->slot,
					 .octets = (uint32_t)sizeof(head) + head.length});
	echo_packet_arrived(echo, &head, echo->came);
	return true;
}

// What of a datagram had no room.
static bool push_rest(struct echo *echo)
{
	struct lane_span span = {
		echo->record + echo->record_at, echo->record_length - echo->record_at};
	int n;

	if (!echo->open || span.length == 0)
		return true;
	n = lane_post(lane_of(echo), &(struct lane_item){.what = LANE_POST_DATA,
					     .slot = echo->slot,
					     .spans = &span,
					     .spans_count = 1});
	if (n > 0)
		echo->record_at += (uint32_t)n;
	return echo->record_at == echo->record_length;
}

void echo_moved(struct shim *shim, uint32_t slot)
{
	struct echo *echo = echo_at(shim, slot);

	if (echo == NULL)
		return;
	while (take_one(echo))
		;
	push_rest(echo);
	wait_touch(shim, &echo->object);
}

// --- a slot --------------------------------------------------------------------------------------

// A datagram socket has its identifier from its first use on; the daemon wants to see it.
static void identify(const struct echo *echo)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	const struct libc *libc = libc_get();
	int fd = echo->object.fd;

	if (echo->raw || libc->getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
		((const struct sockaddr_in *)&address)->sin_port != 0)
		return;
	libc->bind(fd, (const struct sockaddr *)&address, length);
}

static bool open_slot(struct shim *shim, struct echo *echo)
{
	struct channel_message message = {.kind = CHANNEL_ICMP, .icmp.socket = echo->number};

	if (echo->open)
		return true;
	if (shim->attached == NULL || echo->refused == shim->attached->number)
		return false;
	if (echo->record == NULL)
		echo->record = malloc(RECORD_MAX);
	if (echo->came == NULL)
		echo->came = malloc(CAME_MAX);
	if (echo->record == NULL || echo->came == NULL)
		return false;
	identify(echo);
	// Its daemon may go at any time.
	watcher_start(shim);
	if (news_call_door(shim, &message, echo->object.fd) != 0 && shim->attached != NULL)
		echo->refused = shim->attached->number;
	return echo->open;
}

// --- where to ------------------------------------------------------------------------------------

static bool is_known(const struct shim *shim, const struct echo *echo,
	const struct channel_endpoint *to, int64_t now_us)
{
	return shim->attached != NULL && echo->asked == shim->attached->number &&
	       memcmp(&echo->remote, to, sizeof(*to)) == 0 &&
	       (echo->ours || now_us - echo->asked_us < ASK_AGAIN_US);
}

static bool way_to(struct shim *shim, struct echo *echo, const struct channel_endpoint *to)
{
	int64_t now_us = wait_now_us();
	struct way way;

	if (is_known(shim, echo, to, now_us))
		return echo->ours;
	echo->ours = way_find(shim, to, &way);
	echo->asked = shim->attached != NULL ? shim->attached->number : 0;
	echo->asked_us = now_us;
	echo->remote = *to;
	if (echo->ours)
		echo->way = way;
	return echo->ours;
}

// An endpoint of the socket's family, without a port.
static bool destination(const struct echo *echo, const struct sockaddr *address, socklen_t length,
	struct channel_endpoint *ret_to)
{
	if (address == NULL || !address_take(address, length, ret_to) || ret_to->ipv6 != echo->ipv6)
		return false;
	ret_to->port = 0;
	return true;
}

// Where it was bound to. False: to an address that is not the daemon's.
static bool source(struct shim *shim, const struct echo *echo, struct channel_endpoint *ret_from)
{
	static const uint8_t any[16];
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct way way;

	if (libc_get()->getsockname(echo->object.fd, (struct sockaddr *)&address, &length) < 0 ||
		!destination(echo, (const struct sockaddr *)&address, length, ret_from))
		return false;
	if (memcmp(ret_from->address, any, sizeof(any)) == 0)
		return true;
	return way_find(shim, ret_from, &way) && way.own;
}

// --- sending -------------------------------------------------------------------------------------

static size_t total(const struct msghdr *message)
{
	size_t length = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		length += message->msg_iov[i].iov_len;
	return length;
}

static void gather(const struct msghdr *message, uint8_t *to)
{
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		memcpy(to, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
		to += message->msg_iov[i].iov_len;
	}
}

static bool is_request(const struct echo *echo, const struct msghdr *message)
{
	uint8_t type = echo->ipv6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	const uint8_t *icmp;

	if (message->msg_iovlen == 0 || message->msg_iov[0].iov_len < 2 ||
		total(message) < ICMP_HEADER)
		return false;
	icmp = message->msg_iov[0].iov_base;
	return icmp[0] == type && icmp[1] == 0;
}

static bool takes(struct shim *shim, struct echo *echo, const struct msghdr *message, int flags,
	struct channel_endpoint *ret_to, struct channel_endpoint *ret_from)
{
	if (message->msg_controllen > 0 || (flags & ~FLAGS) || echo->options.elsewhere ||
		!is_request(echo, message))
		return false;
	if (message->msg_name == NULL && echo->connected)
		*ret_to = echo->peer;
	else if (!destination(echo, message->msg_name, message->msg_namelen, ret_to))
		return false;
	return way_to(shim, echo, ret_to) && source(shim, echo, ret_from) && open_slot(shim, echo);
}

static void endpoint_put(const struct channel_endpoint *from, struct channel_address *to)
{
	*to = (struct channel_address){.ipv6 = from->ipv6};
	memcpy(to->address, from->address, sizeof(to->address));
}

static void write_record(struct echo *echo, const struct msghdr *message, size_t length,
	const struct channel_endpoint *from, const struct channel_endpoint *to)
{
	const struct echo_options *options = &echo->options;
	struct channel_datagram head = {
		.length = (uint32_t)length,
		.hops = options->send_hops > 0 ? (uint8_t)options->send_hops : 0,
		.tos = options->send_tos > 0 ? (uint8_t)options->send_tos : 0,
		.flags = options->whole ? CHANNEL_WHOLE : 0,
	};

	endpoint_put(from, &head.local);
	endpoint_put(to, &head.remote);
	memcpy(echo->record, &head, sizeof(head));
	gather(message, echo->record + sizeof(head));
	echo->record_at = 0;
	echo->record_length = (uint32_t)(sizeof(head) + length);
}

static bool has_room(const struct echo *echo, uint32_t length)
{
	struct lane_slot slot;

	lane_slot(lane_of(echo), echo->slot, &slot);
	return slot.room >= length;
}

// Until a datagram of that length has room. 0, or -errno.
static int wait_room(struct shim *shim, struct echo *echo, size_t length, int flags)
{
	int64_t timeout_us = echo->options.write_timeout_us;
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us;
	bool asked = false;

	while (echo->open &&
		!(push_rest(echo) &&
			has_room(echo, (uint32_t)(sizeof(struct channel_datagram) + length)))) {
		int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();
		int error = 0;

		if (echo->object.nonblocking || (flags & MSG_DONTWAIT) ||
			(until_us >= 0 && left_us <= 0))
			return -EAGAIN;
		if (asked)
			error = wait_news(shim, left_us, &echo->object);
		else
			lane_post(lane_of(echo),
				&(struct lane_item){.what = LANE_POST_HUNGRY, .slot = echo->slot});
		asked = !asked;
		if (error == EINTR)
			return -EINTR;
	}
	return echo->open ? 0 : -EHOSTUNREACH;
}

// As Linux: what is too long in one piece is told where errors are asked for; what could not come
// back in so few parts as the daemon puts together is too long, too.
static bool is_too_long(struct echo *echo, size_t length, const struct channel_endpoint *to)
{
	size_t header = echo->ipv6 ? 40 : 20;
	size_t most =
		echo->way.longest < CHANNEL_DATAGRAM_MAX ? echo->way.longest : CHANNEL_DATAGRAM_MAX;

	if (echo->options.whole && most > echo->way.mtu - header)
		most = echo->way.mtu - header;
	if (length <= most)
		return false;
	echo_too_long(echo, to, (uint16_t)(most + header));
	return true;
}

bool echo_send(struct echo *echo, const struct msghdr *message, int flags, ssize_t *ret_rc)
{
	struct channel_endpoint to, from;
	struct shim *shim = shim_get();
	size_t length = total(message);
	int rc;

	if (!takes(shim, echo, message, flags, &to, &from))
		return false;
	rc = -echo_take_error(echo);
	if (rc == 0 && is_too_long(echo, length, &to))
		rc = -EMSGSIZE;
	if (rc == 0)
		rc = wait_room(shim, echo, length, flags);
	if (rc == 0) {
		write_record(echo, message, length, &from, &to);
		push_rest(echo);
	}
	*ret_rc = rc < 0 ? rc : (ssize_t)length;
	return true;
}

// --- receiving -----------------------------------------------------------------------------------

// What there is of ours: how many octets, or -errno; 0 with *ret_none: nothing.
static ssize_t receive_now(struct echo *echo, struct msghdr *message, int flags, bool *ret_none)
{
	bool errors = (flags & MSG_ERRQUEUE) != 0;
	struct list *queue = errors ? &echo->errors : &echo->packets;
	ssize_t rc;

	*ret_none = false;
	if (!errors && echo->error != 0)
		return -echo_take_error(echo);
	if (list_empty(queue)) {
		*ret_none = true;
		return 0;
	}
	rc = echo_packet_give(
		echo, container_of(queue->next, struct echo_packet, link), message, flags);
	if (errors || !(flags & MSG_PEEK))
		echo_packet_drop(echo, queue);
	// The next error is told as well (sock_dequeue_err_skb() of Linux).
	if (errors)
		echo->error = list_empty(queue)
				      ? 0
				      : container_of(queue->next, struct echo_packet, link)->error;
	return rc;
}

ssize_t echo_receive(struct echo *echo, struct msghdr *message, int flags)
{
	bool waits = !echo->object.nonblocking && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE));
	int64_t timeout_us = echo->options.read_timeout_us;
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us;
	struct shim *shim = shim_get();

	for (;;) {
		int64_t left_us;
		bool none;
		ssize_t rc;
		int error;

		news_drain(shim);
		rc = receive_now(echo, message, flags, &none);
		if (!none)
			return rc;
		if (echo->object.fds == 0)
			return -EBADF; // closed meanwhile
		rc = libc_get()->recvmsg(echo->object.fd, message, flags | MSG_DONTWAIT);
		if (rc >= 0 || errno != EAGAIN)
			return rc < 0 ? -errno : rc;
		left_us = until_us < 0 ? -1 : until_us - wait_now_us();
		if (!waits || (until_us >= 0 && left_us <= 0))
			return -EAGAIN;
		error = wait_news_or(shim, echo->object.fd, left_us, &echo->object);
		if (error == EINTR)
			return -EINTR;
	}
}

int echo_take_error(struct echo *echo)
{
	int error = echo->error;

	echo->error = 0;
	return error;
}

uint32_t echo_events(struct echo *echo)
{
	uint32_t events = 0;

	if (!list_empty(&echo->packets))
		events |= EPOLLIN | EPOLLRDNORM;
	if (echo->error != 0 || !list_empty(&echo->errors))
		events |= EPOLLERR;
	if (!echo->open ||
		(echo->record_at == echo->record_length && has_room(echo, CHANNEL_STREAM / 3)))
		events |= EPOLLOUT | EPOLLWRNORM;
	return events;
}

bool echo_readable(const struct echo *echo, int *ret_octets)
{
	if (list_empty(&echo->packets))
		return false;
	*ret_octets = (int)container_of(echo->packets.next, struct echo_packet, link)->length;
	return true;
}

// --- names ---------------------------------------------------------------------------------------

int echo_connect(struct echo *echo, const struct sockaddr *address, socklen_t length)
{
	int rc = libc_get()->connect(echo->object.fd, address, length) < 0 ? -errno : 0;
	struct channel_endpoint to;

	if (rc == 0)
		echo->connected = echo->named = false;
	if (!destination(echo, address, length, &to) || echo->options.elsewhere ||
		!way_to(shim_get(), echo, &to))
		return rc;
	echo->connected = true;
	echo->named = rc < 0;
	echo->peer = to;
	return 0;
}

int echo_name(struct echo *echo, bool peer, struct sockaddr *ret_address, socklen_t *length)
{
	const struct libc *libc = libc_get();
	int fd = echo->object.fd;

	if (echo->named && echo->ours)
		return address_give(peer ? &echo->peer : &echo->way.local,
			echo->ipv6 ? AF_INET6 : AF_INET, ret_address, length);
	if (peer)
		return libc->getpeername(fd, ret_address, length) < 0 ? -errno : 0;
	return libc->getsockname(fd, ret_address, length) < 0 ? -errno : 0;
}

bool echo_binds(const struct sockaddr *address, socklen_t length)
{
	struct channel_endpoint endpoint;
	struct way way;
	bool ours;

	if (!address_take(address, length, &endpoint) || !shim_lock())
		return false;
	endpoint.port = 0;
	ours = way_find(shim_get(), &endpoint, &way) && way.own;
	shim_unlock();
	return ours;
}
