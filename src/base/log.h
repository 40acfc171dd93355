// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Log lines on stderr: one line an event, `level component: text`. Never called
// on a packet's way: what packets do is counted (base/counters.h). When stderr is
// the journal (JOURNAL_STREAM), lines carry the <N> priority prefix instead.
// Thread-safe: one write() a line.

#pragma once

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

__attribute__((format(printf, 3, 4))) void log_write(
	enum log_level level, const char *component, const char *format, ...);

#define log_error(component, ...)   log_write(LOG_LEVEL_ERROR, component, __VA_ARGS__)
#define log_warning(component, ...) log_write(LOG_LEVEL_WARNING, component, __VA_ARGS__)
#define log_info(component, ...)    log_write(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_debug(component, ...)   log_write(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
