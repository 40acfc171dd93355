// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What reading and writing of the ledger (offload/ledger.h) agree on.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mqtt/packet.h"

struct ledger_writer;

#define LEDGER_MAGIC	     "offowed\x01" // with the version
#define LEDGER_MAGIC_SIZE    8
#define LEDGER_RECORD_HEADER 12 // length and checksum

// Of the bytes of an entry.
uint64_t ledger_checksum(const uint8_t *data, size_t length);
// A whole record, header included, goes to the file.
void ledger_write_record(
	struct ledger_writer *writer, struct mqtt_bytes record, uint32_t deliveries);
