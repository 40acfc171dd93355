// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP: echo requests of processes go out as they are written, and what comes back is given to whom
// Linux would give it: to every raw socket of the family, and to the datagram socket with the
// identifier (net/ipv4/raw.c, net/ipv4/ping.c); errors about UDP, to whoever has sent it.

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <errno.h>
#include <string.h>

#include "attach/socket_flow.h"

#define ECHO_REPLY_IPV4	  0
#define ECHO_REQUEST_IPV4 8
#define ECHO_REQUEST_IPV6 128
#define ECHO_REPLY_IPV6	  129

// --- beginning -----------------------------------------------------------------------------------

static int begin(struct socket_process *process, const struct sockets_echo *is)
{
	const struct lane_opened opened = {.kind = CHANNEL_DATAGRAM_SLOT, .listener = is->socket};
	struct socket_datagram *datagram;

	if (is->error != 0)
		return is->error;
	datagram = socket_datagram_begin(process, SOCKET_DATAGRAM_ECHO, is->socket);
	if (datagram == NULL)
		return ENOBUFS;
	datagram->echo = *is;
	list_append(&process->sockets->echoes, &datagram->of_kind);
	socket_datagram_tell(datagram, &opened);
	return 0;
}

void sockets_open_echo(struct sockets *sockets, unsigned number, const struct sockets_echo *echo)
{
	struct socket_process *process = &sockets->processes[number];

	if (process->broken)
		return;
	socket_done(process, echo->call, begin(process, echo));
}

// --- out -----------------------------------------------------------------------------------------

// What a shim writes: an echo request, whose addresses are of the socket's family.
static bool is_request(const struct socket_datagram *datagram, const struct channel_datagram *head)
{
	const uint8_t *message = datagram->process->sockets->message;
	bool ipv6 = datagram->echo.ipv6;

	return head->length >= sizeof(struct rte_icmp_hdr) && head->header == 0 &&
	       (head->remote.ipv6 != 0) == ipv6 && (head->local.ipv6 != 0) == ipv6 &&
	       message[0] == (ipv6 ? ECHO_REQUEST_IPV6 : ECHO_REQUEST_IPV4) && message[1] == 0;
}

int socket_echo_send(struct socket_datagram *datagram, const struct channel_datagram *head)
{
	struct sockets *sockets = datagram->process->sockets;
	bool ipv6 = datagram->echo.ipv6;
	struct net_datagram out = {
		.local = socket_address(head->local.address, ipv6),
		.remote = socket_address(head->remote.address, ipv6),
		.protocol = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.hops = head->hops,
		.tos = head->tos,
		.whole = (head->flags & CHANNEL_WHOLE) != 0,
	};
	struct net_way way;
	int rc;

	if (!is_request(datagram, head))
		return -EPROTO;
	rc = net_address_is_ipv4(&out.remote) == ipv6
		     ? -EAFNOSUPPORT
		     : net_way_find(sockets->net, &out.remote, &way);
	if (rc < 0)
		return rc;
	if (head->length > way.echo_max)
		return -EMSGSIZE;
	if (socket_address_is_any(&out.local))
		out.local = way.local;
	if (!datagram->echo.raw) {
		sockets->message[4] = (uint8_t)(datagram->echo.identifier >> 8);
		sockets->message[5] = (uint8_t)datagram->echo.identifier;
	}
	return net_datagram_send(
		sockets->net, &out, sockets->message, head->length, sockets->now_us);
}

// --- back ----------------------------------------------------------------------------------------

// What the ICMP message of a delivery, an error, quotes: the datagram behind its IP header, and the
// two ends that this names. Net has looked that it is there.
static const uint8_t *quoted(const struct net_delivery *delivery, uint8_t *ret_protocol,
	struct net_address *ret_local, struct net_address *ret_remote)
{
	const uint8_t *icmp =
		rte_pktmbuf_mtod_offset(delivery->m, const uint8_t *, delivery->m->l3_len);
	const uint8_t *ip = icmp + sizeof(struct rte_icmp_hdr);
	bool ipv6 = !net_address_is_ipv4(&delivery->source);

	if (!ipv6) {
		*ret_protocol = ip[offsetof(struct rte_ipv4_hdr, next_proto_id)];
		*ret_local = socket_address(ip + offsetof(struct rte_ipv4_hdr, src_addr), false);
		*ret_remote = socket_address(ip + offsetof(struct rte_ipv4_hdr, dst_addr), false);
		return ip + (*ip & RTE_IPV4_HDR_IHL_MASK) * RTE_IPV4_IHL_MULTIPLIER;
	}
	*ret_protocol = ip[offsetof(struct rte_ipv6_hdr, proto)];
	*ret_local = socket_address(ip + offsetof(struct rte_ipv6_hdr, src_addr), true);
	*ret_remote = socket_address(ip + offsetof(struct rte_ipv6_hdr, dst_addr), true);
	ip += sizeof(struct rte_ipv6_hdr);
	if (*ret_protocol != IPPROTO_FRAGMENT)
		return ip;
	*ret_protocol = *ip;
	return ip + sizeof(struct rte_ipv6_fragment_ext);
}

static bool is_reply(const struct net_delivery *delivery)
{
	bool ipv6 = !net_address_is_ipv4(&delivery->source);

	return *rte_pktmbuf_mtod_offset(delivery->m, const uint8_t *, delivery->m->l3_len) ==
	       (ipv6 ? ECHO_REPLY_IPV6 : ECHO_REPLY_IPV4);
}

static uint16_t number_at(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void echo_back(
	struct sockets *sockets, const struct net_delivery *delivery, uint16_t identifier)
{
	bool ipv6 = !net_address_is_ipv4(&delivery->source);

	list_for_each (link, &sockets->echoes) {
		struct socket_datagram *datagram =
			container_of(link, struct socket_datagram, of_kind);

		if (!datagram->process->broken && datagram->echo.ipv6 == ipv6 &&
			(datagram->echo.raw || datagram->echo.identifier == identifier))
			socket_datagram_give(datagram, delivery, 0);
	}
}

void socket_icmp_input(struct sockets *sockets, const struct net_delivery *delivery)
{
	const uint8_t *about =
		rte_pktmbuf_mtod_offset(delivery->m, const uint8_t *, delivery->m->l3_len);
	struct net_endpoint local, remote;
	uint8_t protocol = IPPROTO_ICMP;

	if (!is_reply(delivery))
		about = quoted(delivery, &protocol, &local.address, &remote.address);
	if (protocol == IPPROTO_UDP) {
		local.port = number_at(about);
		remote.port = number_at(about + 2);
		socket_udp_error(sockets, delivery, &local, &remote);
	} else {
		echo_back(sockets, delivery, number_at(about + 4));
	}
	rte_pktmbuf_free(delivery->m);
}
