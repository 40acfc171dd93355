// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP sockets of processes: echo requests go out as they are written, and what comes back is
// given to whom Linux would give it: to every raw socket of the family, and to the datagram
// socket with the identifier (net/ipv4/raw.c, net/ipv4/ping.c). One worker does this for all.
// Queues are bounded; who does not read in time loses what comes, as from a kernel's socket.

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#include "attach/socket_flow.h"
#include "base/clock.h"
#include "base/payload.h"

#define ECHOES_OF_PROCESS 16
// Sent for a socket in one turn.
#define BURST 32
// For a process that does not read, beside what its stream holds.
#define OUT_MAX (64u << 10)
// Parts of a datagram that comes.
#define SPANS 32

#define ECHO_REPLY_IPV4	  0
#define ECHO_REQUEST_IPV4 8
#define ECHO_REQUEST_IPV6 128
#define ECHO_REPLY_IPV6	  129

static struct lane *lane_of(const struct socket_echo *echo)
{
	return echo->process->lane;
}

// --- beginning and end ---------------------------------------------------------------------------

struct socket_echo *socket_echo_at(const struct socket_process *process, uint32_t slot)
{
	struct sockets *sockets = process->sockets;

	for (unsigned i = 0; i < sockets->echoes_count; i++)
		if (sockets->echoes[i].process == process && sockets->echoes[i].slot == slot)
			return &sockets->echoes[i];
	return NULL;
}

static struct socket_echo *place_for(const struct socket_process *process)
{
	struct sockets *sockets = process->sockets;
	unsigned of_process = 0, free = SOCKETS_ECHOES_MAX;

	for (unsigned i = sockets->echoes_count; i-- > 0;) {
		of_process += sockets->echoes[i].process == process;
		free = sockets->echoes[i].process == NULL ? i : free;
	}
	if (of_process == ECHOES_OF_PROCESS)
		return NULL;
	if (free == SOCKETS_ECHOES_MAX && sockets->echoes_count < SOCKETS_ECHOES_MAX)
		free = sockets->echoes_count++;
	return free < SOCKETS_ECHOES_MAX ? &sockets->echoes[free] : NULL;
}

static int begin(struct socket_process *process, const struct sockets_echo *is)
{
	const struct lane_opened opened = {.kind = CHANNEL_RAW_SLOT, .listener = is->socket};
	struct socket_echo *echo;

	if (is->error != 0)
		return is->error;
	echo = place_for(process);
	if (echo == NULL || process->free_count == 0)
		return ENOBUFS;
	*echo = (struct socket_echo){
		.process = process,
		.slot = socket_slot_take(process),
		.is = *is,
	};
	bytes_init(&echo->out, process->sockets->payloads);
	lane_post(process->lane,
		&(struct lane_item){.what = LANE_POST_OPEN, .slot = echo->slot, .opened = &opened});
	return 0;
}

void sockets_open_echo(struct sockets *sockets, unsigned number, const struct sockets_echo *echo)
{
	struct socket_process *process = &sockets->processes[number];

	if (process->broken)
		return;
	socket_done(process, echo->call, begin(process, echo));
}

static void finish(struct socket_echo *echo)
{
	struct socket_process *process = echo->process;

	bytes_clear(&echo->out);
	echo->process = NULL;
	process->flows[echo->slot] = SOCKET_SLOT_LEFT;
	lane_post(process->lane, &(struct lane_item){.what = LANE_POST_CLOSE, .slot = echo->slot});
	socket_slot_settle(process, echo->slot);
}

void socket_echoes_forget(struct socket_process *process)
{
	struct sockets *sockets = process->sockets;

	for (unsigned i = 0; i < sockets->echoes_count; i++) {
		if (sockets->echoes[i].process != process)
			continue;
		bytes_clear(&sockets->echoes[i].out);
		sockets->echoes[i].process = NULL;
	}
}

// --- out -----------------------------------------------------------------------------------------

// What the process has written, out of its reach. False: it is not there yet.
static bool copy(const struct socket_echo *echo, uint32_t skip, void *to, uint32_t length)
{
	return lane_copy(lane_of(echo), echo->slot, skip, to, length);
}

static struct net_address address_of(const struct channel_address *from)
{
	struct net_address address;
	uint32_t ipv4;

	if (from->ipv6) {
		memcpy(address.bytes, from->address, sizeof(address.bytes));
		return address;
	}
	memcpy(&ipv4, from->address, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static bool is_unspecified(const struct channel_address *address)
{
	static const uint8_t any[16];

	return memcmp(address->address, any, address->ipv6 ? 16 : 4) == 0;
}

// What a shim writes: an echo request, whose addresses are of the socket's family.
static bool is_request(const struct socket_echo *echo, const struct channel_datagram *head)
{
	const uint8_t *message = echo->process->sockets->message;
	uint8_t type = echo->is.ipv6 ? ECHO_REQUEST_IPV6 : ECHO_REQUEST_IPV4;

	return head->header == 0 && (head->remote.ipv6 != 0) == echo->is.ipv6 &&
	       (head->local.ipv6 != 0) == echo->is.ipv6 && message[0] == type && message[1] == 0;
}

static int send_request(const struct socket_echo *echo, const struct channel_datagram *head)
{
	struct sockets *sockets = echo->process->sockets;
	struct net_echo out = {
		.local = address_of(&head->local),
		.remote = address_of(&head->remote),
		.hops = head->hops,
		.tos = head->tos & RTE_IPV4_HDR_DSCP_MASK,
		.whole = (head->flags & CHANNEL_WHOLE) != 0,
	};
	struct net_way way;
	int rc = net_address_is_ipv4(&out.remote) == echo->is.ipv6
			 ? -EAFNOSUPPORT
			 : net_way_find(sockets->net, &out.remote, &way);

	if (rc < 0)
		return rc;
	if (head->length > way.echo_max)
		return -EMSGSIZE;
	if (is_unspecified(&head->local))
		out.local = way.local;
	if (!echo->is.raw) {
		sockets->message[4] = (uint8_t)(echo->is.identifier >> 8);
		sockets->message[5] = (uint8_t)echo->is.identifier;
	}
	return net_echo_send(sockets->net, &out, sockets->message, head->length, sockets->now_us);
}

// False: there is nothing whole, or the process has written nonsense.
static bool take_one(struct socket_echo *echo)
{
	struct sockets *sockets = echo->process->sockets;
	struct channel_datagram head;

	if (!copy(echo, 0, &head, sizeof(head)))
		return false;
	if (head.length < sizeof(struct rte_icmp_hdr) || head.length > CHANNEL_DATAGRAM_MAX) {
		echo->process->broken = true;
		return false;
	}
	if (!copy(echo, sizeof(head), sockets->message, head.length))
		return false;
	lane_post(lane_of(echo), &(struct lane_item){.what = LANE_POST_TAKEN,
					 .slot = echo->slot,
					 .octets = (uint32_t)sizeof(head) + head.length});
	if (!is_request(echo, &head))
		echo->process->broken = true;
	else if (send_request(echo, &head) < 0)
		counter_inc(&sockets->counters.echoes_lost[SOCKET_ECHO_SENT]);
	return !echo->process->broken;
}

unsigned socket_echo_take(struct socket_echo *echo)
{
	struct lane_slot slot;
	unsigned count = 0;

	echo->more = false;
	while (count < BURST && take_one(echo))
		count++;
	if (echo->process->broken)
		return count;
	socket_push(lane_of(echo), echo->slot, &echo->out);
	lane_slot(lane_of(echo), echo->slot, &slot);
	if (slot.closed)
		finish(echo);
	else if (count == BURST)
		echo->more = echo->process->sockets->echoes_wait = true;
	return count;
}

unsigned socket_echoes_go_on(struct sockets *sockets)
{
	unsigned count = 0;

	if (!sockets->echoes_wait)
		return 0;
	sockets->echoes_wait = false;
	for (unsigned i = 0; i < sockets->echoes_count; i++) {
		struct socket_echo *echo = &sockets->echoes[i];

		if (echo->process != NULL && !echo->process->broken && echo->more)
			count += socket_echo_take(echo);
	}
	return count;
}

// --- back ----------------------------------------------------------------------------------------

// The identifier of the request that m answers, or is an error about; net has looked that it is
// there.
static uint16_t identifier_of(const struct rte_mbuf *m, bool ipv6)
{
	const uint8_t *icmp = rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len), *quoted;

	if (*icmp != (ipv6 ? ECHO_REPLY_IPV6 : ECHO_REPLY_IPV4)) {
		quoted = icmp + sizeof(struct rte_icmp_hdr);
		if (!ipv6)
			icmp = quoted + (*quoted & RTE_IPV4_HDR_IHL_MASK) * RTE_IPV4_IHL_MULTIPLIER;
		else if (quoted[offsetof(struct rte_ipv6_hdr, proto)] == IPPROTO_FRAGMENT)
			icmp = quoted + sizeof(struct rte_ipv6_hdr) +
			       sizeof(struct rte_ipv6_fragment_ext);
		else
			icmp = quoted + sizeof(struct rte_ipv6_hdr);
	}
	return (uint16_t)(icmp[4] << 8 | icmp[5]);
}

static void describe_ipv4(const struct rte_mbuf *m, struct channel_datagram *head)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	head->length = m->pkt_len;
	head->header = (uint16_t)m->l3_len;
	head->hops = ip->time_to_live;
	head->tos = ip->type_of_service;
	memcpy(head->local.address, &ip->dst_addr, sizeof(ip->dst_addr));
	memcpy(head->remote.address, &ip->src_addr, sizeof(ip->src_addr));
}

static void describe_ipv6(const struct rte_mbuf *m, struct channel_datagram *head)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);

	head->length = m->pkt_len - m->l3_len;
	head->hops = ip->hop_limits;
	head->tos = (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);
	head->local.ipv6 = head->remote.ipv6 = 1;
	memcpy(head->local.address, ip->dst_addr, sizeof(ip->dst_addr));
	memcpy(head->remote.address, ip->src_addr, sizeof(ip->src_addr));
}

static int give(
	struct socket_echo *echo, const struct channel_datagram *head, const struct rte_mbuf *m)
{
	uint32_t skip = head->header == 0 ? (uint32_t)m->l3_len : 0;
	struct tcp_span spans[SPANS] = {{(const uint8_t *)head, sizeof(*head)}};
	unsigned count = 1;

	if (echo->out.length + sizeof(*head) + head->length > OUT_MAX ||
		head->length - head->header > CHANNEL_DATAGRAM_MAX || m->nb_segs >= SPANS)
		return -ENOBUFS;
	for (const struct rte_mbuf *part = m; part != NULL; part = part->next) {
		spans[count++] =
			(struct tcp_span){rte_pktmbuf_mtod_offset(part, const uint8_t *, skip),
				part->data_len - skip};
		skip = 0;
	}
	return bytes_append(&echo->out, spans, count);
}

void sockets_echo_back(struct sockets *sockets, struct rte_mbuf *m)
{
	bool ipv6 = *rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 6;
	uint16_t identifier = identifier_of(m, ipv6);
	struct channel_datagram head = {.came_ns = clock_wall_ns()};

	if (ipv6)
		describe_ipv6(m, &head);
	else
		describe_ipv4(m, &head);
	for (unsigned i = 0; i < sockets->echoes_count; i++) {
		struct socket_echo *echo = &sockets->echoes[i];

		if (echo->process == NULL || echo->process->broken || echo->is.ipv6 != ipv6 ||
			(!echo->is.raw && echo->is.identifier != identifier))
			continue;
		if (give(echo, &head, m) < 0)
			counter_inc(&sockets->counters.echoes_lost[SOCKET_ECHO_RECEIVED]);
		else
			socket_push(lane_of(echo), echo->slot, &echo->out);
	}
	rte_pktmbuf_free(m);
}
