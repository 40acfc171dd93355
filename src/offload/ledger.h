// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What persistent sessions are owed, on paper: written at the end of an orderly stop, read at the
// next start. All numbers are big-endian, as MQTT's.
//
//   file    │ "offowed" │ version 1 │ record … record │
//   record  │ length 4 │ checksum 8 │ entry: `length` bytes │
//   entry   │ stopped 8: seconds since 1970 │ expiry 4: seconds, as session.expiry_s │
//           │ next 2, broker's latest 2: identifiers │ deliveries 4 │
//           │ broker's name 2 + … │ client identifier 2 + … │ PUBLISH … PUBLISH │
//
// A delivery is a PUBLISH of MQTT 5, whatever version its client speaks. DUP says that it was sent
// before, under its identifier; without DUP the identifier means nothing. A message expiry is what
// was left of it at the stop.
//
// Made and ended on the main thread. Between that it is read-only but for the mark that an entry is
// taken: workers share it without a lock.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqtt/packet.h"

struct ledger;
struct offload_broker_config;

// --- reading -------------------------------------------------------------------------------------

struct ledger_config {
	const struct offload_broker_config *brokers;
	unsigned brokers_count;
	uint64_t wall_s; // the time of day
	uint64_t now_us; // the workers' clock, at the same time
};

struct ledger_found {
	bool foreign; // no ledger of this version
	bool damaged; // what stands behind the sound records cannot be read
	uint32_t sessions, deliveries;
	// Sessions that are left out: not sound, of brokers that are not configured, and ended by
	// now.
	uint32_t unsound, strangers, ended;
};

// `data`, from malloc(), is the ledger's from now on, whatever comes of it. -ENOMEM. Nothing that
// it may hold is an error.
int ledger_create(const struct ledger_config *config, uint8_t *data, size_t length,
	struct ledger_found *ret_found, struct ledger **ret_ledger);
void ledger_destroy(struct ledger *ledger); // accepts NULL

struct ledger_entry {
	unsigned broker;
	struct mqtt_bytes client_id;
	struct mqtt_bytes record;    // as it stands in the file
	struct mqtt_bytes publishes; // all sound
	uint32_t deliveries;
	uint16_t identifier_next, identifier_broker;
	uint64_t stopped_s;
	uint32_t taken; // any worker; the rest is read-only
};

// The broker's client is owed something, and nobody has taken it.
bool ledger_has(const struct ledger *ledger, unsigned broker, struct mqtt_bytes client_id);
// Takes it: nobody else will get it. NULL: there is nothing. Any worker.
struct ledger_entry *ledger_take(
	struct ledger *ledger, unsigned broker, struct mqtt_bytes client_id);
// It could not be used now.
void ledger_give_back(struct ledger_entry *entry);
// Seconds since the stop.
uint64_t ledger_waited_s(
	const struct ledger *ledger, const struct ledger_entry *entry, uint64_t now_us);

struct ledger_publish {
	struct mqtt_header header;
	struct mqtt_publish publish;
	struct mqtt_bytes packet;
};
// Cuts the first PUBLISH off `publishes`. False: there is none, or it is not sound.
bool ledger_next(struct mqtt_bytes *publishes, struct ledger_publish *ret);

// --- writing -------------------------------------------------------------------------------------

struct ledger_writer {
	// Negative errno.
	int (*write)(void *ctx, const void *data, size_t length);
	void *ctx;
	uint64_t wall_s; // the time of day
	uint64_t room;	 // bytes that may be written
	// What has been: in the file, and not, for want of room.
	uint32_t sessions, deliveries, left_out;
	int error; // the first one; nothing is written after it
	// The record that is being written.
	uint8_t *record;
	size_t length, capacity;
	uint32_t record_deliveries;
};

struct ledger_owner {
	const char *broker;
	struct mqtt_bytes client_id;
	uint32_t expiry_s;
	uint16_t identifier_next, identifier_broker;
};

void ledger_write_begin(struct ledger_writer *writer, const struct ledger_owner *owner);
// One more PUBLISH for it, in parts: a fixed header for `length` bytes, which follow by
// ledger_write_bytes().
void ledger_write_publish(struct ledger_writer *writer, uint8_t flags, uint32_t length);
void ledger_write_bytes(struct ledger_writer *writer, const void *data, size_t length);
// Nothing is written for an owner without a delivery.
void ledger_write_end(struct ledger_writer *writer);
// What nobody has taken goes on to the next run as it is. Accepts NULL.
void ledger_write_rest(struct ledger_writer *writer, const struct ledger *ledger);
// Frees what the writer holds.
void ledger_write_fini(struct ledger_writer *writer);
