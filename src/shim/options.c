// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "shim/options.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/object.h"
#include "shim/state.h"
#include "shim/streams.h"

// --- to the daemon -------------------------------------------------------------------------------

static void tell(const struct stream *stream, enum channel_option option, int value)
{
	const struct channel_message message = {
		.kind = CHANNEL_OPTION,
		.option = {.slot = stream->slot, .option = option, .value = value},
	};

	if (!stream->dead)
		lane_post(shim_get()->attached->lanes[stream->lane],
			&(struct lane_item){.what = LANE_POST_MESSAGE, .message = &message});
}

static int number(const void *value, socklen_t length)
{
	int n = 0;

	memcpy(&n, value, length < sizeof(n) ? length : sizeof(n));
	return n;
}

// 0: none is set; as the kernel.
static int64_t duration_us(const void *value, socklen_t length)
{
	struct timeval time = {0};

	if (length < sizeof(time))
		return -1;
	memcpy(&time, value, sizeof(time));
	return time.tv_sec == 0 && time.tv_usec == 0 ? -1 : time.tv_sec * 1000000 + time.tv_usec;
}

static void linger(struct stream *stream, const void *value, socklen_t length)
{
	struct linger linger = {0};

	memcpy(&linger, value, length < sizeof(linger) ? length : sizeof(linger));
	stream->resets = linger.l_onoff && linger.l_linger == 0;
	tell(stream, CHANNEL_LINGER, linger.l_onoff ? linger.l_linger : -1);
}

static void set_socket(struct stream *stream, int name, const void *value, socklen_t length)
{
	switch (name) {
	case SO_RCVTIMEO:
		stream->read_timeout_us = duration_us(value, length);
		break;
	case SO_SNDTIMEO:
		stream->write_timeout_us = duration_us(value, length);
		break;
	case SO_RCVLOWAT:
		stream->low_water = number(value, length) > 0 ? (uint32_t)number(value, length) : 1;
		break;
	case SO_KEEPALIVE:
		tell(stream, CHANNEL_KEEP_ALIVE, number(value, length) != 0);
		break;
	case SO_LINGER:
		linger(stream, value, length);
		break;
	}
}

static void set_tcp(struct stream *stream, int name, const void *value, socklen_t length)
{
	static const struct {
		int name;
		enum channel_option option;
	} options[] = {
		{TCP_NODELAY, CHANNEL_NO_DELAY},
		{TCP_KEEPIDLE, CHANNEL_KEEP_IDLE},
		{TCP_KEEPINTVL, CHANNEL_KEEP_INTERVAL},
		{TCP_KEEPCNT, CHANNEL_KEEP_COUNT},
	};

	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].name == name)
			tell(stream, options[i].option, number(value, length));
}

void option_set(struct object *object, int level, int name, const void *value, socklen_t length)
{
	struct listener *listener = listener_of(object);
	struct stream *stream = stream_of(object);

	if (listener != NULL)
		listener->compared = false;
	if (dgram_of(object) != NULL)
		dgram_options_changed(dgram_of(object));
	if (listener != NULL && level == SOL_SOCKET && name == SO_RCVTIMEO)
		listener->timeout_us = duration_us(value, length);
	if (listener != NULL && level == SOL_SOCKET && name == SO_REUSEADDR) {
		listener->reuses = number(value, length) != 0;
		listener_reuse(listener, false);
	}
	if (stream == NULL)
		return;
	if (level == SOL_SOCKET)
		set_socket(stream, name, value, length);
	else if (level == IPPROTO_TCP)
		set_tcp(stream, name, value, length);
}

// --- from it -------------------------------------------------------------------------------------

static bool give(const void *from, socklen_t size, void *value, socklen_t *length)
{
	if (value == NULL || length == NULL)
		return false; // the kernel says EFAULT
	if ((int)*length < 0)
		return false; // and EINVAL
	*length = *length < size ? *length : size;
	memcpy(value, from, *length);
	return true;
}

static bool give_number(int number, void *value, socklen_t *length)
{
	return give(&number, sizeof(number), value, length);
}

static bool give_info(const struct stream *stream, void *value, socklen_t *length)
{
	struct channel_message message = {.kind = CHANNEL_INFO, .info.slot = stream->slot}, answer;
	struct tcp_info info = {.tcpi_state = TCP_CLOSE};

	if (!stream->dead && news_call(shim_get(), &message, (int)stream->lane, &answer) == 0 &&
		answer.kind == CHANNEL_INFO_IS) {
		info.tcpi_state = answer.info_is.state;
		info.tcpi_snd_mss = info.tcpi_rcv_mss = answer.info_is.mss;
		info.tcpi_snd_cwnd =
			answer.info_is.cwnd / (answer.info_is.mss ? answer.info_is.mss : 1);
		info.tcpi_rtt = answer.info_is.rtt_us;
		info.tcpi_rttvar = answer.info_is.rtt_var_us;
		info.tcpi_total_retrans = answer.info_is.retransmits;
	}
	return give(&info, sizeof(info), value, length);
}

static bool give_dgram(struct dgram *dgram, int level, int name, void *value, socklen_t *length)
{
	int mtu;

	if (level == SOL_SOCKET && name == SO_ERROR && dgram->error != 0)
		return give_number(dgram_take_error(dgram), value, length);
	if (((level == IPPROTO_IP && name == IP_MTU) ||
		    (level == IPPROTO_IPV6 && name == IPV6_MTU)) &&
		dgram_mtu(dgram, &mtu))
		return give_number(mtu, value, length);
	return false;
}

bool option_get(struct object *object, int level, int name, void *value, socklen_t *length)
{
	struct listener *listener = listener_of(object);
	struct stream *stream = stream_of(object);

	if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
		return give_number(listener != NULL && !listener->closed, value, length);
	if (listener != NULL && level == IPPROTO_TCP && name == TCP_INFO) {
		struct tcp_info info = {.tcpi_state = listener->closed ? TCP_CLOSE : TCP_LISTEN};

		return give(&info, sizeof(info), value, length);
	}
	if (listener != NULL && level == SOL_SOCKET && name == SO_REUSEADDR)
		return give_number(listener->reuses, value, length);
	if (dgram_of(object) != NULL)
		return give_dgram(dgram_of(object), level, name, value, length);
	if (stream == NULL)
		return false;
	if (level == SOL_SOCKET && name == SO_ERROR)
		return give_number(stream_take_error(stream), value, length);
	if (level == IPPROTO_TCP && name == TCP_INFO)
		return give_info(stream, value, length);
	return false;
}

// --- accepted sockets ----------------------------------------------------------------------------

static const struct {
	int level, name;
} inherited[] = {
	{SOL_SOCKET, SO_KEEPALIVE},
	{SOL_SOCKET, SO_LINGER},
	{SOL_SOCKET, SO_RCVTIMEO},
	{SOL_SOCKET, SO_SNDTIMEO},
	{SOL_SOCKET, SO_RCVLOWAT},
	{IPPROTO_TCP, TCP_NODELAY},
	{IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, TCP_KEEPINTVL},
	{IPPROTO_TCP, TCP_KEEPCNT},
};
#define INHERITED (sizeof(inherited) / sizeof(inherited[0]))

// Which of a socket's are not as a new one has them.
static uint32_t unlike(int fd, int fresh)
{
	const struct libc *libc = libc_get();
	char mine[64], standard[64];
	uint32_t found = 0;

	for (unsigned i = 0; i < INHERITED; i++) {
		socklen_t length = sizeof(mine), usual = sizeof(standard);
		int level = inherited[i].level, name = inherited[i].name;

		if (libc->getsockopt(fd, level, name, mine, &length) == 0 &&
			libc->getsockopt(fresh, level, name, standard, &usual) == 0 &&
			(length != usual || memcmp(mine, standard, length) != 0))
			found |= 1u << i;
	}
	return found;
}

void options_take(struct stream *stream, int fd, int fresh)
{
	uint32_t set = unlike(fd, fresh);

	for (unsigned i = 0; i < INHERITED; i++) {
		int level = inherited[i].level, name = inherited[i].name;
		char value[64];
		socklen_t length = sizeof(value);

		if ((set & 1u << i) && libc_get()->getsockopt(fd, level, name, value, &length) == 0)
			option_set(&stream->object, level, name, value, length);
	}
}

void options_inherit(struct listener *listener, struct stream *stream, int fd)
{
	const struct libc *libc = libc_get();
	int reuses = listener->reuses;

	if (!listener->compared)
		listener->unlike = unlike(listener->object.fd, fd);
	listener->compared = true;
	for (unsigned i = 0; i < INHERITED; i++) {
		int level = inherited[i].level, name = inherited[i].name;
		char value[64];
		socklen_t length = sizeof(value);

		if (!(listener->unlike & 1u << i) ||
			libc->getsockopt(listener->object.fd, level, name, value, &length) < 0)
			continue;
		libc->setsockopt(fd, level, name, value, length);
		option_set(&stream->object, level, name, value, length);
	}
	if (reuses)
		libc->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuses, sizeof(reuses));
}

bool bind_is_ours(const struct sockaddr *address, socklen_t length)
{
	struct channel_endpoint endpoint;
	struct shim *shim = shim_get();
	bool ours;

	if (!address_take(address, length, &endpoint))
		return false;
	if (!shim_lock())
		return false;
	ours = attach_try(shim) && attach_wants(shim->attached, &endpoint, true);
	shim_unlock();
	return ours;
}

// --- borrowed connections ------------------------------------------------------------------------

// What a pair of unix sockets deals with itself.
static bool is_of_pair(int level, int name)
{
	return level == SOL_SOCKET &&
	       (name == SO_ERROR || name == SO_RCVTIMEO || name == SO_SNDTIMEO ||
		       name == SO_RCVLOWAT || name == SO_SNDBUF || name == SO_RCVBUF);
}

int borrowed_set(const struct borrowed *borrowed, int fd, int level, int name, const void *value,
	socklen_t length)
{
	int to = is_of_pair(level, name) ? fd : borrowed->memory;

	return libc_get()->setsockopt(to, level, name, value, length) < 0 ? -errno : 0;
}

int borrowed_get(const struct borrowed *borrowed, int fd, int level, int name, void *value,
	socklen_t *length)
{
	const struct tcp_info info = {.tcpi_state = TCP_ESTABLISHED};
	int from = is_of_pair(level, name) ? fd : borrowed->memory;

	if (level == IPPROTO_TCP && name == TCP_INFO && give(&info, sizeof(info), value, length))
		return 0;
	return libc_get()->getsockopt(from, level, name, value, length) < 0 ? -errno : 0;
}
