// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Making a worker, and its loop: ports → net → tcp → attach and offload → tcp →
// ports, with one `now` a turn.

#include "daemon/worker.h"

#include <rte_malloc.h>
#include <rte_mempool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "attach/stack.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/payload.h"
#include "base/random.h"
#include "base/wheel.h"
#include "control/config.h"
#include "daemon/gauges.h"
#include "daemon/idle.h"
#include "net/net.h"
#include "offload/inspect.h"
#include "offload/offload.h"
#include "port/port.h"
#include "tcp/tcp.h"

#define BURST	      64
#define TURN_FRAMES   2048 // taken from one port in one turn at most
#define MAILBOX_SLOTS 64
#define MAILBOX_BURST 8
// After the last connection has ended its FINs still need to be answered.
#define LAST_WORDS_US (1 * US_IN_S)

struct worker_port {
	struct net_if netif; // ctx: this structure
	struct port *port;
	unsigned queue;
};

struct worker {
	const struct config *config;
	unsigned index;
	struct worker_port *ports;
	unsigned ports_count;
	struct worker_pools pools;
	struct offload_config offload_config;
	struct random rng;
	struct mailbox *mailbox;
	struct payload_pool *payloads;
	struct net *net;
	struct tcp_stack *tcp;
	struct offload *offload;
	struct stack *stack;
	struct gauges *gauges;
	struct idle idle;
	struct counter_set sets[5];
	uint32_t order;	  // enum worker_order; written by the main thread
	uint32_t stopped; // read by the main thread
	bool draining;
	uint64_t drained_us; // when the last connection ended; 0: not yet
	uint64_t update_us;  // next refresh of gauges
};

// --- making --------------------------------------------------------------------------------------

static void netif_tx(void *ctx, struct rte_mbuf *m)
{
	struct worker_port *port = ctx;

	port_tx(port->port, port->queue, m);
}

static void worker_port_init(struct worker *worker, unsigned i, struct port *port)
{
	struct worker_port *wp = &worker->ports[i];
	const struct port_caps *caps = port_get_caps(port);

	wp->port = port;
	wp->queue = worker->index;
	wp->netif = (struct net_if){
		.index = i,
		.mtu = port_mtu(port),
		.caps =
			{
				.rx_checksum = caps->rx_checksum,
				.tx_ip_checksum = caps->tx_ip_checksum,
				.tx_tcp_checksum = caps->tx_tcp_checksum,
				.tso = caps->tso,
				.multi_segment = caps->multi_segment,
			},
		.tx_pool = worker->pools.tx,
		.tx_reserve = worker->pools.reserve,
		.tx = netif_tx,
		.ctx = wp,
	};
	snprintf(wp->netif.name, sizeof(wp->netif.name), "%s", port_name(port));
	port_mac(port, wp->netif.mac);
}

static int create_net(struct worker *worker)
{
	unsigned count = worker->ports_count;
	struct net_interface_config *interfaces = calloc(count, sizeof(*interfaces));
	struct net_if **netifs = calloc(count, sizeof(*netifs));
	const char *why = NULL;
	struct net_config net;
	int rc = -ENOMEM;

	if (interfaces != NULL && netifs != NULL) {
		for (unsigned i = 0; i < count; i++)
			netifs[i] = &worker->ports[i].netif;
		net_config_init(&net);
		config_to_net(worker->config, netifs, interfaces, &net);
		rc = net_create(&net, &worker->rng, clock_now_us(), &worker->net, &why);
	}
	free(netifs);
	free(interfaces);
	if (rc < 0)
		log_error("net", "%s", why != NULL ? why : strerror(-rc));
	return rc;
}

static int create_tcp(struct worker *worker)
{
	struct tcp_config tcp;
	char name[16];
	int rc;

	tcp_config_init(&tcp);
	config_to_tcp(worker->config, &tcp);
	rc = config_secret(worker->config, tcp.secret);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "tcp%u", worker->index);
	return tcp_stack_create(name, &tcp, worker->net, worker->payloads, &worker->rng,
		clock_now_us(), &worker->tcp);
}

static int create_floors(struct worker *worker)
{
	struct payload_pool_config payloads;
	char name[16];
	int rc;

	config_to_payloads(worker->config, &payloads);
	snprintf(name, sizeof(name), "payload%u", worker->index);
	rc = payload_pool_create(name, &payloads, &worker->payloads);
	if (rc < 0)
		return rc;
	rc = create_net(worker);
	if (rc < 0)
		return rc;
	rc = create_tcp(worker);
	if (rc < 0)
		return rc;
	offload_config_init(&worker->offload_config);
	config_to_offload(worker->config, &worker->offload_config);
	rc = offload_create(&worker->offload_config, worker->tcp, worker->payloads, &worker->rng,
		clock_now_us(), &worker->offload);
	if (rc < 0)
		return rc;
	rc = stack_create(&worker->offload_config, worker->offload, worker->tcp, clock_now_us(),
		&worker->stack);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "mailbox%u", worker->index);
	return mailbox_create(name, MAILBOX_SLOTS, worker, &worker->mailbox);
}

int worker_create(const struct config *config, unsigned index, struct port *const *ports,
	const struct worker_pools *pools, struct worker **ret_worker)
{
	struct worker *worker = rte_zmalloc("worker", sizeof(*worker), 64);
	uint64_t seed = clock_now_us();
	int rc = -ENOMEM;

	if (worker == NULL)
		return -ENOMEM;
	worker->config = config;
	worker->index = index;
	worker->pools = *pools;
	worker->ports_count = config->ports_count;
	worker->ports =
		rte_zmalloc("worker ports", sizeof(worker->ports[0]) * config->ports_count, 64);
	if (worker->ports == NULL)
		goto err;
	for (unsigned i = 0; i < config->ports_count; i++)
		worker_port_init(worker, i, ports[i]);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		log_warning("daemon", "no random seed from the kernel; the clock has to do");
	random_init(&worker->rng, seed);
	rc = create_floors(worker);
	if (rc < 0)
		goto err;
	rc = gauges_create(&worker->pools, worker->payloads, worker->tcp, &worker->gauges);
	if (rc < 0)
		goto err;
	worker->sets[0] = offload_counters(worker->offload);
	worker->sets[1] = stack_counters(worker->stack);
	worker->sets[2] = tcp_counters(worker->tcp);
	worker->sets[3] = net_counters(worker->net);
	worker->sets[4] = gauges_counters(worker->gauges);
	*ret_worker = worker;
	return 0;
err:
	log_error("daemon", "worker %u: %s%s", index, strerror(-rc),
		rc == -ENOMEM ? ": lower what memory: asks for" : "");
	worker_destroy(worker);
	return rc;
}

void worker_end(struct worker *worker)
{
	if (worker == NULL)
		return;
	mailbox_destroy(worker->mailbox);
	gauges_destroy(worker->gauges);
	stack_destroy(worker->stack);
	offload_destroy(worker->offload);
	tcp_stack_destroy(worker->tcp);
	net_destroy(worker->net);
	worker->mailbox = NULL;
	worker->gauges = NULL;
	worker->stack = NULL;
	worker->offload = NULL;
	worker->tcp = NULL;
	worker->net = NULL;
}

void worker_destroy(struct worker *worker)
{
	if (worker == NULL)
		return;
	worker_end(worker);
	payload_pool_destroy(worker->payloads);
	rte_free(worker->ports);
	rte_free(worker);
}

// --- the loop ------------------------------------------------------------------------------------

// Frames of one burst become segments.
static unsigned poll_burst(struct worker *worker, struct worker_port *wp, uint64_t now_us)
{
	struct rte_mbuf *frames[BURST];
	struct net_delivery deliveries[BURST];
	unsigned count = port_rx(wp->port, wp->queue, frames, BURST), delivered;

	if (count == 0)
		return 0;
	delivered = net_input(worker->net, &wp->netif, frames, count, now_us, deliveries);
	tcp_input_burst(worker->tcp, deliveries, delivered);
	return count;
}

// Takes what has arrived: after a large fan-out, acknowledgements come by the thousand, and what
// stays in the port's ring is lost when the ring is full.
static unsigned poll_port(struct worker *worker, struct worker_port *wp, uint64_t now_us)
{
	unsigned total = 0, count;

	do {
		count = poll_burst(worker, wp, now_us);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

static uint64_t next_deadline(const struct worker *worker)
{
	uint64_t deadlines[] = {
		tcp_next_deadline(worker->tcp),
		net_next_deadline(worker->net),
		stack_next_deadline(worker->stack),
		offload_next_deadline(worker->offload),
		worker->update_us,
	};
	uint64_t next = WHEEL_NEVER;

	for (unsigned i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++)
		next = deadlines[i] < next ? deadlines[i] : next;
	return next;
}

static unsigned turn(struct worker *worker, uint64_t now_us)
{
	unsigned work = 0;

	tcp_advance(worker->tcp, now_us);
	offload_advance(worker->offload, now_us);
	for (unsigned i = 0; i < worker->ports_count; i++)
		work += poll_port(worker, &worker->ports[i], now_us);
	stack_run(worker->stack, now_us);
	offload_run(worker->offload);
	tcp_flush(worker->tcp);
	if (now_us >= net_next_deadline(worker->net))
		net_timers(worker->net, now_us);
	for (unsigned i = 0; i < worker->ports_count; i++)
		port_flush(worker->ports[i].port, worker->ports[i].queue);
	return work;
}

static void update_gauges(struct worker *worker, uint64_t now_us)
{
	if (now_us < worker->update_us)
		return;
	worker->update_us = now_us + US_IN_S / 4;
	offload_counters_update(worker->offload);
	gauges_update(worker->gauges);
}

// True when the worker may go: everything that was owed is delivered and said.
static bool drain(struct worker *worker, uint64_t now_us)
{
	if (!worker->draining) {
		worker->draining = true;
		stack_drain(worker->stack);
	}
	if (!stack_drained(worker->stack))
		return false;
	if (worker->drained_us == 0)
		worker->drained_us = now_us;
	return now_us - worker->drained_us >= LAST_WORDS_US;
}

static bool may_go_on(struct worker *worker, uint64_t now_us)
{
	switch (__atomic_load_n(&worker->order, __ATOMIC_ACQUIRE)) {
	case WORKER_RUN:
		return true;
	case WORKER_DRAIN:
		return !drain(worker, now_us);
	default:
		return false;
	}
}

int worker_run(void *arg)
{
	struct worker *worker = arg;
	uint64_t now_us = clock_now_us();

	idle_init(&worker->idle, worker->config->idle == CONFIG_IDLE_BUSY, now_us);
	while (may_go_on(worker, now_us)) {
		unsigned work = turn(worker, now_us);

		work += mailbox_run(worker->mailbox, MAILBOX_BURST);
		update_gauges(worker, now_us);
		now_us = clock_now_us();
		if (idle_turn(&worker->idle, work > 0, now_us, next_deadline(worker)))
			now_us = clock_now_us();
	}
	__atomic_store_n(&worker->stopped, 1, __ATOMIC_RELEASE);
	return 0;
}

void worker_order(struct worker *worker, enum worker_order order)
{
	__atomic_store_n(&worker->order, (uint32_t)order, __ATOMIC_RELEASE);
}

bool worker_stopped(const struct worker *worker)
{
	return __atomic_load_n(&worker->stopped, __ATOMIC_ACQUIRE) != 0;
}

// --- looking in ----------------------------------------------------------------------------------

void worker_control(struct worker *worker, struct control_worker *ret_control)
{
	*ret_control = (struct control_worker){
		.mailbox = worker->mailbox,
		.offload = worker->offload,
		.sets = worker->sets,
		.sets_count = sizeof(worker->sets) / sizeof(worker->sets[0]),
	};
}

struct offload *worker_offload(struct worker *worker)
{
	return worker->offload;
}

struct report_message {
	struct mailbox_message message;
	struct worker_report *report;
};

static void report_run(struct mailbox_message *message, void *arg)
{
	struct worker_report *report =
		container_of(message, struct report_message, message)->report;
	char address[NET_ADDRESS_STRLEN];
	struct worker *worker = arg;
	struct net_conflict conflict;

	report->conflict = net_conflict_take(worker->net, &conflict);
	if (report->conflict)
		snprintf(report->conflict_text, sizeof(report->conflict_text),
			"%s is also claimed by %02x:%02x:%02x:%02x:%02x:%02x",
			net_address_format(&conflict.address, address), conflict.mac[0],
			conflict.mac[1], conflict.mac[2], conflict.mac[3], conflict.mac[4],
			conflict.mac[5]);
	report->brokers_count = offload_brokers_list(
		worker->offload, report->brokers, worker->config->brokers_count);
}

int worker_report(struct worker *worker, struct worker_report *ret_report)
{
	struct report_message message = {{report_run}, ret_report};

	return mailbox_call(worker->mailbox, &message.message, 1000);
}
