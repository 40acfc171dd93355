// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A ring of lines, one writer, one reader.

#include "plugin/notes.h"

#include <stdarg.h>
#include <stdio.h>

void notes_write(struct notes *notes, int level, const char *format, ...)
{
	unsigned at = atomic_load_explicit(&notes->written, memory_order_relaxed);
	va_list args;

	if (at - atomic_load_explicit(&notes->read, memory_order_acquire) == NOTES_LINES)
		return;
	va_start(args, format);
	vsnprintf(notes->lines[at % NOTES_LINES].text, NOTES_LINE_MAX, format, args);
	va_end(args);
	notes->lines[at % NOTES_LINES].level = level;
	atomic_store_explicit(&notes->written, at + 1, memory_order_release);
}

void notes_flush(struct notes *notes, void (*print)(int level, const char *text))
{
	unsigned at = atomic_load_explicit(&notes->read, memory_order_relaxed);

	while (at != atomic_load_explicit(&notes->written, memory_order_acquire)) {
		print(notes->lines[at % NOTES_LINES].level, notes->lines[at % NOTES_LINES].text);
		at++;
		atomic_store_explicit(&notes->read, at, memory_order_release);
	}
}
