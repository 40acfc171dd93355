// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Does a TCP connection that another library of this process has accepted still stand?
// It is found by its peer's address, and kept by a descriptor of our own, so its state
// can be asked for until it is released. Reads and writes nothing; turns the kernel's
// keep-alive on, so that a peer which is cut off is seen too. Any thread.

#pragma once

#include <stdbool.h>

#define TCP_PEER_NAME 64

// A peer that does not answer the kernel's probes is given up after so long.
#define TCP_PEER_SILENCE_S 3

struct tcp_peer {
	int fd;
};

// `name` as gRPC writes it: "ipv4:192.0.2.1:4711", "ipv6:[2001:db8::1]:4711", percent-encoded or
// not. -EINVAL: not an address; -ENOTCONN: no connection with it.
int tcp_peer_watch(const char *name, struct tcp_peer *ret_peer);
bool tcp_peer_lives(const struct tcp_peer *peer);
void tcp_peer_release(struct tcp_peer *peer);
