// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// An MQTT client's connection on a non-blocking kernel socket: opened, greeted
// (CONNECT), subscribed when it is a subscriber's, then handed the packets of its
// role. Owned by one worker.
//
//   CLOSED -> CONNECTING -> GREETING -> SUBSCRIBING -> READY -> LOST
//                                  '------------------^
//
// A failure before READY ends the run; later it is counted.

#pragma once

#include "bench/stream.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_worker;

enum bench_conn_role {
	BENCH_CONN_SUBSCRIBER,
	BENCH_CONN_PUBLISHER,
};

enum bench_conn_state {
	BENCH_CONN_CLOSED,
	BENCH_CONN_CONNECTING,
	BENCH_CONN_GREETING,
	BENCH_CONN_SUBSCRIBING,
	BENCH_CONN_READY,
	BENCH_CONN_LOST,
};

struct bench_conn {
	struct bench_worker *worker;
	struct bench_stream stream;
	uint8_t *out; // bytes [out_start, out_end) wait to be sent
	uint32_t out_start, out_end, out_capacity;
	int fd;
	uint32_t index; // of the publisher or subscriber
	uint8_t role, state;
	bool watching_out;  // EPOLLOUT is asked for
	uint64_t active_us; // when it last sent something (keep alive)
};

void bench_conn_init(struct bench_conn *conn, struct bench_worker *worker,
	enum bench_conn_role role, uint32_t index);
void bench_conn_fini(struct bench_conn *conn);
// CLOSED -> CONNECTING, or a failure of the run.
void bench_conn_open(struct bench_conn *conn);
// What epoll reported.
void bench_conn_event(struct bench_conn *conn, uint32_t events);
// DISCONNECT and close, for the end of the run.
void bench_conn_close(struct bench_conn *conn);

// Room for n bytes behind what waits to be sent; commit says how many were written there.
uint8_t *bench_conn_reserve(struct bench_conn *conn, uint32_t n);
void bench_conn_commit(struct bench_conn *conn, uint32_t n);
// Sends what the socket takes and watches for more room when something is left, or when `hungry`.
void bench_conn_flush(struct bench_conn *conn, bool hungry);
void bench_conn_ping(struct bench_conn *conn);

// The connection is of no more use; counted in a run, the run's failure before.
__attribute__((format(printf, 2, 3))) void bench_conn_lose(
	struct bench_conn *conn, const char *format, ...);

static inline uint32_t bench_conn_pending(const struct bench_conn *conn)
{
	return conn->out_end - conn->out_start;
}
