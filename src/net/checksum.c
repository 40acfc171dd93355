// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RFC 1071 sums. On the packet path of the worker; pure functions.

#include "net/checksum.h"

#include "base/assert.h"
#include "base/sum.h"

#include <rte_ip.h>

uint16_t net_checksum_chain(
	const struct rte_mbuf *m, uint32_t offset, uint32_t length, uint16_t sum)
{
	uint32_t total = sum;
	bool odd = false; // do the bytes done so far end in the middle of a 16-bit word?

	DASSERT(offset + length <= m->pkt_len);
	for (; length > 0; m = m->next) {
		uint32_t part;
		uint16_t part_sum;

		if (offset >= m->data_len) {
			offset -= m->data_len;
			continue;
		}
		part = RTE_MIN(m->data_len - offset, length);
		part_sum = sum_bytes(rte_pktmbuf_mtod_offset(m, const char *, offset), part);
		total += odd ? rte_bswap16(part_sum) : part_sum;
		odd ^= part & 1;
		length -= part;
		offset = 0;
	}
	return __rte_raw_cksum_reduce(total);
}

uint16_t net_checksum_pseudo(const struct net_address *source,
	const struct net_address *destination, uint8_t protocol, uint32_t length)
{
	// An IPv4 address is the last word.
	unsigned first = net_address_is_ipv4(source) ? 3 : 0;
	uint64_t sum = rte_cpu_to_be_32(length) + (uint64_t)rte_cpu_to_be_32(protocol);

	for (unsigned i = first; i < 4; i++)
		sum += (uint64_t)source->words[i] + destination->words[i];
	return sum_fold(sum);
}
