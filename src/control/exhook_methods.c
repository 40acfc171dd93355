// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// emqx.exhook.v2 and v3 HookProvider. What is read of a message has the same place in
// both, so both are read as v2. EMQX waits for each answer in the process of the client
// that it is about: an answer waits for the workers to know what was told, but no longer
// than ANSWER_MAX_US. Nothing is ever decided here: EMQX goes on as if nobody had been
// asked.

#include "control/control_state.h"

#include "base/clock.h"
#include "control/config.h"
#include "control/exhook_feed.h"
#include "control/rpc.h"
#include "emqx/exhook/v2/exhook.pb-c.h"

#include <assert.h>
#include <string.h>

#define AGE_MAX_S      10
#define ANSWER_MAX_US  (100 * US_IN_MS)
#define ANSWER_POLL_US 200

// --- whose call is it ----------------------------------------------------------------------------

typedef Emqx__Exhook__V2__RequestMeta meta;

struct call {
	struct exhook *exhook;
	struct exhook_call about;
	char peer[RPC_PEER_SIZE];
};

// The broker that is named as EMQX's cluster or node is; where there is one, that.
static bool broker_find(const struct config *config, const meta *m, unsigned *ret_broker)
{
	for (unsigned i = 0; m && i < config->brokers_count; i++)
		if (strcmp(config->brokers[i].name, m->cluster_name) == 0 ||
			strcmp(config->brokers[i].name, m->node) == 0) {
			*ret_broker = i;
			return true;
		}
	*ret_broker = 0;
	return config->brokers_count == 1;
}

// False: of a broker that is not ours.
static bool call_init(
	struct call *call, const struct control *control, const meta *m, struct rpc_reply *reply)
{
	call->exhook = exhook_feeds_exhook(control->exhook);
	call->about.node = m ? m->node : "";
	call->about.peer = rpc_call_peer(rpc_reply_call(reply), call->peer);
	return broker_find(control->source.config, m, &call->about.broker);
}

// --- answers -------------------------------------------------------------------------------------

// A call's state: what it has told must be with the workers before it is answered.
struct answer {
	struct exhook_told told;
	uint64_t deadline_us; // 0: it has told nothing
};

static void told(const struct control *control, struct answer *answer, unsigned broker)
{
	answer->told = exhook_feeds_told(control->exhook, broker);
	answer->deadline_us = clock_now_us() + ANSWER_MAX_US;
}

// True: not now, ask again.
static bool must_wait(const struct control *control, struct answer *answer, struct rpc_reply *reply)
{
	if (clock_now_us() >= answer->deadline_us ||
		exhook_feeds_settled(control->exhook, &answer->told))
		return false;
	rpc_call_wake(rpc_reply_call(reply), ANSWER_POLL_US);
	return true;
}

static void empty_next(void *ctx, void *state, struct rpc_reply *reply)
{
	static const Emqx__Exhook__V2__EmptySuccess empty = EMQX__EXHOOK__V2__EMPTY_SUCCESS__INIT;

	if (must_wait(ctx, state, reply))
		return;
	rpc_reply_message(reply, &empty.base);
	rpc_reply_end(reply);
}

// "Continue" without a value is an error to EMQX, and with one it replaces the message by what we
// say it is.
static void ignore_next(void *ctx, void *state, struct rpc_reply *reply)
{
	Emqx__Exhook__V2__ValuedResponse ignore = EMQX__EXHOOK__V2__VALUED_RESPONSE__INIT;

	if (must_wait(ctx, state, reply))
		return;
	ignore.type = EMQX__EXHOOK__V2__VALUED_RESPONSE__RESPONSED_TYPE__IGNORE;
	rpc_reply_message(reply, &ignore.base);
	rpc_reply_end(reply);
}

// --- loading -------------------------------------------------------------------------------------

// What is heard of every session; what is said by messages only where proofs are asked of it.
static const char *const session_hooks[] = {
	"session.created",
	"session.resumed",
	"session.subscribed",
	"session.unsubscribed",
	"session.discarded",
	"session.terminated",
};
static const char publish_hook[] = "message.publish";

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HOOKS_MAX    (COUNT(session_hooks) + 1)

// The operator wants to be told by this broker.
static bool is_told(const struct offload_broker_config *broker)
{
	return broker->knowledge == OFFLOAD_KNOWLEDGE_BROKER ||
	       broker->authorization == OFFLOAD_AUTHORIZATION_BROKER;
}

// Which broker has asked, and how it is known.
struct loading {
	struct answer answer; // first: it is also the answer
	const struct offload_broker_config *broker;
};

static void loaded_open(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Emqx__Exhook__V2__ProviderLoadedRequest *request = (const void *)message;
	struct control *control = ctx;
	struct loading *loading = state;
	struct call call;

	if (!call_init(&call, control, request->meta, reply)) {
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT,
			"no broker of the configuration has the name of this cluster or node");
		return;
	}
	loading->broker = &control->source.config->brokers[call.about.broker];
	if (!is_told(loading->broker))
		return;
	exhook_loaded(call.exhook, &call.about, request->broker ? request->broker->uptime : -1);
	told(control, &loading->answer, call.about.broker);
}

static void loaded_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct loading *loading = state;
	Emqx__Exhook__V2__LoadedResponse response = EMQX__EXHOOK__V2__LOADED_RESPONSE__INIT;
	Emqx__Exhook__V2__HookSpec specs[HOOKS_MAX], *pointers[HOOKS_MAX];

	if (must_wait(ctx, &loading->answer, reply))
		return;
	for (unsigned i = 0; i < HOOKS_MAX; i++) {
		emqx__exhook__v2__hook_spec__init(&specs[i]);
		specs[i].name =
			(char *)(i < COUNT(session_hooks) ? session_hooks[i] : publish_hook);
		pointers[i] = &specs[i];
	}
	response.hooks = pointers;
	if (is_told(loading->broker))
		response.n_hooks = COUNT(session_hooks) +
				   (loading->broker->authorization == OFFLOAD_AUTHORIZATION_BROKER);
	rpc_reply_message(reply, &response.base);
	rpc_reply_end(reply);
}

static void unloaded_open(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Emqx__Exhook__V2__ProviderUnloadedRequest *request = (const void *)message;
	struct call call;

	if (!call_init(&call, ctx, request->meta, reply))
		return;
	exhook_unloaded(call.exhook, &call.about);
	told(ctx, state, call.about.broker);
}

// --- sessions ------------------------------------------------------------------------------------

// Requests that differ in nothing but what they are about.
#define SESSION_OPEN(function, type, action)                                                      \
	static void function(                                                                     \
		void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply) \
	{                                                                                         \
		const Emqx__Exhook__V2__##type *request = (const void *)message;                  \
		struct exhook_client client;                                                      \
		struct call call;                                                                 \
                                                                                                  \
		if (!call_init(&call, ctx, request->meta, reply) ||                               \
			!client_init(&client, request->clientinfo))                               \
			return;                                                                   \
		action;                                                                           \
		told(ctx, state, call.about.broker);                                              \
	}

static bool client_init(struct exhook_client *client, const Emqx__Exhook__V2__ClientInfo *info)
{
	if (!info)
		return false;
	*client = (struct exhook_client){
		.id = info->clientid,
		.protocol = info->protocol,
		.mountpoint = info->mountpoint,
		.peer_host = info->peerhost,
		.peer_port = info->peerport <= UINT16_MAX ? (uint16_t)info->peerport : 0,
	};
	return true;
}

static struct exhook_filter filter_of(const char *text, const Emqx__Exhook__V2__SubOpts *options)
{
	struct exhook_filter filter = {.text = text, .share = ""};

	if (options) {
		filter.share = options->share;
		filter.qos = options->qos <= 2 ? (uint8_t)options->qos : UINT8_MAX;
		filter.no_local = options->nl != 0;
	}
	return filter;
}

SESSION_OPEN(created_open, SessionCreatedRequest,
	exhook_session_created(call.exhook, &call.about, &client))
SESSION_OPEN(resumed_open, SessionResumedRequest,
	exhook_session_resumed(call.exhook, &call.about, &client))
SESSION_OPEN(discarded_open, SessionDiscardedRequest,
	exhook_session_ended(call.exhook, &call.about, &client))
SESSION_OPEN(terminated_open, SessionTerminatedRequest,
	exhook_session_ended(call.exhook, &call.about, &client))
SESSION_OPEN(subscribed_open, SessionSubscribedRequest,
	     struct exhook_filter filter = filter_of(request->topic, request->subopts);
	     exhook_subscribed(call.exhook, &call.about, &client, &filter))
SESSION_OPEN(unsubscribed_open, SessionUnsubscribedRequest,
	exhook_unsubscribed(call.exhook, &call.about, &client, request->topic))

// --- messages ------------------------------------------------------------------------------------

static const char *header(const Emqx__Exhook__V2__Message *message, const char *key)
{
	for (size_t i = 0; i < message->n_headers; i++)
		if (strcmp(message->headers[i]->key, key) == 0)
			return message->headers[i]->value;
	return "";
}

static void publish_open(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Emqx__Exhook__V2__MessagePublishRequest *request = (const void *)message;
	const Emqx__Exhook__V2__Message *m = request->message;
	struct call call;

	if (!call_init(&call, ctx, request->meta, reply) || !m)
		return;
	exhook_published(call.exhook, &call.about,
		&(struct exhook_message){
			.client_id = m->from,
			.topic = m->topic,
			.qos = m->qos <= 2 ? (uint8_t)m->qos : UINT8_MAX,
			.by_mqtt = strcmp(header(m, "protocol"), "mqtt") == 0 &&
				   strcmp(header(m, "allow_publish"), "false") != 0,
		});
	told(ctx, state, call.about.broker);
}

// --- tables --------------------------------------------------------------------------------------

#define METHOD(version, method, message, function, answer_function, size)         \
	{                                                                         \
		.path = "/emqx.exhook." version ".HookProvider/" method,          \
		.request = &emqx__exhook__v2__##message##_request__descriptor,    \
		.state_size = (size), .age_max_s = AGE_MAX_S, .open = (function), \
		.next = (answer_function),                                        \
	}
#define EMPTY(version, method, message, function) \
	METHOD(version, method, message, function, empty_next, sizeof(struct answer))
#define IGNORED(version, method, message, function) \
	METHOD(version, method, message, function, ignore_next, sizeof(struct answer))

#define METHODS(v)                                                                            \
	{                                                                                     \
		METHOD(v, "OnProviderLoaded", provider_loaded, loaded_open, loaded_next,      \
			sizeof(struct loading)),                                              \
			EMPTY(v, "OnProviderUnloaded", provider_unloaded, unloaded_open),     \
			EMPTY(v, "OnClientConnect", client_connect, NULL),                    \
			EMPTY(v, "OnClientConnack", client_connack, NULL),                    \
			EMPTY(v, "OnClientConnected", client_connected, NULL),                \
			EMPTY(v, "OnClientDisconnected", client_disconnected, NULL),          \
			IGNORED(v, "OnClientAuthenticate", client_authenticate, NULL),        \
			IGNORED(v, "OnClientAuthorize", client_authorize, NULL),              \
			EMPTY(v, "OnClientSubscribe", client_subscribe, NULL),                \
			EMPTY(v, "OnClientUnsubscribe", client_unsubscribe, NULL),            \
			EMPTY(v, "OnSessionCreated", session_created, created_open),          \
			EMPTY(v, "OnSessionSubscribed", session_subscribed, subscribed_open), \
			EMPTY(v, "OnSessionUnsubscribed", session_unsubscribed,               \
				unsubscribed_open),                                           \
			EMPTY(v, "OnSessionResumed", session_resumed, resumed_open),          \
			EMPTY(v, "OnSessionDiscarded", session_discarded, discarded_open),    \
			EMPTY(v, "OnSessionTakenover", session_takenover, NULL),              \
			EMPTY(v, "OnSessionTerminated", session_terminated, terminated_open), \
			IGNORED(v, "OnMessagePublish", message_publish, publish_open),        \
			EMPTY(v, "OnMessageDelivered", message_delivered, NULL),              \
			EMPTY(v, "OnMessageDropped", message_dropped, NULL),                  \
			EMPTY(v, "OnMessageAcked", message_acked, NULL),                      \
		{                                                                             \
			.path = NULL                                                          \
		}                                                                             \
	}

const struct rpc_method exhook_v2_methods[] = METHODS("v2");
const struct rpc_method exhook_v3_methods[] = METHODS("v3");
