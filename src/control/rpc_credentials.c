// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The core asks for news at each handshake, on threads of its own, and keeps what it was given.

#include "control/rpc_credentials.h"

#include <grpc/grpc_security.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct rpc_credentials {
	grpc_server_credentials *core;
	bool tls, client_ca;
	pthread_mutex_t lock;			  // of what follows
	grpc_ssl_server_certificate_config *news; // NULL: the core has the latest
};

static grpc_ssl_certificate_config_reload_status fetch(
	void *ctx, grpc_ssl_server_certificate_config **ret_config)
{
	struct rpc_credentials *credentials = ctx;

	pthread_mutex_lock(&credentials->lock);
	*ret_config = credentials->news;
	credentials->news = NULL;
	pthread_mutex_unlock(&credentials->lock);
	return *ret_config ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
			   : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

static grpc_server_credentials *core_create(struct rpc_credentials *credentials)
{
	if (!credentials->tls)
		return grpc_insecure_server_credentials_create();
	return grpc_ssl_server_credentials_create_with_options(
		grpc_ssl_server_credentials_create_options_using_config_fetcher(
			credentials->client_ca
				? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
				: GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
			fetch, credentials));
}

struct rpc_credentials *rpc_credentials_create(const struct rpc_tls *tls)
{
	struct rpc_credentials *credentials = calloc(1, sizeof(*credentials));

	if (!credentials)
		return NULL;
	pthread_mutex_init(&credentials->lock, NULL);
	credentials->tls = tls;
	credentials->client_ca = tls && tls->client_ca;
	if (!tls || rpc_credentials_renew(credentials, tls) == 0)
		credentials->core = core_create(credentials);
	if (credentials->core)
		return credentials;
	rpc_credentials_destroy(credentials);
	return NULL;
}

void rpc_credentials_destroy(struct rpc_credentials *credentials)
{
	if (!credentials)
		return;
	grpc_server_credentials_release(credentials->core);
	if (credentials->news)
		grpc_ssl_server_certificate_config_destroy(credentials->news);
	pthread_mutex_destroy(&credentials->lock);
	free(credentials);
}

grpc_server_credentials *rpc_credentials_of_core(const struct rpc_credentials *credentials)
{
	return credentials->core;
}

int rpc_credentials_renew(struct rpc_credentials *credentials, const struct rpc_tls *tls)
{
	grpc_ssl_server_certificate_config *news, *before;
	grpc_ssl_pem_key_cert_pair pair;

	if (!credentials->tls || !tls || credentials->client_ca != (tls->client_ca != NULL))
		return -EINVAL;
	pair = (grpc_ssl_pem_key_cert_pair){tls->key, tls->certificate};
	// The core demands authorities even where it asks no client for a certificate.
	news = grpc_ssl_server_certificate_config_create(
		tls->client_ca ? tls->client_ca : tls->certificate, &pair, 1);
	if (!news)
		return -ENOMEM;
	pthread_mutex_lock(&credentials->lock);
	before = credentials->news;
	credentials->news = news;
	pthread_mutex_unlock(&credentials->lock);
	if (before)
		grpc_ssl_server_certificate_config_destroy(before);
	return 0;
}
