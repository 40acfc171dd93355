// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What EMQX tells by its hooks (proto/emqx/exhook), and how far it can be relied on.
//
// EMQX calls from its clients' own processes and waits for the answer: who subscribes is
// told here before its SUBACK. But a hook has no sequence number, no heartbeat and no
// snapshot, so what is told is complete only
//   - from the broker's start on: the hooks must be loaded within EXHOOK_BOOT_MS of it,
//     and every client that shows up must have been seen coming;
//   - while no connection that brought a call has ended: a call may have been lost with it;
//   - where every node and every topic is seen as it is: one node, no mountpoint.
// Once that has failed only the next start of EMQX can mend it, and until then everything
// passes; the reason says what to do.
//
// Neither gRPC nor workers are known here: calls come from exhook_methods.c, what follows
// goes to a sink. One thread at a time. Private to control.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "offload/notice.h"

#define EXHOOK_BOOT_MS	   30000 // EMQX's uptime when it loads its hooks at its own start
#define EXHOOK_PEERS_MAX   256	 // connections of one broker
#define EXHOOK_CLIENTS_MAX 1000000u

// Texts are never NULL.
struct exhook_client {
	const char *id;
	const char *protocol; // "mqtt", or what a gateway speaks, which has identifiers of its own
	const char *mountpoint; // put before its topics by the broker
	const char *peer_host;	// "198.18.0.2"
	uint16_t peer_port;	// 0: not told (EMQX before 5.9)
};

struct exhook_filter {
	const char *text;
	const char *share; // the name, where the filter does not have it (EMQX before 5.4)
	uint8_t qos;
	bool no_local;
};

struct exhook_message {
	const char *client_id;
	const char *topic;
	uint8_t qos;
	bool by_mqtt; // a client has sent it; otherwise a rule, a gateway or the REST API
};

// Where it goes: to every worker, in this order.
struct exhook_sink {
	void *ctx;
	// From here on everything is told; what was told before is void.
	void (*up)(void *ctx, unsigned broker);
	// `why` has static storage.
	void (*down)(void *ctx, unsigned broker, const char *why);
	void (*session)(void *ctx, unsigned broker, const struct exhook_client *client,
		enum offload_session_state state);
	void (*subscribed)(void *ctx, unsigned broker, const struct exhook_client *client,
		const struct exhook_filter *filter);
	void (*unsubscribed)(
		void *ctx, unsigned broker, const struct exhook_client *client, const char *filter);
	void (*written)(void *ctx, unsigned broker, const struct exhook_message *message);
};

struct exhook;

int exhook_create(unsigned brokers, const struct exhook_sink *sink, struct exhook **ret_exhook);
void exhook_destroy(struct exhook *exhook); // accepts NULL

// Of a call. Texts are never NULL.
struct exhook_call {
	unsigned broker;
	const char *node; // of EMQX; empty: not told
	const char *peer; // "ipv4:198.18.0.2:41234"
};

void exhook_loaded(struct exhook *exhook, const struct exhook_call *call, int64_t uptime_ms);
void exhook_unloaded(struct exhook *exhook, const struct exhook_call *call);

void exhook_session_created(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client);
void exhook_session_resumed(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client);
// Terminated or discarded.
void exhook_session_ended(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client);
void exhook_subscribed(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_client *client, const struct exhook_filter *filter);
void exhook_unsubscribed(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_client *client, const char *filter);
void exhook_published(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_message *message);
// Of names of clients: 0 for MQTT, another number for each other protocol.
uint64_t exhook_space(const char *protocol);

// Looks after the connections. True: what was told is complete until now.
bool exhook_look(struct exhook *exhook, unsigned broker);
// Something of what was told did not reach the workers.
void exhook_lost(struct exhook *exhook, unsigned broker);
// The broker tells by another stream, which counts from now on.
void exhook_replaced(struct exhook *exhook, unsigned broker);
