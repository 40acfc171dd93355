// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lines for mosquitto's log. Its log function belongs to its thread (a line may become a
// message on $SYS), so the stream's thread leaves its lines here, and mosquitto's thread
// writes them when it comes by. A line that finds no room is dropped: there are few.

#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#define NOTES_LINES    16
#define NOTES_LINE_MAX 512

struct notes {
	_Atomic unsigned written; // lines, by the stream's thread
	_Atomic unsigned read;	  // by mosquitto's
	struct {
		int level; // of mosquitto_log_printf()
		char text[NOTES_LINE_MAX];
	} lines[NOTES_LINES];
};

// The stream's thread.
__attribute__((format(printf, 3, 4))) void notes_write(
	struct notes *notes, int level, const char *format, ...);
// mosquitto's thread: gives all lines to `print`.
void notes_flush(struct notes *notes, void (*print)(int level, const char *text));
