// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the fake daemon's offload does with notices: writes each as a line into a file of
// its worker. Worker threads only.

#include "fake_notices.h"

#include "offload/notice.h"

#include <inttypes.h>
#include <stdarg.h>

__attribute__((format(printf, 2, 3))) static void tell(
	struct offload *offload, const char *format, ...)
{
	FILE *out = fake_told(offload);
	va_list args;

	if (!out)
		return;
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
	fflush(out);
}

#define TEXT(bytes) (int)(bytes).length, (const char *)(bytes).data

void offload_stream_up(
	struct offload *offload, unsigned broker, const struct offload_stream *stream)
{
	tell(offload, "up %u %02x%02x%s%s%s", broker, stream->marker_key[0], stream->marker_key[15],
		stream->markers ? " markers" : "", stream->split ? " split" : "",
		stream->complete ? " complete" : "");
}

void offload_stream_down(struct offload *offload, unsigned broker, const char *why)
{
	tell(offload, "down %u %s", broker, why);
}

void offload_notice_snapshot_end(struct offload *offload, unsigned broker)
{
	tell(offload, "snapshot_end %u", broker);
}

void offload_notice_joined(struct offload *offload, unsigned broker, uint64_t nonce, uint64_t key)
{
	tell(offload, "joined %u %" PRIu64 " %" PRIu64, broker, nonce, key);
}

void offload_notice_session(
	struct offload *offload, unsigned broker, const struct offload_session *session)
{
	char peer[NET_ENDPOINT_STRLEN] = "";

	if (session->peer.port != 0)
		net_endpoint_format(&session->peer, peer);
	tell(offload, "session %u %" PRIu64 " %.*s %d%s%s", broker, session->key,
		TEXT(session->client_id), session->state, *peer ? " " : "", peer);
}

void offload_notice_subscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, const struct offload_filter *filter)
{
	tell(offload, "subscribed %u %" PRIu64 " %.*s %.*s %u%s", broker, key, TEXT(client_id),
		TEXT(filter->text), filter->qos, filter->no_local ? " no-local" : "");
}

void offload_notice_unsubscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, struct mqtt_bytes filter)
{
	tell(offload, "unsubscribed %u %" PRIu64 " %.*s %.*s", broker, key, TEXT(client_id),
		TEXT(filter));
}

void offload_notice_published(
	struct offload *offload, unsigned broker, const struct offload_published *p)
{
	tell(offload, "published %u %" PRIu64 " %" PRIu64 " %.*s %.*s %d %u %" PRIu64 " %d", broker,
		p->token, p->key, TEXT(p->client_id), TEXT(p->topic), p->written, p->readers_count,
		p->readers_count ? p->readers[p->readers_count - 1] : 0, p->cut);
}

void offload_notice_revoked(struct offload *offload, unsigned broker)
{
	tell(offload, "revoked %u", broker);
}

// Behind each event: nothing that a test asks for.
void offload_notice_heard(struct offload *offload, unsigned broker, uint64_t sequence)
{
}
