// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reading: every record is judged whole, at the start, so that who takes an entry finds only what
// is sound. Entries are sorted by broker and client identifier.

#include "offload/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/payload.h"
#include "base/random.h"
#include "mqtt/framer.h"
#include "mqtt/reader.h"
#include "offload/config.h"
#include "offload/ledger_format.h"
#include "offload/message.h"

// As long after its expiry a session is still remembered (session/session.c).
#define EXPIRY_MARGIN_S 60

struct ledger {
	uint8_t *data;
	uint64_t wall_s, now_us;
	struct ledger_entry *entries;
	uint32_t count, capacity;
};

// --- one record ----------------------------------------------------------------------------------

static uint64_t read_u64(struct mqtt_reader *reader)
{
	uint64_t high = mqtt_reader_u32(reader);

	return high << 32 | mqtt_reader_u32(reader);
}

// It can be made a delivery again (offload/message.h).
static bool is_deliverable(const struct ledger_publish *from)
{
	const struct mqtt_publish *publish = &from->publish;
	uint32_t head = from->header.size + publish->head_length;
	uint32_t copied = publish->payload_length <= MESSAGE_COPY_MAX ? publish->payload_length : 0;

	return publish->qos == 1 && !publish->retain && publish->topic_alias == 0 &&
	       publish->topic.length > 0 && head + copied <= PAYLOAD_LARGEST &&
	       from->packet.length <= MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST;
}

bool ledger_next(struct mqtt_bytes *publishes, struct ledger_publish *ret)
{
	struct mqtt_bytes body;

	if (publishes->length == 0 ||
		mqtt_header_decode(publishes->data, publishes->length, &ret->header) != MQTT_OK ||
		ret->header.type != MQTT_PUBLISH ||
		ret->header.remaining > publishes->length - ret->header.size)
		return false;
	body = mqtt_bytes(publishes->data + ret->header.size, ret->header.remaining);
	if (mqtt_publish_decode(MQTT_VERSION_5, &ret->header, body, &ret->publish) != MQTT_OK)
		return false;
	ret->packet = mqtt_bytes(publishes->data, ret->header.size + body.length);
	publishes->data += ret->packet.length;
	publishes->length -= ret->packet.length;
	return is_deliverable(ret);
}

static bool publishes_sound(const struct ledger_entry *entry)
{
	struct mqtt_bytes left = entry->publishes;
	struct ledger_publish publish;

	for (uint32_t i = 0; i < entry->deliveries; i++)
		if (!ledger_next(&left, &publish))
			return false;
	return left.length == 0 && entry->deliveries > 0;
}

static bool broker_find(
	const struct ledger_config *config, struct mqtt_bytes name, unsigned *ret_broker)
{
	for (unsigned i = 0; i < config->brokers_count; i++) {
		const char *other = config->brokers[i].name;

		if (mqtt_bytes_equal(name, mqtt_bytes(other, (uint32_t)strlen(other)))) {
			*ret_broker = i;
			return true;
		}
	}
	return false;
}

static bool has_ended(const struct ledger_config *config, uint64_t stopped_s, uint32_t expiry_s)
{
	uint64_t kept_s = (uint64_t)expiry_s + expiry_s / 8 + EXPIRY_MARGIN_S;

	return expiry_s != UINT32_MAX && config->wall_s > stopped_s &&
	       config->wall_s - stopped_s > kept_s;
}

// The session that the record is about; false: it is left out, and counted.
static bool entry_read(const struct ledger_config *config, struct mqtt_bytes record,
	struct ledger_found *found, struct ledger_entry *ret)
{
	struct mqtt_reader reader = mqtt_reader(mqtt_bytes(
		record.data + LEDGER_RECORD_HEADER, record.length - LEDGER_RECORD_HEADER));
	struct ledger_entry entry = {.record = record};
	struct mqtt_bytes name;
	uint32_t expiry_s;

	entry.stopped_s = read_u64(&reader);
	expiry_s = mqtt_reader_u32(&reader);
	entry.identifier_next = mqtt_reader_u16(&reader);
	entry.identifier_broker = mqtt_reader_u16(&reader);
	entry.deliveries = mqtt_reader_u32(&reader);
	name = mqtt_reader_binary(&reader);
	entry.client_id = mqtt_reader_binary(&reader);
	entry.publishes = mqtt_reader_rest(&reader);
	if (reader.error != MQTT_OK || entry.client_id.length == 0 || !publishes_sound(&entry))
		found->unsound++;
	else if (has_ended(config, entry.stopped_s, expiry_s))
		found->ended++;
	else if (!broker_find(config, name, &entry.broker))
		found->strangers++;
	else
		return *ret = entry, true;
	return false;
}

// --- the whole -----------------------------------------------------------------------------------

static int compare(const void *a, const void *b)
{
	const struct ledger_entry *x = a, *y = b;
	uint32_t shorter = x->client_id.length < y->client_id.length ? x->client_id.length
								     : y->client_id.length;
	int order;

	if (x->broker != y->broker)
		return x->broker < y->broker ? -1 : 1;
	order = memcmp(x->client_id.data, y->client_id.data, shorter);
	if (order != 0 || x->client_id.length == y->client_id.length)
		return order;
	return x->client_id.length < y->client_id.length ? -1 : 1;
}

static int entry_add(struct ledger *ledger, const struct ledger_entry *entry)
{
	if (ledger->count == ledger->capacity) {
		uint32_t capacity = ledger->capacity == 0 ? 64 : ledger->capacity * 2;
		struct ledger_entry *more =
			realloc(ledger->entries, capacity * sizeof(ledger->entries[0]));

		if (more == NULL)
			return -ENOMEM;
		ledger->entries = more;
		ledger->capacity = capacity;
	}
	ledger->entries[ledger->count++] = *entry;
	return 0;
}

// The next whole record with the right checksum; length 0: there is none.
static struct mqtt_bytes record_next(struct mqtt_reader *file)
{
	const uint8_t *record = file->at;
	uint32_t length = mqtt_reader_u32(file);
	uint64_t checksum = read_u64(file);
	struct mqtt_bytes entry = mqtt_reader_take(file, length);

	if (file->error != MQTT_OK || checksum != ledger_checksum(entry.data, entry.length))
		return mqtt_bytes(record, 0);
	return mqtt_bytes(record, LEDGER_RECORD_HEADER + length);
}

static int read_records(struct ledger *ledger, const struct ledger_config *config, size_t length,
	struct ledger_found *found)
{
	struct mqtt_reader file = {.at = ledger->data, .end = ledger->data + length};
	struct mqtt_bytes magic = mqtt_reader_take(&file, LEDGER_MAGIC_SIZE);
	struct ledger_entry entry;

	found->foreign = magic.length == 0 || memcmp(magic.data, LEDGER_MAGIC, magic.length) != 0;
	while (!found->foreign && !found->damaged && file.at < file.end) {
		struct mqtt_bytes record = record_next(&file);

		found->damaged = record.length == 0;
		if (found->damaged || !entry_read(config, record, found, &entry))
			continue;
		if (entry_add(ledger, &entry) < 0)
			return -ENOMEM;
		found->sessions++;
		found->deliveries += entry.deliveries;
	}
	return 0;
}

int ledger_create(const struct ledger_config *config, uint8_t *data, size_t length,
	struct ledger_found *ret_found, struct ledger **ret_ledger)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct ledger_found found = {0};

	if (ledger == NULL) {
		free(data);
		return -ENOMEM;
	}
	ledger->data = data;
	ledger->wall_s = config->wall_s;
	ledger->now_us = config->now_us;
	if (read_records(ledger, config, length, &found) < 0) {
		ledger_destroy(ledger);
		return -ENOMEM;
	}
	if (ledger->count > 0)
		qsort(ledger->entries, ledger->count, sizeof(ledger->entries[0]), compare);
	*ret_found = found;
	*ret_ledger = ledger;
	return 0;
}

void ledger_destroy(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	free(ledger->entries);
	free(ledger->data);
	free(ledger);
}

// --- taking --------------------------------------------------------------------------------------

static struct ledger_entry *entry_find(
	const struct ledger *ledger, unsigned broker, struct mqtt_bytes client_id)
{
	const struct ledger_entry key = {.broker = broker, .client_id = client_id};

	if (ledger->count == 0)
		return NULL;
	return bsearch(&key, ledger->entries, ledger->count, sizeof(key), compare);
}

bool ledger_has(const struct ledger *ledger, unsigned broker, struct mqtt_bytes client_id)
{
	const struct ledger_entry *entry = entry_find(ledger, broker, client_id);

	return entry != NULL && __atomic_load_n(&entry->taken, __ATOMIC_ACQUIRE) == 0;
}

struct ledger_entry *ledger_take(
	struct ledger *ledger, unsigned broker, struct mqtt_bytes client_id)
{
	struct ledger_entry *entry = entry_find(ledger, broker, client_id);

	if (entry == NULL || __atomic_exchange_n(&entry->taken, 1, __ATOMIC_ACQ_REL) != 0)
		return NULL;
	return entry;
}

void ledger_give_back(struct ledger_entry *entry)
{
	__atomic_store_n(&entry->taken, 0, __ATOMIC_RELEASE);
}

uint64_t ledger_waited_s(
	const struct ledger *ledger, const struct ledger_entry *entry, uint64_t now_us)
{
	// A clock that was set back has nothing waited.
	uint64_t before_s =
		ledger->wall_s > entry->stopped_s ? ledger->wall_s - entry->stopped_s : 0;

	return before_s + (now_us - ledger->now_us) / US_IN_S;
}

void ledger_write_rest(struct ledger_writer *writer, const struct ledger *ledger)
{
	for (uint32_t i = 0; ledger != NULL && i < ledger->count; i++) {
		const struct ledger_entry *entry = &ledger->entries[i];

		if (entry->taken == 0)
			ledger_write_record(writer, entry->record, entry->deliveries);
	}
}
