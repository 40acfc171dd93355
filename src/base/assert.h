// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ASSERT states what a bug would break; it stays in release builds. DASSERT is
// for hot paths and lives in debug and CI builds only (meson -Ddassert=true).

#pragma once

#define ASSERT(cond)                                                      \
	do {                                                              \
		if (__builtin_expect(!(cond), 0))                         \
			assert_fail(#cond, __FILE__, __LINE__, __func__); \
	} while (0)

#ifdef OFFRAMP_DASSERT
#define DASSERT(cond) ASSERT(cond)
#else
#define DASSERT(cond) ((void)sizeof(!(cond)))
#endif

// Prints the condition and aborts.
_Noreturn void assert_fail(const char *cond, const char *file, int line, const char *func);
