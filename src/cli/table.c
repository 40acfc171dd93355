// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Tables: cells in one growing array. Without memory there is no output worth
// having: the program ends.

#include "cli/table.h"

#include <err.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2 // blanks between columns

void table_init(struct table *table, const struct table_column *columns, unsigned count)
{
	*table = (struct table){.columns = columns, .columns_count = count};
}

void table_fini(struct table *table)
{
	for (size_t i = 0; i < table->cells_count; i++)
		free(table->cells[i]);
	free(table->cells);
}

static void make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) // C1 controls in UTF-8
			p[0] = p[1] = '?';
	}
}

void table_text(struct table *table, const char *text)
{
	char *cell = strdup(text && *text ? text : "-");

	if (table->cells_count == table->cells_max) {
		table->cells_max = table->cells_max ? 2 * table->cells_max : 256;
		table->cells = reallocarray(table->cells, table->cells_max, sizeof(*table->cells));
	}
	if (!cell || !table->cells)
		err(1, "table");
	make_printable(cell);
	table->cells[table->cells_count++] = cell;
}

void table_number(struct table *table, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	table_text(table, text);
}

// Characters of UTF-8, each taken for one place.
static unsigned width(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static void print_row(
	const struct table *table, const char *const *cells, const unsigned *widths, FILE *out)
{
	for (unsigned c = 0; c < table->columns_count; c++) {
		const char *text = cells ? cells[c] : table->columns[c].title;
		unsigned pad = widths[c] - width(text);

		if (table->columns[c].align == TABLE_RIGHT)
			fprintf(out, "%*s%s", pad, "", text);
		else if (c + 1 < table->columns_count)
			fprintf(out, "%s%*s", text, pad, "");
		else
			fputs(text, out); // nothing to align behind it
		if (c + 1 < table->columns_count)
			fprintf(out, "%*s", GAP, "");
	}
	fputc('\n', out);
}

void table_print(const struct table *table, FILE *out)
{
	unsigned widths[table->columns_count];

	for (unsigned c = 0; c < table->columns_count; c++) {
		widths[c] = width(table->columns[c].title);
		for (size_t i = c; i < table->cells_count; i += table->columns_count)
			if (width(table->cells[i]) > widths[c])
				widths[c] = width(table->cells[i]);
	}
	print_row(table, NULL, widths, out);
	for (size_t i = 0; i < table->cells_count; i += table->columns_count)
		print_row(table, (const char *const *)&table->cells[i], widths, out);
}
