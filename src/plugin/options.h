// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The plugin_opt_… lines of mosquitto.conf: docs/plugin.md lists them.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#define OPTIONS_ERROR_MAX  512
#define OPTIONS_BROKER_MAX 255

struct options_pair {
	const char *key, *value; // without "plugin_opt_"
};

// Text belongs to the pairs.
struct options {
	const char *address;
	const char *broker;
	bool acl_allow; // else other sources decide
	size_t queue_bytes;
	unsigned queue_events;
	unsigned readers_max;
	const char *tls_ca, *tls_certificate, *tls_key, *tls_name; // NULL: not given
};

// 0; -EINVAL with one line in `error` that says what is wrong and what to do.
int options_parse(const struct options_pair *pairs, size_t count, struct options *ret_options,
	char error[OPTIONS_ERROR_MAX]);
