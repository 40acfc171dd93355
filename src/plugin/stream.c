// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
//           open ─▶ Hello ─▶ Welcome ─▶ SnapshotEnd, events, heartbeats ─▶ ended
//            ▲                                                              │
//            └──────────────────── wait, longer each time ◀─────────────────┘

#include "plugin/stream.h"

#include "plugin/channel.h"
#include "plugin/events.h"
#include "plugin/notes.h"
#include "plugin/options.h"
#include "plugin/queue.h"
#include "plugin/secret.h"
#include "plugin/waker.h"

#include "offramp/v1/broker.pb-c.h"

#include <mosquitto.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define SOFTWARE	  "mosquitto_offramp " OFFRAMP_VERSION
#define US_IN_MS	  1000ull
#define US_IN_S		  1000000ull
#define PATIENCE_US	  (1 * US_IN_S)	   // between two looks when nothing is to be done
#define WELCOME_US	  (10 * US_IN_S)   // within which Hello is answered
#define NAP_US		  (1 * US_IN_MS)   // while events come
#define STANDBY_US	  (20 * US_IN_MS)  // until mosquitto's first turn
#define LOOK_US		  (250 * US_IN_MS) // after what is late, until there is a stream
#define QUIET_US	  (10 * US_IN_MS)  // without events, until the thread sleeps
#define RETRY_US	  (100 * US_IN_MS) // first, then twice as long,
#define RETRY_MAX_US	  (5 * US_IN_S)	   // up to this
#define HEARTBEAT_MIN_US  (1 * US_IN_MS)
#define HEARTBEAT_MAX_US  (10 * US_IN_S)
#define NOTE_US		  (5 * US_IN_S) // after which one is told what is missing
#define SMALL_MESSAGE_MAX 1024

struct stream {
	struct queue *queue;
	struct secret *secret;
	struct notes *notes;
	struct channel *channel;
	struct waker *waker;
	const char *address, *broker;
	uint64_t instance;
	pthread_t thread;
	_Atomic bool going, stopping;

	// The thread's own.
	uint64_t now_us;
	bool noted_waiting;  // in the log
	uint64_t started_us; // when there was last a stream
	uint64_t retry_us;   // when to open a call
	uint64_t pause_us;   // until then
	uint64_t welcome_us; // until when Welcome must have come; 0: not asked for yet
	bool welcomed;
	uint64_t hello_latest; // in Hello
	uint64_t sent;	       // the latest event
	uint64_t heartbeat_us, next_heartbeat_us;
	uint64_t heartbeat_of; // a heartbeat is due when all up to this are sent; UINT64_MAX: none
	uint64_t heartbeat_echo_us; // Offramp's time when that was decided
	uint64_t echo_us;	    // the latest time that Offramp has told
	bool snapshot_due;
	uint64_t active_us; // when something was last sent
	uint8_t *event;
	size_t event_max;
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * US_IN_S + (uint64_t)ts.tv_nsec / 1000;
}

// --- what the plugin says ------------------------------------------------------------------------

static size_t pack(const Offramp__V1__BrokerMessage *message, uint8_t out[SMALL_MESSAGE_MAX])
{
	size_t length = offramp__v1__broker_message__get_packed_size(message);

	return length <= SMALL_MESSAGE_MAX ? offramp__v1__broker_message__pack(message, out) : 0;
}

static void open_call(struct stream *stream)
{
	Offramp__V1__Hello hello = OFFRAMP__V1__HELLO__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;
	uint8_t packed[SMALL_MESSAGE_MAX];

	hello.broker = (char *)stream->broker;
	hello.instance = stream->instance;
	hello.software = SOFTWARE;
	hello.latest_sequence = queue_latest(stream->queue);
	hello.oldest_sequence = queue_oldest(stream->queue);
	hello.markers = true;
	hello.split = true;
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_HELLO;
	message.hello = &hello;
	stream->hello_latest = hello.latest_sequence;
	stream->welcomed = false;
	stream->welcome_us = 0;
	channel_open(stream->channel, packed, pack(&message, packed));
}

static void send_snapshot_end(struct stream *stream)
{
	Offramp__V1__SnapshotEnd end = OFFRAMP__V1__SNAPSHOT_END__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;
	uint8_t packed[SMALL_MESSAGE_MAX];

	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_SNAPSHOT_END;
	message.snapshot_end = &end;
	stream->snapshot_due = false;
	channel_send(stream->channel, packed, pack(&message, packed), true);
}

static void send_heartbeat(struct stream *stream)
{
	Offramp__V1__Heartbeat heartbeat = OFFRAMP__V1__HEARTBEAT__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;
	uint8_t packed[SMALL_MESSAGE_MAX];

	heartbeat.latest_sequence = stream->heartbeat_of;
	heartbeat.echo_us = stream->heartbeat_echo_us;
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_HEARTBEAT;
	message.heartbeat = &heartbeat;
	stream->heartbeat_of = UINT64_MAX;
	stream->next_heartbeat_us = stream->now_us + stream->heartbeat_us;
	channel_send(stream->channel, packed, pack(&message, packed), false);
}

// The next thing to say, if there is one.
static void send_next(struct stream *stream)
{
	uint64_t sequence = 0;
	size_t length;

	if (stream->snapshot_due) {
		send_snapshot_end(stream);
		return;
	}
	// In this order: what is not seen by the look into the queue came about after this.
	if (stream->heartbeat_of == UINT64_MAX && stream->now_us >= stream->next_heartbeat_us) {
		stream->heartbeat_echo_us = stream->echo_us;
		stream->heartbeat_of = queue_latest(stream->queue);
	}
	length = queue_peek(stream->queue, stream->event, stream->event_max, &sequence);
	if (stream->heartbeat_of != UINT64_MAX &&
		(length == 0 || stream->sent >= stream->heartbeat_of)) {
		send_heartbeat(stream);
		return;
	}
	if (length == 0)
		return;
	queue_advance(stream->queue);
	stream->sent = sequence;
	stream->active_us = stream->now_us;
	channel_send(
		stream->channel, stream->event, length, sequence < queue_latest(stream->queue));
}

// --- what Offramp says ---------------------------------------------------------------------------

// What it asks for can be sent.
static bool can_replay(const struct stream *stream, uint64_t from)
{
	uint64_t oldest = queue_oldest(stream->queue);

	return from == stream->hello_latest + 1 ||
	       (oldest > 0 && from >= oldest && from <= stream->hello_latest);
}

static const char *welcome(struct stream *stream, const Offramp__V1__Welcome *welcome)
{
	if (stream->welcomed)
		return "a second Welcome";
	if (welcome->marker_key.len != MARKER_KEY_SIZE)
		return "a Welcome with a key of the wrong size";
	if (welcome->heartbeat_us < HEARTBEAT_MIN_US || welcome->heartbeat_us > HEARTBEAT_MAX_US)
		return "a Welcome with an impossible heartbeat";
	if (welcome->replay_from && !can_replay(stream, welcome->replay_from))
		return "a Welcome that asks for events that there are not";
	// Before anything is sent: who hears of it may use the key.
	secret_set(stream->secret, welcome->marker_key.data);
	stream->snapshot_due = welcome->replay_from == 0;
	// Nothing can be said of what mosquitto had before: what follows Hello is what is new.
	queue_acknowledge(stream->queue,
		welcome->replay_from ? welcome->replay_from - 1 : stream->hello_latest);
	queue_rewind(stream->queue, 0);
	stream->sent = welcome->replay_from ? welcome->replay_from - 1 : stream->hello_latest;
	stream->echo_us = welcome->time_us;
	stream->heartbeat_us = welcome->heartbeat_us;
	stream->next_heartbeat_us = stream->now_us;
	stream->heartbeat_of = UINT64_MAX;
	stream->welcomed = true;
	stream->pause_us = RETRY_US;
	stream->noted_waiting = false;
	notes_write(stream->notes, MOSQ_LOG_NOTICE, "offramp: in step with offrampd at %s",
		stream->address);
	return NULL;
}

static const char *acknowledge(struct stream *stream, const Offramp__V1__Acknowledge *acknowledge)
{
	if (!stream->welcomed || acknowledge->sequence > stream->sent)
		return "an acknowledgement of what was not sent";
	stream->echo_us = acknowledge->time_us;
	queue_acknowledge(stream->queue, acknowledge->sequence);
	return NULL;
}

static void receive(struct stream *stream)
{
	const char *mistake = "a message that this version does not know";
	size_t length;
	const uint8_t *bytes = channel_received(stream->channel, &length);
	Offramp__V1__OfframpMessage *message =
		offramp__v1__offramp_message__unpack(NULL, length, bytes);

	if (message && message->kind_case == OFFRAMP__V1__OFFRAMP_MESSAGE__KIND_WELCOME)
		mistake = welcome(stream, message->welcome);
	else if (message && message->kind_case == OFFRAMP__V1__OFFRAMP_MESSAGE__KIND_ACKNOWLEDGE)
		mistake = acknowledge(stream, message->acknowledge);
	if (message)
		offramp__v1__offramp_message__free_unpacked(message, NULL);
	if (!mistake)
		return;
	notes_write(stream->notes, MOSQ_LOG_ERR, "offramp: %s has sent %s; the stream starts over",
		stream->address, mistake);
	stream->welcomed = false;
	channel_cancel(stream->channel);
}

static void ended(struct stream *stream)
{
	if (stream->welcomed)
		notes_write(stream->notes, MOSQ_LOG_WARNING,
			"offramp: the stream to offrampd at %s has ended: %s", stream->address,
			channel_why(stream->channel));
	stream->welcomed = false;
	stream->started_us = stream->now_us;
	stream->retry_us = stream->now_us + stream->pause_us;
	stream->pause_us =
		stream->pause_us * 2 < RETRY_MAX_US ? stream->pause_us * 2 : RETRY_MAX_US;
}

// --- the thread ----------------------------------------------------------------------------------

static void note_waiting(struct stream *stream)
{
	if (stream->noted_waiting || stream->welcomed ||
		stream->now_us - stream->started_us < NOTE_US)
		return;
	stream->noted_waiting = true;
	if (atomic_load(&stream->going))
		notes_write(stream->notes, MOSQ_LOG_WARNING,
			"offramp: no answer from offrampd at %s yet; every message goes through "
			"mosquitto meanwhile",
			stream->address);
	else
		notes_write(stream->notes, MOSQ_LOG_ERR,
			"offramp: mosquitto gives this plugin no ticks, as with per_listener_settings "
			"true, where it would not see the clients of other listeners: it stays out of "
			"it, and every message goes through mosquitto");
}

static void start_over(struct stream *stream, const char *why)
{
	if (stream->welcomed)
		notes_write(stream->notes, MOSQ_LOG_WARNING,
			"offramp: %s; the stream to offrampd at %s starts over", why,
			stream->address);
	stream->welcomed = false;
	channel_cancel(stream->channel);
}

static void look(struct stream *stream)
{
	bool open = channel_is_open(stream->channel);

	note_waiting(stream);
	if (queue_drop_lost(stream->queue) && open)
		start_over(stream, "events were lost");
	if (atomic_load(&stream->stopping)) {
		channel_cancel(stream->channel);
		return;
	}
	if (!open && atomic_load(&stream->going) && stream->now_us >= stream->retry_us)
		open_call(stream);
	if (open && !stream->welcomed && stream->welcome_us && stream->now_us > stream->welcome_us)
		start_over(stream, "offrampd does not answer");
	if (open && stream->welcomed && !channel_is_sending(stream->channel))
		send_next(stream);
}

static uint64_t until_retry(const struct stream *stream)
{
	return stream->retry_us > stream->now_us ? stream->retry_us - stream->now_us : 0;
}

// Nothing is to be done until something happens, or a heartbeat is due. In naps while events
// come, so that many of them wake nobody; then asleep, and the next one wakes at once.
static uint64_t rest(struct stream *stream)
{
	uint64_t until_heartbeat = stream->next_heartbeat_us > stream->now_us
					   ? stream->next_heartbeat_us - stream->now_us
					   : 0;
	uint64_t sequence;

	if (!atomic_load(&stream->going))
		return STANDBY_US;
	if (!stream->welcomed) // what comes from the channel ends the wait
		return channel_is_open(stream->channel) ? LOOK_US : until_retry(stream);
	if (channel_is_sending(stream->channel))
		return PATIENCE_US;
	if (stream->now_us - stream->active_us < QUIET_US)
		return until_heartbeat < NAP_US ? until_heartbeat : NAP_US;
	waker_set_sleeping(stream->waker, true);
	if (queue_peek(stream->queue, stream->event, 0, &sequence) > 0)
		return 0;
	return until_heartbeat < PATIENCE_US ? until_heartbeat : PATIENCE_US;
}

static void *run(void *arg)
{
	struct stream *stream = arg;

	stream->now_us = stream->started_us = now_us();
	while (!atomic_load(&stream->stopping) || channel_is_open(stream->channel)) {
		enum channel_event event;

		look(stream);
		event = channel_wait(stream->channel, rest(stream));
		waker_set_sleeping(stream->waker, false);
		stream->now_us = now_us();
		if (event == CHANNEL_RECEIVED)
			receive(stream);
		else if (event == CHANNEL_ENDED)
			ended(stream);
		else if (event == CHANNEL_SENT && !stream->welcomed && !stream->welcome_us)
			stream->welcome_us = stream->now_us + WELCOME_US;
	}
	return NULL;
}

int stream_start(const struct options *options, struct queue *queue, struct secret *secret,
	struct notes *notes, struct stream **ret_stream, char *error, size_t error_size)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	sigset_t all, before;
	int err = -ENOMEM;

	snprintf(error, error_size, "out of memory");
	if (!stream)
		return err;
	stream->queue = queue;
	stream->secret = secret;
	stream->notes = notes;
	stream->address = options->address;
	stream->broker = options->broker;
	stream->pause_us = RETRY_US;
	stream->event_max = events_size_max(options->readers_max);
	stream->event = malloc(stream->event_max);
	if (!stream->event || getrandom(&stream->instance, sizeof(stream->instance), 0) < 0)
		goto err;
	err = channel_create(options, &stream->channel, error, error_size);
	if (err)
		goto err;
	stream->waker = channel_waker(stream->channel);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&stream->thread, NULL, run, stream);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		snprintf(error, error_size, "cannot start a thread: %s", strerror(-err));
		goto err;
	}
	pthread_setname_np(stream->thread, "offramp");
	*ret_stream = stream;
	return 0;
err:
	channel_destroy(stream->channel);
	free(stream->event);
	free(stream);
	return err;
}

void stream_stop(struct stream *stream)
{
	if (!stream)
		return;
	atomic_store(&stream->stopping, true);
	waker_wake(stream->waker);
	pthread_join(stream->thread, NULL);
	channel_destroy(stream->channel);
	free(stream->event);
	free(stream);
}

void stream_go(struct stream *stream)
{
	if (!atomic_load_explicit(&stream->going, memory_order_relaxed))
		atomic_store(&stream->going, true);
}

void stream_wake(struct stream *stream)
{
	waker_wake(stream->waker);
}
