// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Log lines. The level is the one piece of process-wide state here: what is logged is decided
// where it is written, by any thread, and the configuration may change it at run time.

#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static _Atomic int current_level = LOG_LEVEL_INFO;

static const struct {
	const char *word;
	unsigned priority; // of syslog, for the journal
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARNING] = {"warning", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

// JOURNAL_STREAM names the device and inode of the stream the journal reads (systemd.exec(5)); a
// child whose stderr was redirected inherits the variable but not the stream.
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

// A line is one event: what a peer chose (client identifiers, topics) must not forge another.
static void mask_control_bytes(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			text[i] = '?';
	}
}

void log_write(enum log_level level, const char *component, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	size_t room = sizeof(line) - 1; // for the newline
	int prefix, text;
	va_list args;

	if (level > log_get_level())
		return;

	if (stderr_is_journal())
		prefix = snprintf(line, room, "<%u>%s: ", levels[level].priority, component);
	else
		prefix = snprintf(line, room, "%s %s: ", levels[level].word, component);
	if (prefix < 0 || (size_t)prefix >= room)
		return;

	va_start(args, format);
	text = vsnprintf(line + prefix, room - (size_t)prefix, format, args);
	va_end(args);
	if (text < 0)
		return;

	size_t length = (size_t)prefix + (size_t)text;

	if (length > room - 1)
		length = room - 1;
	mask_control_bytes(line + prefix, length - (size_t)prefix);
	line[length++] = '\n';
	// A full or closed stderr must not stop the daemon: the line is lost, and that is all.
	if (write(STDERR_FILENO, line, length) < 0)
		return;
}
