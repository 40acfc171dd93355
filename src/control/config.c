// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Loading a configuration: the file is read once, its positions kept while it is
// checked, and its texts kept as long as the configuration itself.

#include "control/config.h"

#include "base/list.h"
#include "control/config_document.h"
#include "control/config_raw.h"
#include "control/config_resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Larger than any sensible configuration; a wrong file is not read into memory whole.
#define FILE_MAX (4u << 20)

struct loaded {
	struct config config;
	struct raw_config *raw; // texts that the configuration points into
	char file[];
};

// Said only for what config_document_check() has let through: nothing known.
static void cyaml_say(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
	(void)level;
	vfprintf(ctx, format, args);
}

static cyaml_config_t cyaml_settings(FILE *errors)
{
	return (cyaml_config_t){
		.log_fn = errors ? cyaml_say : NULL,
		.log_ctx = errors,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
	};
}

static int read_file(const char *file, char **ret_text, size_t *ret_length)
{
	FILE *in = fopen(file, "re");
	char *text = NULL;
	int err = 0;

	if (!in)
		return -errno;
	text = malloc(FILE_MAX);
	if (!text) {
		err = -ENOMEM;
		goto out;
	}
	*ret_length = fread(text, 1, FILE_MAX, in);
	if (ferror(in))
		err = -EIO;
	else if (*ret_length == FILE_MAX)
		err = -EFBIG;
	if (err)
		goto out;
	*ret_text = text;
	text = NULL;
out:
	free(text);
	fclose(in);
	return err;
}

static int load_text(struct loaded *loaded, const char *text, size_t length, FILE *errors)
{
	cyaml_config_t settings = cyaml_settings(errors);
	struct config_document *document;
	cyaml_err_t cyaml_err;
	int err;

	err = config_document_create(loaded->file, text, length, errors, &document);
	if (err)
		return err;
	config_document_check(document, &config_schema);
	if (config_document_errors(document)) {
		err = -EINVAL;
		goto out;
	}
	cyaml_err = cyaml_load_data((const uint8_t *)text, length, &settings, &config_schema,
		(cyaml_data_t **)&loaded->raw, NULL);
	if (cyaml_err != CYAML_OK) {
		config_document_error(document, "", "%s", cyaml_strerror(cyaml_err));
		err = cyaml_err == CYAML_ERR_OOM ? -ENOMEM : -EINVAL;
		goto out;
	}
	err = config_resolve(document, loaded->raw, &loaded->config);
out:
	config_document_destroy(document);
	return err;
}

int config_load(const char *file, struct config **ret_config, FILE *errors)
{
	struct loaded *loaded = NULL;
	char *text = NULL;
	size_t length = 0;
	int err;

	err = read_file(file, &text, &length);
	if (err) {
		fprintf(errors, "%s: cannot be read: %s\n", file, strerror(-err));
		return err;
	}
	loaded = calloc(1, sizeof(*loaded) + strlen(file) + 1);
	if (loaded) {
		strcpy(loaded->file, file);
		loaded->config.file = loaded->file;
		err = load_text(loaded, text, length, errors);
	} else {
		err = -ENOMEM;
	}
	free(text);
	if (err) {
		if (err == -ENOMEM)
			fprintf(errors, "%s: not enough memory\n", file);
		config_free(loaded ? &loaded->config : NULL);
		return err;
	}
	*ret_config = &loaded->config;
	return 0;
}

void config_free(struct config *config)
{
	cyaml_config_t settings = cyaml_settings(NULL);
	struct loaded *loaded;

	if (!config)
		return;
	loaded = container_of(config, struct loaded, config);
	config_unresolve(config);
	if (loaded->raw)
		cyaml_free(&settings, &config_schema, loaded->raw, 0);
	free(loaded);
}
