// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A broker's hooks:
//
//               loaded, at the broker's start
//   SILENT ──────────────────────────────────▶ COMPLETE ─┐ any doubt
//     │  any other call                          ▲       │
//     └───────────▶ INCOMPLETE ◀─────────────────┼───────┘
//                       └── loaded, at its start ┘
//
// Sessions are counted by client, since one that is discarded may be told after the one
// that replaces it was created: only when none is left is the client told to be gone.

#include "control/exhook.h"

#include "control/exhook_clients.h"
#include "control/tcp_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODE_MAX 256 // Erlang's node names are atoms: 255 characters

enum state { SILENT, COMPLETE, INCOMPLETE };

struct peer {
	char name[TCP_PEER_NAME];
	struct tcp_peer tcp;
};

struct broker {
	enum state state;
	char node[NODE_MAX];
	struct exhook_clients *clients;
	struct peer *peers;
	unsigned peers_count;
};

struct exhook {
	struct exhook_sink sink;
	unsigned brokers_count;
	struct broker brokers[];
};

static const char why_before[] =
	"EMQX had loaded its hooks before Offramp started: restart EMQX while Offramp runs";
static const char why_late[] =
	"EMQX loaded its hooks long after its own start, clients may have subscribed before: restart "
	"EMQX while Offramp runs";
static const char why_unseen[] =
	"a client of EMQX was there before its hooks: restart EMQX while Offramp runs, without "
	"durable sessions";
static const char why_unloaded[] = "EMQX has unloaded its hooks: enable them and restart EMQX";
static const char why_connection[] =
	"a connection of EMQX's hooks has ended, and calls may be lost with it: restart EMQX";
static const char why_lost[] = "what EMQX told did not reach all workers: restart EMQX";
static const char why_replaced[] =
	"a stream of Broker/Events has taken the place of EMQX's hooks: use one of them";
static const char why_nodes[] =
	"hooks of several EMQX nodes call: Offramp follows one node, set knowledge: wire if every "
	"client comes through Offramp";
static const char why_mountpoint[] =
	"EMQX puts a mountpoint before topics, which Offramp does not follow: remove it and restart "
	"EMQX";
static const char why_share[] = "this EMQX does not tell shared subscriptions apart: 5.4 does";
static const char why_clients[] = "EMQX has more clients than Offramp follows";
static const char why_peers[] = "EMQX's hooks come by more connections than Offramp follows";
static const char why_no_tcp[] =
	"EMQX's hooks do not come by TCP, so a lost call would not be seen";

int exhook_create(unsigned brokers, const struct exhook_sink *sink, struct exhook **ret_exhook)
{
	struct exhook *exhook = calloc(1, sizeof(*exhook) + brokers * sizeof(exhook->brokers[0]));

	if (!exhook)
		return -ENOMEM;
	exhook->sink = *sink;
	exhook->brokers_count = brokers;
	for (unsigned i = 0; i < brokers; i++) {
		struct broker *broker = &exhook->brokers[i];

		broker->clients = exhook_clients_create(EXHOOK_CLIENTS_MAX);
		broker->peers = calloc(EXHOOK_PEERS_MAX, sizeof(*broker->peers));
		if (!broker->clients || !broker->peers) {
			exhook_destroy(exhook);
			return -ENOMEM;
		}
	}
	*ret_exhook = exhook;
	return 0;
}

static void peers_forget(struct broker *broker)
{
	while (broker->peers_count > 0)
		tcp_peer_release(&broker->peers[--broker->peers_count].tcp);
}

void exhook_destroy(struct exhook *exhook)
{
	if (!exhook)
		return;
	for (unsigned i = 0; i < exhook->brokers_count; i++) {
		peers_forget(&exhook->brokers[i]);
		exhook_clients_destroy(exhook->brokers[i].clients);
		free(exhook->brokers[i].peers);
	}
	free(exhook);
}

// --- completeness --------------------------------------------------------------------------------

static void doubt(struct exhook *exhook, unsigned index, const char *why)
{
	struct broker *broker = &exhook->brokers[index];

	if (broker->state == INCOMPLETE)
		return; // the first reason is the one to mend
	broker->state = INCOMPLETE;
	peers_forget(broker);
	exhook_clients_clear(broker->clients);
	exhook->sink.down(exhook->sink.ctx, index, why);
}

// The connection that brought a call is watched from then on. NULL, or why that cannot be.
static const char *peer_watch(struct broker *broker, const char *name)
{
	struct peer *peer;

	for (unsigned i = 0; i < broker->peers_count; i++)
		if (strcmp(broker->peers[i].name, name) == 0)
			return NULL;
	if (broker->peers_count == EXHOOK_PEERS_MAX)
		return why_peers;
	peer = &broker->peers[broker->peers_count];
	if (strlen(name) >= sizeof(peer->name) || tcp_peer_watch(name, &peer->tcp) < 0)
		return strncmp(name, "ipv", 3) == 0 ? why_connection : why_no_tcp;
	strcpy(peer->name, name);
	broker->peers_count++;
	return NULL;
}

// True: what the call says can be taken.
static bool heed(struct exhook *exhook, const struct exhook_call *call)
{
	struct broker *broker = &exhook->brokers[call->broker];
	const char *why = NULL;

	if (broker->state == SILENT)
		why = why_before;
	else if (broker->state == COMPLETE && strcmp(call->node, broker->node) != 0)
		why = why_nodes;
	else if (broker->state == COMPLETE)
		why = peer_watch(broker, call->peer);
	if (why)
		doubt(exhook, call->broker, why);
	return broker->state == COMPLETE;
}

static bool heed_client(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_client *client, bool seen)
{
	struct broker *broker = &exhook->brokers[call->broker];

	if (!heed(exhook, call))
		return false;
	if (*client->mountpoint)
		doubt(exhook, call->broker, why_mountpoint);
	else if (seen &&
		 !exhook_clients_has(broker->clients, exhook_space(client->protocol), client->id))
		doubt(exhook, call->broker, why_unseen);
	return broker->state == COMPLETE;
}

uint64_t exhook_space(const char *protocol)
{
	uint64_t hash = 0xcbf29ce484222325; // FNV-1a

	if (strcmp(protocol, "mqtt") == 0)
		return 0;
	while (*protocol)
		hash = (hash ^ (uint8_t)*protocol++) * 0x100000001b3;
	return hash | 1;
}

// --- calls ---------------------------------------------------------------------------------------

// NULL, or why what follows is not all there is.
static const char *load(struct broker *broker, const struct exhook_call *call, int64_t uptime_ms)
{
	// One that starts beside another one is a cluster; the same one anew is the broker.
	if (strlen(call->node) >= sizeof(broker->node) ||
		(broker->state == COMPLETE && strcmp(broker->node, call->node) != 0))
		return why_nodes;
	if (uptime_ms < 0 || uptime_ms > EXHOOK_BOOT_MS)
		return why_late;
	peers_forget(broker);
	return peer_watch(broker, call->peer);
}

void exhook_loaded(struct exhook *exhook, const struct exhook_call *call, int64_t uptime_ms)
{
	struct broker *broker = &exhook->brokers[call->broker];
	const char *why = load(broker, call, uptime_ms);

	if (why) {
		broker->state = SILENT; // this reason replaces an older one
		doubt(exhook, call->broker, why);
		return;
	}
	exhook_clients_clear(broker->clients);
	broker->state = COMPLETE;
	strcpy(broker->node, call->node);
	exhook->sink.up(exhook->sink.ctx, call->broker);
}

void exhook_unloaded(struct exhook *exhook, const struct exhook_call *call)
{
	if (exhook->brokers[call->broker].state == COMPLETE)
		doubt(exhook, call->broker, why_unloaded);
}

void exhook_session_created(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client)
{
	struct broker *broker = &exhook->brokers[call->broker];

	if (!heed_client(exhook, call, client, false))
		return;
	if (exhook_clients_add(broker->clients, exhook_space(client->protocol), client->id) < 0)
		doubt(exhook, call->broker, why_clients);
	else
		exhook->sink.session(
			exhook->sink.ctx, call->broker, client, OFFLOAD_SESSION_CREATED);
}

void exhook_session_resumed(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client)
{
	if (heed_client(exhook, call, client, true))
		exhook->sink.session(
			exhook->sink.ctx, call->broker, client, OFFLOAD_SESSION_RESUMED);
}

// One that was not seen coming took what it had with it.
void exhook_session_ended(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_client *client)
{
	struct broker *broker = &exhook->brokers[call->broker];

	if (heed_client(exhook, call, client, false) &&
		exhook_clients_remove(broker->clients, exhook_space(client->protocol), client->id))
		exhook->sink.session(exhook->sink.ctx, call->broker, client, OFFLOAD_SESSION_ENDED);
}

void exhook_subscribed(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_client *client, const struct exhook_filter *filter)
{
	if (!heed_client(exhook, call, client, true))
		return;
	if (*filter->share)
		doubt(exhook, call->broker, why_share);
	else
		exhook->sink.subscribed(exhook->sink.ctx, call->broker, client, filter);
}

void exhook_unsubscribed(struct exhook *exhook, const struct exhook_call *call,
	const struct exhook_client *client, const char *filter)
{
	if (heed_client(exhook, call, client, true))
		exhook->sink.unsubscribed(exhook->sink.ctx, call->broker, client, filter);
}

void exhook_published(
	struct exhook *exhook, const struct exhook_call *call, const struct exhook_message *message)
{
	struct broker *broker = &exhook->brokers[call->broker];

	// Wills and delayed messages come when their client may have gone.
	if (heed(exhook, call) && message->by_mqtt &&
		exhook_clients_has(broker->clients, 0, message->client_id))
		exhook->sink.written(exhook->sink.ctx, call->broker, message);
}

// --- time ----------------------------------------------------------------------------------------

bool exhook_look(struct exhook *exhook, unsigned index)
{
	struct broker *broker = &exhook->brokers[index];

	for (unsigned i = 0; i < broker->peers_count; i++)
		if (!tcp_peer_lives(&broker->peers[i].tcp)) {
			doubt(exhook, index, why_connection);
			break;
		}
	return broker->state == COMPLETE;
}

void exhook_lost(struct exhook *exhook, unsigned broker)
{
	if (exhook->brokers[broker].state == COMPLETE)
		doubt(exhook, broker, why_lost);
}

void exhook_replaced(struct exhook *exhook, unsigned broker)
{
	if (exhook->brokers[broker].state == COMPLETE)
		doubt(exhook, broker, why_replaced);
}
