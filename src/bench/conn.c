// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// An MQTT client's connection: socket, greeting, output; its worker's thread.

#include "bench/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "bench/bench.h"
#include "bench/memory.h"
#include "bench/publisher.h"
#include "bench/subscriber.h"
#include "bench/worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONN_OUT_FIRST 512u // bytes of a new output buffer

static const char *role_name(const struct bench_conn *conn)
{
	return conn->role == BENCH_CONN_PUBLISHER ? "publisher" : "subscriber";
}

void bench_conn_init(struct bench_conn *conn, struct bench_worker *worker,
	enum bench_conn_role role, uint32_t index)
{
	memset(conn, 0, sizeof(*conn));
	conn->worker = worker;
	conn->role = role;
	conn->index = index;
	conn->fd = -1;
}

void bench_conn_fini(struct bench_conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	bench_stream_fini(&conn->stream);
	free(conn->out);
	conn->out = NULL;
}

static void conn_watch(struct bench_conn *conn, int operation, bool out)
{
	struct epoll_event event = {
		.events = EPOLLIN | (out ? EPOLLOUT : 0),
		.data.ptr = conn,
	};

	conn->watching_out = out;
	if (epoll_ctl(conn->worker->epoll_fd, operation, conn->fd, &event) < 0)
		bench_conn_lose(conn, "epoll_ctl: %s", strerror(errno));
}

void bench_conn_lose(struct bench_conn *conn, const char *format, ...)
{
	struct bench_worker *worker = conn->worker;
	bool was_ready = conn->state == BENCH_CONN_READY;
	char reason[160], text[240];
	va_list args;

	if (conn->state == BENCH_CONN_LOST)
		return;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s %u: %s", role_name(conn), conn->index, reason);
	conn->state = BENCH_CONN_LOST;
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	if (!was_ready) {
		bench_worker_fail(worker, text);
		return;
	}
	if (!worker->loss[0])
		snprintf(worker->loss, sizeof(worker->loss), "%s", text);
	counter_inc(&worker->stats.connections_lost);
	if (conn->role == BENCH_CONN_PUBLISHER)
		bench_publisher_finish((struct bench_publisher *)conn);
	if (worker->phase < BENCH_PHASE_RUN)
		bench_worker_fail(worker, text);
}

// --- opening -------------------------------------------------------------------------------------

// Binds to one of the addresses asked for; the port is chosen by connect(), so that it need only be
// unique towards the broker.
static int conn_bind_source(const struct bench_conn *conn)
{
	const struct bench *bench = conn->worker->bench;
	const struct bench_options *o = bench->options;
	struct bench_address source;
	uint64_t n = conn->index;
	int on = 1;

	if (!o->sources_count)
		return 0;
	if (conn->role == BENCH_CONN_PUBLISHER)
		n += o->subscribers;
	bench_sources_pick(o->sources, o->sources_count, n, &source);
	if (setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(conn->fd, (struct sockaddr *)&source.storage, source.length) < 0)
		return -errno;
	return 0;
}

void bench_conn_open(struct bench_conn *conn)
{
	const struct bench *bench = conn->worker->bench;
	int on = 1, rc;

	conn->state = BENCH_CONN_CONNECTING;
	conn->fd = socket(
		bench->target.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0) {
		bench_conn_lose(conn, "socket: %s", strerror(errno));
		return;
	}
	if (!bench->options->nagle)
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rc = conn_bind_source(conn);
	if (rc) {
		bench_conn_lose(conn, "cannot use its source address: %s", strerror(-rc));
		return;
	}
	rc = connect(
		conn->fd, (const struct sockaddr *)&bench->target.storage, bench->target.length);
	if (rc < 0 && errno != EINPROGRESS) {
		bench_conn_lose(
			conn, "cannot connect to %s: %s", bench->target.text, strerror(errno));
		return;
	}
	conn_watch(conn, EPOLL_CTL_ADD, true);
}

static void conn_greet(struct bench_conn *conn)
{
	const struct bench *bench = conn->worker->bench;
	const struct bench_options *o = bench->options;
	char id[48];
	struct mqtt_connect connect = {
		.version = o->version,
		.clean_start = true,
		.keep_alive = o->keep_alive_s,
		.has_username = o->username != NULL,
		.has_password = o->password != NULL,
	};
	uint32_t size;
	size_t length;

	// At most 23 bytes: 3.1 allows no more.
	snprintf(id, sizeof(id), "bench-%08x-%c%u", bench->id,
		conn->role == BENCH_CONN_PUBLISHER ? 'p' : 's', conn->index);
	connect.client_id = mqtt_bytes(id, strlen(id));
	if (o->username)
		connect.username = mqtt_bytes(o->username, strlen(o->username));
	if (o->password)
		connect.password = mqtt_bytes(o->password, strlen(o->password));
	size = 64 + connect.client_id.length + connect.username.length + connect.password.length;
	length = mqtt_connect_encode(&connect, bench_conn_reserve(conn, size), size);
	ASSERT(length);
	bench_conn_commit(conn, length);
	conn->state = BENCH_CONN_GREETING;
	bench_conn_flush(conn, false);
}

static void conn_connected(struct bench_conn *conn)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error)
		bench_conn_lose(conn, "cannot connect to %s: %s", conn->worker->bench->target.text,
			strerror(error));
	else
		conn_greet(conn);
}

static void conn_ready(struct bench_conn *conn)
{
	struct bench_worker *worker = conn->worker;

	conn->state = BENCH_CONN_READY;
	worker->open_pending--;
	if (conn->role == BENCH_CONN_PUBLISHER)
		counter_inc(&worker->stats.publishers_ready);
	else
		counter_inc(&worker->stats.subscribers_ready);
	bench_worker_notify(worker);
}

// --- packets -------------------------------------------------------------------------------------

static const char *refusal(enum mqtt_version version, uint8_t reason)
{
	static const char *const v3[] = {"accepted", "unacceptable protocol version",
		"client identifier rejected", "server unavailable", "bad user name or password",
		"not authorized"};

	if (version != MQTT_VERSION_5)
		return reason < sizeof(v3) / sizeof(v3[0]) ? v3[reason] : "unknown reason";
	switch (reason) {
	case 0x84:
		return "unsupported protocol version";
	case 0x86:
		return "bad user name or password";
	case 0x87:
		return "not authorized";
	case 0x88:
		return "server unavailable";
	default:
		return "refused";
	}
}

static bool conn_connack(struct bench_conn *conn, struct mqtt_bytes body)
{
	const struct bench_options *o = conn->worker->bench->options;
	struct mqtt_connack ack;
	enum mqtt_error error = mqtt_connack_decode(o->version, body, &ack);

	if (error) {
		bench_conn_lose(conn, "malformed CONNACK (%s)", mqtt_error_name(error));
		return false;
	}
	if (ack.reason) {
		bench_conn_lose(conn, "the broker refused it: %s (0x%02x)",
			refusal(o->version, ack.reason), ack.reason);
		return false;
	}
	if (ack.maximum_qos < o->qos && o->version == MQTT_VERSION_5) {
		bench_conn_lose(conn, "the broker allows at most QoS %u", ack.maximum_qos);
		return false;
	}
	if (conn->role == BENCH_CONN_PUBLISHER && o->version == MQTT_VERSION_5)
		bench_publisher_limit((struct bench_publisher *)conn, ack.receive_maximum);
	conn->state = BENCH_CONN_SUBSCRIBING;
	if (conn->role == BENCH_CONN_PUBLISHER ||
		!bench_subscriber_ask((struct bench_subscriber *)conn))
		conn_ready(conn);
	return true;
}

static bool conn_packet(void *context, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct bench_conn *conn = context;
	struct bench_subscriber *subscriber = (struct bench_subscriber *)conn;

	if (conn->state == BENCH_CONN_GREETING) {
		if (header->type == MQTT_CONNACK)
			return conn_connack(conn, body);
		bench_conn_lose(conn, "%s instead of CONNACK", mqtt_type_name(header->type));
		return false;
	}
	if (header->type == MQTT_PINGRESP)
		return true;
	if (header->type == MQTT_DISCONNECT) {
		bench_conn_lose(conn, "disconnected by the broker (0x%02x)",
			body.length ? body.data[0] : 0);
		return false;
	}
	if (conn->role == BENCH_CONN_PUBLISHER)
		return bench_publisher_packet((struct bench_publisher *)conn, header, body);
	if (!bench_subscriber_packet(subscriber, header, body))
		return false;
	if (conn->state == BENCH_CONN_SUBSCRIBING && !bench_subscriber_ask(subscriber))
		conn_ready(conn);
	return true;
}

static void conn_receive(struct bench_conn *conn)
{
	struct bench_worker *worker = conn->worker;
	struct iovec iov[2];
	enum mqtt_error error;
	ssize_t n;

	n = readv(conn->fd, iov, bench_stream_room(&conn->stream, &worker->buffer, iov));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		bench_conn_lose(
			conn, "%s", n ? strerror(errno) : "the broker closed the connection");
		return;
	}
	worker->now_us = clock_now_us();
	if (!bench_stream_take(&conn->stream, &worker->buffer, n, conn_packet, conn, &error) &&
		error)
		bench_conn_lose(conn, "received no MQTT (%s)", mqtt_error_name(error));
}

void bench_conn_event(struct bench_conn *conn, uint32_t events)
{
	if (conn->state == BENCH_CONN_LOST || conn->state == BENCH_CONN_CLOSED)
		return;
	if (conn->state == BENCH_CONN_CONNECTING) {
		conn_connected(conn);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		conn_receive(conn);
	if (conn->state == BENCH_CONN_LOST)
		return;
	if (conn->role == BENCH_CONN_PUBLISHER && conn->state == BENCH_CONN_READY)
		bench_publisher_run((struct bench_publisher *)conn);
	else
		bench_conn_flush(conn, false);
}

// --- output --------------------------------------------------------------------------------------

uint8_t *bench_conn_reserve(struct bench_conn *conn, uint32_t n)
{
	uint32_t pending = bench_conn_pending(conn);

	if (conn->out_start && conn->out_end + n > conn->out_capacity) {
		memmove(conn->out, conn->out + conn->out_start, pending);
		conn->out_start = 0;
		conn->out_end = pending;
	}
	if (conn->out_end + n > conn->out_capacity) {
		uint32_t capacity = conn->out_capacity ? conn->out_capacity : CONN_OUT_FIRST;

		while (capacity < conn->out_end + n)
			capacity *= 2;
		conn->out = bench_memory_resize(conn->out, capacity, 1);
		conn->out_capacity = capacity;
	}
	return conn->out + conn->out_end;
}

void bench_conn_commit(struct bench_conn *conn, uint32_t n)
{
	ASSERT(conn->out_end + n <= conn->out_capacity);
	conn->out_end += n;
}

void bench_conn_flush(struct bench_conn *conn, bool hungry)
{
	while (conn->fd >= 0 && bench_conn_pending(conn)) {
		ssize_t n = send(conn->fd, conn->out + conn->out_start, bench_conn_pending(conn),
			MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			bench_conn_lose(conn, "%s", strerror(errno));
			return;
		}
		conn->out_start += n;
		conn->active_us = conn->worker->now_us;
	}
	if (!bench_conn_pending(conn))
		conn->out_start = conn->out_end = 0;
	else
		hungry = true;
	if (conn->fd >= 0 && conn->watching_out != hungry)
		conn_watch(conn, EPOLL_CTL_MOD, hungry);
}

static void conn_put_empty(struct bench_conn *conn, enum mqtt_type type)
{
	bench_conn_commit(
		conn, mqtt_header_encode(type, 0, 0, bench_conn_reserve(conn, MQTT_HEADER_MAX)));
}

void bench_conn_ping(struct bench_conn *conn)
{
	conn_put_empty(conn, MQTT_PINGREQ);
	bench_conn_flush(conn, conn->watching_out);
}

void bench_conn_close(struct bench_conn *conn)
{
	// What still waits stands before DISCONNECT; what does not go at once is given up.
	if (conn->state == BENCH_CONN_READY) {
		conn_put_empty(conn, MQTT_DISCONNECT);
		(void)!send(conn->fd, conn->out + conn->out_start, bench_conn_pending(conn),
			MSG_NOSIGNAL);
	}
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	conn->state = BENCH_CONN_CLOSED;
}
