// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PEM files to gRPC's credentials.

#include "plugin/credentials.h"

#include "plugin/options.h"

#include <grpc/grpc_security.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

// The whole file as text, to be freed. NULL, with a line: it cannot be read.
static char *read_file(const char *option, const char *path, char *error, size_t error_size)
{
	FILE *file = fopen(path, "re");
	char *text = file ? calloc(1, FILE_MAX + 1) : NULL;
	size_t length = text ? fread(text, 1, FILE_MAX, file) : 0;

	if (length == 0) {
		snprintf(error, error_size, "plugin_opt_%s: %s: %s", option, path,
			errno ? strerror(errno) : "it is empty");
		free(text);
		text = NULL;
	}
	if (file)
		fclose(file);
	return text;
}

int credentials_create(const struct options *options, grpc_channel_credentials **ret_credentials,
	char *error, size_t error_size)
{
	char *ca = NULL, *certificate = NULL, *key = NULL;
	grpc_channel_credentials *credentials = NULL;
	grpc_ssl_pem_key_cert_pair pair;
	int err = -EINVAL;

	if (!options->tls_ca) {
		*ret_credentials = grpc_insecure_credentials_create();
		return 0;
	}
	errno = 0;
	ca = read_file("tls_ca", options->tls_ca, error, error_size);
	if (!ca)
		goto out;
	if (options->tls_certificate) {
		certificate =
			read_file("tls_certificate", options->tls_certificate, error, error_size);
		if (!certificate)
			goto out;
		key = read_file("tls_key", options->tls_key, error, error_size);
		if (!key)
			goto out;
		pair = (grpc_ssl_pem_key_cert_pair){key, certificate};
	}
	credentials = grpc_ssl_credentials_create(ca, certificate ? &pair : NULL, NULL, NULL);
	if (!credentials) {
		snprintf(error, error_size, "the plugin_opt_tls_ files are not what TLS needs");
		goto out;
	}
	*ret_credentials = credentials;
	err = 0;
out:
	free(ca);
	free(certificate);
	free(key);
	return err;
}
