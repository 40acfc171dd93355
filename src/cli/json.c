// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// JSON to a stream.

#include "cli/json.h"

#include <inttypes.h>

#define LINES_DEPTH 2 // entries up to this depth start a line

void json_init(struct json *json, FILE *out)
{
	*json = (struct json){.out = out};
}

static void string(struct json *json, const char *text)
{
	fputc('"', json->out);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(json->out, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			fprintf(json->out, "\\u%04x", *p);
		else
			fputc(*p, json->out);
	}
	fputc('"', json->out);
}

static void line(struct json *json)
{
	fprintf(json->out, "\n%*s", 2 * (int)json->depth, "");
}

static void entry(struct json *json, const char *key)
{
	if (json->filled)
		fputc(',', json->out);
	if (json->depth > 0 && json->depth <= LINES_DEPTH)
		line(json);
	else if (json->filled)
		fputc(' ', json->out);
	json->filled = true;
	if (key) {
		string(json, key);
		fputs(": ", json->out);
	}
}

static void begin(struct json *json, const char *key, char bracket)
{
	entry(json, key);
	fputc(bracket, json->out);
	json->depth++;
	json->filled = false;
}

static void end(struct json *json, char bracket)
{
	bool lines = json->filled && json->depth <= LINES_DEPTH;

	json->depth--;
	if (lines)
		line(json);
	fputc(bracket, json->out);
	json->filled = true;
	if (json->depth == 0)
		fputc('\n', json->out);
}

void json_object_begin(struct json *json, const char *key)
{
	begin(json, key, '{');
}

void json_object_end(struct json *json)
{
	end(json, '}');
}

void json_array_begin(struct json *json, const char *key)
{
	begin(json, key, '[');
}

void json_array_end(struct json *json)
{
	end(json, ']');
}

void json_text(struct json *json, const char *key, const char *text)
{
	entry(json, key);
	if (text)
		string(json, text);
	else
		fputs("null", json->out);
}

void json_number(struct json *json, const char *key, uint64_t number)
{
	entry(json, key);
	fprintf(json->out, "%" PRIu64, number);
}

void json_real(struct json *json, const char *key, double number)
{
	entry(json, key);
	fprintf(json->out, "%.6f", number);
}

void json_bool(struct json *json, const char *key, bool value)
{
	entry(json, key);
	fputs(value ? "true" : "false", json->out);
}
