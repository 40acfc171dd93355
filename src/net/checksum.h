// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The Internet checksum (RFC 1071) over mbuf chains. rte_raw_cksum_mbuf() of
// DPDK 22.11 loses carries when a segment starts at an odd offset, hence our own walk.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct rte_mbuf;

// Not complemented. `length` bytes from `offset`; `sum` is a folded sum to start with.
uint16_t net_checksum_chain(
	const struct rte_mbuf *m, uint32_t offset, uint32_t length, uint16_t sum);

// Not complemented sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1); both addresses are of one
// family.
uint16_t net_checksum_pseudo(const struct net_address *source,
	const struct net_address *destination, uint8_t protocol, uint32_t length);
