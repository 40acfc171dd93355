// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a message carries; any thread.

#include "bench/stamp.h"

#include <endian.h>
#include <string.h>

#define STAMP_MAGIC	   0x6f66726du
#define STAMP_MIX	   0x9e3779b97f4a7c15ull
#define STAMP_SHORT_DIGITS 4u // bytes of the sequence number in a short message, at most

enum stamp_offset {
	STAMP_PUBLISHER = 4,
	STAMP_SEQUENCE = 8,
	STAMP_LENGTH = 12,
	STAMP_ISSUED = 16,
	STAMP_CHECKSUM = 24,
};

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

// A bijection of 64-bit words; neighbours land far apart.
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * STAMP_MIX;
	x = (x ^ x >> 29) * STAMP_MIX;
	return x ^ x >> 32;
}

static uint64_t pattern_seed(uint32_t publisher, uint32_t sequence)
{
	return mix((uint64_t)publisher << 32 | sequence);
}

// Each message has its own pattern, so that bytes of another message do not pass for its own.
static void pattern_write(uint64_t seed, uint8_t *at, uint32_t length)
{
	for (; length >= 8; at += 8, length -= 8)
		put64(at, seed += STAMP_MIX);
	for (; length; at++, length--)
		*at = (uint8_t)((seed += STAMP_MIX) >> 56);
}

// Depends on the order of the words; a single changed bit always shows, as each step is a bijection
// of the sum so far.
static uint64_t checksum_add(uint64_t sum, const uint8_t *at, uint32_t length)
{
	uint64_t last = length;

	for (; length >= 8; at += 8, length -= 8) {
		sum = (sum ^ get64(at)) * STAMP_MIX;
		sum ^= sum >> 31;
	}
	for (; length; at++, length--)
		last = last << 8 | *at;
	return mix(sum ^ last);
}

static uint64_t checksum(const uint8_t *message, uint32_t length)
{
	uint64_t sum = checksum_add(STAMP_MIX, message, STAMP_CHECKSUM);

	return checksum_add(sum, message + BENCH_STAMP_SIZE, length - BENCH_STAMP_SIZE);
}

static void short_write(uint32_t publisher, uint32_t sequence, uint8_t *message, uint32_t length)
{
	uint8_t whole[BENCH_STAMP_SIZE];

	put32(whole, sequence);
	pattern_write(pattern_seed(publisher, sequence), whole + STAMP_SHORT_DIGITS,
		sizeof(whole) - STAMP_SHORT_DIGITS);
	memcpy(message, whole, length);
}

void bench_stamp_write(const struct bench_stamp *stamp, uint8_t *message, uint32_t length)
{
	if (length < BENCH_STAMP_SIZE) {
		short_write(stamp->publisher, stamp->sequence, message, length);
		return;
	}
	put32(message, STAMP_MAGIC);
	put32(message + STAMP_PUBLISHER, stamp->publisher);
	put32(message + STAMP_SEQUENCE, stamp->sequence);
	put32(message + STAMP_LENGTH, length);
	put64(message + STAMP_ISSUED, stamp->issued_us);
	pattern_write(pattern_seed(stamp->publisher, stamp->sequence), message + BENCH_STAMP_SIZE,
		length - BENCH_STAMP_SIZE);
	put64(message + STAMP_CHECKSUM, checksum(message, length));
}

// The number nearest to `expected` whose lowest `bits` bits are `low`.
static uint32_t nearest(uint32_t low, unsigned bits, uint32_t expected)
{
	uint32_t modulus = 1u << bits; // bits < 32
	uint32_t ahead = (low - expected) & (modulus - 1);
	uint32_t behind = modulus - ahead;

	return ahead <= modulus / 2 || behind > expected ? expected + ahead : expected - behind;
}

static bool short_read(const uint8_t *message, uint32_t length, uint32_t publisher,
	uint32_t expected, struct bench_stamp *ret_stamp)
{
	unsigned digits = length < STAMP_SHORT_DIGITS ? length : STAMP_SHORT_DIGITS;
	uint8_t again[BENCH_STAMP_SIZE], number[STAMP_SHORT_DIGITS] = {0};
	uint32_t sequence;

	memcpy(number, message, digits);
	sequence = get32(number);
	if (digits < STAMP_SHORT_DIGITS)
		sequence = nearest(sequence, 8 * digits, expected);
	short_write(publisher, sequence, again, length);
	if (memcmp(again, message, length))
		return false;
	*ret_stamp = (struct bench_stamp){.publisher = publisher, .sequence = sequence};
	return true;
}

bool bench_stamp_read(const uint8_t *message, uint32_t length, uint32_t publisher,
	uint32_t expected, struct bench_stamp *ret_stamp)
{
	if (length < BENCH_STAMP_SIZE)
		return short_read(message, length, publisher, expected, ret_stamp);
	if (get32(message) != STAMP_MAGIC || get32(message + STAMP_LENGTH) != length ||
		get64(message + STAMP_CHECKSUM) != checksum(message, length))
		return false;
	*ret_stamp = (struct bench_stamp){
		.publisher = get32(message + STAMP_PUBLISHER),
		.sequence = get32(message + STAMP_SEQUENCE),
		.issued_us = get64(message + STAMP_ISSUED),
	};
	return true;
}
