// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sending and receiving of datagram sockets.

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/state.h"

#define L4_HEADER 8 // of ICMP and of UDP
// Flags of sendmsg() that mean something here, or nothing anywhere.
#define FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM)

// --- sending -------------------------------------------------------------------------------------

// A datagram on its way out.
struct outgoing {
	const struct msghdr *message;
	size_t length;
	struct channel_endpoint to;
	struct dgram_wishes wishes;
};

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
		if (message->msg_iov[i].iov_len > 0)
			memcpy(to, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
		to += message->msg_iov[i].iov_len;
	}
}

static bool is_request(const struct dgram *dgram, const struct msghdr *message)
{
	uint8_t type = dgram->family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	const uint8_t *icmp;

	if (message->msg_iovlen == 0 || message->msg_iov[0].iov_len < 2 ||
		total(message) < L4_HEADER)
		return false;
	icmp = message->msg_iov[0].iov_base;
	return icmp[0] == type && icmp[1] == 0;
}

// What of it is asked for, so far as it can be the daemon's.
static bool describe(
	const struct dgram *dgram, const struct msghdr *message, int flags, struct outgoing *out)
{
	bool udp = dgram->kind == DGRAM_UDP;

	*out = (struct outgoing){.message = message, .length = total(message)};
	if ((flags & ~FLAGS) || dgram->options.elsewhere || (!udp && !is_request(dgram, message)) ||
		(!udp && message->msg_controllen > 0) ||
		!dgram_control_take(dgram, message, &out->wishes))
		return false;
	if (message->msg_name == NULL && dgram->connected)
		out->to = dgram->peer;
	else if (!dgram_destination(dgram, message->msg_name, message->msg_namelen, &out->to))
		return false;
	return !udp || out->to.port != 0;
}

// From where: what is asked for, or what the socket is bound to. False: not from the daemon.
static bool find_source(struct shim *shim, struct dgram *dgram, struct outgoing *out)
{
	struct channel_endpoint *from = &out->wishes.from;

	if (dgram_address_is_any(from)) {
		*from = dgram->bound;
		if (dgram_address_is_any(from)) {
			from->ipv6 = out->to.ipv6;
			return true;
		}
	}
	return from->ipv6 == out->to.ipv6 && dgram_is_own(shim, dgram, from);
}

// Is it the daemon's? *ret_error: it is, and cannot be sent.
static bool is_ours(struct shim *shim, struct dgram *dgram, struct outgoing *out, int *ret_error)
{
	bool asked_for = !dgram_address_is_any(&out->wishes.from);

	*ret_error = 0;
	if (!find_source(shim, dgram, out))
		return false;
	if (!dgram_way_to(shim, dgram, &out->to, dgram->firm || asked_for)) {
		*ret_error = dgram->firm && dgram->open ? -ENETUNREACH : 0;
		return dgram->firm && dgram->open;
	}
	return dgram_place(dgram) && dgram_open(shim, dgram);
}

static void endpoint_put(const struct channel_endpoint *from, struct channel_address *to)
{
	*to = (struct channel_address){.ipv6 = from->ipv6, .port = from->port};
	memcpy(to->address, from->address, sizeof(to->address));
}

static bool is_whole(const struct dgram *dgram, const struct outgoing *out)
{
	return dgram->options.whole[out->to.ipv6] || out->wishes.whole;
}

static uint8_t wish(int wanted, int option)
{
	return wanted >= 0 ? (uint8_t)wanted : option > 0 ? (uint8_t)option : 0;
}

static void write_record(struct dgram *dgram, const struct outgoing *out)
{
	const struct dgram_options *options = &dgram->options;
	bool ipv6 = out->to.ipv6;
	struct channel_datagram head = {
		.length = (uint32_t)out->length,
		.hops = wish(out->wishes.hops, options->send_hops[ipv6]),
		.tos = wish(out->wishes.tos, options->send_tos[ipv6]),
		.flags = is_whole(dgram, out) ? CHANNEL_WHOLE : 0,
		.mtu = dgram_peer_of(dgram, &out->to)->mtu,
	};

	endpoint_put(&out->wishes.from, &head.local);
	endpoint_put(&out->to, &head.remote);
	memcpy(dgram->record, &head, sizeof(head));
	gather(out->message, dgram->record + sizeof(head));
	dgram->record_at = 0;
	dgram->record_length = (uint32_t)(sizeof(head) + out->length);
}

// Until a datagram of that length has room. 0, or -errno.
static int wait_room(struct shim *shim, struct dgram *dgram, size_t length, int flags)
{
	int64_t timeout_us = dgram->options.write_timeout_us;
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us;
	bool asked = false;

	while (dgram->open &&
		!(dgram_push_rest(dgram) &&
			dgram_has_room(
				dgram, (uint32_t)(sizeof(struct channel_datagram) + length)))) {
		int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();
		int error = 0;

		if (dgram->object.nonblocking || (flags & MSG_DONTWAIT) ||
			(until_us >= 0 && left_us <= 0))
			return -EAGAIN;
		if (asked)
			error = wait_news(shim, left_us, &dgram->object);
		else
			lane_post(dgram_lane(dgram),
				&(struct lane_item){.what = LANE_POST_HUNGRY, .slot = dgram->slot});
		asked = !asked;
		if (error == EINTR)
			return -EINTR;
	}
	return dgram->open ? 0 : -EHOSTUNREACH;
}

// As Linux: what is too long in one piece is told where errors are asked for. An echo request that
// could not come back in so few parts as the daemon puts together is too long, too.
static bool is_too_long(struct dgram *dgram, const struct outgoing *out)
{
	const struct dgram_peer *peer = dgram_peer_of(dgram, &out->to);
	size_t header = out->to.ipv6 ? 40 : 20, most = CHANNEL_DATAGRAM_MAX;
	size_t mtu = peer->mtu != 0 ? peer->mtu : peer->way.mtu;

	if (dgram->kind != DGRAM_UDP && peer->way.longest < most)
		most = peer->way.longest;
	if (dgram->kind == DGRAM_UDP)
		header += L4_HEADER;
	if (is_whole(dgram, out) && mtu > header && most > mtu - header)
		most = mtu - header;
	if (out->length <= most)
		return false;
	dgram_too_long(dgram, &out->to, (uint16_t)(most + header));
	return true;
}

bool dgram_send(struct dgram *dgram, const struct msghdr *message, int flags, ssize_t *ret_rc)
{
	struct shim *shim = shim_get();
	struct outgoing out;
	int rc;

	if (dgram->kind == DGRAM_UDP && !dgram->open && !dgram_udp_served(shim))
		return false;
	dgram_options_refresh(dgram);
	if (!describe(dgram, message, flags, &out) || !is_ours(shim, dgram, &out, &rc))
		return false;
	if (rc == 0 && dgram->shut_write)
		rc = -EPIPE;
	if (rc == 0)
		rc = -dgram_take_error(dgram);
	if (rc == 0 && is_too_long(dgram, &out))
		rc = -EMSGSIZE;
	if (rc == 0)
		rc = wait_room(shim, dgram, out.length, flags);
	if (rc == 0) {
		write_record(dgram, &out);
		dgram_push_rest(dgram);
	}
	*ret_rc = rc < 0 ? rc : (ssize_t)out.length;
	return true;
}

// --- receiving -----------------------------------------------------------------------------------

// What there is of ours: how many octets, or -errno; 0 with *ret_none: nothing.
static ssize_t receive_now(struct dgram *dgram, struct msghdr *message, int flags, bool *ret_none)
{
	bool errors = (flags & MSG_ERRQUEUE) != 0;
	struct list *queue = errors ? &dgram->errors : &dgram->packets;
	ssize_t rc;

	*ret_none = false;
	if (!errors && dgram->error != 0)
		return -dgram_take_error(dgram);
	if (list_empty(queue)) {
		*ret_none = true;
		return 0;
	}
	rc = dgram_packet_give(
		dgram, container_of(queue->next, struct dgram_packet, link), message, flags);
	if (!errors && (flags & MSG_PEEK))
		return rc;
	dgram_packet_drop(dgram, queue);
	// The next error is told as well (sock_dequeue_err_skb() of Linux).
	if (errors)
		dgram->error =
			list_empty(queue)
				? 0
				: container_of(queue->next, struct dgram_packet, link)->error;
	else
		dgram_take(dgram);
	return rc;
}

ssize_t dgram_receive(struct dgram *dgram, struct msghdr *message, int flags)
{
	bool waits = !dgram->object.nonblocking && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE));
	struct shim *shim = shim_get();
	int64_t until_us;

	dgram_revive(shim, dgram);
	dgram_options_refresh(dgram);
	until_us = dgram->options.read_timeout_us < 0
			   ? -1
			   : wait_now_us() + dgram->options.read_timeout_us;
	for (;;) {
		int64_t left_us;
		bool none;
		ssize_t rc;
		int error;

		news_drain(shim);
		rc = receive_now(dgram, message, flags, &none);
		if (!none)
			return rc;
		if (dgram->object.fds == 0)
			return -EBADF; // closed meanwhile
		rc = libc_get()->recvmsg(dgram->object.fd, message, flags | MSG_DONTWAIT);
		if (rc >= 0 || errno != EAGAIN)
			return rc < 0 ? -errno : rc;
		if (dgram->shut_read)
			return 0;
		left_us = until_us < 0 ? -1 : until_us - wait_now_us();
		if (!waits || (until_us >= 0 && left_us <= 0))
			return -EAGAIN;
		error = wait_news_or(shim, dgram->object.fd, left_us, &dgram->object);
		if (error == EINTR)
			return -EINTR;
	}
}

int dgram_take_error(struct dgram *dgram)
{
	int error = dgram->error;

	dgram->error = 0;
	return error;
}

uint32_t dgram_events(struct dgram *dgram)
{
	uint32_t events = 0;

	if (!list_empty(&dgram->packets) || dgram->shut_read)
		events |= EPOLLIN | EPOLLRDNORM;
	if (dgram->shut_read)
		events |= EPOLLRDHUP;
	if (dgram->shut_read && dgram->shut_write)
		events |= EPOLLHUP;
	if (dgram->error != 0 || !list_empty(&dgram->errors))
		events |= EPOLLERR;
	if (!dgram->open || (dgram->record_at == dgram->record_length &&
				    dgram_has_room(dgram, CHANNEL_STREAM / 3)))
		events |= EPOLLOUT | EPOLLWRNORM;
	return events;
}

bool dgram_readable(const struct dgram *dgram, int *ret_octets)
{
	if (list_empty(&dgram->packets))
		return false;
	*ret_octets = (int)container_of(dgram->packets.next, struct dgram_packet, link)->length;
	return true;
}
