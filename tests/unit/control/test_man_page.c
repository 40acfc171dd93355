// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offrampd.yaml(5) against the schema: every key has its entry, every word its
// mention, every number its default and range, and nothing else is described.

#include "tests.h"

#include "control/config_raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *page;
static unsigned entries_seen;

// The text of a key's entry, up to the next one; freed by the caller.
static char *entry_text(const char *path)
{
	char *head, *from, *to, *text;

	assert_true(asprintf(&head, "\n.It Ic %s\n", path) > 0);
	from = strstr(page, head);
	if (!from)
		fail_msg("offrampd.yaml(5) has no '.It Ic %s'", path);
	from += strlen(head);
	free(head);
	to = strstr(from, "\n.It ");
	if (!to || (strstr(from, "\n.El") && strstr(from, "\n.El") < to))
		to = strstr(from, "\n.El");
	assert_non_null(to);
	text = strndup(from, to - from);
	entries_seen++;
	return text;
}

static void expect(const char *path, const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("offrampd.yaml(5), %s: '%s' is missing", path, what);
}

static void check_enum(const char *path, const char *text, const cyaml_schema_value_t *schema)
{
	for (unsigned i = 0; i < schema->enumeration.count; i++) {
		char *word;

		assert_true(asprintf(&word, ".Cm %s", schema->enumeration.strings[i].str) > 0);
		expect(path, text, word);
		free(word);
	}
}

static void check_field(const char *path, const cyaml_schema_value_t *schema)
{
	char *text = entry_text(path), *inner;

	if (schema->type == CYAML_ENUM)
		check_enum(path, text, schema);
	if (!(schema->flags & CYAML_FLAG_OPTIONAL))
		expect(path, text, "Required.");
	free(text);
	if (schema->type == CYAML_SEQUENCE) {
		assert_true(asprintf(&inner, "%s[]", path) > 0);
		schema = schema->sequence.entry;
	} else {
		inner = strdup(path);
	}
	if (schema->type == CYAML_MAPPING)
		for (const cyaml_schema_field_t *f = schema->mapping.fields; f->key; f++) {
			char *key;

			assert_true(asprintf(&key, "%s.%s", inner, f->key) > 0);
			check_field(key, &f->value);
			free(key);
		}
	free(inner);
}

static void every_key_is_described(void **state)
{
	unsigned described = 0;

	(void)state;
	entries_seen = 0;
	for (const cyaml_schema_field_t *f = config_schema.mapping.fields; f->key; f++)
		check_field(f->key, &f->value);
	for (const char *p = page; (p = strstr(p, "\n.It Ic ")); p++)
		described++;
	assert_int_equal(described, entries_seen);
}

static void every_number_has_its_default_and_range(void **state)
{
	(void)state;
	for (unsigned s = 0; s < CONFIG_SECTIONS; s++)
		for (unsigned i = 0; i < config_sections[s].count; i++) {
			const struct config_number *n = &config_sections[s].numbers[i];
			char low[CONFIG_NUMBER_STRLEN], high[CONFIG_NUMBER_STRLEN],
				otherwise[CONFIG_NUMBER_STRLEN];
			char *path, *text, *line;

			assert_true(asprintf(&path, "%s.%s", config_sections[s].path, n->key) > 0);
			text = entry_text(path);
			config_number_format(n->unit, n->min, low);
			config_number_format(n->unit, n->max, high);
			config_number_format(n->unit, n->fallback, otherwise);
			// A default outside of the range stands for "the device's own".
			assert_true(asprintf(&line, "%s%s%sfrom %s to %s.",
					    n->fallback >= n->min ? "Default " : "",
					    n->fallback >= n->min ? otherwise : "",
					    n->fallback >= n->min ? "; " : "", low, high) > 0);
			expect(path, text, line);
			free(line);
			free(text);
			free(path);
		}
}

int test_man_page(const char *source_root)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_described),
		cmocka_unit_test(every_number_has_its_default_and_range),
	};
	char *file;
	FILE *in;
	int failed;

	if (asprintf(&file, "%s/docs/man/offrampd.yaml.5", source_root) < 0)
		return 1;
	in = fopen(file, "r");
	page = calloc(1, 1 << 20);
	if (!in || !page || fread(page, 1, (1 << 20) - 1, in) == 0) {
		perror(file);
		return 1;
	}
	fclose(in);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(page);
	free(file);
	return failed;
}
