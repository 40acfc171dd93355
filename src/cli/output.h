// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a command makes of the daemon's answer: a table for people or one JSON
// document for programs, gathered in memory and printed only when all has come.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/json.h"
#include "cli/table.h"

struct output {
	bool as_json;
	FILE *out;
	struct json json;
	struct table table;
};

struct command {
	const char *name, *summary;
	bool is_trace;		 // trace.h; what follows does not concern it
	const char *path;	 // of the gRPC method
	const char *change_path; // with options that change something: of that; NULL: none do
	const struct table_column *columns;
	unsigned columns_count;
	bool list; // of messages, each a part of the list; otherwise there is one message
	// False when the message cannot be read.
	bool (*message)(struct output *output, const uint8_t *bytes, size_t length);
};

extern const struct command command_status, command_counters, command_connections,
	command_subscriptions, command_topics, command_filters, command_trace;
