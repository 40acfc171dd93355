// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// UDP of processes (RFC 768, RFC 1122 4.1): who has which port, as Linux would have it (bind(),
// connect(), SO_REUSEADDR, SO_REUSEPORT; net/ipv4/udp.c), what goes out, and to whom what comes is
// given. Only what the configuration names can be had. A socket that several processes have after a
// fork is each one's; the last that has come for it is given what comes.

#include <rte_mbuf.h>
#include <rte_udp.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "attach/socket_flow.h"

// Among the ephemeral ports.
#define EPHEMERAL_TRIES 64
// Lower ones have to be named one by one.
#define PORT_USER 1024

void sockets_serve_udp(struct sockets *sockets, const struct net_endpoint *where, unsigned count)
{
	sockets->udp.where = where;
	sockets->udp.where_count = count;
}

// --- who may have what ---------------------------------------------------------------------------

static bool is_served(
	const struct sockets *sockets, const struct net_address *address, uint16_t port)
{
	for (unsigned i = 0; i < sockets->udp.where_count; i++) {
		const struct net_endpoint *where = &sockets->udp.where[i];

		if (net_address_equal(&where->address, address) &&
			(where->port == port || (where->port == 0 && port >= PORT_USER)))
			return true;
	}
	return false;
}

// Does the address, or the unspecified one of that family, take in the other one? (RFC 3493 5.3)
static bool takes_address(const struct socket_udp *udp, const struct net_address *address)
{
	if (!socket_address_is_any(&udp->local.address))
		return net_address_equal(&udp->local.address, address);
	return net_address_is_ipv4(address)
		       ? net_address_is_ipv4(&udp->local.address) || !udp->ipv6_only
		       : !net_address_is_ipv4(&udp->local.address);
}

// Is there a configured place that it may have?
static bool has_place(const struct sockets *sockets, const struct socket_udp *udp)
{
	for (unsigned i = 0; i < sockets->udp.where_count; i++) {
		const struct net_address *address = &sockets->udp.where[i].address;

		if (takes_address(udp, address) && is_served(sockets, address, udp->local.port))
			return true;
	}
	return false;
}

static struct list *bucket_of(struct sockets *sockets, uint16_t port)
{
	return &sockets->udp.buckets[port % SOCKETS_UDP_BUCKETS];
}

static bool overlap(const struct socket_udp *a, const struct socket_udp *b)
{
	return a->local.port == b->local.port &&
	       (takes_address(a, &b->local.address) || takes_address(b, &a->local.address));
}

// May both have the port? The same socket, after a fork, may.
static bool get_along(const struct socket_udp *a, const struct socket_udp *b)
{
	return (a->cookie != 0 && a->cookie == b->cookie) || (a->reuses && b->reuses) ||
	       (a->shares && b->shares);
}

static bool is_taken(struct sockets *sockets, const struct socket_udp *udp)
{
	list_for_each (link, bucket_of(sockets, udp->local.port)) {
		const struct socket_udp *other =
			&container_of(link, struct socket_datagram, of_kind)->udp;

		if (overlap(udp, other) && !get_along(udp, other))
			return true;
	}
	return false;
}

// A socket that nobody has bound takes another port rather than none.
static int find_port(struct sockets *sockets, struct socket_udp *udp, bool ephemeral)
{
	uint32_t first = udp->local.port + sockets->udp.opened;

	if (!has_place(sockets, udp))
		return EADDRNOTAVAIL;
	for (uint32_t i = 0; is_taken(sockets, udp); i++) {
		if (!ephemeral || i == EPHEMERAL_TRIES)
			return EADDRINUSE;
		udp->local.port =
			(uint16_t)(NET_EPHEMERAL_FIRST + (first + i * 7919) % NET_EPHEMERAL_COUNT);
		if (!has_place(sockets, udp))
			return EADDRNOTAVAIL;
	}
	return 0;
}

// --- beginning -----------------------------------------------------------------------------------

static struct socket_datagram *datagram_of(const struct socket_process *process, uint32_t number)
{
	list_for_each (link, &process->datagrams) {
		struct socket_datagram *datagram =
			container_of(link, struct socket_datagram, of_process);

		if (datagram->kind == SOCKET_DATAGRAM_UDP && datagram->number == number)
			return datagram;
	}
	return NULL;
}

int socket_udp_open(struct socket_process *process, const struct channel_message *message)
{
	struct sockets *sockets = process->sockets;
	struct socket_udp udp = {
		.local = socket_endpoint_from(&message->udp.local),
		.remote = socket_endpoint_from(&message->udp.remote),
		.cookie = message->udp.cookie,
		.ipv6_only = message->udp.ipv6_only,
		.reuses = message->udp.reuses,
		.shares = message->udp.shares,
		.order = ++sockets->udp.opened,
	};
	struct lane_opened opened = {
		.kind = CHANNEL_DATAGRAM_SLOT, .listener = message->udp.socket};
	struct socket_datagram *datagram = datagram_of(process, message->udp.socket);
	int error;

	if (datagram != NULL) { // connect()
		datagram->udp.remote = udp.remote;
		return 0;
	}
	if (udp.local.port == 0)
		return EINVAL;
	error = find_port(sockets, &udp, message->udp.ephemeral);
	if (error != 0)
		return error;
	datagram = socket_datagram_begin(process, SOCKET_DATAGRAM_UDP, message->udp.socket);
	if (datagram == NULL)
		return ENOBUFS;
	datagram->udp = udp;
	list_append(bucket_of(sockets, udp.local.port), &datagram->of_kind);
	opened.local = socket_endpoint_to(&udp.local);
	socket_datagram_tell(datagram, &opened);
	return 0;
}

// --- out -----------------------------------------------------------------------------------------

static int find_way(
	const struct sockets *sockets, const struct socket_udp *udp, struct net_datagram *out)
{
	struct net_way way;
	int rc = net_way_find(sockets->net, &out->remote, &way);

	if (rc < 0)
		return rc;
	if (socket_address_is_any(&out->local))
		out->local =
			socket_address_is_any(&udp->local.address) ? way.local : udp->local.address;
	if (net_address_is_ipv4(&out->local) != net_address_is_ipv4(&out->remote))
		return -EAFNOSUPPORT;
	return takes_address(udp, &out->local) && is_served(sockets, &out->local, udp->local.port)
		       ? 0
		       : -EADDRNOTAVAIL;
}

int socket_udp_send(struct socket_datagram *datagram, const struct channel_datagram *head)
{
	struct sockets *sockets = datagram->process->sockets;
	const struct socket_udp *udp = &datagram->udp;
	struct net_datagram out = {
		.local = socket_address(head->local.address, head->local.ipv6 != 0),
		.remote = socket_address(head->remote.address, head->remote.ipv6 != 0),
		.protocol = IPPROTO_UDP,
		.hops = head->hops,
		.tos = head->tos,
		.whole = (head->flags & CHANNEL_WHOLE) != 0,
		.mtu = head->mtu,
	};
	const struct rte_udp_hdr header = {
		.src_port = rte_cpu_to_be_16(udp->local.port),
		.dst_port = rte_cpu_to_be_16(head->remote.port),
		.dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(header) + head->length)),
	};
	int rc;

	if (head->remote.port == 0 || head->header != 0)
		return -EPROTO;
	rc = find_way(sockets, udp, &out);
	if (rc < 0)
		return rc;
	memcpy(sockets->message, &header, sizeof(header));
	return net_datagram_send(sockets->net, &out, sockets->message,
		(uint32_t)sizeof(header) + head->length, sockets->now_us);
}

// --- back ----------------------------------------------------------------------------------------

// How well it suits; -1: it is not this socket's. As compute_score() of Linux.
static int score(const struct socket_datagram *datagram, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	const struct socket_udp *udp = &datagram->udp;
	bool connected = udp->remote.port != 0;

	if (datagram->process->broken || udp->local.port != local->port ||
		!takes_address(udp, &local->address) ||
		(connected && !net_endpoint_equal(&udp->remote, remote)))
		return -1;
	return (connected ? 2 : 0) + !socket_address_is_any(&udp->local.address);
}

static uint32_t hash_of(const struct net_endpoint *remote)
{
	uint32_t hash = remote->port;

	for (unsigned i = 0; i < 4; i++)
		hash = (hash ^ remote->address.words[i]) * 0x9e3779b1u;
	return hash ^ hash >> 16;
}

// Those who share the port with SO_REUSEPORT have a share of the peers each; of others, and of
// several that have one socket, the newest has it all.
static struct socket_datagram *find(struct sockets *sockets, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	struct socket_datagram *best = NULL;
	uint32_t highest_hash = 0;
	int highest = -1;

	if (!is_served(sockets, &local->address, local->port))
		return NULL;
	list_for_each (link, bucket_of(sockets, local->port)) {
		struct socket_datagram *datagram =
			container_of(link, struct socket_datagram, of_kind);
		int is = score(datagram, local, remote);
		uint32_t hash = hash_of(remote) ^ (uint32_t)datagram->udp.cookie * 0x85ebca6bu;

		hash = (hash ^ hash >> 15) * 0xc2b2ae35u;
		if (is < 0 || is < highest)
			continue;
		// The list is in the order of their coming.
		if (is == highest && best->udp.shares && datagram->udp.shares &&
			hash < highest_hash)
			continue;
		best = datagram;
		highest = is;
		highest_hash = hash;
	}
	return best;
}

void socket_udp_input(struct sockets *sockets, const struct net_delivery *delivery)
{
	const struct rte_udp_hdr *header = rte_pktmbuf_mtod_offset(
		delivery->m, const struct rte_udp_hdr *, delivery->m->l3_len);
	const struct net_endpoint local = {
		.address = delivery->destination, .port = rte_be_to_cpu_16(header->dst_port)};
	const struct net_endpoint remote = {
		.address = delivery->source, .port = rte_be_to_cpu_16(header->src_port)};
	struct socket_datagram *datagram = find(sockets, &local, &remote);

	if (datagram == NULL) {
		net_datagram_refuse(sockets->net, delivery, sockets->now_us);
		return;
	}
	socket_datagram_give(datagram, delivery, 0);
	rte_pktmbuf_free(delivery->m);
}

void socket_udp_error(struct sockets *sockets, const struct net_delivery *delivery,
	const struct net_endpoint *local, const struct net_endpoint *remote)
{
	struct socket_datagram *datagram = find(sockets, local, remote);

	if (datagram != NULL)
		socket_datagram_give(datagram, delivery, CHANNEL_ERROR);
}
