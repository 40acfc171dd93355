// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "shim/outgoing.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/libc.h"
#include "shim/moves.h"
#include "shim/options.h"
#include "shim/relays.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"
#include "shim/ways.h"

// --- which ---------------------------------------------------------------------------------------

static int number_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return libc_get()->getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

// A TCP socket that has no connection yet, and is free to have one that way.
static bool is_free(int fd, int family, const struct channel_endpoint *remote)
{
	const struct libc *libc = libc_get();
	char device[IFNAMSIZ];
	struct tcp_info info;
	socklen_t length = sizeof(device), info_length = sizeof(info);

	if (number_of(fd, SOL_SOCKET, SO_DOMAIN) != family ||
		number_of(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
		number_of(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP)
		return false;
	if (family == AF_INET6 && !remote->ipv6 && number_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0)
		return false; // the kernel says so
	if (libc->getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) == 0 && length > 0)
		return false;
	return libc->getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_length) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned octets = bits / 8, rest = bits % 8;

	return memcmp(a, b, octets) == 0 &&
	       (rest == 0 || ((a[octets] ^ b[octets]) >> (8 - rest)) == 0);
}

static bool is_configured(const struct attachment *attached, const struct channel_endpoint *remote)
{
	for (unsigned i = 0; i < attached->connects_count; i++) {
		const struct channel_prefix *prefix = &attached->connects[i];

		if (prefix->ipv6 == remote->ipv6 &&
			bits_equal(prefix->address, remote->address, prefix->length))
			return true;
	}
	return false;
}

// Neither this host nor many, whatever the configuration says.
static bool is_on_wire(const struct channel_endpoint *remote)
{
	static const uint8_t local[16] = {[15] = 1}, any[16];

	if (remote->ipv6)
		return remote->address[0] != 0xff && memcmp(remote->address, local, 16) != 0 &&
		       memcmp(remote->address, any, 16) != 0;
	return remote->address[0] != 0 && remote->address[0] != 127 && remote->address[0] < 224;
}

static bool attach_for_connects(struct shim *shim)
{
	return attach_ask(shim) && shim->attached->connects_count > 0;
}

static bool is_ours(struct shim *shim, const struct channel_endpoint *remote)
{
	return remote->port != 0 && is_on_wire(remote) && attach_for_connects(shim) &&
	       is_configured(shim->attached, remote) && !way_is_own(remote);
}

bool outgoing_binds(int fd, const struct sockaddr *address, socklen_t length)
{
	struct channel_message message = {.kind = CHANNEL_ROUTE}, answer;
	struct shim *shim = shim_get();
	bool ours;

	if (number_of(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
		!address_take(address, length, &message.route.remote) || !shim_lock())
		return false;
	ours = attach_for_connects(shim) && news_call(shim, &message, 0, &answer) == 0 &&
	       answer.kind == CHANNEL_ROUTE_IS && answer.route_is.error == 0 && answer.route_is.own;
	shim_unlock();
	return ours;
}

// --- beginning -----------------------------------------------------------------------------------

bool outgoing_begun(struct shim *shim, unsigned lane, uint32_t slot, const struct lane_slot *state)
{
	list_for_each (link, &shim->outgoing) {
		struct stream *stream = container_of(link, struct stream, link);

		if (stream->number != state->opened.listener)
			continue;
		list_remove(&stream->link);
		stream_begin(stream, lane, slot);
		return true;
	}
	return false;
}

// 0, or an errno; EXDEV and ENXIO as in the schema.
static int ask(struct shim *shim, struct channel_message *message)
{
	unsigned lanes = shim->attached->lanes_count;
	int error = ENOTCONN;

	for (unsigned i = 0; i < lanes && shim->attached != NULL; i++) {
		error = news_call(shim, message, (int)(shim->turn++ % lanes), NULL);
		// Another worker has that port, or more room.
		if (error != EXDEV && error != ENOBUFS && error != EAGAIN)
			break;
	}
	return error;
}

// Where the socket is bound, as far as it is.
static struct channel_endpoint bound_to(int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	struct channel_endpoint local = {0};

	if (libc_get()->getsockname(fd, (struct sockaddr *)&address, &length) == 0)
		address_take((const struct sockaddr *)&address, length, &local);
	return local;
}

// TCP_SYNCNT, where it is not what the kernel does anyhow.
static uint8_t attempts_of(int fd, int fresh)
{
	int own = number_of(fd, IPPROTO_TCP, TCP_SYNCNT);

	return own > 0 && own != number_of(fresh, IPPROTO_TCP, TCP_SYNCNT) ? (uint8_t)own : 0;
}

// The slot comes behind the answer where lanes are streams.
static int await_slot(struct shim *shim, struct stream *stream)
{
	int64_t until_us = wait_now_us() + 2000000;

	while (list_linked(&stream->link)) {
		if (shim->attached == NULL)
			return ENOTCONN;
		if (wait_now_us() >= until_us)
			return ETIMEDOUT;
		wait_news(shim, 20000, NULL);
	}
	return 0;
}

static int request(
	struct shim *shim, struct stream *stream, int fd, const struct channel_endpoint *remote)
{
	struct channel_message message = {
		.kind = CHANNEL_CONNECT,
		.connect = {.socket = stream->number, .local = bound_to(fd), .remote = *remote},
	};
	int fresh = libc_get()->socket(stream->family, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	message.connect.attempts = attempts_of(fd, fresh);
	list_append(&shim->outgoing, &stream->link);
	error = ask(shim, &message);
	if (error == 0)
		error = await_slot(shim, stream);
	list_remove(&stream->link);
	if (error == 0)
		options_take(stream, fd, fresh);
	if (fresh >= 0)
		libc_get()->close(fresh);
	return error;
}

// --- ending --------------------------------------------------------------------------------------

void outgoing_disconnect(struct stream *stream)
{
	struct object *object = &stream->object;

	moves_to_kernel(object);
	stream->resets = true;
	stream_close(stream);
	object->refs++;
	for (int fd = table_next(-1); fd >= 0; fd = table_next(fd))
		if (table_look(fd) == object && !relay_has(shim_get(), fd))
			object_unbind(object, fd);
	object_put_locked(object);
	wait_touch_all(shim_get());
}

// --- connect() -----------------------------------------------------------------------------------

// Until it stands or does not, as long as the call may take. `busy`: what it says of one that is
// under way still.
static int await_end(struct stream *stream, int busy)
{
	int64_t until_us =
		stream->write_timeout_us < 0 ? -1 : wait_now_us() + stream->write_timeout_us;
	int error = 0;

	for (;;) {
		int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();

		news_drain(shim_get());
		if (!stream_is_connecting(stream))
			break;
		if (error == EINTR)
			return -EINTR;
		if (stream->object.nonblocking || (until_us >= 0 && left_us <= 0))
			return -busy;
		error = wait_news(shim_get(), left_us, &stream->object);
	}
	stream->asks = false;
	if (stream_stands(stream))
		return 0;
	error = stream_take_error(stream);
	outgoing_disconnect(stream);
	return error != 0 ? -error : -ECONNABORTED;
}

static int begin(struct shim *shim, int fd, int family, const struct channel_endpoint *remote)
{
	struct stream *stream = stream_create_outgoing(++shim->numbers, family);
	int rc;

	if (stream == NULL)
		return -EXDEV;
	stream->remote = *remote;
	stream->object.nonblocking = (libc_get()->fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
	if (!object_bind(&stream->object, fd)) {
		stream_destroy(stream);
		return -EXDEV;
	}
	stream->object.refs++;
	rc = moves_from_kernel(&stream->object, fd) ? -request(shim, stream, fd, remote) : -ENXIO;
	if (rc == 0) {
		watcher_start(shim);
		// How it ends so soon is told later, as by a kernel.
		rc = stream->object.nonblocking ? -EINPROGRESS : await_end(stream, EINPROGRESS);
	} else {
		outgoing_disconnect(stream);
		// Neither an address of the daemon's nor a daemon that answers.
		if (rc == -ENXIO || rc == -ENOTCONN || rc == -ETIMEDOUT)
			rc = -EXDEV;
	}
	object_put_locked(&stream->object);
	return rc;
}

bool outgoing_connect(int fd, const struct sockaddr *address, socklen_t length, int *ret_rc)
{
	struct shim *shim = shim_get();
	struct channel_endpoint remote;

	if (!address_take(address, length, &remote) || !is_free(fd, address->sa_family, &remote) ||
		!shim_lock())
		return false;
	*ret_rc = is_ours(shim, &remote) ? begin(shim, fd, address->sa_family, &remote) : -EXDEV;
	shim_unlock();
	return *ret_rc != -EXDEV;
}

int outgoing_again(struct stream *stream, const struct sockaddr *address, socklen_t length)
{
	if (length < sizeof(address->sa_family))
		return -EINVAL;
	if (address->sa_family == AF_UNSPEC) {
		outgoing_disconnect(stream);
		return 0;
	}
	news_drain(shim_get());
	return stream->asks ? await_end(stream, EALREADY) : -EISCONN;
}
