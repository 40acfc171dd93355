// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Making a worker, and looking into it.

#include "daemon/worker.h"

#include <rte_malloc.h>
#include <rte_mempool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach/monitor.h"
#include "attach/sockets.h"
#include "attach/stack.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/payload.h"
#include "base/random.h"
#include "control/config.h"
#include "daemon/gauges.h"
#include "daemon/steering.h"
#include "daemon/worker_state.h"
#include "net/bridge.h"
#include "net/bridged.h"
#include "net/net.h"
#include "offload/inspect.h"
#include "offload/offload.h"
#include "port/port.h"
#include "tcp/tcp.h"

#define MAILBOX_SLOTS 64
#define MAILBOX_BURST 8

// --- making --------------------------------------------------------------------------------------

static void worker_port_tx_elsewhere(void *ctx, struct rte_mbuf *m)
{
	struct worker_port *port = ctx;

	steering_send(
		port->worker->steering, port->worker->index, port->queue, port->netif.index, m);
}

static void worker_port_init(struct worker *worker, unsigned i, struct port *port)
{
	struct worker_port *wp = &worker->ports[i];
	const struct port_caps *caps = port_get_caps(port);

	worker->netifs[i] = &wp->netif;
	wp->port = port;
	wp->worker = worker;
	wp->own = worker->index < port_queues(port);
	wp->queue = worker->index % port_queues(port);
	wp->netif = (struct net_if){
		.index = i,
		.mtu = port_mtu(port),
		.caps =
			{
				.rx_checksum = caps->rx_checksum,
				.tx_ip_checksum = caps->tx_ip_checksum,
				.tx_tcp_checksum = caps->tx_tcp_checksum,
				// Frames that another worker sends must not refer to payloads,
				// whose references only this one counts.
				.tso = caps->tso && wp->own,
				.tso_ipv6 = caps->tso_ipv6 && wp->own,
				.multi_segment = caps->multi_segment && wp->own,
			},
		.tx_pool = worker->pools.tx,
		.tx_reserve = worker->pools.reserve,
		.tx = wp->own ? worker_port_tx : worker_port_tx_elsewhere,
		.ctx = wp,
	};
	snprintf(wp->netif.name, sizeof(wp->netif.name), "%s", port_name(port));
	port_mac(port, wp->netif.mac);
}

static void share_frame(void *ctx, struct net_if *netif, const struct rte_mbuf *frame)
{
	struct worker *worker = ctx;

	steering_share(worker->steering, worker->index, netif, frame);
}

// Datagram sockets of processes are one worker's: nothing that they know spreads ICMP, or UDP in
// fragments.
static void take_datagram(void *ctx, const struct net_delivery *delivery)
{
	struct worker *worker = ctx;

	if (worker->index == WORKER_OF_DATAGRAMS)
		sockets_datagram(worker->sockets, delivery);
	else
		steering_datagram(worker->steering, worker->index, WORKER_OF_DATAGRAMS, delivery);
}

static int create_net(struct worker *worker)
{
	unsigned count = worker->ports_count;
	struct net_interface_config *interfaces = calloc(count, sizeof(*interfaces));
	const char *why = NULL;
	struct net_config net;
	int rc = -ENOMEM;

	if (interfaces != NULL) {
		net_config_init(&net);
		config_to_net(worker->config, worker->netifs, interfaces, &net);
		// Elsewhere a broker that is Offramp itself would be its own client for ever.
		net.loop = worker->config->mode == CONFIG_MODE_SOCKET;
		if (worker->config->mode == CONFIG_MODE_SOCKET) {
			net.datagram = take_datagram;
			net.datagram_ctx = worker;
			net.udp = worker->config->socket.udp_count > 0;
		}
		if (worker->steering != NULL) {
			net.quiet = worker->index > 0;
			net.share = share_frame;
			net.share_ctx = worker;
		}
		rc = net_create(&net, &worker->rng, clock_now_us(), &worker->net, &why);
	}
	free(interfaces);
	if (rc < 0)
		log_error("net", "%s", why != NULL ? why : strerror(-rc));
	return rc;
}

static int create_tcp(struct worker *worker, const uint8_t secret[16])
{
	struct tcp_config tcp;
	char name[16];

	tcp_config_init(&tcp);
	config_to_tcp(worker->config, &tcp);
	memcpy(tcp.secret, secret, sizeof(tcp.secret));
	snprintf(name, sizeof(name), "tcp%u", worker->index);
	return tcp_stack_create(name, &tcp, worker->net, worker->payloads, &worker->rng,
		clock_now_us(), &worker->tcp);
}

static bool is_ours(void *ctx, const struct net_endpoint *local, const struct net_endpoint *remote)
{
	const struct worker *worker = ctx;

	return steering_owner(worker->steering, local, remote) == worker->index;
}

static bool tell_bridges(void *ctx, const struct bridge_news *news)
{
	const struct worker *worker = ctx;

	return steering_tell(worker->steering, worker->index, news);
}

static bool hear_bridges(void *ctx, struct bridge_news *ret_news)
{
	const struct worker *worker = ctx;

	return steering_hear(worker->steering, worker->index, ret_news);
}

static int create_bridge(struct worker *worker)
{
	struct bridge_config bridge;
	char name[16];

	bridge_config_init(&bridge);
	config_to_bridge(worker->config,
		worker->bridged != NULL ? bridged_wires(worker->bridged) : worker->netifs, &bridge);
	if (worker->steering != NULL)
		bridge.sharing = (struct bridge_sharing){
			.tell = tell_bridges,
			.hear = hear_bridges,
			.ctx = worker,
			.quiet = worker->index > 0,
		};
	// The programs in the kernel have decided that what comes is to leave by the other port;
	// and only they see all stations.
	if (port_has_shortcut(worker->ports[0].port))
		bridge.mode = BRIDGE_HUB;
	snprintf(name, sizeof(name), "bridge%u", worker->index);
	return bridge_create(name, &bridge, &worker->rng, &worker->bridge);
}

// In stack mode Offramp's ports are hosts on its bridge, like all others.
static int create_bridged(struct worker *worker)
{
	if (worker->config->mode == CONFIG_MODE_MONITOR ||
		worker->config->bridge == CONFIG_BRIDGE_NONE)
		return 0;
	return bridged_create(worker->netifs, worker->ports_count, &worker->bridged);
}

static unsigned owner_of(
	void *ctx, const struct net_endpoint *broker, const struct net_endpoint *client)
{
	const struct worker *worker = ctx;

	return steering_owner(worker->steering, broker, client);
}

static void hand_over(void *ctx, unsigned owner, const struct monitor_frame *frame)
{
	const struct worker *worker = ctx;

	steering_hand(worker->steering, worker->index, owner, frame);
}

static int create_monitor(struct worker *worker, const struct worker_setup *setup)
{
	struct monitor_config monitor = {
		.netifs = worker->netifs,
		.netifs_count = worker->ports_count,
		.flows_max = config_flows_max(worker->config),
		.left = setup->flows_left,
		.left_count = setup->flows_left_count,
		.hash_seed = random_next(&worker->rng),
	};
	char name[16];

	if (worker->steering != NULL)
		monitor.share = (struct monitor_share){worker->index, owner_of, hand_over, worker};

	snprintf(name, sizeof(name), "flows%u", worker->index);
	return monitor_create(name, &monitor, worker->stack, worker->net, worker->bridge,
		clock_now_us(), &worker->monitor);
}

static bool may_connect(void *ctx, const struct net_address *remote)
{
	const struct config_socket *socket = &((const struct worker *)ctx)->config->socket;

	for (unsigned i = 0; i < socket->connects_count; i++)
		if (net_prefix_contains(
			    &socket->connects[i].address, socket->connects[i].prefix, remote))
			return true;
	return false;
}

static int create_sockets(struct worker *worker)
{
	const struct sockets_outgoing outgoing = {
		.may = may_connect,
		.is_ours = worker->steering != NULL ? is_ours : NULL,
		.ctx = worker,
	};
	int rc = sockets_create(&worker->offload_config, worker->offload, worker->net, worker->tcp,
		worker->payloads, clock_now_us(), &worker->sockets);

	if (rc == 0)
		sockets_allow_outgoing(worker->sockets, &outgoing);
	if (rc == 0 && worker->index == WORKER_OF_DATAGRAMS)
		sockets_serve_udp(worker->sockets, worker->config->socket.udp,
			worker->config->socket.udp_count);
	return rc;
}

static int create_attach(struct worker *worker, const struct worker_setup *setup)
{
	const struct stack_share share = {is_ours, worker};
	bool monitors = worker->config->mode == CONFIG_MODE_MONITOR;
	int rc;

	if (worker->config->mode == CONFIG_MODE_SOCKET)
		return create_sockets(worker);
	rc = stack_create(&worker->offload_config, worker->offload, worker->tcp, !monitors,
		worker->steering != NULL ? &share : NULL, clock_now_us(), &worker->stack);

	if (rc == 0 && worker->config->bridge != CONFIG_BRIDGE_NONE)
		rc = create_bridge(worker);
	if (rc == 0 && worker->bridged != NULL)
		bridged_join(worker->bridged, worker->net, worker->bridge);
	if (rc == 0 && monitors)
		rc = create_monitor(worker, setup);
	return rc;
}

static int create_floors(struct worker *worker, const struct worker_setup *setup)
{
	struct payload_pool_config payloads;
	char name[16];
	int rc;

	config_to_payloads(worker->config, &payloads);
	snprintf(name, sizeof(name), "payload%u", worker->index);
	rc = payload_pool_create(name, &payloads, &worker->payloads);
	if (rc < 0)
		return rc;
	rc = create_bridged(worker);
	if (rc < 0)
		return rc;
	rc = create_net(worker);
	if (rc < 0)
		return rc;
	rc = create_tcp(worker, setup->secret);
	if (rc < 0)
		return rc;
	offload_config_init(&worker->offload_config);
	config_to_offload(worker->config, &worker->offload_config);
	worker->offload_config.peers = setup->peers;
	worker->offload_config.peers.self = worker->index;
	rc = offload_create(&worker->offload_config, worker->tcp, worker->payloads, &worker->rng,
		clock_now_us(), &worker->offload);
	if (rc < 0)
		return rc;
	rc = create_attach(worker, setup);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "mailbox%u", worker->index);
	return mailbox_create(name, MAILBOX_SLOTS, worker, &worker->mailbox);
}

static void list_counters(struct worker *worker)
{
	struct counter_set *set = worker->sets;

	*set++ = offload_counters(worker->offload);
	*set++ = stack_counters(worker->stack);
	*set++ = sockets_counters(worker->sockets);
	*set++ = tcp_counters(worker->tcp);
	*set++ = net_counters(worker->net);
	*set++ = gauges_counters(worker->gauges);
	*set++ = steering_counters(worker->steering, worker->index);
	*set++ = bridge_counters(worker->bridge);
	*set++ = monitor_counters(worker->monitor);
	worker->sets_count = (unsigned)(set - worker->sets);
}

int worker_create(const struct worker_setup *setup, struct worker **ret_worker)
{
	const struct config *config = setup->config;
	struct worker *worker = rte_zmalloc("worker", sizeof(*worker), 64);
	int rc = -ENOMEM;

	if (worker == NULL)
		return -ENOMEM;
	worker->config = config;
	worker->index = setup->index;
	worker->pools = setup->pools;
	worker->steering = setup->steering;
	worker->ports_count = config->ports_count;
	worker->ports =
		rte_zmalloc("worker ports", sizeof(worker->ports[0]) * config->ports_count, 64);
	worker->netifs =
		rte_zmalloc("worker netifs", sizeof(worker->netifs[0]) * config->ports_count, 0);
	if (worker->ports == NULL || worker->netifs == NULL)
		goto err;
	for (unsigned i = 0; i < config->ports_count; i++)
		worker_port_init(worker, i, setup->ports[i]);
	random_init(&worker->rng, setup->seed);
	rc = create_floors(worker, setup);
	if (rc < 0)
		goto err;
	rc = gauges_create(
		&(struct gauges_sources){&worker->pools, worker->payloads, worker->tcp,
			worker->offload, worker->stack, worker->monitor, worker->sockets},
		&worker->gauges);
	if (rc < 0)
		goto err;
	list_counters(worker);
	*ret_worker = worker;
	return 0;
err:
	log_error("daemon", "worker %u: %s%s", setup->index, strerror(-rc),
		rc == -ENOMEM ? ": lower what memory: asks for" : "");
	worker_destroy(worker);
	return rc;
}

void worker_keep_flows(struct worker *worker, struct monitor_record *records)
{
	monitor_keep(worker->monitor, records);
}

void worker_end(struct worker *worker)
{
	if (worker == NULL)
		return;
	mailbox_destroy(worker->mailbox);
	gauges_destroy(worker->gauges);
	stack_destroy(worker->stack);
	sockets_destroy(worker->sockets);
	monitor_destroy(worker->monitor);
	offload_destroy(worker->offload);
	tcp_stack_destroy(worker->tcp);
	net_destroy(worker->net);
	bridge_destroy(worker->bridge); // the last words went through it
	bridged_destroy(worker->bridged);
	worker->mailbox = NULL;
	worker->gauges = NULL;
	worker->stack = NULL;
	worker->sockets = NULL;
	worker->monitor = NULL;
	worker->bridge = NULL;
	worker->bridged = NULL;
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
	rte_free(worker->netifs);
	rte_free(worker->ports);
	rte_free(worker);
}

// --- looking in ----------------------------------------------------------------------------------

void worker_control(struct worker *worker, struct control_worker *ret_control)
{
	*ret_control = (struct control_worker){
		.mailbox = worker->mailbox,
		.offload = worker->offload,
		.sets = worker->sets,
		.sets_count = worker->sets_count,
		.busy_permille = &worker->load.permille,
	};
}

struct offload *worker_offload(struct worker *worker)
{
	return worker->offload;
}

struct sockets *worker_sockets(struct worker *worker)
{
	return worker->sockets;
}

int worker_call(struct worker *worker, struct mailbox_message *message)
{
	return mailbox_call(worker->mailbox, message, 1000);
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

	return worker_call(worker, &message.message);
}
