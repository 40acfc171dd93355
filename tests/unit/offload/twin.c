// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See twin.h. Deliberately naive: lists are walked, packets are at most 64 bytes.

#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "mqtt/topic.h"
#include "offload/notice.h"
#include "pair.h"

// A PUBLISH, either way.
struct incoming {
	uint8_t qos;
	uint16_t packet_id;
	struct mqtt_bytes topic, payload;
};

static unsigned topic_index(char topic)
{
	return topic <= '9' ? (unsigned)(topic - '0') : (unsigned)(topic - 'a' + 10);
}

// --- events --------------------------------------------------------------------------------------

static struct twin_event *event_new(struct twin *twin, int kind)
{
	struct twin_event *event = &twin->events[twin->last++ % 4096];

	ASSERT(twin->last - twin->first < 4096);
	*event = (struct twin_event){.kind = kind};
	return event;
}

static void event_tell(struct bed *bed, const struct twin_event *event, unsigned number)
{
	const struct offload_published published = {
		.token = event->token,
		.written = event->written,
		.readers = event->readers,
		.readers_count = event->count,
		.cut = event->cut,
	};
	struct offload *offload = bed->offload;
	struct mqtt_bytes none = {NULL, 0};
	const struct offload_filter filter = {
		.text = mqtt_bytes(event->filter, strlen(event->filter)),
	};

	switch (event->kind) {
	case TWIN_JOINED:
		offload_notice_joined(offload, 0, event->token, event->key);
		break;
	case TWIN_PUBLISHED:
		offload_notice_published(offload, 0, &published);
		break;
	case TWIN_REVOKED:
		offload_notice_revoked(offload, 0);
		break;
	case TWIN_SUBSCRIBED:
		offload_notice_subscribed(offload, 0, event->key, none, &filter);
		break;
	}
	offload_notice_heard(offload, 0, number);
}

// To each worker at its pace.
static void events_tell_first(struct twin *twin)
{
	while (!twin->held && twin->first != twin->last) {
		const struct twin_event *event = &twin->events[twin->first++ % 4096];

		event_tell(twin->bed, event, twin->first);
	}
}

static void events_tell_other(struct twin *twin)
{
	while (twin->other != NULL && !twin->other_held && twin->other_told != twin->first) {
		const struct twin_event *event = &twin->events[twin->other_told++ % 4096];

		event_tell(twin->other, event, twin->other_told);
	}
}

// True: something was told.
static bool events_tell(struct twin *twin)
{
	unsigned first = twin->first, other = twin->other_told;

	events_tell_first(twin);
	events_tell_other(twin);
	return twin->first != first || twin->other_told != other;
}

struct bed *twin_bed(const struct twin *twin, unsigned i)
{
	return twin->other != NULL && i % 2 == 1 ? twin->other : twin->bed;
}

// --- the broker ----------------------------------------------------------------------------------

static void send(struct twin *twin, unsigned i, const void *data, size_t length)
{
	struct twin_leg *leg = &twin->legs[i];

	ASSERT(leg->out_length + length <= sizeof(leg->out));
	memcpy(leg->out + leg->out_length, data, length);
	leg->out_length += length;
}

static void deliver(struct twin *twin, unsigned to, const struct incoming *publish, uint8_t qos)
{
	struct twin_leg *leg = &twin->legs[to];
	uint8_t packet[64];
	unsigned n = 2;

	if (qos > publish->qos)
		qos = publish->qos;
	if (twin->drop_topic == (char)publish->topic.data[1]) {
		twin->drop_topic = 0;
		return;
	}
	packet[0] = (uint8_t)(0x30 | qos << 1);
	packet[n++] = 0;
	packet[n++] = 2;
	memcpy(packet + n, publish->topic.data, 2);
	n += 2;
	if (qos > 0) {
		leg->next_id = leg->next_id % 1000 + 1;
		packet[n++] = (uint8_t)(leg->next_id >> 8);
		packet[n++] = (uint8_t)leg->next_id;
	}
	if (leg->v5)
		packet[n++] = 0;
	memcpy(packet + n, publish->payload.data, publish->payload.length);
	n += publish->payload.length;
	packet[1] = (uint8_t)(n - 2);
	send(twin, to, packet, n);
}

static bool skips(const struct twin_leg *from, const struct twin_leg *reader)
{
	if (!from->skip || reader->joined == 0 || reader->joined > from->skip_number)
		return false;
	for (unsigned i = 0; i < from->skip_count; i++)
		if (from->skip_except[i] == reader->key)
			return false;
	return true;
}

// Returns how many readers it has considered.
static unsigned route(
	struct twin *twin, unsigned from, const struct incoming *publish, uint64_t *readers)
{
	unsigned count = 0, topic = topic_index((char)publish->topic.data[1]);

	for (unsigned i = 0; i < BED_CLIENTS; i++) {
		struct twin_leg *leg = &twin->legs[i];
		bool delivered = false;

		for (unsigned s = 0; leg->connected && s < leg->subscriptions_count; s++) {
			const char *filter = leg->subscriptions[s].filter;

			if ((leg->subscriptions[s].no_local && i == from) ||
				!mqtt_filter_matches(
					mqtt_bytes(filter, strlen(filter)), publish->topic))
				continue;
			readers[count++] = leg->key;
			if (!leg->may_read[topic] || (delivered && !leg->v5) ||
				skips(&twin->legs[from], leg))
				continue;
			deliver(twin, i, publish, leg->subscriptions[s].qos);
			delivered = true;
		}
	}
	for (unsigned i = 0; i < twin->strangers_count; i++)
		readers[count++] = twin->strangers[i];
	twin->strangers_got += twin->strangers_count;
	twin->legs[from].skip = false;
	return count;
}

static void tell_published(struct twin *twin, struct twin_leg *leg)
{
	struct twin_event *event = event_new(twin, TWIN_PUBLISHED);

	event->token = leg->asked.token;
	event->written = leg->asked.written;
	event->count = leg->asked.count;
	event->cut = leg->asked.cut;
	memcpy(event->readers, leg->asked.readers, sizeof(event->readers));
	leg->asked.token = 0;
}

static void marked(struct twin *twin, unsigned i, const struct incoming *publish)
{
	struct twin_leg *leg = &twin->legs[i];
	struct marker marker;

	// What clients publish here never comes.
	assert_int_equal(marker_decode(twin->marker_key, publish->payload.data,
				 publish->payload.length, &marker),
		0);
	switch (marker.kind) {
	case MARKER_JOIN: {
		struct twin_event *event = event_new(twin, TWIN_JOINED);

		if (leg->key == 0)
			leg->key = ++twin->last_key;
		leg->joins++;
		if (leg->joined == 0)
			leg->joined = twin->last;
		event->token = marker.token;
		event->key = leg->key;
		break;
	}
	case MARKER_ASK:
		leg->ask = marker.token;
		break;
	case MARKER_END:
		assert_int_equal(marker.token, leg->asked.token);
		tell_published(twin, leg);
		break;
	case MARKER_SKIP:
		leg->skip = true;
		leg->skip_number = (unsigned)marker.token;
		leg->skip_count = marker.except_count;
		memcpy(leg->skip_except, marker.except, sizeof(leg->skip_except));
		break;
	}
}

static void published(struct twin *twin, unsigned i, const uint8_t *packet, size_t length,
	const struct incoming *publish)
{
	struct twin_leg *leg = &twin->legs[i];
	bool written = leg->may_write[topic_index((char)publish->topic.data[1])];
	uint8_t ack[4] = {0x40, 2, (uint8_t)(publish->packet_id >> 8), (uint8_t)publish->packet_id};

	leg->published++;
	if (leg->ask != 0) {
		leg->asked.token = leg->ask;
		leg->asked.written = written;
		leg->asked.count = 0;
		leg->asked.cut = twin->vague && publish->qos == 2;
		leg->ask = 0;
	}
	if (publish->qos == 2) {
		ASSERT(leg->qos2_length == 0 && length <= sizeof(leg->qos2));
		memcpy(leg->qos2, packet, length);
		leg->qos2_length = length;
		ack[0] = 0x50;
		send(twin, i, ack, 4);
		return;
	}
	if (written) {
		uint64_t readers[64];
		unsigned count = route(twin, i, publish, readers);

		if (leg->asked.token != 0) {
			memcpy(leg->asked.readers, readers, sizeof(readers));
			leg->asked.count = count;
		}
	}
	if (publish->qos == 1)
		send(twin, i, ack, 4);
}

static void publish_of(
	struct twin_leg *leg, const uint8_t *packet, size_t length, struct incoming *ret_publish)
{
	enum mqtt_version version = leg->v5 ? MQTT_VERSION_5 : MQTT_VERSION_3_1_1;
	struct mqtt_publish publish = {.qos = 0};
	struct mqtt_header header;

	ASSERT(mqtt_header_decode(packet, (uint32_t)length, &header) == MQTT_OK);
	ASSERT(mqtt_publish_decode(version, &header,
		       mqtt_bytes(packet + header.size, length - header.size),
		       &publish) == MQTT_OK);
	*ret_publish = (struct incoming){
		.qos = publish.qos,
		.packet_id = publish.packet_id,
		.topic = publish.topic,
		.payload = mqtt_bytes(
			packet + length - publish.payload_length, publish.payload_length),
	};
}

static void released(struct twin *twin, unsigned i, const uint8_t *packet)
{
	struct twin_leg *leg = &twin->legs[i];
	uint8_t ack[4] = {0x70, 2, packet[2], packet[3]};
	struct incoming publish;
	uint64_t readers[64];

	if (leg->qos2_length > 0) {
		publish_of(leg, leg->qos2, leg->qos2_length, &publish);
		leg->qos2_length = 0;
		if (leg->may_write[topic_index((char)publish.topic.data[1])]) {
			unsigned count = route(twin, i, &publish, readers);

			memcpy(leg->asked.readers, readers, sizeof(readers));
			leg->asked.count = leg->asked.cut ? 0 : count;
		}
	}
	send(twin, i, ack, 4);
}

static void subscribed(struct twin *twin, unsigned i, const uint8_t *packet)
{
	struct twin_leg *leg = &twin->legs[i];
	unsigned at = leg->v5 ? 5 : 4, length = packet[at + 1];
	uint8_t options = packet[at + 2 + length];
	uint8_t v4[] = {0x90, 3, packet[2], packet[3], options & 3};
	uint8_t v5[] = {0x90, 4, packet[2], packet[3], 0, options & 3};
	struct twin_event *event = event_new(twin, TWIN_SUBSCRIBED);
	unsigned s = 0;

	while (s < leg->subscriptions_count &&
		(strlen(leg->subscriptions[s].filter) != length ||
			memcmp(leg->subscriptions[s].filter, packet + at + 2, length) != 0))
		s++;
	leg->subscriptions_count += s == leg->subscriptions_count;
	ASSERT(s < TWIN_SUBSCRIPTIONS && length < 16);
	memcpy(leg->subscriptions[s].filter, packet + at + 2, length);
	leg->subscriptions[s].filter[length] = '\0';
	leg->subscriptions[s].qos = options & 3;
	leg->subscriptions[s].no_local = options & 4;
	event->key = leg->key;
	strcpy(event->filter, leg->subscriptions[s].filter);
	send(twin, i, leg->v5 ? v5 : v4, leg->v5 ? sizeof(v5) : sizeof(v4));
}

static void unsubscribed(struct twin *twin, unsigned i, const uint8_t *packet)
{
	struct twin_leg *leg = &twin->legs[i];
	unsigned at = leg->v5 ? 5 : 4, length = packet[at + 1], kept = 0;
	uint8_t v4[] = {0xb0, 2, packet[2], packet[3]};
	uint8_t v5[] = {0xb0, 4, packet[2], packet[3], 0, 0};

	for (unsigned s = 0; s < leg->subscriptions_count; s++)
		if (twin->stubborn || strlen(leg->subscriptions[s].filter) != length ||
			memcmp(leg->subscriptions[s].filter, packet + at + 2, length) != 0)
			leg->subscriptions[kept++] = leg->subscriptions[s];
	leg->subscriptions_count = kept;
	send(twin, i, leg->v5 ? v5 : v4, leg->v5 ? sizeof(v5) : sizeof(v4));
}

static void packet_in(struct twin *twin, unsigned i, const uint8_t *packet, size_t length)
{
	struct incoming publish;

	switch (packet[0] >> 4) {
	case MQTT_PUBLISH:
		publish_of(&twin->legs[i], packet, length, &publish);
		if (publish.topic.data[0] == '$')
			marked(twin, i, &publish);
		else
			published(twin, i, packet, length, &publish);
		break;
	case MQTT_PUBREC:
		send(twin, i, (uint8_t[]){0x62, 2, packet[2], packet[3]}, 4);
		break;
	case MQTT_PUBREL:
		released(twin, i, packet);
		break;
	case MQTT_SUBSCRIBE:
		subscribed(twin, i, packet);
		break;
	case MQTT_UNSUBSCRIBE:
		unsubscribed(twin, i, packet);
		break;
	case MQTT_PINGREQ:
		send(twin, i, "\xd0\x00", 2);
		break;
	default:
		break;
	}
}

// --- the clients ---------------------------------------------------------------------------------

static void client_got(struct twin *twin, unsigned i, const uint8_t *packet, size_t length)
{
	struct twin_leg *leg = &twin->legs[i];
	struct incoming publish;
	uint8_t ack[4] = {0x40, 2, 0, 0};

	if (packet[0] >> 4 == MQTT_PUBREC || packet[0] >> 4 == MQTT_PUBREL) {
		ack[0] = packet[0] >> 4 == MQTT_PUBREC ? 0x62 : 0x70;
		memcpy(ack + 2, packet + 2, 2);
		client_sends(twin_bed(twin, i), i, ack, 4);
	}
	if (packet[0] >> 4 != MQTT_PUBLISH)
		return;
	publish_of(leg, packet, length, &publish);
	ASSERT(leg->got_count < TWIN_GOT);
	leg->got[leg->got_count].topic = (char)publish.topic.data[1];
	memcpy(&leg->got[leg->got_count++].number, publish.payload.data, 4);
	ack[2] = (uint8_t)(publish.packet_id >> 8);
	ack[3] = (uint8_t)publish.packet_id;
	ack[0] = publish.qos == 1 ? 0x40 : 0x50;
	if (publish.qos > 0)
		client_sends(twin_bed(twin, i), i, ack, 4);
}

// Calls for every whole packet of what has come; returns how much of it that was.
static size_t packets(struct twin *twin, unsigned i, const uint8_t *data, size_t length,
	void (*one)(struct twin *, unsigned, const uint8_t *, size_t))
{
	size_t at = 0;

	while (at < length) {
		struct mqtt_header header;

		if (mqtt_header_decode(data + at, (uint32_t)(length - at), &header) != MQTT_OK ||
			header.size + header.remaining > length - at)
			break;
		one(twin, i, data + at, header.size + header.remaining);
		at += header.size + header.remaining;
	}
	return at;
}

// --- turning -------------------------------------------------------------------------------------

static bool leg_run(struct twin *twin, unsigned i)
{
	struct twin_leg *leg = &twin->legs[i];
	const uint8_t *data;
	uint8_t copy[65536];
	bool any = false;
	size_t length = got_take(&twin_bed(twin, i)->up[i], &data);

	if (length > 0) {
		memcpy(leg->in + leg->in_length, data, length);
		leg->in_length += length;
		length = packets(twin, i, leg->in, leg->in_length, packet_in);
		leg->in_length -= length;
		memmove(leg->in, leg->in + length, leg->in_length);
		any = true;
	}
	if (leg->out_length > 0 && !twin->silent) {
		length = leg->out_length;
		memcpy(copy, leg->out, length);
		leg->out_length = 0;
		broker_sends(twin_bed(twin, i), i, copy, length);
		any = true;
	}
	length = got_take(&twin_bed(twin, i)->down[i], &data);
	if (length > 0) {
		memcpy(copy, data, length);
		assert_int_equal(packets(twin, i, copy, length, client_got), length);
		any = true;
	}
	return any;
}

void twin_run(struct twin *twin)
{
	bool any = true;

	for (unsigned n = 0; any && n < 1000; n++) {
		any = false;
		for (unsigned i = 0; i < BED_CLIENTS; i++)
			if (twin_bed(twin, i)->clients[i] != NULL && twin->legs[i].connected)
				any |= leg_run(twin, i);
		any |= events_tell(twin);
		bed_turn(twin->bed);
		// What crosses takes a turn there and one back, and may be answered then.
		for (unsigned t = 0; twin->other != NULL && t < 6; t++)
			bed_turn(t % 2 == 0 ? twin->other : twin->bed);
	}
	ASSERT(!any);
}

void twin_serve(struct twin *twin, unsigned worker)
{
	for (unsigned i = worker; i < BED_CLIENTS; i += 2)
		if (twin_bed(twin, i)->clients[i] != NULL && twin->legs[i].connected)
			leg_run(twin, i);
	if (worker == 0)
		events_tell_first(twin);
	else
		events_tell_other(twin);
}

void twin_wait(struct twin *twin, uint64_t us)
{
	uint64_t until = twin->bed->tcp.now_us + us;
	uint64_t step = us / 100 > US_IN_MS ? us / 100 : US_IN_MS;

	if (step > 100 * US_IN_MS)
		step = 100 * US_IN_MS;
	twin_run(twin);
	while (twin->bed->tcp.now_us < until) {
		uint64_t left = until - twin->bed->tcp.now_us;

		twin->lease_us = twin->bed->tcp.now_us + US_IN_S;
		if (twin->other == NULL)
			bed_wait(twin->bed, left < step ? left : step);
		else
			twin->bed->tcp.now_us += left < step ? left : step;
		if (twin->other != NULL)
			twin->other->tcp.now_us = twin->bed->tcp.now_us;
		twin_run(twin);
	}
}

// --- the tests' words ----------------------------------------------------------------------------

void twin_stream_up(struct twin *twin)
{
	struct offload_stream stream = {
		.lease_until_us = &twin->lease_us,
		.instance = twin->instance,
		.markers = true,
		.split = !twin->no_split,
	};

	for (unsigned i = 0; i < sizeof(twin->marker_key); i++)
		twin->marker_key[i]++;
	for (unsigned i = 0; i < BED_CLIENTS; i++)
		twin->legs[i].joined = 0;
	memcpy(stream.marker_key, twin->marker_key, sizeof(stream.marker_key));
	twin->lease_us = twin->bed->tcp.now_us + US_IN_S;
	offload_stream_up(twin->bed->offload, 0, &stream);
	if (twin->other != NULL)
		offload_stream_up(twin->other->offload, 0, &stream);
}

void twin_stream_down(struct twin *twin)
{
	offload_stream_down(twin->bed->offload, 0, "for a test");
	if (twin->other != NULL)
		offload_stream_down(twin->other->offload, 0, "for a test");
}

struct twin *twin_new(struct bed *bed)
{
	struct twin *twin = calloc(1, sizeof(*twin));

	twin->bed = bed;
	twin->instance = 7;
	twin_stream_up(twin);
	return twin;
}

struct twin *twin_new_pair(struct pair *pair)
{
	struct twin *twin = calloc(1, sizeof(*twin));

	twin->bed = &pair->beds[0];
	twin->other = &pair->beds[1];
	twin->instance = 7;
	twin_stream_up(twin);
	return twin;
}

// The lease is the twin's: nobody looks at it any more.
void twin_free(struct twin *twin)
{
	twin_stream_down(twin);
	free(twin);
}

void twin_connect(struct twin *twin, unsigned i, bool v5, const char *id)
{
	struct twin_leg *leg = &twin->legs[i];
	uint8_t packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', v5 ? 5 : 4, 2, 0, 0};
	unsigned n = 12;

	memset(leg, 0, sizeof(*leg));
	memset(leg->may_write, true, sizeof(leg->may_write));
	memset(leg->may_read, true, sizeof(leg->may_read));
	leg->connected = true;
	leg->v5 = v5;
	strcpy(leg->id, id);
	leg->key = ++twin->last_key;
	if (v5)
		packet[n++] = 0;
	packet[n++] = 0;
	packet[n++] = (uint8_t)strlen(id);
	memcpy(packet + n, id, strlen(id));
	n += (unsigned)strlen(id);
	packet[1] = (uint8_t)(n - 2);
	bed_open(twin_bed(twin, i), i);
	client_sends(twin_bed(twin, i), i, packet, n);
	if (v5)
		send(twin, i, "\x20\x03\x00\x00\x00", 5);
	else
		send(twin, i, "\x20\x02\x00\x00", 4);
	twin_run(twin);
}

static void request(
	struct twin *twin, unsigned i, const char *filter, uint8_t options, uint8_t type)
{
	unsigned length = (unsigned)strlen(filter), n = 2;
	uint8_t packet[64] = {(uint8_t)(type << 4 | 2)};

	packet[n++] = 0;
	packet[n++] = 1;
	if (twin->legs[i].v5)
		packet[n++] = 0;
	packet[n++] = 0;
	packet[n++] = (uint8_t)length;
	memcpy(packet + n, filter, length);
	n += length;
	if (type == MQTT_SUBSCRIBE)
		packet[n++] = options;
	packet[1] = (uint8_t)(n - 2);
	client_sends(twin_bed(twin, i), i, packet, n);
}

void twin_ask(struct twin *twin, unsigned i, const char *filter, uint8_t type)
{
	request(twin, i, filter, 1, type);
}

static void subscribe(
	struct twin *twin, unsigned i, const char *filter, uint8_t options, uint8_t type)
{
	request(twin, i, filter, options, type);
	twin_run(twin);
}

void twin_subscribe(struct twin *twin, unsigned i, const char *filter, uint8_t qos)
{
	subscribe(twin, i, filter, qos, MQTT_SUBSCRIBE);
}

void twin_subscribe_not_local(struct twin *twin, unsigned i, const char *filter, uint8_t qos)
{
	subscribe(twin, i, filter, qos | 4, MQTT_SUBSCRIBE);
}

void twin_unsubscribe(struct twin *twin, unsigned i, const char *filter)
{
	subscribe(twin, i, filter, 0, MQTT_UNSUBSCRIBE);
}

void twin_send(struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t number)
{
	uint8_t packet[32] = {(uint8_t)(0x30 | qos << 1), 0, 0, 2, 't', (uint8_t)topic};
	unsigned n = 6;

	if (qos > 0) {
		packet[n++] = 0x77;
		packet[n++] = (uint8_t)number;
	}
	if (twin->legs[i].v5)
		packet[n++] = 0;
	memcpy(packet + n, &number, 4);
	n += 4;
	packet[1] = (uint8_t)(n - 2);
	client_sends(twin_bed(twin, i), i, packet, n);
}

void twin_publish(struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t number)
{
	twin_send(twin, i, topic, qos, number);
	twin_run(twin);
}

void twin_revoke(struct twin *twin)
{
	event_new(twin, TWIN_REVOKED);
	twin_run(twin);
}

unsigned twin_got(const struct twin *twin, unsigned i, uint32_t number)
{
	unsigned times = 0;

	for (unsigned n = 0; n < twin->legs[i].got_count; n++)
		times += twin->legs[i].got[n].number == number;
	return times;
}

uint64_t twin_captured(const struct twin *twin)
{
	const struct bed *beds[] = {twin->bed, twin->other};
	uint64_t captured = 0;

	for (unsigned b = 0; b < 2 && beds[b] != NULL; b++)
		for (unsigned qos = 0; qos < 3; qos++)
			captured += bed_counters(beds[b])->captured[qos];
	return captured;
}

unsigned twin_until_captured(
	struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t *number)
{
	uint64_t captured = twin_captured(twin);

	for (unsigned n = 0; n < 20; n++) {
		twin_publish(twin, i, topic, qos, (*number)++);
		twin_wait(twin, 10 * US_IN_MS);
		if (twin_captured(twin) > captured)
			return n;
	}
	fail_msg("nothing was captured");
	return 0;
}
