// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A name is looked for part by part: package, then what is defined there, then what
// that contains.

#include "control/descriptors.h"

#include "google/protobuf/descriptor.pb-c.h"
#include "offramp/descriptors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct descriptors {
	Google__Protobuf__FileDescriptorSet *set;
};

int descriptors_create(struct descriptors **ret_descriptors)
{
	struct descriptors *descriptors = calloc(1, sizeof(*descriptors));

	if (!descriptors)
		return -ENOMEM;
	descriptors->set = google__protobuf__file_descriptor_set__unpack(
		NULL, proto_descriptors_length, proto_descriptors);
	if (!descriptors->set) {
		free(descriptors);
		return -ENOMEM;
	}
	*ret_descriptors = descriptors;
	return 0;
}

void descriptors_destroy(struct descriptors *descriptors)
{
	if (!descriptors)
		return;
	google__protobuf__file_descriptor_set__free_unpacked(descriptors->set, NULL);
	free(descriptors);
}

const ProtobufCMessage *descriptors_file(const struct descriptors *descriptors, const char *name)
{
	for (size_t i = 0; i < descriptors->set->n_file; i++)
		if (strcmp(descriptors->set->file[i]->name, name) == 0)
			return &descriptors->set->file[i]->base;
	return NULL;
}

// --- symbols -------------------------------------------------------------------------------------

// What follows `name` in `symbol` ("b.c" in "a.b.c" after "a"); NULL: it is another one.
static const char *after(const char *symbol, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(symbol, name, length) != 0)
		return NULL;
	if (symbol[length] == '.')
		return symbol + length + 1;
	return symbol[length] ? NULL : symbol + length;
}

static bool defines_enum(const Google__Protobuf__EnumDescriptorProto *e, const char *symbol)
{
	const char *rest = after(symbol, e->name);

	return rest && !*rest;
}

static bool defines_method(const Google__Protobuf__ServiceDescriptorProto *s, const char *symbol)
{
	const char *rest = after(symbol, s->name);

	if (!rest)
		return false;
	for (size_t i = 0; i < s->n_method; i++)
		if (strcmp(s->method[i]->name, rest) == 0)
			return true;
	return !*rest;
}

static bool defines_message(const Google__Protobuf__DescriptorProto *m, const char *symbol)
{
	const char *rest = after(symbol, m->name);

	if (!rest)
		return false;
	for (size_t i = 0; i < m->n_nested_type; i++)
		if (defines_message(m->nested_type[i], rest))
			return true;
	for (size_t i = 0; i < m->n_enum_type; i++)
		if (defines_enum(m->enum_type[i], rest))
			return true;
	for (size_t i = 0; i < m->n_field; i++)
		if (strcmp(m->field[i]->name, rest) == 0)
			return true;
	return !*rest;
}

static bool file_defines(const Google__Protobuf__FileDescriptorProto *f, const char *symbol)
{
	const char *rest = f->package ? after(symbol, f->package) : symbol;

	if (!rest)
		return false;
	for (size_t i = 0; i < f->n_service; i++)
		if (defines_method(f->service[i], rest))
			return true;
	for (size_t i = 0; i < f->n_message_type; i++)
		if (defines_message(f->message_type[i], rest))
			return true;
	for (size_t i = 0; i < f->n_enum_type; i++)
		if (defines_enum(f->enum_type[i], rest))
			return true;
	return false;
}

const ProtobufCMessage *descriptors_symbol(
	const struct descriptors *descriptors, const char *symbol)
{
	for (size_t i = 0; i < descriptors->set->n_file; i++)
		if (file_defines(descriptors->set->file[i], symbol))
			return &descriptors->set->file[i]->base;
	return NULL;
}
