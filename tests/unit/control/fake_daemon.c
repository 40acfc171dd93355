// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A daemon without a data path, for the tests of the gRPC server: real configuration,
// mailboxes and server; two workers that only run their mailbox and write down what they
// are told (fake_notices.c), lists and ports invented here.
//
//   fake-daemon CONFIG CONNECTIONS SUBSCRIPTIONS
//
// Says "ready", then obeys lines on stdin: "hang" (workers stop answering), "go",
// "drain" (an orderly stop has begun), "reload" (the configuration is read again), end of file (the
// stop, says "stopped"). Says "drain" when asked to drain. What workers are told goes to
// $OFFRAMP_TOLD.0 and .1.

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "control/config.h"
#include "control/control.h"
#include "offload/inspect.h"
#include "offload/offload.h"
#include "port/port.h"
#include "port/tap.h"

#include "fake_notices.h"

#include <rte_eal.h>
#include <rte_mbuf.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 2
#define FRAMES	4 // that come at once

// --- what the lists are made of ------------------------------------------------------------------

struct offload {
	unsigned index;
	uint64_t connections, subscriptions;
	uint64_t counters[5]; // captured qos 0, 1; connections; slices; filters
	FILE *told;
};

FILE *fake_told(const struct offload *offload)
{
	return offload->told;
}

static const char *const qos_values[] = {"0", "1"};
static const struct counter_family families[] = {
	{"publish_captured_total", "Captured.", "qos", qos_values, 2, COUNTER_MONOTONIC},
	{"connections", "Clients.", NULL, NULL, 1, COUNTER_GAUGE},
	{"slices_total", "Slices fetched.", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"filters", "What a worker was given last.", NULL, NULL, 1, COUNTER_GAUGE},
};

static void slice_counted(const struct offload *offload)
{
	counter_inc((uint64_t *)&offload->counters[3]);
}

unsigned offload_connections_list(const struct offload *offload, uint64_t *cursor,
	struct offload_connection_row *ret_rows, unsigned max)
{
	unsigned n = 0;

	slice_counted(offload);
	for (; n < max && *cursor < offload->connections; n++, (*cursor)++) {
		struct offload_connection_row *row = &ret_rows[n];

		*row = (struct offload_connection_row){
			.broker = "mosquitto",
			.client = {net_address_from_ipv4(htonl(0xc6120100 + *cursor)),
				2 * *cursor % 60000 + 1024},
			.broker_local = {net_address_from_ipv4(htonl(0xc6130001)), 1234},
			.version = 3 + *cursor % 3,
			.accepted = true,
			.keep_alive = 60,
			.subscriptions = 2,
			.client_state = "ESTABLISHED",
			.broker_state = "CLOSE-WAIT",
			.captured = UINT64_C(1) << 40,
		};
		snprintf(row->client_id, sizeof(row->client_id), "w%u-%lu", offload->index,
			(unsigned long)*cursor);
		if (*cursor == 0) { // before CONNECT
			row->version = 0;
			row->client_id[0] = '\0';
		} else if (*cursor == 1) {
			strcpy(row->client_id, "esc\033[31m\"\\\xc3\xa9");
		} else if (*cursor == 2) {
			strcpy(row->client_id, "bad\xff");
		}
	}
	return n;
}

unsigned offload_subscriptions_list(const struct offload *offload, uint64_t *cursor,
	struct offload_subscription_row *ret_rows, unsigned max)
{
	unsigned n = 0;

	slice_counted(offload);
	for (; n < max && *cursor < offload->subscriptions; n++, (*cursor)++) {
		ret_rows[n] = (struct offload_subscription_row){
			.broker = "mosquitto",
			.qos = *cursor % 3,
			.online = *cursor % 2,
			.pending = *cursor % 5 == 0,
			.persistent = *cursor % 7 == 0,
			.no_local = *cursor % 3 == 0,
			.subscription_id = *cursor % 4,
		};
		snprintf(ret_rows[n].client_id, sizeof(ret_rows[n].client_id), "w%u",
			offload->index);
		snprintf(ret_rows[n].filter, sizeof(ret_rows[n].filter), "a/%lu/#",
			(unsigned long)*cursor);
	}
	return n;
}

unsigned offload_topics_list(const struct offload *offload, uint64_t *cursor,
	struct offload_topic_row *ret_rows, unsigned max)
{
	static const struct offload_topic_row rows[] = {
		{
			.topic = "plant/1",
			.verdict = "captured",
			.verdict_qos1 = "captured",
			.verdict_qos2 = "persistent_session",
			.targets = 3,
			.denied = 1,
			.workers = 1,
			.known = true,
			.shown = true,
			.shown_us = 12345678,
			.asks_us = 9000000,
		},
		{
			.topic = "esc\033[31m\"\xff",
			.verdict = "unread",
			.verdict_qos1 = "unread",
			.verdict_qos2 = "unread",
			.targets = 2,
			.pending = 1,
			.known = true,
		},
		{
			.topic = "open",
			.verdict = "captured",
			.verdict_qos1 = "captured",
			.verdict_qos2 = "captured",
			.shown = true,
			.shown_us = UINT64_MAX,
		},
	};
	const unsigned count = sizeof(rows) / sizeof(rows[0]);
	unsigned n = 0;

	slice_counted(offload);
	for (; n < max && *cursor < count; n++, (*cursor)++) {
		ret_rows[n] = rows[*cursor];
		strcpy(ret_rows[n].broker, "mosquitto");
	}
	return n;
}

unsigned offload_brokers_list(
	const struct offload *offload, struct offload_broker_status *ret_statuses, unsigned max)
{
	if (max == 0)
		return 0;
	ret_statuses[0] = (struct offload_broker_status){
		.name = "mosquitto",
		.listen = {net_address_from_ipv4(htonl(0xc6120001)), 1883},
		.address = {net_address_from_ipv4(htonl(0xc6130002)), 1883},
		.knowledge = "wire",
		.authorization = "open",
		.map_complete = offload->index == 0,
		.map_reason = offload->index == 0 ? NULL : "a connection was there before",
		.reachable = true,
		.connections = 10,
		.subscriptions = 20,
		.sessions = 1,
	};
	return 1;
}

// What a worker has been given can be read from its counters.
void offload_filters_set(
	struct offload *offload, unsigned broker, const struct offload_filters *filters)
{
	counter_set_to(&offload->counters[4 + broker],
		(filters->capture ? 1000 : 0) + filters->pass_count);
}

// --- ports ---------------------------------------------------------------------------------------

struct port {
	const char *name;
	uint64_t rx;
	struct port_tap *taps[WORKERS]; // of each worker's queue
};

static const char *const port_values[] = {"clients"};
static const struct counter_family port_families[] = {
	{"port_rx_packets_total", "Received.", "port", port_values, 1, COUNTER_MONOTONIC},
};

const char *port_name(const struct port *port)
{
	return port->name;
}

void port_mac(const struct port *port, uint8_t ret_mac[6])
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0xab};

	(void)port;
	memcpy(ret_mac, mac, sizeof(mac));
}

uint16_t port_mtu(const struct port *port)
{
	(void)port;
	return 1500;
}

bool port_link_up(struct port *port)
{
	(void)port;
	return true;
}

void port_counters_update(struct port *port)
{
	counter_set_to(&port->rx, 77);
}

struct counter_set port_counters(const struct port *port)
{
	return (struct counter_set){port_families, 1, &port->rx};
}

unsigned port_queues(const struct port *port)
{
	(void)port;
	return WORKERS;
}

void port_tap_add(struct port *port, unsigned queue, struct port_tap *tap)
{
	tap->next = port->taps[queue];
	port->taps[queue] = tap;
}

void port_tap_remove(struct port *port, unsigned queue, struct port_tap *tap)
{
	struct port_tap **at = &port->taps[queue];

	while (*at && *at != tap)
		at = &(*at)->next;
	if (*at)
		*at = tap->next;
}

// FRAMES frames come, to be seen by taps: the queue, a number, and a byte that repeats.
static void frames_come(struct port *port, unsigned queue, uint32_t *number)
{
	uint8_t bytes[FRAMES][100];
	struct rte_mbuf mbufs[FRAMES], *frames[FRAMES];

	for (unsigned i = 0; i < FRAMES; i++) {
		memset(bytes[i], (int)*number, sizeof(bytes[i]));
		bytes[i][0] = (uint8_t)queue;
		memcpy(bytes[i] + 4, number, sizeof(*number));
		mbufs[i] = (struct rte_mbuf){
			.buf_addr = bytes[i],
			.nb_segs = 1,
			.data_len = sizeof(bytes[i]),
			.pkt_len = sizeof(bytes[i]),
		};
		frames[i] = &mbufs[i];
		*number += 1;
	}
	port_taps_received(port->taps[queue], frames, FRAMES);
}

// --- workers -------------------------------------------------------------------------------------

struct worker {
	struct offload offload;
	struct mailbox *mailbox;
	struct counter_set set;
	uint64_t busy_permille;
	pthread_t thread;
	struct port *port;
	uint32_t frames;
	const atomic_int *state; // 'g'o, 'h'ang, 's'top
};

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	for (int state; (state = atomic_load(worker->state)) != 's';) {
		if (state == 'g') {
			mailbox_run(worker->mailbox, 8);
			frames_come(worker->port, worker->offload.index, &worker->frames);
		}
		usleep(100);
	}
	return NULL;
}

static void worker_start(struct worker *worker, unsigned index, char **argv, struct port *port,
	const atomic_int *state, struct control_worker *ret_control_worker)
{
	char name[16];

	snprintf(name, sizeof(name), "worker%u", index);
	if (mailbox_create(name, 16, worker, &worker->mailbox) != 0)
		exit(1);
	worker->offload = (struct offload){
		.index = index,
		.connections = strtoul(argv[2], NULL, 10),
		.subscriptions = strtoul(argv[3], NULL, 10),
		.counters = {100 + index, 10, 5, 0, 0},
	};
	if (getenv("OFFRAMP_TOLD")) {
		char file[256];

		snprintf(file, sizeof(file), "%s.%u", getenv("OFFRAMP_TOLD"), index);
		worker->offload.told = fopen(file, "we");
	}
	worker->set = (struct counter_set){families, 4, worker->offload.counters};
	worker->port = port;
	worker->frames = 0;
	worker->state = state;
	pthread_create(&worker->thread, NULL, worker_main, worker);
	worker->busy_permille = 250 * (index + 1);
	*ret_control_worker = (struct control_worker){
		worker->mailbox, &worker->offload, &worker->set, 1, &worker->busy_permille};
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
}

static void drain(void *ctx)
{
	(void)ctx;
	say("drain");
}

static void reload(struct control *control, const char *file)
{
	struct config *config;

	if (config_load(file, &config, stderr) == 0) {
		control_reload(control, config);
		config_free(config);
	}
}

static void obey(struct control *control, const char *file, atomic_int *state)
{
	char line[32];

	say("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'd')
			control_draining(control);
		else if (line[0] == 'r')
			reload(control, file);
		else
			atomic_store(state, line[0]);
		say("ok");
	}
}

int main(int argc, char **argv)
{
	char *eal[] = {"fake-daemon", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};
	struct worker workers[WORKERS];
	struct control_worker control_workers[WORKERS];
	struct port port = {.name = "clients"}, *ports[] = {&port};
	atomic_int state = 'g';
	struct control *control;
	struct config *config;

	if (argc != 4 || config_load(argv[1], &config, stderr) != 0 || rte_eal_init(9, eal) < 0)
		return 1;
	for (unsigned i = 0; i < WORKERS; i++)
		worker_start(&workers[i], i, argv, &port, &state, &control_workers[i]);
	struct control_source source = {
		config, clock_now_us(), ports, 1, control_workers, WORKERS, drain, NULL};
	int err = control_start(&source, &control);

	if (!err) {
		obey(control, argv[1], &state);
		control_stop(control);
	}
	atomic_store(&state, 's');
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		mailbox_destroy(workers[i].mailbox);
		if (workers[i].offload.told)
			fclose(workers[i].offload.told);
	}
	control_destroy(err ? NULL : control);
	config_free(config);
	rte_eal_cleanup();
	if (!err)
		say("stopped");
	return !!err;
}
