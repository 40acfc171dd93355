// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is told to Offramp, written as proto/offramp/v1/broker.proto has it and put into the
// queue. mosquitto's thread only; nothing here blocks or allocates.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;
struct events;

// A name of MQTT, and of each event at most two: client identifier and topic, filter or user.
#define EVENTS_NAME_MAX 65535

// Wakes who sends; called after each event. No reader beyond `readers_max` is ever told.
int events_create(struct queue *queue, unsigned readers_max, void (*wake)(void *ctx), void *ctx,
	struct events **ret_events);
void events_destroy(struct events *events);
// The longest event, for whoever reads the queue.
size_t events_size_max(unsigned readers_max);

// NULL is the empty name. Returns the number of the event.
uint64_t events_joined(struct events *events, uint64_t nonce, uint64_t key, const char *client_id,
	const char *username);
void events_disconnected(struct events *events, uint64_t key, const char *client_id);

struct events_subscription {
	const char *filter;
	uint8_t qos;
	bool no_local, retain_as_published; // false where the broker does not tell
	uint8_t retain_handling;
};
void events_subscribed(struct events *events, uint64_t key, const char *client_id,
	const struct events_subscription *subscription);
void events_unsubscribed(
	struct events *events, uint64_t key, const char *client_id, const char *filter);

struct events_published {
	uint64_t token, key;
	const char *client_id, *topic;
	bool written, cut;
	const uint64_t *readers;
	size_t readers_count;
};
void events_published(struct events *events, const struct events_published *published);
void events_revoked(struct events *events, const char *why);
