// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the programs in the kernel (*.bpf.c) and their maps are called, and what the maps hold, for
// filter.c and shortcut.c to find and to fill. IPv4 addresses are IPv4-mapped IPv6 ones. Seen by
// the bpf target too.

#pragma once

#include <linux/types.h>

// --- filter.bpf.c --------------------------------------------------------------------------------

#define FILTER_ADDRESSES_MAX 4096
#define FILTER_PROGRAM	     "offramp_filter"
#define FILTER_OWN	     "offramp_own"

struct filter_address {
	__u8 bytes[16];
};

// --- shortcut.bpf.c ------------------------------------------------------------------------------

#define SHORTCUT_PROGRAM       "offramp_bridge"
#define SHORTCUT_SETTINGS      "offramp_set"
#define SHORTCUT_BROKERS       "offramp_brokers"
#define SHORTCUT_STATIONS      "offramp_fixed"
#define SHORTCUT_LEARNED       "offramp_learned"
#define SHORTCUT_PEER	       "offramp_peer"
#define SHORTCUT_COUNTED       "offramp_counted"
#define SHORTCUT_BROKERS_MAX   4096
#define SHORTCUT_FIXED_MAX     4096
#define SHORTCUT_STATIONS_MAX  4096 // learned; the longest silent one gives way
#define SHORTCUT_FRAGMENTS_MAX 1024 // packets in fragments at once

// As enum port_bridge says; 0, before the daemon has filled the maps: all comes to it.
enum shortcut_mode {
	SHORTCUT_OFF,
	SHORTCUT_LEARNING,
	SHORTCUT_STATIC,
	SHORTCUT_HUB,
};

struct shortcut_settings {
	__u64 age_ns; // a learned station that is silent so long is forgotten
	__u32 mode;
	__u32 self;  // index of the port
	__u32 mtu;   // of the other port: largest IP packet
	__u32 fixed; // stations that were configured
};

// A broker's port there, or, with port 0, its address. No padding: the bytes are hashed.
struct shortcut_endpoint {
	struct filter_address address;
	__be16 port;
};

struct shortcut_station {
	__u8 mac[6];
	__u16 vlan; // 0: untagged
};

struct shortcut_seen {
	__u64 at_ns;
	__u32 port; // index
	__u32 unused;
};

enum shortcut_counter {
	SHORTCUT_REDIRECTED,
	SHORTCUT_REDIRECTED_BYTES,
	SHORTCUT_TAKEN, // came to Offramp
	SHORTCUT_DROPPED_MALFORMED,
	SHORTCUT_DROPPED_SAME_PORT,
	SHORTCUT_DROPPED_UNKNOWN,
	SHORTCUT_DROPPED_PAUSE,
	SHORTCUT_DROPPED_TOO_BIG,
	SHORTCUT_DROPPED_UNSERVED, // no socket on that queue
	SHORTCUT_COUNTERS,
};

#define SHORTCUT_DROPS (SHORTCUT_COUNTERS - SHORTCUT_DROPPED_MALFORMED)
