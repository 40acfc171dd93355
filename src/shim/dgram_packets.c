// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What comes for a datagram socket, as Linux would queue it (net/ipv4/raw.c, net/ipv4/ping.c,
// net/ipv4/udp.c, net/ipv6/raw.c; icmp(7), udp(7)): which packets it sees, and what recvmsg() says
// of them. RFC 768, RFC 792, RFC 4443.

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"
#include "shim/state.h"

// The least that the kernel counts for a packet, beside its octets.
#define OVERHEAD 768

#define ICMP_HEADER 8

static void endpoint_from(const struct channel_address *from, struct channel_endpoint *to)
{
	memcpy(to->address, from->address, sizeof(to->address));
	to->port = from->port;
	to->ipv6 = from->ipv6 != 0;
}

struct dgram_packet *dgram_packet_make(
	const struct channel_datagram *head, const uint8_t *data, uint32_t length)
{
	struct dgram_packet *packet = malloc(sizeof(*packet) + length);

	if (packet == NULL)
		return NULL;
	*packet = (struct dgram_packet){
		.hops = head->hops,
		.tos = head->tos,
		.came_ns = head->came_ns,
		.length = length,
	};
	list_init(&packet->link);
	endpoint_from(&head->remote, &packet->remote);
	endpoint_from(&head->local, &packet->local);
	if (length > 0)
		memcpy(packet->data, data, length);
	return packet;
}

void dgram_packet_drop(struct dgram *dgram, struct list *queue)
{
	struct dgram_packet *packet = container_of(list_pop(queue), struct dgram_packet, link);

	if (queue == &dgram->packets)
		dgram->packets_octets -= packet->length + OVERHEAD;
	else
		dgram->errors_count--;
	free(packet);
}

bool dgram_packets_full(const struct dgram *dgram)
{
	return dgram->packets_octets >= dgram->options.receive_octets;
}

// --- coming --------------------------------------------------------------------------------------

static bool is_filtered(const struct dgram *dgram, uint8_t type)
{
	const uint32_t *filter = dgram->options.filter;

	if (dgram->kind != DGRAM_RAW)
		return false;
	if (dgram->family != AF_INET6)
		return type < 32 && (filter[0] >> type & 1);
	return filter[type / 32] >> (type % 32) & 1;
}

static bool is_from_peer(const struct dgram *dgram, const struct channel_endpoint *remote)
{
	return !dgram->connected ||
	       (dgram_same_address(&dgram->peer, remote) && dgram->peer.port == remote->port);
}

static void queue(struct dgram *dgram, const struct channel_datagram *head, const uint8_t *data,
	uint32_t length)
{
	struct dgram_packet *packet;
	struct channel_endpoint remote;

	endpoint_from(&head->remote, &remote);
	if (!is_from_peer(dgram, &remote))
		return;
	packet = dgram_packet_make(head, data, length);
	if (packet == NULL)
		return;
	list_append(&dgram->packets, &packet->link);
	dgram->packets_octets += length + OVERHEAD;
	dgram_peer_of(dgram, &remote)->heard = shim_get()->attached->number;
}

static void icmp_arrived(
	struct dgram *dgram, const struct channel_datagram *head, const uint8_t *data)
{
	uint8_t reply = dgram->family == AF_INET6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;
	const uint8_t *icmp = data + head->header;
	uint32_t skip = dgram->kind == DGRAM_RAW ? 0 : head->header;

	if (head->length - head->header < ICMP_HEADER)
		return;
	if (icmp[0] != reply)
		dgram_error_arrived(dgram, head, icmp, head->length - head->header);
	if ((dgram->kind == DGRAM_RAW || icmp[0] == reply) && !is_filtered(dgram, icmp[0]))
		queue(dgram, head, data + skip, head->length - skip);
}

void dgram_packet_arrived(
	struct dgram *dgram, const struct channel_datagram *head, const uint8_t *data)
{
	if (dgram->kind != DGRAM_UDP)
		icmp_arrived(dgram, head, data);
	else if (head->flags & CHANNEL_ERROR)
		dgram_error_arrived(dgram, head, data + head->header, head->length - head->header);
	else
		queue(dgram, head, data, head->length);
}

// --- recvmsg() -----------------------------------------------------------------------------------

static size_t copy(const struct dgram_packet *packet, const struct msghdr *message)
{
	size_t done = 0;

	for (size_t i = 0; i < message->msg_iovlen && done < packet->length; i++) {
		size_t n = message->msg_iov[i].iov_len;

		n = n < packet->length - done ? n : packet->length - done;
		if (n > 0)
			memcpy(message->msg_iov[i].iov_base, packet->data + done, n);
		done += n;
	}
	return done;
}

ssize_t dgram_packet_give(const struct dgram *dgram, const struct dgram_packet *packet,
	struct msghdr *message, int flags)
{
	size_t copied = copy(packet, message);

	message->msg_flags = packet->error != 0 ? MSG_ERRQUEUE : 0;
	if (copied < packet->length)
		message->msg_flags |= MSG_TRUNC;
	if (message->msg_name != NULL)
		address_give(
			&packet->remote, dgram->family, message->msg_name, &message->msg_namelen);
	dgram_control_give(dgram, packet, message);
	return (ssize_t)((flags & MSG_TRUNC) ? packet->length : copied);
}
