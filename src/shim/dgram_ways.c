// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whose way a datagram goes: asked of the daemon for each new address, of which the latest are
// remembered. Who was heard through the daemon is answered through it.

#include <netinet/in.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"
#include "shim/state.h"

// The daemon is asked again for a way that it did not have.
#define ASK_AGAIN_US 1000000

bool dgram_same_address(const struct channel_endpoint *a, const struct channel_endpoint *b)
{
	return a->ipv6 == b->ipv6 && memcmp(a->address, b->address, a->ipv6 ? 16 : 4) == 0;
}

bool dgram_address_is_any(const struct channel_endpoint *endpoint)
{
	static const uint8_t any[16];

	return memcmp(endpoint->address, any, endpoint->ipv6 ? 16 : 4) == 0;
}

struct dgram_peer *dgram_peer_of(struct dgram *dgram, const struct channel_endpoint *to)
{
	uint32_t hash = 0;
	struct dgram_peer *peer;

	for (unsigned i = 0; i < (to->ipv6 ? 16 : 4); i++)
		hash = (hash ^ to->address[i]) * 0x01000193u;
	peer = &dgram->peers[(hash ^ hash >> 16) % DGRAM_PEERS];
	if (!dgram_same_address(&peer->address, to)) {
		*peer = (struct dgram_peer){.address = *to};
		peer->address.port = 0;
	}
	return peer;
}

static bool is_known(const struct shim *shim, const struct dgram_peer *peer, bool firm)
{
	return shim->attached != NULL && peer->asked == shim->attached->number &&
	       (peer->ours ||
		       (peer->firm == firm && wait_now_us() - peer->asked_us < ASK_AGAIN_US));
}

bool dgram_way_to(
	struct shim *shim, struct dgram *dgram, const struct channel_endpoint *to, bool firm)
{
	struct dgram_peer *peer = dgram_peer_of(dgram, to);
	struct channel_endpoint address = peer->address;
	struct way way;
	bool ours;

	if (is_known(shim, peer, firm))
		return peer->ours;
	firm |= shim->attached != NULL && peer->heard == shim->attached->number;
	ours = way_find(shim, &address, firm, &way);
	// The lock was let go meanwhile.
	peer = dgram_peer_of(dgram, &address);
	peer->ours = ours;
	peer->firm = firm;
	peer->asked = shim->attached != NULL ? shim->attached->number : 0;
	peer->asked_us = wait_now_us();
	if (ours)
		peer->way = way;
	return ours;
}

bool dgram_is_own(struct shim *shim, struct dgram *dgram, const struct channel_endpoint *address)
{
	return dgram_way_to(shim, dgram, address, false) && dgram_peer_of(dgram, address)->way.own;
}

bool dgram_destination(const struct dgram *dgram, const struct sockaddr *address, socklen_t length,
	struct channel_endpoint *ret_to)
{
	if (address == NULL || !address_take(address, length, ret_to) ||
		(dgram->family == AF_INET && ret_to->ipv6))
		return false;
	if (dgram->kind != DGRAM_UDP)
		ret_to->port = 0;
	return dgram->kind == DGRAM_UDP || ret_to->ipv6 == (dgram->family == AF_INET6);
}
