// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where connections go to and where they come from, IPv4 and IPv6.

#include "bench/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_MS 2000 // for an answer of one of several addresses

// An address as a number with its lowest 64 bits: ranges do not carry further.
static uint64_t address_low(const struct sockaddr_storage *address)
{
	const uint8_t *byte;
	uint64_t low = 0;

	if (address->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
	byte = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
	for (unsigned i = 8; i < 16; i++)
		low = low << 8 | byte[i];
	return low;
}

static void address_set_low(struct sockaddr_storage *address, uint64_t low)
{
	uint8_t *byte;

	if (address->ss_family == AF_INET) {
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl((uint32_t)low);
		return;
	}
	byte = ((struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
	for (unsigned i = 16; i-- > 8; low >>= 8)
		byte[i] = (uint8_t)low;
}

static bool address_parse(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		ret->ss_family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		ret->ss_family = AF_INET6;
		return true;
	}
	return false;
}

static bool source_parse(char *text, struct bench_source *ret)
{
	char *dash = strchr(text, '-');
	struct sockaddr_storage last;
	uint64_t span;

	if (dash)
		*dash = '\0';
	if (!address_parse(text, &ret->first))
		return false;
	ret->count = 1;
	if (!dash)
		return true;
	if (!address_parse(dash + 1, &last) || last.ss_family != ret->first.ss_family)
		return false;
	span = address_low(&last) - address_low(&ret->first);
	if (address_low(&last) < address_low(&ret->first) || span >= 1u << 24)
		return false;
	ret->count = (uint32_t)span + 1;
	return true;
}

int bench_sources_parse(
	const char *text, struct bench_source *sources, unsigned capacity, unsigned *count)
{
	char *copy = strdup(text), *rest = copy, *element;
	int rc = copy ? 0 : -ENOMEM;

	while (!rc && (element = strsep(&rest, ","))) {
		if (*count == capacity || !source_parse(element, &sources[*count]) ||
			sources[*count].first.ss_family != sources[0].first.ss_family)
			rc = -EINVAL;
		else
			(*count)++;
	}
	free(copy);
	return rc;
}

static void address_finish(struct bench_address *address)
{
	char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
	bool v6 = address->storage.ss_family == AF_INET6;

	getnameinfo((struct sockaddr *)&address->storage, address->length, host, sizeof(host), port,
		sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(address->text, sizeof(address->text), "%s%.60s%s port %s", v6 ? "[" : "", host,
		v6 ? "]" : "", port);
}

void bench_sources_pick(const struct bench_source *sources, unsigned count, uint64_t n,
	struct bench_address *ret_address)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++)
		total += sources[i].count;
	n %= total;
	while (n >= sources->count)
		n -= (sources++)->count;
	ret_address->storage = sources->first;
	address_set_low(&ret_address->storage, address_low(&sources->first) + n);
	ret_address->length = ret_address->storage.ss_family == AF_INET
				      ? sizeof(struct sockaddr_in)
				      : sizeof(struct sockaddr_in6);
}

// Whether something listens there.
static bool address_answers(const struct addrinfo *candidate)
{
	int fd = socket(candidate->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t length = sizeof(error);
	bool answers = false;

	if (fd < 0)
		return false;
	if (connect(fd, candidate->ai_addr, candidate->ai_addrlen) == 0)
		answers = true;
	else if (errno == EINPROGRESS && poll(&poll_fd, 1, PROBE_MS) == 1)
		answers = !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) && !error;
	close(fd);
	return answers;
}

int bench_address_resolve(
	const char *host, const char *port, int family, struct bench_address *ret_address)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL, *chosen;
	int rc;

	rc = getaddrinfo(host, port, &hints, &list);
	if (rc)
		return rc;
	// "localhost" is two addresses, and many brokers listen on one of them.
	chosen = list;
	if (list->ai_next)
		while (chosen && !address_answers(chosen))
			chosen = chosen->ai_next;
	if (!chosen)
		chosen = list;
	memset(ret_address, 0, sizeof(*ret_address));
	memcpy(&ret_address->storage, chosen->ai_addr, chosen->ai_addrlen);
	ret_address->length = chosen->ai_addrlen;
	freeaddrinfo(list);
	address_finish(ret_address);
	return 0;
}
