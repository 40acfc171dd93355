// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A YAML file with the positions of everything in it, and the one place where
// mistakes in it are told: each with file, line, column and key.

#pragma once

#include <stddef.h>
#include <stdio.h>

struct config_document;
struct cyaml_schema_value;

#define CONFIG_PATH_MAX 128

// `text` need not outlive the call. On a syntax error: one line, -EINVAL.
int config_document_create(const char *file, const char *text, size_t length, FILE *errors,
	struct config_document **ret_document);
void config_document_destroy(struct config_document *document); // accepts NULL

// Compares the document with the schema: unknown, missing and doubled keys, values of the wrong
// kind, unknown words. One error line each.
void config_document_check(
	struct config_document *document, const struct cyaml_schema_value *schema);

// One error line about the value at `path` ("brokers[0].capture.hold"); where there is none, about
// the closest mapping or list around it.
__attribute__((format(printf, 3, 4))) void config_document_error(
	struct config_document *document, const char *path, const char *format, ...);

// Errors told so far; only the first CONFIG_ERRORS_MAX are printed.
#define CONFIG_ERRORS_MAX 20
unsigned config_document_errors(const struct config_document *document);
