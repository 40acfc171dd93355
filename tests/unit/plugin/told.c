// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "told.h"

#include "plugin_tests.h"

#include "base/marker.h"
#include "plugin/events.h"
#include "plugin/queue.h"

#include <string.h>

#define QUEUE_BYTES  (1u << 22)
#define QUEUE_EVENTS 100000
#define EVENT_MAX    (1u << 18)

static void wake(void *ctx)
{
	struct told *told = ctx;

	told->wakes++;
}

void told_init(struct told *told)
{
	memset(told, 0, sizeof(*told));
	assert_int_equal(queue_create(QUEUE_BYTES, QUEUE_EVENTS, &told->queue), 0);
	assert_int_equal(
		events_create(told->queue, TOLD_READERS_MAX, wake, told, &told->events), 0);
	memset(told->key, 7, sizeof(told->key));
	secret_set(&told->secret, told->key);
	assert_int_equal(
		witness_create(told->events, &told->secret, TOLD_READERS_MAX, &told->witness), 0);
}

void told_fini(struct told *told)
{
	witness_destroy(told->witness);
	events_destroy(told->events);
	queue_destroy(told->queue);
}

Offramp__V1__BrokerMessage *told_next(struct told *told)
{
	static uint8_t event[EVENT_MAX];
	uint64_t sequence = 0;
	size_t length = queue_peek(told->queue, event, sizeof(event), &sequence);
	Offramp__V1__BrokerMessage *message;

	if (length == 0)
		return NULL;
	assert_in_range(length, 1, sizeof(event));
	message = offramp__v1__broker_message__unpack(NULL, length, event);
	assert_non_null(message);
	assert_int_equal(message->sequence, sequence);
	queue_advance(told->queue);
	queue_acknowledge(told->queue, sequence);
	return message;
}

void told_free(Offramp__V1__BrokerMessage *message)
{
	offramp__v1__broker_message__free_unpacked(message, NULL);
}

void told_marker(
	struct told *told, const struct witness_client *client, const struct marker *marker)
{
	uint8_t bytes[MARKER_SIZE_MAX];
	size_t length = marker_encode(told->key, marker, bytes);

	witness_write(told->witness, client, MARKER_TOPIC);
	assert_true(witness_marker(told->witness, client, bytes, length));
}

uint64_t told_join(struct told *told, const struct witness_client *client, uint64_t *ret_sequence)
{
	Offramp__V1__BrokerMessage *message;
	uint64_t key;

	told_marker(told, client, &(struct marker){.kind = MARKER_JOIN, .token = 77});
	message = told_next(told);
	assert_non_null(message);
	assert_int_equal(message->kind_case, OFFRAMP__V1__BROKER_MESSAGE__KIND_CLIENT_JOINED);
	assert_int_equal(message->client_joined->nonce, 77);
	assert_string_equal(message->client_joined->client_id, client->id);
	key = message->client_joined->key;
	if (ret_sequence)
		*ret_sequence = message->sequence;
	told_free(message);
	return key;
}
