// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What processes listen on, and whose turn it is. The engine listens once for each configured
// address that anybody has asked for; who may take what comes is decided for each connection.

#include <errno.h>
#include <string.h>

#include "attach/socket_flow.h"

static struct socket_listener *listener_of(
	struct socket_process *process, unsigned broker, bool with_room)
{
	if (process->lane == NULL || process->broken || (with_room && process->free_count == 0))
		return NULL;
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
		if (process->listeners[i].used && process->listeners[i].broker == broker)
			return &process->listeners[i];
	return NULL;
}

struct socket_process *sockets_listener(
	struct sockets *sockets, unsigned broker, uint32_t *ret_number)
{
	for (unsigned i = 1; i <= SOCKETS_PROCESSES_MAX; i++) {
		unsigned n = (sockets->turns[broker] + i) % SOCKETS_PROCESSES_MAX;
		const struct socket_listener *listener =
			listener_of(&sockets->processes[n], broker, true);

		if (listener == NULL || !listener->accepts)
			continue;
		sockets->turns[broker] = n;
		*ret_number = listener->number;
		return &sockets->processes[n];
	}
	return NULL;
}

uint32_t sockets_backlog(const struct sockets *sockets, unsigned broker)
{
	uint32_t backlog = 0;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		const struct socket_listener *listener =
			listener_of((struct socket_process *)&sockets->processes[i], broker, false);

		if (listener != NULL && listener->backlog > backlog)
			backlog = listener->backlog;
	}
	return backlog;
}

static bool anybody_listens(struct sockets *sockets, unsigned broker)
{
	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++)
		if (listener_of(&sockets->processes[i], broker, false) != NULL)
			return true;
	return false;
}

// Who waited for a process waits in vain: the listening socket is closed.
static void stop_listening(struct sockets *sockets, unsigned broker)
{
	if (sockets->listeners[broker] == NULL || anybody_listens(sockets, broker))
		return;
	tcp_close(sockets->listeners[broker]);
	sockets->listeners[broker] = NULL;
	offload_broker_reachable(sockets->offload, broker, false);
	for (uint32_t i = 0; i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL && flow->broker == broker && flow->process == NULL &&
			flow->state < SOCKET_OPEN)
			socket_flow_abort(flow);
	}
}

static bool same_place(
	const struct channel_endpoint *wanted, bool ipv6_only, const struct net_endpoint *listen)
{
	static const uint8_t any[16];
	bool ipv4 = net_address_is_ipv4(&listen->address);
	unsigned length = wanted->ipv6 ? 16 : 4;

	if (wanted->port != listen->port)
		return false;
	// The unspecified IPv6 address takes IPv4 too, unless it was asked not to (RFC 3493 5.3).
	if (memcmp(wanted->address, any, length) == 0)
		return ipv4 ? !wanted->ipv6 || !ipv6_only : wanted->ipv6;
	if (ipv4 == wanted->ipv6)
		return false;
	return memcmp(wanted->address,
		       ipv4 ? (const uint8_t *)&listen->address.words[3] : listen->address.bytes,
		       length) == 0;
}

static struct socket_listener *listener_place(
	struct socket_process *process, uint32_t number, unsigned broker)
{
	struct socket_listener *place = NULL;

	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++) {
		struct socket_listener *listener = &process->listeners[i];

		if (listener->used && listener->number == number && listener->broker == broker)
			return listener;
		if (!listener->used && place == NULL)
			place = listener;
	}
	return place;
}

static int listen_at(
	struct socket_process *process, unsigned broker, const struct channel_message *message)
{
	struct sockets *sockets = process->sockets;
	struct socket_listener *listener =
		listener_place(process, message->listen.listener, broker);
	int rc = 0;

	if (listener == NULL)
		return ENOBUFS;
	if (sockets->listeners[broker] == NULL)
		rc = tcp_listen(sockets->tcp, &sockets->config->brokers[broker].listen, NULL,
			&sockets->listeners[broker]);
	if (rc < 0)
		return -rc;
	*listener = (struct socket_listener){
		.number = message->listen.listener,
		.broker = broker,
		.backlog = message->listen.backlog,
		.accepts = message->listen.accepts,
		.used = true,
	};
	sockets->look = true;
	return 0;
}

// An address that stands for several configured ones listens on all of them.
int socket_listen(struct socket_process *process, const struct channel_message *message)
{
	const struct offload_config *config = process->sockets->config;
	int error = EADDRNOTAVAIL;

	for (unsigned i = 0; i < config->brokers_count; i++) {
		int rc;

		if (!same_place(&message->listen.endpoint, message->listen.ipv6_only,
			    &config->brokers[i].listen))
			continue;
		rc = listen_at(process, i, message);
		error = rc == 0 || error == EADDRNOTAVAIL ? rc : error;
	}
	return error;
}

void socket_unlisten(struct socket_process *process, uint32_t number)
{
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++) {
		struct socket_listener *listener = &process->listeners[i];

		if (!listener->used || listener->number != number)
			continue;
		listener->used = false;
		stop_listening(process->sockets, listener->broker);
	}
}
