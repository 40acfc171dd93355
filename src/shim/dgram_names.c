// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// bind(), connect(), shutdown(), and names of datagram sockets. The kernel's socket is bound and
// connected as well, as far as the kernel can: it says who else has a port, and gives ports away.

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/state.h"

// As the kernel has it. What has no name here (of one link only) is not the daemon's either.
static void read_place(struct dgram *dgram)
{
	static const struct channel_endpoint nameless = {.ipv6 = true, .address = {0xfe, 0x80}};
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);

	if (libc_get()->getsockname(dgram->object.fd, (struct sockaddr *)&address, &length) < 0 ||
		!address_take((const struct sockaddr *)&address, length, &dgram->bound))
		dgram->bound = nameless;
	if (dgram->kind != DGRAM_UDP)
		dgram->bound.port = 0;
}

static void close_slot(struct dgram *dgram)
{
	if (dgram->open)
		lane_post(dgram_lane(dgram),
			&(struct lane_item){.what = LANE_POST_CLOSE, .slot = dgram->slot});
	dgram->open = dgram->serves = false;
	// Another life, which is another socket to the daemon.
	dgram->number = ++shim_get()->numbers;
}

// --- bind() --------------------------------------------------------------------------------------

// An address of the daemon's need not be the kernel's.
static int kernel_bind(struct dgram *dgram, const struct sockaddr *address, socklen_t length,
	const struct channel_endpoint *to)
{
	const struct libc *libc = libc_get();
	int fd = dgram->object.fd, one = 1, error;

	if (libc->bind(fd, address, length) == 0)
		return 0;
	error = errno;
	if (error != EADDRNOTAVAIL || to == NULL || !dgram_is_own(shim_get(), dgram, to) ||
		libc->setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		return -error;
	return libc->bind(fd, address, length) < 0 ? -errno : 0;
}

// Its slot, if this is a place of the daemon's. 0, or an errno; of EADDRINUSE programs hear.
static int serve(struct shim *shim, struct dgram *dgram)
{
	bool any = dgram_address_is_any(&dgram->bound);
	int error;

	dgram->serves = true;
	if (!any && !dgram_is_own(shim, dgram, &dgram->bound)) {
		dgram->serves = shim->attached == NULL;
		return EADDRNOTAVAIL;
	}
	dgram->firm = !any;
	error = dgram_try_open(shim, dgram);
	dgram->serves =
		error == 0 || shim->attached == NULL || dgram->refused != shim->attached->number;
	return error;
}

bool dgram_revive(struct shim *shim, struct dgram *dgram)
{
	bool settled;

	if (!dgram->serves || dgram->open)
		return true;
	dgram->inherited = false;
	if (!dgram_udp_served(shim)) {
		dgram->serves = shim->attached == NULL && !shim->useless;
		if (dgram->serves)
			watcher_start(shim);
		return !dgram->serves;
	}
	dgram->object.refs++; // the lock is let go meanwhile
	serve(shim, dgram);
	watcher_ring(shim);
	settled = dgram->open || !dgram->serves;
	object_put_locked(&dgram->object);
	return settled;
}

int dgram_bind(struct dgram *dgram, const struct sockaddr *address, socklen_t length)
{
	struct shim *shim = shim_get();
	struct channel_endpoint to;
	bool known = address_take(address, length, &to);
	int rc = kernel_bind(dgram, address, length, known ? &to : NULL);

	if (rc < 0)
		return rc;
	read_place(dgram);
	dgram->ephemeral = known && to.port == 0;
	if (dgram->kind != DGRAM_UDP)
		return 0;
	if (dgram_udp_served(shim)) {
		int error = serve(shim, dgram);

		return error == EADDRINUSE || (dgram->firm && error != 0) ? -error : 0;
	}
	// Without a daemon the kernel has it alone until there is one.
	dgram->serves = shim->attached == NULL && !dgram->ephemeral && !shim->useless;
	if (dgram->serves)
		watcher_start(shim);
	return 0;
}

// --- connect() -----------------------------------------------------------------------------------

// The daemon knows to whom; what comes from others is not for this socket.
static void tell_peer(struct shim *shim, struct dgram *dgram)
{
	struct channel_message message = {
		.kind = CHANNEL_UDP,
		.udp = {.socket = dgram->number, .local = dgram->bound},
	};

	if (dgram->kind != DGRAM_UDP || !dgram->open)
		return;
	message.udp.remote.ipv6 = dgram->bound.ipv6;
	if (dgram->connected)
		message.udp.remote = dgram->peer;
	news_call(shim, &message, CHANNEL_LANE_OF_DATAGRAMS, NULL);
}

static int disconnect(struct shim *shim, struct dgram *dgram)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (libc_get()->connect(dgram->object.fd, &none, sizeof(none)) < 0)
		return -errno;
	dgram->connected = dgram->named = dgram->ours = false;
	read_place(dgram);
	// A port that nobody has asked for is given back.
	if (dgram->kind == DGRAM_UDP && dgram->bound.port == 0)
		close_slot(dgram);
	tell_peer(shim, dgram);
	return 0;
}

bool dgram_place(struct dgram *dgram)
{
	struct sockaddr_storage address = {.ss_family = (sa_family_t)dgram->family};
	socklen_t length = dgram->family == AF_INET6 ? sizeof(struct sockaddr_in6)
						     : sizeof(struct sockaddr_in);

	if (dgram->kind != DGRAM_UDP || dgram->bound.port != 0)
		return true;
	read_place(dgram);
	if (dgram->bound.port == 0 &&
		libc_get()->bind(dgram->object.fd, (const struct sockaddr *)&address, length) == 0)
		read_place(dgram);
	dgram->ephemeral = true;
	// What connect() has bound it to is the kernel's idea.
	memset(dgram->bound.address, 0, sizeof(dgram->bound.address));
	dgram->bound.ipv6 = dgram->family == AF_INET6;
	return dgram->bound.port != 0;
}

// UDP that is not served is named all the same: programs ask so from where one speaks to another
// (ping, and name resolvers). Nothing can be sent then.
static bool goes_by_daemon(
	struct shim *shim, struct dgram *dgram, const struct channel_endpoint *to, bool kernel_can)
{
	bool udp = dgram->kind == DGRAM_UDP, served = !udp || dgram_udp_served(shim);

	if ((!served && kernel_can) || !dgram_way_to(shim, dgram, to, dgram->firm))
		return false;
	return !udp || !served || (dgram_place(dgram) && dgram_open(shim, dgram));
}

int dgram_connect(struct dgram *dgram, const struct sockaddr *address, socklen_t length)
{
	struct shim *shim = shim_get();
	struct channel_endpoint to;
	int rc;

	dgram_options_refresh(dgram);
	if (address != NULL && length >= sizeof(address->sa_family) &&
		address->sa_family == AF_UNSPEC)
		return disconnect(shim, dgram);
	rc = libc_get()->connect(dgram->object.fd, address, length) < 0 ? -errno : 0;
	if (rc < 0 && rc != -ENETUNREACH && rc != -EHOSTUNREACH && rc != -EADDRNOTAVAIL &&
		rc != -EINVAL)
		return rc;
	if (rc == 0)
		dgram->connected = dgram->named = dgram->ours = false;
	if (!dgram_destination(dgram, address, length, &to) || dgram->options.elsewhere)
		return rc;
	if (rc == 0) {
		dgram->connected = true;
		dgram->peer = to;
	}
	if (goes_by_daemon(shim, dgram, &to, rc == 0)) {
		dgram->connected = dgram->ours = true;
		dgram->named = rc < 0;
		dgram->peer = to;
		dgram->local = dgram_peer_of(dgram, &to)->way.local;
		if (dgram->firm)
			dgram->local = dgram->bound;
		dgram->local.port = dgram->bound.port;
		rc = 0;
	}
	tell_peer(shim, dgram);
	return rc;
}

int dgram_shutdown(struct dgram *dgram, int how)
{
	if (libc_get()->shutdown(dgram->object.fd, how) < 0 && errno != ENOTCONN)
		return -errno;
	dgram->shut_read |= how != SHUT_WR;
	dgram->shut_write |= how != SHUT_RD;
	wait_touch(shim_get(), &dgram->object);
	return dgram->connected ? 0 : -ENOTCONN;
}

// --- names ---------------------------------------------------------------------------------------

int dgram_name(struct dgram *dgram, bool peer, struct sockaddr *ret_address, socklen_t *length)
{
	const struct libc *libc = libc_get();
	int fd = dgram->object.fd;

	if (dgram->ours && (!peer || dgram->named))
		return address_give(
			peer ? &dgram->peer : &dgram->local, dgram->family, ret_address, length);
	if (peer)
		return libc->getpeername(fd, ret_address, length) < 0 ? -errno : 0;
	return libc->getsockname(fd, ret_address, length) < 0 ? -errno : 0;
}

bool dgram_mtu(const struct dgram *dgram, int *ret_mtu)
{
	const struct dgram_peer *peer;

	if (!dgram->connected || !dgram->ours)
		return false;
	peer = dgram_peer_of((struct dgram *)dgram, &dgram->peer);
	*ret_mtu = peer->mtu != 0 ? peer->mtu : peer->way.mtu;
	return *ret_mtu != 0;
}
