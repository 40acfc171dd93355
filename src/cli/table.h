// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Aligned columns for people. Cells are collected and printed together, so that
// every column is as wide as its widest cell.

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct table_column {
	const char *title;
	enum { TABLE_LEFT, TABLE_RIGHT } align;
};

struct table {
	const struct table_column *columns;
	unsigned columns_count;
	char **cells; // row by row
	size_t cells_count, cells_max;
};

// `columns` must outlive the table.
void table_init(struct table *table, const struct table_column *columns, unsigned count);
void table_fini(struct table *table);

// The next cell, from left to right; after the last column a new row begins. Empty and NULL are
// shown as "-"; control characters, which would speak to the terminal, as "?".
void table_text(struct table *table, const char *text);
void table_number(struct table *table, uint64_t number);

void table_print(const struct table *table, FILE *out);
