// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where connections go to and where they come from, IPv4 and IPv6.

#pragma once

#include "bench/options.h"

#include <sys/socket.h>

struct bench_address {
	struct sockaddr_storage storage;
	socklen_t length;
	char text[80]; // "198.18.0.1 port 1883", "[fd00::1] port 1883"
};

// Appends the ranges of "ADDR", "ADDR-ADDR" or a comma-separated list of these. -EINVAL.
int bench_sources_parse(
	const char *text, struct bench_source *sources, unsigned capacity, unsigned *count);
// The n-th source address, counted through all ranges and again from the start.
void bench_sources_pick(const struct bench_source *sources, unsigned count, uint64_t n,
	struct bench_address *ret_address);

// Resolves host and port to an address of the family (AF_UNSPEC: any); of several, the first one
// that answers. 0 or an EAI_* code.
int bench_address_resolve(
	const char *host, const char *port, int family, struct bench_address *ret_address);
