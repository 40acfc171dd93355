// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A teller for each broker: its stream, and messages that workers had no room for.

#include "control/exhook_feed.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/list.h"
#include "control/config.h"
#include "control/control_state.h"
#include "control/feeds.h"
#include "control/notices.h"

#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 4096u // messages of one broker
#define LEASE_PARTS 5
#define SOFTWARE    "EMQX, by its hooks"
#define TICK_US_MIN (10 * US_IN_MS)

typedef Offramp__V1__BrokerMessage broker_message;

struct waiting {
	struct list link;
	broker_message *message;
};

struct teller {
	struct feed_stream stream;
	bool begun;  // exhook says that what it tells is all
	bool rising; // the workers have not been told yet
	const char
		*why; // why it does not, which the workers have not been told yet; NULL: they have
	struct list waiting;
	unsigned waiting_count;
};

struct exhook_feeds {
	struct control *control;
	struct exhook *exhook;
	struct teller *tellers; // by broker
};

// --- messages ------------------------------------------------------------------------------------

// Of one block of memory each, as protobuf-c frees what it has unpacked. NULL: no memory.
static broker_message *message_create(
	Offramp__V1__BrokerMessage__KindCase kind, const ProtobufCMessageDescriptor *descriptor)
{
	broker_message *message = malloc(sizeof(*message));
	ProtobufCMessage *inner = malloc(descriptor->sizeof_message);

	if (!message || !inner) {
		free(message);
		free(inner);
		return NULL;
	}
	offramp__v1__broker_message__init(message);
	protobuf_c_message_init(descriptor, inner);
	message->kind_case = kind;
	message->heartbeat = (void *)inner; // all of the union are pointers
	return message;
}

static void message_free(broker_message *message)
{
	offramp__v1__broker_message__free_unpacked(message, NULL);
}

// --- to the workers ------------------------------------------------------------------------------

static void teller_forget(struct teller *teller)
{
	while (!list_empty(&teller->waiting)) {
		struct waiting *w = container_of(list_pop(&teller->waiting), struct waiting, link);

		message_free(w->message);
		free(w);
	}
	teller->waiting_count = 0;
}

// True: nothing waits any more.
static bool teller_flush(struct exhook_feeds *feeds, struct teller *teller)
{
	struct feeds *to = &feeds->control->feeds;

	if (!teller->begun)
		return true;
	if (teller->rising) {
		if (!feed_up(to, &teller->stream))
			return false;
		teller->rising = false;
	}
	while (!list_empty(&teller->waiting)) {
		struct waiting *w = container_of(teller->waiting.next, struct waiting, link);

		if (!feed_post(to, &teller->stream, w->message, 0))
			return false;
		list_remove(&w->link);
		free(w);
		teller->waiting_count--;
	}
	return true;
}

// Takes the message; NULL: there was no memory for it.
static void tell(struct exhook_feeds *feeds, unsigned broker, broker_message *message)
{
	struct teller *teller = &feeds->tellers[broker];
	struct waiting *w;

	if (!teller->begun) {
		if (message)
			message_free(message);
		return;
	}
	if (message && teller_flush(feeds, teller) &&
		feed_post(&feeds->control->feeds, &teller->stream, message, 0))
		return;
	// What would be told late shows nothing any more, and nobody relies on it.
	if (message && message->kind_case == OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED) {
		message_free(message);
		return;
	}
	w = message && teller->waiting_count < WAITING_MAX ? malloc(sizeof(*w)) : NULL;
	if (!w) {
		if (message)
			message_free(message);
		exhook_lost(feeds->exhook, broker);
		return;
	}
	w->message = message;
	list_append(&teller->waiting, &w->link);
	teller->waiting_count++;
}

// --- the sink ------------------------------------------------------------------------------------

// The workers are told why, as soon as they can be.
static void teller_explain(struct exhook_feeds *feeds, unsigned broker)
{
	struct teller *teller = &feeds->tellers[broker];
	struct feeds *to = &feeds->control->feeds;

	if (teller->why && feed_explain(to, &to->feeds[broker], teller->why))
		teller->why = NULL;
}

static void sink_down(void *ctx, unsigned broker, const char *why)
{
	struct exhook_feeds *feeds = ctx;
	struct teller *teller = &feeds->tellers[broker];
	uint64_t posted = notices_posted(feeds->control->notices);

	teller_forget(teller);
	if (teller->begun)
		feed_end(&feeds->control->feeds, &teller->stream, FEED_END_GAP, why);
	teller->begun = teller->rising = false;
	if (notices_posted(feeds->control->notices) == posted)
		teller->why = why;
	teller_explain(feeds, broker);
}

static void sink_up(void *ctx, unsigned broker)
{
	struct exhook_feeds *feeds = ctx;
	struct teller *teller = &feeds->tellers[broker];
	Offramp__V1__Hello hello = OFFRAMP__V1__HELLO__INIT;

	if (teller->begun)
		sink_down(ctx, broker, "EMQX has loaded its hooks again");
	teller->stream = (struct feed_stream){0};
	hello.software = (char *)SOFTWARE;
	hello.complete = true;
	ASSERT(getrandom(&hello.instance, sizeof(hello.instance), 0) == sizeof(hello.instance));
	feed_begin(&feeds->control->feeds, &feeds->control->feeds.feeds[broker], &teller->stream,
		&hello);
	teller->begun = teller->rising = true;
	teller->why = NULL;
	tell(feeds, broker,
		message_create(OFFRAMP__V1__BROKER_MESSAGE__KIND_SNAPSHOT_END,
			&offramp__v1__snapshot_end__descriptor));
}

static void set_peer(Offramp__V1__SessionChanged *session, const struct exhook_client *client)
{
	struct net_address address;

	if (net_address_parse(client->peer_host, &address) < 0)
		return;
	session->peer_address.data = malloc(sizeof(address.bytes));
	if (!session->peer_address.data)
		return;
	session->peer_address.len = sizeof(address.bytes);
	memcpy(session->peer_address.data, address.bytes, sizeof(address.bytes));
	session->peer_port = client->peer_port;
}

static void sink_session(void *ctx, unsigned broker, const struct exhook_client *client,
	enum offload_session_state state)
{
	static const Offramp__V1__SessionState states[] = {
		[OFFLOAD_SESSION_CREATED] = OFFRAMP__V1__SESSION_STATE__SESSION_STATE_CREATED,
		[OFFLOAD_SESSION_RESUMED] = OFFRAMP__V1__SESSION_STATE__SESSION_STATE_RESUMED,
		[OFFLOAD_SESSION_DISCONNECTED] =
			OFFRAMP__V1__SESSION_STATE__SESSION_STATE_DISCONNECTED,
		[OFFLOAD_SESSION_ENDED] = OFFRAMP__V1__SESSION_STATE__SESSION_STATE_ENDED,
	};
	broker_message *message = message_create(OFFRAMP__V1__BROKER_MESSAGE__KIND_SESSION,
		&offramp__v1__session_changed__descriptor);

	if (message) {
		message->session->key = exhook_space(client->protocol);
		message->session->client_id = strdup(client->id);
		message->session->state = states[state];
		set_peer(message->session, client);
	}
	tell(ctx, broker, message);
}

static void sink_subscribed(void *ctx, unsigned broker, const struct exhook_client *client,
	const struct exhook_filter *filter)
{
	broker_message *message = message_create(
		OFFRAMP__V1__BROKER_MESSAGE__KIND_SUBSCRIBED, &offramp__v1__subscribed__descriptor);

	if (message) {
		message->subscribed->key = exhook_space(client->protocol);
		message->subscribed->client_id = strdup(client->id);
		message->subscribed->filter = strdup(filter->text);
		message->subscribed->qos = filter->qos;
		message->subscribed->no_local = filter->no_local;
	}
	tell(ctx, broker, message);
}

static void sink_unsubscribed(
	void *ctx, unsigned broker, const struct exhook_client *client, const char *filter)
{
	broker_message *message = message_create(OFFRAMP__V1__BROKER_MESSAGE__KIND_UNSUBSCRIBED,
		&offramp__v1__unsubscribed__descriptor);

	if (message) {
		message->unsubscribed->key = exhook_space(client->protocol);
		message->unsubscribed->client_id = strdup(client->id);
		message->unsubscribed->filter = strdup(filter);
	}
	tell(ctx, broker, message);
}

static void sink_written(void *ctx, unsigned broker, const struct exhook_message *written)
{
	broker_message *message = message_create(
		OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED, &offramp__v1__published__descriptor);

	if (message) {
		message->published->client_id = strdup(written->client_id);
		message->published->topic = strdup(written->topic);
		message->published->written = true;
		message->published->qos = written->qos;
	}
	tell(ctx, broker, message);
}

// --- the service ---------------------------------------------------------------------------------

int exhook_feeds_create(struct control *control, struct exhook_feeds **ret_feeds)
{
	unsigned count = control->source.config->brokers_count;
	struct exhook_feeds *feeds = calloc(1, sizeof(*feeds));
	struct exhook_sink sink = {feeds, sink_up, sink_down, sink_session, sink_subscribed,
		sink_unsubscribed, sink_written};

	if (!feeds)
		return -ENOMEM;
	feeds->control = control;
	feeds->tellers = calloc(count + 1, sizeof(*feeds->tellers));
	for (unsigned i = 0; feeds->tellers && i < count; i++)
		list_init(&feeds->tellers[i].waiting);
	if (!feeds->tellers || exhook_create(count, &sink, &feeds->exhook) < 0) {
		exhook_feeds_destroy(feeds);
		return -ENOMEM;
	}
	*ret_feeds = feeds;
	return 0;
}

void exhook_feeds_destroy(struct exhook_feeds *feeds)
{
	if (!feeds)
		return;
	exhook_destroy(feeds->exhook);
	for (unsigned i = 0; feeds->tellers && i < feeds->control->source.config->brokers_count;
		i++)
		teller_forget(&feeds->tellers[i]);
	free(feeds->tellers);
	free(feeds);
}

struct exhook *exhook_feeds_exhook(struct exhook_feeds *feeds)
{
	return feeds->exhook;
}

uint64_t exhook_feeds_tick_us(const struct exhook_feeds *feeds)
{
	const struct config *config = feeds->control->source.config;
	uint64_t us = US_IN_S;

	for (unsigned i = 0; i < config->brokers_count; i++)
		if (config->brokers[i].proof.lease_us / LEASE_PARTS < us)
			us = config->brokers[i].proof.lease_us / LEASE_PARTS;
	return us < TICK_US_MIN ? TICK_US_MIN : us;
}

// Another stream of the broker may have taken the place of ours.
static bool teller_stands(struct exhook_feeds *feeds, unsigned broker)
{
	struct teller *teller = &feeds->tellers[broker];

	if (teller->begun && !teller->stream.feed)
		exhook_replaced(feeds->exhook, broker);
	return teller->begun;
}

void exhook_feeds_tick(void *ctx)
{
	struct exhook_feeds *feeds = ((struct control *)ctx)->exhook;

	for (unsigned i = 0; i < feeds->control->source.config->brokers_count; i++) {
		struct teller *teller = &feeds->tellers[i];
		uint64_t now_us = clock_now_us();
		broker_message *heartbeat;

		teller_explain(feeds, i);
		if (!teller_stands(feeds, i) || !exhook_look(feeds->exhook, i) ||
			!teller_flush(feeds, teller))
			continue;
		heartbeat = message_create(OFFRAMP__V1__BROKER_MESSAGE__KIND_HEARTBEAT,
			&offramp__v1__heartbeat__descriptor);
		if (heartbeat &&
			!feed_post(&feeds->control->feeds, &teller->stream, heartbeat, now_us))
			message_free(heartbeat);
	}
}

// It may have been any broker's.
void exhook_feeds_refused(void *ctx)
{
	struct exhook_feeds *feeds = ((struct control *)ctx)->exhook;

	for (unsigned i = 0; i < feeds->control->source.config->brokers_count; i++)
		exhook_lost(feeds->exhook, i);
}

struct exhook_told exhook_feeds_told(struct exhook_feeds *feeds, unsigned broker)
{
	struct exhook_told told = {.broker = broker};

	told.waits = !teller_flush(feeds, &feeds->tellers[broker]);
	told.notice = notices_posted(feeds->control->notices);
	return told;
}

bool exhook_feeds_settled(struct exhook_feeds *feeds, struct exhook_told *told)
{
	if (told->waits)
		*told = exhook_feeds_told(feeds, told->broker);
	return !told->waits && notices_have_run(feeds->control->notices, told->notice);
}
