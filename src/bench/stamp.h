// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a message carries, so that its receiver can tell whose it is, which one
// it is, and that not a byte of it changed:
//
//    0        4           8          12       16          24         32
//    +--------+-----------+----------+--------+-----------+----------+----------- - -
//    | magic  | publisher | sequence | length | issued_us | checksum | pattern
//    +--------+-----------+----------+--------+-----------+----------+----------- - -
//
// little-endian; the checksum covers everything else. A message below 32 bytes
// carries the lowest bytes of its sequence number (up to four) and then pattern;
// an empty one carries nothing and is known by its place alone. Pure, no state.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BENCH_STAMP_SIZE 32u

struct bench_stamp {
	uint32_t publisher, sequence;
	uint64_t issued_us; // 0 when the message was too short to carry it
};

// Fills all `length` bytes of a message.
void bench_stamp_write(const struct bench_stamp *stamp, uint8_t *message, uint32_t length);

// Takes a message apart; false when it was not written by bench_stamp_write() for that publisher.
// A short message does not say whose it is: `publisher` does; it has the sequence number nearest to
// `expected` that fits its bytes (`expected` itself when it is empty). Longer messages say both,
// and the two arguments are not looked at.
bool bench_stamp_read(const uint8_t *message, uint32_t length, uint32_t publisher,
	uint32_t expected, struct bench_stamp *ret_stamp);
