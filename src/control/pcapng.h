// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Writes pcapng (draft-ietf-opsawg-pcapng): a section, an interface for each port, packets with
// nanoseconds and direction, statistics. In the machine's byte order, as the format wants
// it. DPDK's rte_pcapng writes to a file descriptor and names its own ports; a capture
// here goes over gRPC and names the configuration's. Pure.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Blocks are appended here until there is no room for the next.
struct pcapng {
	uint8_t *bytes;
	size_t length, size;
};

struct pcapng_interface {
	const char *name;
	const char *description;
	const char *filter; // a capture filter expression; NULL: none
	const uint8_t *mac; // 6 bytes
	uint32_t snap_length;
};

struct pcapng_packet {
	uint32_t interface; // in the order of their blocks
	uint64_t time_ns;   // since 1970
	uint32_t captured, length;
	uint32_t direction;    // 1: received, 2: sent
	const uint32_t *queue; // NULL: not told
	const uint8_t *bytes;
};

// Of an interface, since the start.
struct pcapng_statistics {
	uint32_t interface;
	uint64_t start_ns, now_ns;
	uint64_t seen, wanted, lost, delivered;
};

// Each is false, and nothing has been written, when there is no room for the block.
bool pcapng_section(struct pcapng *p, const char *application);
bool pcapng_interface(struct pcapng *p, const struct pcapng_interface *interface);
bool pcapng_packet(struct pcapng *p, const struct pcapng_packet *packet);
bool pcapng_statistics(struct pcapng *p, const struct pcapng_statistics *statistics);
