// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See pair.h.

#include "pair.h"

#include <stdlib.h>
#include <string.h>

void pair_turn(struct pair *pair)
{
	for (unsigned n = 0; n < 6; n++)
		bed_turn(&pair->beds[n % 2]);
}

void pair_wait(struct pair *pair, uint64_t us)
{
	for (uint64_t done = 0; done < us; done += US_IN_MS) {
		for (unsigned i = 0; i < 2; i++) {
			pair->beds[i].tcp.now_us += US_IN_MS;
			bed_turn(&pair->beds[i]);
		}
	}
	pair_turn(pair);
}

static int setup(void **state, enum offload_knowledge knowledge,
	enum offload_authorization authorization, bool hooks)
{
	static const char *const names[2] = {"worker0", "worker1"};
	struct pair *pair = malloc(sizeof(*pair));

	assert_int_equal(crossing_create("changes", 2, 2048, &pair->changes), 0);
	assert_int_equal(crossing_create("parcels", 2, 1024, &pair->parcels), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct bed *bed = &pair->beds[i];

		bed_init(bed);
		bed->name = names[i];
		bed->broker.name = names[i];
		bed->broker.knowledge = knowledge;
		bed->broker.authorization = authorization;
		bed->broker.hooks = hooks;
		if (hooks)
			bed->broker.overlap = PROOF_OVERLAP_EACH;
		bed->config.filters_max = 4096;
		bed->config.peers = (struct offload_peers_config){
			.changes = pair->changes,
			.parcels = pair->parcels,
			.self = i,
			.count = 2,
			.hash_key = "0123456789abcde",
		};
		bed_start(bed);
	}
	pair_turn(pair);
	*state = pair;
	return 0;
}

int pair_setup(void **state)
{
	return setup(state, OFFLOAD_KNOWLEDGE_WIRE, OFFLOAD_AUTHORIZATION_OPEN, false);
}

int pair_setup_told(void **state)
{
	return setup(state, OFFLOAD_KNOWLEDGE_BROKER, OFFLOAD_AUTHORIZATION_BROKER, false);
}

int pair_setup_hooks(void **state, enum offload_authorization authorization)
{
	return setup(state, OFFLOAD_KNOWLEDGE_BROKER, authorization, true);
}

int pair_teardown(void **state)
{
	struct pair *pair = *state;

	for (unsigned i = 0; i < 2; i++)
		for (unsigned n = 0; n < BED_CLIENTS; n++)
			if (pair->beds[i].clients[n] != NULL)
				bed_close(&pair->beds[i], n);
	pair_turn(pair);
	for (unsigned i = 0; i < 2; i++)
		bed_fini(&pair->beds[i]);
	crossing_destroy(pair->changes);
	crossing_destroy(pair->parcels);
	free(pair);
	return 0;
}

void joins(struct pair *pair, unsigned worker, unsigned i)
{
	struct bed *bed = &pair->beds[worker];
	uint8_t connect[] = "\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04w0c0";

	connect[15] = (uint8_t)('0' + worker);
	connect[17] = (uint8_t)('0' + i);
	bed_open(bed, i);
	client_sends(bed, i, connect, sizeof(connect) - 1);
	broker_gets(bed, i, connect, sizeof(connect) - 1);
	broker_sends(bed, i, BYTES("\x20\x02\x00\x00"));
	pair_turn(pair);
	client_gets(bed, i, BYTES("\x20\x02\x00\x00"));
}

void subscribes(struct pair *pair, unsigned worker, unsigned i, const char *filter, uint8_t qos)
{
	struct bed *bed = &pair->beds[worker];
	uint8_t subscribe[64] = {
		0x82, (uint8_t)(5 + strlen(filter)), 0, 1, 0, (uint8_t)strlen(filter)};
	uint8_t suback[] = {0x90, 3, 0, 1, qos};
	size_t length = 6 + strlen(filter);

	memcpy(subscribe + 6, filter, strlen(filter));
	subscribe[length++] = qos;
	client_sends(bed, i, subscribe, length);
	broker_gets(bed, i, subscribe, length);
	pair_turn(pair);
	broker_sends(bed, i, suback, sizeof(suback));
	client_gets(bed, i, suback, sizeof(suback));
}

void comes_kept(struct pair *pair, unsigned worker, unsigned i, bool present)
{
	struct bed *bed = &pair->beds[worker];
	uint8_t connack[] = {0x20, 2, present, 0};

	bed_open(bed, i);
	client_sends(bed, i, BYTES(CONNECT_KEPT));
	broker_gets(bed, i, BYTES(CONNECT_KEPT));
	broker_sends(bed, i, connack, sizeof(connack));
	for (unsigned n = 0; n < 8; n++)
		pair_turn(pair);
}

void arrives_kept(struct pair *pair, unsigned worker, unsigned i, bool present)
{
	uint8_t connack[] = {0x20, 2, present, 0};

	comes_kept(pair, worker, i, present);
	client_gets(&pair->beds[worker], i, connack, sizeof(connack));
}
