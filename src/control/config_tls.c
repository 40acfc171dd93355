// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The files of a `tls` section: read when the configuration is, so that a bad one is
// told then, and used as they were read. Private keys without a passphrase.

#include "control/config_resolve.h"

#include "control/config_document.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

static int read_text(const char *file, char **ret_text)
{
	FILE *in = fopen(file, "re");
	char *text = NULL;
	size_t length;
	int err = 0;

	if (!in)
		return -errno;
	text = calloc(1, FILE_MAX + 1);
	length = text ? fread(text, 1, FILE_MAX, in) : 0;
	if (!text)
		err = -ENOMEM;
	else if (ferror(in))
		err = -EIO;
	else if (length == FILE_MAX)
		err = -EFBIG;
	fclose(in);
	if (err)
		free(text);
	else
		*ret_text = text;
	return err;
}

// The file's text; NULL after an error line.
static char *read_file(struct config_document *document, const char *path, const char *file)
{
	char *text = NULL;
	int err = *file == '/' ? read_text(file, &text) : -EINVAL;

	if (err == -EINVAL)
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: an absolute path", file);
	else if (err)
		config_document_error(
			document, path, "%s cannot be read: %s", file, strerror(-err));
	return text;
}

// --- what is in them -----------------------------------------------------------------------------

static int no_passphrase(char *buffer, int size, int writing, void *ctx)
{
	return 0;
}

static X509 *certificate_read(const char *text)
{
	BIO *in = BIO_new_mem_buf(text, -1);
	X509 *certificate = in ? PEM_read_bio_X509(in, NULL, no_passphrase, NULL) : NULL;

	BIO_free(in);
	ERR_clear_error();
	return certificate;
}

static EVP_PKEY *key_read(const char *text)
{
	BIO *in = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;

	BIO_free(in);
	ERR_clear_error();
	return key;
}

// NULL after an error line. `text` may be NULL.
static X509 *check_certificate(
	struct config_document *document, const char *path, const char *file, const char *text)
{
	X509 *certificate = text ? certificate_read(text) : NULL;

	if (text && !certificate)
		config_document_error(document, path, "%s holds no certificate in PEM", file);
	if (certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		config_document_error(document, path, "%s: the certificate has expired", file);
	return certificate;
}

static void check_key(struct config_document *document, const char *path, const struct raw_tls *raw,
	const char *text, X509 *certificate)
{
	EVP_PKEY *key = text ? key_read(text) : NULL;

	if (text && !key)
		config_document_error(document, path,
			"%s holds no private key in PEM without a passphrase", raw->key);
	if (key && certificate && X509_check_private_key(certificate, key) != 1)
		config_document_error(
			document, path, "%s is not the key of %s", raw->key, raw->certificate);
	ERR_clear_error();
	EVP_PKEY_free(key);
}

static void fill(struct config_document *document, const char *section, const struct raw_tls *raw,
	struct config_tls *tls)
{
	char path[CONFIG_PATH_MAX];
	X509 *certificate;

	config_path(path, "%s.certificate", section);
	tls->certificate = read_file(document, path, raw->certificate);
	certificate = check_certificate(document, path, raw->certificate, tls->certificate);
	config_path(path, "%s.key", section);
	tls->key = read_file(document, path, raw->key);
	check_key(document, path, raw, tls->key, certificate);
	X509_free(certificate);
	if (!raw->client_ca)
		return;
	config_path(path, "%s.client_ca", section);
	tls->client_ca = read_file(document, path, raw->client_ca);
	X509_free(check_certificate(document, path, raw->client_ca, tls->client_ca));
}

int config_tls_create(struct config_document *document, const char *path, const struct raw_tls *raw,
	struct config_tls **ret_tls)
{
	struct config_tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return -ENOMEM;
	fill(document, path, raw, tls);
	*ret_tls = tls;
	return 0;
}

void config_tls_destroy(struct config_tls *tls)
{
	if (!tls)
		return;
	free(tls->certificate);
	free(tls->key);
	free(tls->client_ca);
	free(tls);
}
