// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A connection as Linux shows one (tcp(7), and net/ipv4/tcp.c where that is silent): what came is
// read before an error is told, an error is told once, and after it the connection is at its end.

#include "shim/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/loans.h"
#include "shim/outgoing.h"
#include "shim/state.h"

static struct lane *lane_of(const struct stream *stream)
{
	return shim_get()->attached->lanes[stream->lane];
}

static void look(const struct stream *stream, struct lane_slot *ret_slot)
{
	if (!stream->dead)
		lane_slot(lane_of(stream), stream->slot, ret_slot);
	else
		*ret_slot = (struct lane_slot){.ended = true, .closed = true};
}

static int post(struct stream *stream, struct lane_item item)
{
	if (stream->dead)
		return -EPIPE;
	item.slot = stream->slot;
	return lane_post(lane_of(stream), &item);
}

// Without a slot.
static struct stream *make(int family)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL)
		return NULL;
	*stream = (struct stream){
		.object.kind = OBJECT_STREAM,
		.family = family,
		.dead = true,
		.read_timeout_us = -1,
		.write_timeout_us = -1,
		.low_water = 1,
	};
	list_init(&stream->object.entries);
	list_init(&stream->link);
	return stream;
}

void stream_begin(struct stream *stream, unsigned lane, uint32_t slot)
{
	const struct attachment *attached = shim_get()->attached;
	struct lane_slot state;

	lane_slot(attached->lanes[lane], slot, &state);
	stream->lane = lane;
	stream->slot = slot;
	stream->generation = state.generation;
	stream->local = state.opened.local;
	stream->remote = state.opened.remote;
	stream->dead = false;
	attached->streams[lane][slot] = stream;
}

struct stream *stream_create(const struct arrival *arrival, int family)
{
	struct stream *stream = make(family);

	if (stream != NULL)
		stream_begin(stream, arrival->lane, arrival->slot);
	return stream;
}

struct stream *stream_create_outgoing(uint32_t number, int family)
{
	struct stream *stream = make(family);

	if (stream == NULL)
		return NULL;
	stream->number = number;
	stream->connecting = stream->asks = true;
	return stream;
}

void stream_close(struct stream *stream)
{
	if (stream->lent)
		loan_release(shim_get(), stream);
	if (stream->dead)
		return;
	post(stream, (struct lane_item){
			     .what = LANE_POST_CLOSE, .error = stream->resets ? ECONNRESET : 0});
	shim_get()->attached->streams[stream->lane][stream->slot] = NULL;
	stream->dead = true;
	wait_touch(shim_get(), &stream->object);
}

void stream_destroy(struct stream *stream)
{
	free(stream);
}

void stream_die(struct stream *stream, int error)
{
	stream->dead = true;
	stream->dead_error = stream->connecting ? ECONNREFUSED : error;
	stream->connecting = false;
	wait_touch(shim_get(), &stream->object);
}

// --- standing ------------------------------------------------------------------------------------

bool stream_is_connecting(struct stream *stream)
{
	struct lane_slot slot;

	if (!stream->connecting || stream->dead) // or it has no slot yet
		return stream->connecting;
	look(stream, &slot);
	stream->connecting = !slot.ready && !slot.closed;
	return stream->connecting;
}

bool stream_stands(struct stream *stream)
{
	struct lane_slot slot;

	look(stream, &slot);
	return !stream_is_connecting(stream) && !stream->dead && slot.error == 0;
}

// --- errors --------------------------------------------------------------------------------------

// 0: there is none, or it was told.
static int error_of(const struct stream *stream, const struct lane_slot *slot)
{
	if (stream->dead)
		return stream->dead_error;
	return stream->error_told ? 0 : slot->error;
}

static void error_taken(struct stream *stream)
{
	stream->dead_error = 0;
	stream->error_told = true;
}

int stream_take_error(struct stream *stream)
{
	struct lane_slot slot;
	int error;

	if (stream_is_connecting(stream))
		return 0;
	look(stream, &slot);
	error = error_of(stream, &slot);
	if (error != 0)
		error_taken(stream);
	return error;
}

// Neither direction carries anything any more.
static bool is_over(const struct stream *stream, const struct lane_slot *slot)
{
	return stream->dead || slot->error != 0 || slot->closed;
}

uint32_t stream_events(struct stream *stream)
{
	uint32_t events = 0;
	struct lane_slot slot;

	if (stream_is_connecting(stream))
		return 0;
	look(stream, &slot);
	if (slot.came >= stream->low_water || slot.ended || stream->shut_read)
		events |= EPOLLIN | EPOLLRDNORM;
	if (slot.ended || stream->shut_read)
		events |= EPOLLRDHUP;
	if (is_over(stream, &slot) || (stream->shut_write && (slot.ended || stream->shut_read)))
		events |= EPOLLHUP;
	if (error_of(stream, &slot) != 0)
		events |= EPOLLERR;
	// As Linux: not for every octet that becomes free.
	if (stream->shut_write || is_over(stream, &slot) || slot.room >= CHANNEL_STREAM / 3)
		events |= EPOLLOUT | EPOLLWRNORM;
	return events;
}

void stream_want_room(struct stream *stream)
{
	post(stream, (struct lane_item){.what = LANE_POST_HUNGRY});
}

uint32_t stream_readable(struct stream *stream)
{
	struct lane_slot slot;

	look(stream, &slot);
	return slot.came;
}

uint32_t stream_unsent(struct stream *stream)
{
	struct lane_slot slot;

	look(stream, &slot);
	return slot.sent;
}

// --- waiting -------------------------------------------------------------------------------------

static bool blocks(const struct stream *stream, int flags)
{
	return !stream->object.nonblocking && !(flags & MSG_DONTWAIT);
}

// Until something is new. 0, or -errno: the call ends with what it has, or with this.
static int wait(struct stream *stream, int64_t until_us)
{
	int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();
	int error;

	if (until_us >= 0 && left_us <= 0)
		return -EAGAIN;
	error = wait_news(shim_get(), left_us, &stream->object);
	return error == EINTR ? -EINTR : error == ETIMEDOUT ? -EAGAIN : 0;
}

static int64_t until(int64_t timeout_us)
{
	return timeout_us < 0 ? -1 : wait_now_us() + timeout_us;
}

static size_t total(const struct iovec *iov, int count)
{
	size_t length = 0;

	for (int i = 0; i < count; i++)
		length += iov[i].iov_len;
	return length;
}

// --- receiving -----------------------------------------------------------------------------------

// Copies what lies in the lane from `skip` on behind `done` octets of iov. Returns how many.
static size_t copy_out(
	struct stream *stream, const struct iovec *iov, int count, size_t done, uint32_t skip)
{
	struct lane_span spans[LANE_SPANS];
	unsigned spans_count = lane_peek(lane_of(stream), stream->slot, skip, spans, LANE_SPANS);
	size_t copied = 0, at = done;
	int v = 0;

	while (v < count && at >= iov[v].iov_len)
		at -= iov[v++].iov_len;
	for (unsigned i = 0; i < spans_count; i++) {
		size_t used = 0;

		while (used < spans[i].length && v < count) {
			size_t n = iov[v].iov_len - at;

			n = n < spans[i].length - used ? n : spans[i].length - used;
			memcpy((char *)iov[v].iov_base + at, (const char *)spans[i].data + used, n);
			used += n;
			copied += n;
			at += n;
			while (v < count && at >= iov[v].iov_len) {
				at = 0;
				v++;
			}
		}
	}
	return copied;
}

static ssize_t receive_now(
	struct stream *stream, const struct iovec *iov, int count, size_t done, int flags)
{
	size_t wanted = total(iov, count) - done;
	struct lane_slot slot;
	size_t n;

	look(stream, &slot);
	if (slot.came == 0 || wanted == 0)
		return 0;
	// MSG_TRUNC throws octets of a stream away.
	if (flags & MSG_TRUNC)
		n = wanted < slot.came ? wanted : slot.came;
	else
		n = copy_out(stream, iov, count, done, (flags & MSG_PEEK) ? (uint32_t)done : 0);
	if (n > 0 && !(flags & MSG_PEEK))
		post(stream, (struct lane_item){.what = LANE_POST_TAKEN, .octets = (uint32_t)n});
	return (ssize_t)n;
}

// What there is to say when nothing came: 1: wait, 0: the end, or -errno.
static int receive_idle(struct stream *stream)
{
	struct lane_slot slot;
	int error;

	if (stream_is_connecting(stream))
		return 1;
	look(stream, &slot);
	error = error_of(stream, &slot);
	if (error != 0)
		return -error;
	return slot.ended || stream->shut_read || is_over(stream, &slot) ? 0 : 1;
}

ssize_t stream_receive(struct stream *stream, const struct iovec *iov, int count, int flags)
{
	size_t wanted = total(iov, count), done = 0;
	size_t least = (flags & MSG_WAITALL) ? wanted : stream->low_water;
	int64_t until_us = until(stream->read_timeout_us);
	int rc, waited = 0;

	if (flags & MSG_OOB)
		return -EINVAL;
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	news_drain(shim_get());
	for (;;) {
		done += receive_now(stream, iov, count, done, flags);
		if (done >= least || (done == wanted && wanted > 0) ||
			(wanted == 0 && stream_readable(stream) > 0))
			return (ssize_t)done;
		rc = receive_idle(stream);
		if (rc < 0 && done == 0)
			error_taken(stream);
		if (rc <= 0)
			return done > 0 ? (ssize_t)done : rc;
		if (!blocks(stream, flags))
			return done > 0 ? (ssize_t)done : -EAGAIN;
		// What came together with a signal comes first.
		if (waited < 0)
			return done > 0 ? (ssize_t)done : waited;
		waited = wait(stream, until_us);
	}
}

// --- sending -------------------------------------------------------------------------------------

// `tells`: the application hears of it now.
static int send_error(struct stream *stream, bool tells)
{
	struct lane_slot slot;
	int error;

	look(stream, &slot);
	error = error_of(stream, &slot);
	if (error != 0) {
		if (tells)
			error_taken(stream);
		return -error;
	}
	return stream->shut_write || is_over(stream, &slot) ? -EPIPE : 0;
}

static ssize_t send_now(struct stream *stream, const struct iovec *iov, int count, size_t done)
{
	struct lane_span spans[64];
	struct lane_item item = {.what = LANE_POST_DATA, .spans = spans};
	size_t at = done;
	int v = 0;

	while (v < count && at >= iov[v].iov_len)
		at -= iov[v++].iov_len;
	for (; v < count && item.spans_count < 64; v++) {
		size_t n = iov[v].iov_len - at;

		n = n < CHANNEL_STREAM ? n : CHANNEL_STREAM;
		if (n > 0)
			spans[item.spans_count++] =
				(struct lane_span){(const char *)iov[v].iov_base + at, (uint32_t)n};
		at = 0;
		if (n == CHANNEL_STREAM)
			break;
	}
	return item.spans_count > 0 ? post(stream, item) : 0;
}

// As much as there is room for, and word when there is more.
static ssize_t send_some(struct stream *stream, const struct iovec *iov, int count, size_t done)
{
	size_t wanted = total(iov, count), begin = done;
	bool asked = false;

	while (done < wanted) {
		ssize_t n = send_now(stream, iov, count, done);

		if (n < 0)
			break;
		done += (size_t)n;
		if (n == 0 && asked)
			break;
		// Before the try that finds no room: what becomes free meanwhile is not missed.
		asked = n == 0;
		if (asked)
			stream_want_room(stream);
	}
	return (ssize_t)(done - begin);
}

ssize_t stream_send(struct stream *stream, const struct iovec *iov, int count, int flags)
{
	size_t wanted = total(iov, count), done = 0;
	int64_t until_us = until(stream->write_timeout_us);
	int rc, waited = 0;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	news_drain(shim_get());
	for (;;) {
		bool connecting = stream_is_connecting(stream);

		rc = connecting ? 0 : send_error(stream, done == 0);
		if (rc < 0)
			return done > 0 ? (ssize_t)done : rc;
		if (!connecting)
			done += (size_t)send_some(stream, iov, count, done);
		if (done == wanted && !connecting)
			return (ssize_t)done;
		if (!blocks(stream, flags))
			return done > 0 ? (ssize_t)done : -EAGAIN;
		if (waited < 0)
			return done > 0 ? (ssize_t)done : waited;
		waited = wait(stream, until_us);
	}
}

int stream_shutdown(struct stream *stream, int how)
{
	struct lane_slot slot;

	look(stream, &slot);
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (stream_is_connecting(stream)) {
		outgoing_disconnect(stream);
		return 0;
	}
	if (is_over(stream, &slot))
		return -ENOTCONN;
	if (how != SHUT_WR)
		stream->shut_read = true;
	if (how != SHUT_RD && !stream->shut_write) {
		stream->shut_write = true;
		post(stream, (struct lane_item){.what = LANE_POST_END});
	}
	wait_touch(shim_get(), &stream->object);
	return 0;
}
