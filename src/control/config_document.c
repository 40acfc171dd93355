// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Positions come from libyaml's document tree. libcyaml has them too, but only for
// what it refuses itself, and stops at the first mistake without saying what would
// have been right; so its schema is read here as well, before it loads.

#include "control/config_document.h"

#include "control/config_raw.h"

#include <yaml.h>

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct config_document {
	yaml_document_t yaml;
	const char *file;
	FILE *out;
	unsigned errors;
};

static void report(struct config_document *d, yaml_mark_t mark, const char *path,
	const char *format, va_list args)
{
	if (d->errors++ >= CONFIG_ERRORS_MAX)
		return;
	fprintf(d->out, "%s:%zu:%zu: ", d->file, mark.line + 1, mark.column + 1);
	if (*path)
		fprintf(d->out, "%s: ", path);
	vfprintf(d->out, format, args);
	fputc('\n', d->out);
}

__attribute__((format(printf, 4, 5))) static void fail(struct config_document *d,
	const yaml_node_t *node, const char *path, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(d, node->start_mark, path, format, args);
	va_end(args);
}

unsigned config_document_errors(const struct config_document *document)
{
	return document->errors;
}

// --- reading -------------------------------------------------------------------------------------

int config_document_create(const char *file, const char *text, size_t length, FILE *errors,
	struct config_document **ret_document)
{
	struct config_document *d = calloc(1, sizeof(*d));
	yaml_parser_t parser;
	int ok;

	if (!d || !yaml_parser_initialize(&parser)) {
		free(d);
		return -ENOMEM;
	}
	d->file = file;
	d->out = errors;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	ok = yaml_parser_load(&parser, &d->yaml);
	if (!ok) {
		fprintf(errors, "%s:%zu:%zu: not YAML: %s%s%s\n", file,
			parser.problem_mark.line + 1, parser.problem_mark.column + 1,
			parser.problem ? parser.problem : "unreadable", parser.context ? ", " : "",
			parser.context ? parser.context : "");
	} else if (!yaml_document_get_root_node(&d->yaml)) {
		fprintf(errors, "%s:1:1: the file is empty; offrampd.yaml(5) has an example\n",
			file);
		yaml_document_delete(&d->yaml);
		ok = 0;
	}
	yaml_parser_delete(&parser);
	if (!ok) {
		free(d);
		return -EINVAL;
	}
	*ret_document = d;
	return 0;
}

void config_document_destroy(struct config_document *document)
{
	if (!document)
		return;
	yaml_document_delete(&document->yaml);
	free(document);
}

// --- finding -------------------------------------------------------------------------------------

static const char *scalar(const yaml_node_t *node)
{
	return (const char *)node->data.scalar.value;
}

static yaml_node_t *mapping_value(
	struct config_document *d, const yaml_node_t *mapping, const char *key, size_t length)
{
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
		pair < mapping->data.mapping.pairs.top; pair++) {
		yaml_node_t *k = yaml_document_get_node(&d->yaml, pair->key);

		if (k->type == YAML_SCALAR_NODE && strlen(scalar(k)) == length &&
			memcmp(scalar(k), key, length) == 0)
			return yaml_document_get_node(&d->yaml, pair->value);
	}
	return NULL;
}

static yaml_node_t *sequence_entry(
	struct config_document *d, const yaml_node_t *sequence, size_t index)
{
	yaml_node_item_t *items = sequence->data.sequence.items.start;

	if (index >= (size_t)(sequence->data.sequence.items.top - items))
		return NULL;
	return yaml_document_get_node(&d->yaml, items[index]);
}

// The node at path, or the last one on the way that exists.
static const yaml_node_t *locate(struct config_document *d, const char *path)
{
	yaml_node_t *node = yaml_document_get_root_node(&d->yaml), *next;

	while (*path) {
		if (*path == '[' && node->type == YAML_SEQUENCE_NODE) {
			next = sequence_entry(d, node, strtoul(path + 1, NULL, 10));
			path += strcspn(path, "]") + 1;
		} else if (*path != '[' && node->type == YAML_MAPPING_NODE) {
			path += *path == '.';
			next = mapping_value(d, node, path, strcspn(path, ".["));
			path += strcspn(path, ".[");
		} else {
			break;
		}
		if (!next)
			break;
		node = next;
	}
	return node;
}

void config_document_error(
	struct config_document *document, const char *path, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(document, locate(document, path)->start_mark, path, format, args);
	va_end(args);
}

// --- checking ------------------------------------------------------------------------------------

// A list of words for the end of an error line.
struct choices {
	char text[640];
	size_t length;
};

static void choices_add(struct choices *c, const char *word)
{
	int n = snprintf(c->text + c->length, sizeof(c->text) - c->length, "%s%s",
		c->length ? ", " : "", word);

	if (n > 0 && c->length + n < sizeof(c->text))
		c->length += n;
}

static void check_value(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path);

static void path_key(char into[CONFIG_PATH_MAX], const char *path, const char *key)
{
	snprintf(into, CONFIG_PATH_MAX, "%s%s%s", path, *path ? "." : "", key);
}

static void check_unknown_key(struct config_document *d, const cyaml_schema_field_t *fields,
	const yaml_node_t *key, const char *path)
{
	struct choices choices = {0};

	for (const cyaml_schema_field_t *f = fields; f->key; f++)
		choices_add(&choices, f->key);
	fail(d, key, path, "no such key; valid choices: %s", choices.text);
}

static void check_pair(struct config_document *d, const cyaml_schema_field_t *fields,
	const yaml_node_t *mapping, const yaml_node_pair_t *pair, const char *path)
{
	yaml_node_t *key = yaml_document_get_node(&d->yaml, pair->key);
	const cyaml_schema_field_t *field = fields;
	char name[CONFIG_PATH_MAX];

	if (key->type != YAML_SCALAR_NODE) {
		fail(d, key, path, "a key must be a word");
		return;
	}
	path_key(name, path, scalar(key));
	while (field->key && strcmp(field->key, scalar(key)) != 0)
		field++;
	if (!field->key) {
		check_unknown_key(d, fields, key, name);
		return;
	}
	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
		yaml_node_t *earlier = yaml_document_get_node(&d->yaml, p->key);

		if (earlier->type == YAML_SCALAR_NODE &&
			strcmp(scalar(earlier), scalar(key)) == 0) {
			fail(d, key, name, "given twice; the first stands on line %zu",
				earlier->start_mark.line + 1);
			return;
		}
	}
	check_value(d, &field->value, yaml_document_get_node(&d->yaml, pair->value), name);
}

static void check_mapping(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path)
{
	const cyaml_schema_field_t *fields = schema->mapping.fields;
	char name[CONFIG_PATH_MAX];
	struct choices choices = {0};

	if (node->type != YAML_MAPPING_NODE) {
		for (const cyaml_schema_field_t *f = fields; f->key; f++)
			choices_add(&choices, f->key);
		fail(d, node, path, "must hold keys; valid choices: %s", choices.text);
		return;
	}
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
		pair < node->data.mapping.pairs.top; pair++)
		check_pair(d, fields, node, pair, path);
	for (const cyaml_schema_field_t *f = fields; f->key; f++) {
		if ((f->value.flags & CYAML_FLAG_OPTIONAL) ||
			mapping_value(d, node, f->key, strlen(f->key)))
			continue;
		path_key(name, path, f->key);
		fail(d, node, name, "missing; it has no default");
	}
}

static void check_sequence(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path)
{
	char name[CONFIG_PATH_MAX];
	size_t count;

	if (node->type != YAML_SEQUENCE_NODE) {
		fail(d, node, path, "must be a list: [first, second]");
		return;
	}
	count = node->data.sequence.items.top - node->data.sequence.items.start;
	if (count < schema->sequence.min)
		fail(d, node, path, "must have at least one entry");
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s[%zu]", path, i);
		check_value(d, schema->sequence.entry, sequence_entry(d, node, i), name);
	}
}

static void check_enum(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path)
{
	struct choices choices = {0};

	for (unsigned i = 0; i < schema->enumeration.count; i++) {
		if (strcmp(schema->enumeration.strings[i].str, scalar(node)) == 0)
			return;
		choices_add(&choices, schema->enumeration.strings[i].str);
	}
	fail(d, node, path, "'%s' is not known; valid choices: %s", scalar(node), choices.text);
}

static void check_scalar(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path)
{
	if (node->type != YAML_SCALAR_NODE) {
		fail(d, node, path, "must be a single value");
		return;
	}
	if (schema->type == CYAML_ENUM) {
		check_enum(d, schema, node, path);
		return;
	}
	if (*scalar(node) == '\0') {
		fail(d, node, path, "has no value");
		return;
	}
	// libcyaml takes every word it does not know for true.
	if (schema->type == CYAML_BOOL && strcmp(scalar(node), "true") != 0 &&
		strcmp(scalar(node), "false") != 0)
		fail(d, node, path, "'%s' is not known; valid choices: true, false", scalar(node));
	if (schema->type == CYAML_UINT &&
		(strspn(scalar(node), "0123456789") != strlen(scalar(node)) ||
			strlen(scalar(node)) > 9))
		fail(d, node, path, "'%s' is not a whole number", scalar(node));
}

static void check_value(struct config_document *d, const cyaml_schema_value_t *schema,
	const yaml_node_t *node, const char *path)
{
	switch (schema->type) {
	case CYAML_MAPPING:
		check_mapping(d, schema, node, path);
		break;
	case CYAML_SEQUENCE:
		check_sequence(d, schema, node, path);
		break;
	default:
		check_scalar(d, schema, node, path);
		break;
	}
}

void config_document_check(
	struct config_document *document, const struct cyaml_schema_value *schema)
{
	check_value(document, schema, yaml_document_get_root_node(&document->yaml), "");
}
