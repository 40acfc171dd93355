// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the command line asks for: the load, its bounds and the form of the
// report. Filled once before any thread starts, read by all.

#pragma once

#include "mqtt/packet.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_SIZES_MAX	  64
#define BENCH_SOURCES_MAX 16
#define BENCH_WATCHES_MAX 8
#define BENCH_SIZE_MAX	  (64u << 20)

// Who hears whom. P publishers, S subscribers.
enum bench_topics {
	BENCH_TOPICS_ONE_TO_MANY, // one topic that all publishers write and all subscribers read
	BENCH_TOPICS_MANY_TO_ONE, // a topic a publisher; publisher p is read by subscriber p mod S
	BENCH_TOPICS_PAIRS,	  // the same with P = S
	BENCH_TOPICS_ALL_TO_ALL,  // a topic a publisher; every subscriber reads all of them
};
const char *bench_topics_name(enum bench_topics topics);

enum bench_pace {
	BENCH_PACE_RATE,   // messages are due at fixed times, sent late if they must be
	BENCH_PACE_CLOSED, // a bounded number of messages on their way per publisher
	BENCH_PACE_FLOOD,  // as fast as the connection takes them
};
const char *bench_pace_name(enum bench_pace pace);

// `count` addresses of one family, upwards from `first`.
struct bench_source {
	struct sockaddr_storage first;
	uint32_t count;
};

// A process whose CPU time over the measured part of the run is reported.
struct bench_watch {
	char name[32];
	pid_t pid;
};

struct bench_options {
	const char *host, *port;
	const char *username, *password; // NULL: none
	struct bench_source sources[BENCH_SOURCES_MAX];
	unsigned sources_count;
	bool nagle;
	unsigned threads;

	uint32_t publishers, subscribers;
	enum bench_topics topics;
	const char *topic_prefix; // NULL: one of this run
	bool wildcard;

	enum bench_pace pace;
	double rate;	      // BENCH_PACE_RATE: messages a second and publisher
	uint32_t outstanding; // BENCH_PACE_CLOSED: messages on their way per publisher
	uint32_t messages;    // per publisher after the warm-up; 0: until the duration is over
	double duration_s, warmup_s;
	double drain_s; // without progress for this long: what is missing is lost

	uint32_t sizes[BENCH_SIZES_MAX]; // message n of a publisher has sizes[n mod count] bytes
	unsigned sizes_count;
	uint8_t qos;
	enum mqtt_version version;
	uint32_t inflight; // QoS > 0: unacknowledged PUBLISHes a publisher
	uint16_t keep_alive_s;

	double connect_rate; // connections a second, 0: as fast as they are accepted
	double connect_timeout_s;

	struct bench_watch watches[BENCH_WATCHES_MAX];
	unsigned watches_count;
	bool json, quiet, allow_loss;
};

// 0 with *ret_options filled (its strings point into argv), -EINVAL when the command line is wrong.
// `flags` are argp's: 0 makes argp print what is wrong and exit with status 2.
int bench_options_parse(int argc, char **argv, unsigned flags, struct bench_options *ret_options);
