// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lives of objects: as long as a descriptor or a call refers to them.

#include "shim/object.h"

#include <errno.h>
#include <stdlib.h>

#include "shim/dgrams.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/loans.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

struct object *object_get_to_close(int fd)
{
	struct object *object = table_look(fd);

	if (object == NULL || !shim_lock())
		return NULL;
	object = table_look(fd);
	if (object == NULL)
		shim_unlock();
	else
		object->refs++;
	return object;
}

struct object *object_get_any(int fd)
{
	struct object *object = object_get_to_close(fd);
	struct stream *stream = object != NULL ? stream_of(object) : NULL;

	if (stream == NULL || !stream->lent)
		return object;
	loan_take(shim_get(), stream);
	object_put(object);
	return object_get_to_close(fd); // another one, as a rule
}

struct object *object_get(int fd)
{
	struct object *object = object_get_any(fd);

	if (object == NULL || object->kind != OBJECT_BORROWED)
		return object;
	object_put(object);
	return NULL;
}

bool object_is_busy(int fd)
{
	return table_look(fd) != NULL && shim_is_held();
}

static void destroy(struct object *object)
{
	switch (object->kind) {
	case OBJECT_LISTENER:
		listener_close((struct listener *)object);
		listener_destroy((struct listener *)object);
		break;
	case OBJECT_STREAM:
		stream_close((struct stream *)object);
		stream_destroy((struct stream *)object);
		break;
	case OBJECT_DGRAM:
		dgram_close((struct dgram *)object);
		dgram_destroy((struct dgram *)object);
		break;
	case OBJECT_EPOLL:
		epoll_destroy((struct epoll *)object);
		break;
	case OBJECT_BORROWED:
		libc_get()->close(borrowed_of(object)->memory);
		free(object);
		break;
	}
}

void object_put_locked(struct object *object)
{
	if (--object->refs == 0)
		destroy(object);
}

void object_put(struct object *object)
{
	object_put_locked(object);
	shim_unlock();
}

bool object_bind(struct object *object, int fd)
{
	if (!table_set(fd, object))
		return false;
	object->refs++;
	object->fds++;
	object->fd = fd;
	return true;
}

void object_unbind(struct object *object, int fd)
{
	table_set(fd, NULL);
	if (--object->fds == 0)
		entries_forget(object);
	else if (object->fd == fd)
		object->fd = table_find(object);
	// A call that is under way goes on, as in the kernel.
	object_put_locked(object);
}

struct listener *listener_of(struct object *object)
{
	return object->kind == OBJECT_LISTENER ? (struct listener *)object : NULL;
}

struct stream *stream_of(struct object *object)
{
	return object->kind == OBJECT_STREAM ? (struct stream *)object : NULL;
}

struct dgram *dgram_of(struct object *object)
{
	return object->kind == OBJECT_DGRAM ? (struct dgram *)object : NULL;
}

struct borrowed *borrowed_of(struct object *object)
{
	return object->kind == OBJECT_BORROWED ? (struct borrowed *)object : NULL;
}
