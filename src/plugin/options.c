// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A table of keys; what depends on several of them is judged at the end.

#include "plugin/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_BYTES	  (8u << 20)
#define QUEUE_BYTES_MIN	  (1u << 20)
#define QUEUE_BYTES_MAX	  (1u << 30)
#define QUEUE_EVENTS	  65536
#define QUEUE_EVENTS_MIN  64
#define QUEUE_EVENTS_MAX  (1u << 24)
#define READERS_MAX	  16384
#define READERS_MAX_LEAST 1
#define READERS_MAX_MOST  65536 // so that an event is at most a part of the smallest queue

static int fail(char *error, const char *format, const char *a, const char *b)
{
	snprintf(error, OPTIONS_ERROR_MAX, format, a, b);
	return -EINVAL;
}

static int set_number(
	const char *key, const char *value, size_t least, size_t most, size_t *out, char *error)
{
	char *end;
	unsigned long number;
	char range[64];

	errno = 0;
	number = strtoul(value, &end, 10);
	snprintf(range, sizeof(range), "%zu to %zu", least, most);
	if (errno || end == value || *end || *value == '-' || number < least || number > most)
		return fail(error, "plugin_opt_%s must be a number, %s", key, range);
	*out = number;
	return 0;
}

static int set_acl(const char *value, bool *allow, bool *given, char *error)
{
	*given = true;
	*allow = strcmp(value, "allow") == 0;
	if (*allow || strcmp(value, "defer") == 0)
		return 0;
	return fail(error, "plugin_opt_acl is 'allow' or 'defer', not '%s'%s", value, "");
}

static int set(
	struct options *options, bool *acl_given, const struct options_pair *pair, char *error)
{
	struct {
		const char *key;
		const char **value;
	} texts[] = {
		{"address", &options->address},
		{"broker", &options->broker},
		{"tls_ca", &options->tls_ca},
		{"tls_certificate", &options->tls_certificate},
		{"tls_key", &options->tls_key},
		{"tls_name", &options->tls_name},
	};
	size_t number = 0;
	int err;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(pair->key, texts[i].key) == 0) {
			*texts[i].value = pair->value;
			return 0;
		}
	}
	if (strcmp(pair->key, "acl") == 0)
		return set_acl(pair->value, &options->acl_allow, acl_given, error);
	if (strcmp(pair->key, "queue_bytes") == 0)
		return set_number(pair->key, pair->value, QUEUE_BYTES_MIN, QUEUE_BYTES_MAX,
			&options->queue_bytes, error);
	if (strcmp(pair->key, "queue_events") == 0) {
		err = set_number(
			pair->key, pair->value, QUEUE_EVENTS_MIN, QUEUE_EVENTS_MAX, &number, error);
		options->queue_events = number;
		return err;
	}
	if (strcmp(pair->key, "readers_max") == 0) {
		err = set_number(pair->key, pair->value, READERS_MAX_LEAST, READERS_MAX_MOST,
			&number, error);
		options->readers_max = number;
		return err;
	}
	return fail(error,
		"there is no plugin_opt_%s%s: the options are address, broker, acl, queue_bytes, "
		"queue_events, readers_max, tls_ca, tls_certificate, tls_key, tls_name",
		pair->key, "");
}

// Is it a place that packets do not leave the machine for?
static bool is_local(const char *address)
{
	char host[INET6_ADDRSTRLEN] = "";
	size_t length = strrchr(address, ':') - address;
	struct in6_addr six;
	struct in_addr four;

	if (strncmp(address, "unix:", 5) == 0)
		return true;
	if (address[0] == '[' && length >= 2) {
		address++;
		length -= 2;
	}
	if (length >= sizeof(host))
		return false;
	memcpy(host, address, length);
	if (inet_pton(AF_INET, host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
	if (inet_pton(AF_INET6, host, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six);
	return strcmp(host, "localhost") == 0;
}

static bool is_address(const char *address)
{
	const char *colon = strrchr(address, ':');

	if (strncmp(address, "unix:", 5) == 0)
		return address[5] == '/';
	return colon && colon != address && colon[1] &&
	       strspn(colon + 1, "0123456789") == strlen(colon + 1);
}

static int judge(const struct options *options, bool acl_given, char *error)
{
	if (!acl_given)
		return fail(error,
			"plugin_opt_acl is missing and has no default: 'defer' leaves access to an "
			"acl_file or other plugins (without any of them mosquitto then refuses "
			"everything), 'allow' grants everything (and an acl_file has no effect)%s%s",
			"", "");
	if (!options->address)
		return fail(error,
			"plugin_opt_address is missing: where offrampd listens, as "
			"unix:/run/offramp/offramp.sock or HOST:PORT%s%s",
			"", "");
	if (!is_address(options->address))
		return fail(error, "plugin_opt_address is unix:/PATH or HOST:PORT, not '%s'%s",
			options->address, "");
	if (strlen(options->broker) > OPTIONS_BROKER_MAX)
		return fail(
			error, "plugin_opt_broker is longer than any name of a broker%s%s", "", "");
	if (!options->tls_certificate != !options->tls_key)
		return fail(error,
			"plugin_opt_tls_certificate and plugin_opt_tls_key go together%s%s", "",
			"");
	if (!options->tls_ca && (options->tls_certificate || options->tls_name))
		return fail(
			error, "plugin_opt_tls_ca is missing: it is what makes it TLS%s%s", "", "");
	if (!options->tls_ca && !is_local(options->address))
		return fail(error,
			"%s is another machine: plugin_opt_tls_ca is needed, for who reads the "
			"stream can speak for Offramp%s",
			options->address, "");
	return 0;
}

// Queues are powers of two.
static size_t round_up(size_t bytes)
{
	size_t size = QUEUE_BYTES_MIN;

	while (size < bytes)
		size *= 2;
	return size;
}

int options_parse(const struct options_pair *pairs, size_t count, struct options *ret_options,
	char error[OPTIONS_ERROR_MAX])
{
	struct options options = {
		.broker = "",
		.queue_bytes = QUEUE_BYTES,
		.queue_events = QUEUE_EVENTS,
		.readers_max = READERS_MAX,
	};
	bool acl_given = false;
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = set(&options, &acl_given, &pairs[i], error);
	if (!err)
		err = judge(&options, acl_given, error);
	if (err)
		return err;
	options.queue_bytes = round_up(options.queue_bytes);
	*ret_options = options;
	return 0;
}
