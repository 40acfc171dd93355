// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lives of datagram sockets, and their slots. To have one for ICMP the kernel's own socket is shown
// at the daemon's door; for UDP its place is named.

#include "shim/dgrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/libc.h"
#include "shim/state.h"

#define RECORD_MAX (sizeof(struct channel_datagram) + CHANNEL_DATAGRAM_MAX)
#define CAME_MAX   (CHANNEL_DATAGRAM_MAX + 60) // with an IPv4 header
// A port that the kernel has given away again is free here after as much.
#define TAKEN_US 1000000

// --- beginning and end ---------------------------------------------------------------------------

static bool is_icmp(int family, int protocol)
{
	return (family == AF_INET && protocol == IPPROTO_ICMP) ||
	       (family == AF_INET6 && protocol == IPPROTO_ICMPV6);
}

static bool is_udp(int family, int type, int protocol)
{
	return (family == AF_INET || family == AF_INET6) && type == SOCK_DGRAM &&
	       (protocol == 0 || protocol == IPPROTO_UDP);
}

void dgram_create(int fd, int family, int type, int protocol)
{
	int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool udp = is_udp(family, kind, protocol);
	struct dgram *dgram;

	if ((!udp && !is_icmp(family, protocol)) || !shim_lock())
		return;
	dgram = calloc(1, sizeof(*dgram));
	if (dgram != NULL) {
		dgram->object.kind = OBJECT_DGRAM;
		dgram->object.nonblocking = (type & SOCK_NONBLOCK) != 0;
		dgram->family = family;
		dgram->kind = udp ? DGRAM_UDP : kind == SOCK_RAW ? DGRAM_RAW : DGRAM_PING;
		list_init(&dgram->object.entries);
		list_init(&dgram->link);
		list_init(&dgram->packets);
		list_init(&dgram->errors);
		dgram->number = ++shim_get()->numbers;
		dgram->options_stale = true;
		if (object_bind(&dgram->object, fd))
			list_append(&shim_get()->dgrams, &dgram->link);
		else
			free(dgram);
	}
	shim_unlock();
}

struct lane *dgram_lane(const struct dgram *dgram)
{
	return dgram->open ? shim_get()->attached->lanes[CHANNEL_LANE_OF_DATAGRAMS] : NULL;
}

void dgram_close(struct dgram *dgram)
{
	list_remove(&dgram->link);
	if (dgram->open)
		lane_post(dgram_lane(dgram),
			&(struct lane_item){.what = LANE_POST_CLOSE, .slot = dgram->slot});
	dgram->open = dgram->serves = false;
	wait_touch(shim_get(), &dgram->object);
}

void dgram_destroy(struct dgram *dgram)
{
	while (!list_empty(&dgram->packets))
		dgram_packet_drop(dgram, &dgram->packets);
	while (!list_empty(&dgram->errors))
		dgram_packet_drop(dgram, &dgram->errors);
	free(dgram->record);
	free(dgram->came);
	free(dgram);
}

bool dgram_is_kernels(const struct dgram *dgram)
{
	const struct attachment *attached = shim_get()->attached;

	return dgram->kind == DGRAM_UDP && !dgram->open &&
	       !(attached != NULL ? attached->udp : dgram->serves) && list_empty(&dgram->packets) &&
	       dgram->error == 0;
}

// --- news ----------------------------------------------------------------------------------------

static struct dgram *dgram_at(struct shim *shim, uint32_t slot)
{
	list_for_each (link, &shim->dgrams) {
		struct dgram *dgram = container_of(link, struct dgram, link);

		if (dgram->open && dgram->slot == slot)
			return dgram;
	}
	return NULL;
}

bool dgram_opened(struct shim *shim, uint32_t slot, const struct lane_slot *state)
{
	list_for_each (link, &shim->dgrams) {
		struct dgram *dgram = container_of(link, struct dgram, link);

		if (dgram->number != state->opened.listener || dgram->open)
			continue;
		dgram->open = true;
		dgram->slot = slot;
		dgram->local.port = state->opened.local.port;
		dgram->record_at = dgram->record_length = 0;
		return true;
	}
	return false;
}

void dgram_lost(struct dgram *dgram)
{
	dgram->open = false;
	wait_touch(shim_get(), &dgram->object);
}

void dgram_inherit(struct dgram *dgram)
{
	dgram->open = false;
	dgram->inherited = true;
	dgram->refused = 0;
}

static void peek(const struct dgram *dgram, uint32_t skip, void *to, uint32_t length)
{
	lane_copy(dgram_lane(dgram), dgram->slot, skip, to, length);
}

// Takes one datagram out of the lane. False: there is none that is whole, or no room for more.
static bool take_one(struct dgram *dgram)
{
	struct channel_datagram head;
	struct lane_slot slot;

	if (!dgram->open || dgram_packets_full(dgram))
		return false;
	lane_slot(dgram_lane(dgram), dgram->slot, &slot);
	if (slot.came < sizeof(head))
		return false;
	peek(dgram, 0, &head, sizeof(head));
	if (head.length > CAME_MAX || head.header > head.length) { // no daemon writes that
		dgram->open = false;
		return false;
	}
	if (slot.came < sizeof(head) + head.length)
		return false;
	peek(dgram, sizeof(head), dgram->came, head.length);
	lane_post(dgram_lane(dgram), &(struct lane_item){.what = LANE_POST_TAKEN,
					     .slot = dgram->slot,
					     .octets = (uint32_t)sizeof(head) + head.length});
	dgram_packet_arrived(dgram, &head, dgram->came);
	return true;
}

void dgram_take(struct dgram *dgram)
{
	while (take_one(dgram))
		;
}

bool dgram_push_rest(struct dgram *dgram)
{
	struct lane_span span = {
		dgram->record + dgram->record_at, dgram->record_length - dgram->record_at};
	int n;

	if (!dgram->open || span.length == 0)
		return true;
	n = lane_post(dgram_lane(dgram), &(struct lane_item){.what = LANE_POST_DATA,
						 .slot = dgram->slot,
						 .spans = &span,
						 .spans_count = 1});
	if (n > 0)
		dgram->record_at += (uint32_t)n;
	return dgram->record_at == dgram->record_length;
}

bool dgram_has_room(const struct dgram *dgram, uint32_t length)
{
	struct lane_slot slot;

	lane_slot(dgram_lane(dgram), dgram->slot, &slot);
	return slot.room >= length;
}

void dgram_moved(struct shim *shim, uint32_t slot)
{
	struct dgram *dgram = dgram_at(shim, slot);

	if (dgram == NULL)
		return;
	dgram_take(dgram);
	dgram_push_rest(dgram);
	wait_touch(shim, &dgram->object);
}

// --- a slot --------------------------------------------------------------------------------------

bool dgrams_need(const struct shim *shim)
{
	list_for_each (link, &shim->dgrams) {
		if (!dgram_is_kernels(container_of(link, struct dgram, link)))
			return true;
	}
	return false;
}

bool dgram_udp_served(struct shim *shim)
{
	return attach_ask(shim) && shim->attached->udp;
}

// An ICMP datagram socket has its identifier from its first use on; the daemon wants to see it.
static void identify(const struct dgram *dgram)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	const struct libc *libc = libc_get();
	int fd = dgram->object.fd;

	if (dgram->kind == DGRAM_RAW ||
		libc->getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
		((const struct sockaddr_in *)&address)->sin_port != 0)
		return;
	libc->bind(fd, (const struct sockaddr *)&address, length);
}

static int option_of(const struct dgram *dgram, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof(value);

	libc_get()->getsockopt(dgram->object.fd, level, name, &value, &length);
	return value;
}

static uint64_t cookie_of(const struct dgram *dgram)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	libc_get()->getsockopt(dgram->object.fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
	return cookie;
}

static int ask_for_udp(struct shim *shim, struct dgram *dgram)
{
	struct channel_message message = {
		.kind = CHANNEL_UDP,
		.udp =
			{
				.socket = dgram->number,
				.ipv6_only = dgram->family == AF_INET6 &&
					     option_of(dgram, IPPROTO_IPV6, IPV6_V6ONLY) != 0,
				.reuses = option_of(dgram, SOL_SOCKET, SO_REUSEADDR) != 0,
				.shares = option_of(dgram, SOL_SOCKET, SO_REUSEPORT) != 0,
				.ephemeral = dgram->ephemeral,
				.cookie = cookie_of(dgram),
				.local = dgram->bound,
			},
	};

	if (dgram->connected)
		message.udp.remote = dgram->peer;
	else
		message.udp.remote.ipv6 = dgram->bound.ipv6;
	return news_call(shim, &message, CHANNEL_LANE_OF_DATAGRAMS, NULL);
}

static int ask(struct shim *shim, struct dgram *dgram)
{
	struct channel_message message = {.kind = CHANNEL_ICMP, .icmp.socket = dgram->number};

	if (dgram->kind == DGRAM_UDP)
		return ask_for_udp(shim, dgram);
	identify(dgram);
	return news_call_door(shim, &message, dgram->object.fd);
}

// The process that had it may be gone for the kernel, and the daemon not have heard yet.
static int ask_until(struct shim *shim, struct dgram *dgram)
{
	int64_t until_us = wait_now_us() + TAKEN_US;
	int error;

	while ((error = ask(shim, dgram)) == EADDRINUSE && wait_now_us() < until_us)
		wait_news(shim, 20000, NULL);
	return error;
}

int dgram_try_open(struct shim *shim, struct dgram *dgram)
{
	int error;

	if (dgram->open)
		return 0;
	dgram_options_refresh(dgram);
	if (shim->attached == NULL || dgram->refused == shim->attached->number)
		return ENOTCONN;
	if (dgram->record == NULL)
		dgram->record = malloc(RECORD_MAX);
	if (dgram->came == NULL)
		dgram->came = malloc(CAME_MAX);
	if (dgram->record == NULL || dgram->came == NULL)
		return ENOMEM;
	// Its daemon may go at any time.
	watcher_start(shim);
	dgram->object.refs++; // the lock is let go meanwhile
	error = ask_until(shim, dgram);
	if (error != 0 && error != EADDRINUSE && error != ETIMEDOUT && shim->attached != NULL)
		dgram->refused = shim->attached->number;
	dgram->inherited = false;
	if (error == 0 && !dgram->open)
		error = ENOTCONN;
	object_put_locked(&dgram->object);
	return error;
}

bool dgram_open(struct shim *shim, struct dgram *dgram)
{
	return dgram_try_open(shim, dgram) == 0;
}

struct dgram *dgram_next_lost(struct shim *shim)
{
	list_for_each (link, &shim->dgrams) {
		struct dgram *dgram = container_of(link, struct dgram, link);

		if (dgram->serves && !dgram->open && !dgram->inherited &&
			(shim->attached == NULL || dgram->refused != shim->attached->number))
			return dgram;
	}
	return NULL;
}
