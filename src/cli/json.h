// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A JSON writer (RFC 8259): values in the order they are given, commas and line
// breaks where they belong. Entries of the outermost two levels get lines of their
// own, what is deeper stays on one.

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	unsigned depth;
	bool filled; // the innermost object or array has an entry already
};

void json_init(struct json *json, FILE *out);

// `key` is NULL in an array and outermost. Texts are UTF-8; NULL is null.
void json_object_begin(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array_begin(struct json *json, const char *key);
void json_array_end(struct json *json);
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, uint64_t number);
void json_real(struct json *json, const char *key, double number);
void json_bool(struct json *json, const char *key, bool value);
