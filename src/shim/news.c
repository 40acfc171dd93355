// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the daemon has written, and calls to it. Under the shim's lock.

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/outgoing.h"
#include "shim/state.h"
#include "shim/streams.h"

// An answer comes within microseconds, unless the daemon hangs.
#define ANSWER_US 2000000

static void answered(struct attachment *attached, const struct channel_message *message)
{
	list_for_each (link, &attached->calls) {
		struct call *call = container_of(link, struct call, link);

		if (call->number != message->call)
			continue;
		call->awaited -= call->awaited > 0;
		if (message->kind != CHANNEL_DONE || call->answer.kind != CHANNEL_DONE ||
			call->answer.done.error == 0)
			call->answer = *message;
		return;
	}
}

static void moved(struct shim *shim, unsigned lane, uint32_t slot)
{
	struct stream *stream = shim->attached->streams[lane][slot];

	if (stream == NULL && lane == CHANNEL_LANE_OF_DATAGRAMS)
		dgram_moved(shim, slot);
	// Whose descriptor is closed: the look alone has given its memory back.
	if (stream != NULL)
		wait_touch(shim, &stream->object);
}

static void arrived(struct shim *shim, unsigned lane, uint32_t slot, const struct lane_slot *state)
{
	if (!outgoing_begun(shim, lane, slot, state))
		listener_arrived(shim, lane, slot);
}

static void opened(struct shim *shim, unsigned lane, uint32_t slot)
{
	struct lane_slot state;

	lane_slot(shim->attached->lanes[lane], slot, &state);
	if (state.opened.kind == CHANNEL_STREAM_SLOT)
		arrived(shim, lane, slot, &state);
	else if (lane != CHANNEL_LANE_OF_DATAGRAMS || !dgram_opened(shim, slot, &state))
		lane_post(shim->attached->lanes[lane],
			&(struct lane_item){.what = LANE_POST_CLOSE, .slot = slot});
}

// False: there is nothing, or nothing any more.
static bool take(struct shim *shim, unsigned lane)
{
	struct attachment *attached = shim->attached;
	struct lane_news news;

	lane_poll(attached->lanes[lane], &news);
	switch (news.what) {
	case LANE_NOTHING:
		return false;
	case LANE_MESSAGE:
		answered(attached, &news.message);
		return true;
	case LANE_OPENED:
		opened(shim, lane, news.slot);
		return true;
	case LANE_MOVED:
		moved(shim, lane, news.slot);
		return true;
	case LANE_GONE:
	case LANE_BROKEN:
		break;
	}
	attach_lost(shim);
	return false;
}

static bool arm(struct attachment *attached)
{
	for (unsigned i = 0; i < attached->lanes_count; i++)
		if (!lane_arm(attached->lanes[i]))
			return false;
	return true;
}

void news_drain(struct shim *shim)
{
	do
		for (unsigned i = 0; shim->attached != NULL && i < shim->attached->lanes_count; i++)
			while (shim->attached != NULL && take(shim, i))
				;
	// The daemon wakes once: whoever is awake sees to it that it does so again.
	while (shim->attached != NULL && shim->sleepers > 0 && !arm(shim->attached));
}

bool news_arm(struct shim *shim)
{
	shim->sleepers++;
	if (shim->attached == NULL || arm(shim->attached))
		return true;
	news_disarm(shim);
	news_drain(shim);
	return false;
}

void news_disarm(struct shim *shim)
{
	if (--shim->sleepers > 0)
		return;
	for (unsigned i = 0; shim->attached != NULL && i < shim->attached->lanes_count; i++)
		lane_disarm(shim->attached->lanes[i]);
}

void news_heard(struct shim *shim, int wake)
{
	struct epoll_event event;

	// The attachment may be another one by now, or none; another thread may have heard.
	if (shim->attached != NULL && shim->attached->wake == wake)
		libc_get()->epoll_pwait(wake, &event, 1, 0, NULL);
}

// --- calls ---------------------------------------------------------------------------------------

static int post(struct lane *lane, const struct channel_message *message)
{
	return lane_post(lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = message});
}

void news_tell(struct shim *shim, struct channel_message *message)
{
	message->call = ++shim->calls;
	for (unsigned i = 0; i < shim->attached->lanes_count; i++)
		post(shim->attached->lanes[i], message);
}

static void call_begin(struct shim *shim, struct call *call, struct channel_message *message)
{
	*call = (struct call){.number = ++shim->calls, .answer.kind = CHANNEL_DONE};
	message->call = call->number;
	list_init(&call->link);
	list_append(&shim->attached->calls, &call->link);
}

// Waits for the answers, unless there is an error already. 0, or an errno.
static int call_end(struct shim *shim, struct call *call, int error)
{
	int64_t until_us = wait_now_us() + ANSWER_US;

	while (error == 0 && call->awaited > 0 && !call->failed) {
		news_drain(shim);
		if (call->awaited == 0 || call->failed)
			break;
		if (wait_now_us() >= until_us)
			error = ETIMEDOUT;
		else
			wait_news(shim, 20000, NULL);
	}
	list_remove(&call->link);
	if (error == 0 && call->failed)
		error = ENOTCONN;
	return error == 0 && call->answer.kind == CHANNEL_DONE ? call->answer.done.error : error;
}

int news_call(struct shim *shim, struct channel_message *message, int lane,
	struct channel_message *ret_answer)
{
	struct call call;
	int error = 0;

	if (shim->attached == NULL)
		return ENOTCONN;
	call_begin(shim, &call, message);
	for (unsigned i = 0; error == 0 && i < shim->attached->lanes_count; i++)
		if (lane < 0 || (unsigned)lane == i) {
			call.awaited++;
			error = -post(shim->attached->lanes[i], message);
		}
	error = call_end(shim, &call, error);
	if (ret_answer != NULL)
		*ret_answer = call.answer;
	return error;
}

static int post_with(int door, const struct channel_message *message, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, channel_message_encode(message, bytes)};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return libc_get()->sendmsg(door, &header, MSG_NOSIGNAL) < 0 ? errno : 0;
}

int news_call_door(struct shim *shim, struct channel_message *message, int fd)
{
	struct call call;

	if (shim->attached == NULL)
		return ENOTCONN;
	call_begin(shim, &call, message);
	call.awaited = 1;
	return call_end(shim, &call, post_with(shim->attached->socket, message, fd));
}
