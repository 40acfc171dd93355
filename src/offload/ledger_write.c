// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Writing the ledger, a record at a time. Runs on the main thread, after the workers.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "offload/ledger.h"
#include "offload/ledger_format.h"

#define DELIVERIES_AT (LEDGER_RECORD_HEADER + 16)

uint64_t ledger_checksum(const uint8_t *data, size_t length)
{
	// Nobody is kept out by it: it finds damage.
	static const uint8_t key[16];

	return siphash_2_4(key, data, length);
}

static void encode_u32(uint8_t *out, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void encode_u64(uint8_t *out, uint64_t value)
{
	encode_u32(out, (uint32_t)(value >> 32));
	encode_u32(out + 4, (uint32_t)value);
}

// --- the record that is being written ------------------------------------------------------------

static bool reserve(struct ledger_writer *writer, size_t length)
{
	size_t capacity = writer->capacity == 0 ? 65536 : writer->capacity;
	uint8_t *more;

	if (writer->error < 0)
		return false;
	while (capacity < writer->length + length)
		capacity *= 2;
	if (capacity == writer->capacity)
		return true;
	more = realloc(writer->record, capacity);
	if (more == NULL) {
		writer->error = -ENOMEM;
		return false;
	}
	writer->record = more;
	writer->capacity = capacity;
	return true;
}

void ledger_write_bytes(struct ledger_writer *writer, const void *data, size_t length)
{
	if (length == 0 || !reserve(writer, length))
		return;
	memcpy(writer->record + writer->length, data, length);
	writer->length += length;
}

static void write_u16(struct ledger_writer *writer, uint16_t value)
{
	const uint8_t bytes[] = {value >> 8, value & 0xff};

	ledger_write_bytes(writer, bytes, sizeof(bytes));
}

static void write_binary(struct ledger_writer *writer, const void *data, uint16_t length)
{
	write_u16(writer, length);
	ledger_write_bytes(writer, data, length);
}

void ledger_write_begin(struct ledger_writer *writer, const struct ledger_owner *owner)
{
	uint8_t header[LEDGER_RECORD_HEADER + 12] = {0}, deliveries[4] = {0};

	writer->length = 0;
	writer->record_deliveries = 0;
	encode_u64(header + LEDGER_RECORD_HEADER, writer->wall_s);
	encode_u32(header + LEDGER_RECORD_HEADER + 8, owner->expiry_s);
	ledger_write_bytes(writer, header, sizeof(header));
	write_u16(writer, owner->identifier_next);
	write_u16(writer, owner->identifier_broker);
	ledger_write_bytes(writer, deliveries, sizeof(deliveries));
	write_binary(writer, owner->broker, (uint16_t)strlen(owner->broker));
	write_binary(writer, owner->client_id.data, (uint16_t)owner->client_id.length);
}

void ledger_write_publish(struct ledger_writer *writer, uint8_t flags, uint32_t length)
{
	uint8_t header[MQTT_HEADER_MAX];

	ledger_write_bytes(writer, header, mqtt_header_encode(MQTT_PUBLISH, flags, length, header));
	writer->record_deliveries++;
}

void ledger_write_end(struct ledger_writer *writer)
{
	size_t length = writer->length - LEDGER_RECORD_HEADER;

	if (writer->error < 0 || writer->record_deliveries == 0)
		return;
	if (length > UINT32_MAX - LEDGER_RECORD_HEADER) {
		writer->left_out += writer->record_deliveries;
		return;
	}
	encode_u32(writer->record + DELIVERIES_AT, writer->record_deliveries);
	encode_u32(writer->record, (uint32_t)length);
	encode_u64(
		writer->record + 4, ledger_checksum(writer->record + LEDGER_RECORD_HEADER, length));
	ledger_write_record(writer, mqtt_bytes(writer->record, (uint32_t)writer->length),
		writer->record_deliveries);
}

// --- the file ------------------------------------------------------------------------------------

static void write_out(struct ledger_writer *writer, const void *data, size_t length)
{
	if (writer->error == 0)
		writer->error = writer->write(writer->ctx, data, length);
	writer->room -= length;
}

void ledger_write_record(
	struct ledger_writer *writer, struct mqtt_bytes record, uint32_t deliveries)
{
	if (writer->error < 0)
		return;
	if (record.length + LEDGER_MAGIC_SIZE > writer->room) {
		writer->left_out += deliveries;
		return;
	}
	if (writer->sessions == 0)
		write_out(writer, LEDGER_MAGIC, LEDGER_MAGIC_SIZE);
	write_out(writer, record.data, record.length);
	writer->sessions++;
	writer->deliveries += deliveries;
}

void ledger_write_fini(struct ledger_writer *writer)
{
	free(writer->record);
	writer->record = NULL;
	writer->length = writer->capacity = 0;
}
