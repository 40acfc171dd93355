// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Datagram sockets of processes: ICMP (socket_echo.c) and UDP (socket_udp.c). What a process has
// written goes out one by one; what comes is given to whom Linux would give it. One worker does
// this for all. Queues are bounded, for each socket and for each process; who does not read in time
// loses what comes, as from a kernel's socket.

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <errno.h>
#include <string.h>

#include "attach/socket_flow.h"
#include "base/clock.h"
#include "base/payload.h"

// At once, of a process.
#define DATAGRAMS_OF_PROCESS 256
#define ECHOES_OF_PROCESS    16 // of these; each may have all that comes
// Sent for a socket in one turn.
#define BURST 32
// For a process that does not read, beside what its streams hold.
#define OUT_MAX		(64u << 10) // of a socket
#define PROCESS_OUT_MAX (1u << 20)  // of all of a process's
// Parts of a datagram that comes.
#define SPANS 32

static struct lane *lane_of(const struct socket_datagram *datagram)
{
	return datagram->process->lane;
}

// --- beginning and end ---------------------------------------------------------------------------

void socket_datagrams_init(struct sockets *sockets)
{
	list_init(&sockets->datagrams_free);
	list_init(&sockets->datagrams_more);
	list_init(&sockets->echoes);
	for (unsigned i = 0; i < SOCKETS_UDP_BUCKETS; i++)
		list_init(&sockets->udp.buckets[i]);
	for (unsigned i = 0; i < SOCKETS_DATAGRAMS_MAX; i++) {
		struct socket_datagram *datagram = &sockets->datagrams[i];

		list_init(&datagram->more);
		list_init(&datagram->of_kind);
		list_init(&datagram->of_process);
		list_append(&sockets->datagrams_free, &datagram->of_process);
	}
}

struct socket_datagram *socket_datagram_at(const struct socket_process *process, uint32_t slot)
{
	list_for_each (link, &process->datagrams) {
		struct socket_datagram *datagram =
			container_of(link, struct socket_datagram, of_process);

		if (datagram->slot == slot)
			return datagram;
	}
	return NULL;
}

static bool has_place(const struct socket_process *process, enum socket_datagram_kind kind)
{
	unsigned count = 0, echoes = 0;

	list_for_each (link, &process->datagrams) {
		count++;
		echoes += container_of(link, struct socket_datagram, of_process)->kind ==
			  SOCKET_DATAGRAM_ECHO;
	}
	return count < DATAGRAMS_OF_PROCESS && process->free_count > 0 &&
	       !list_empty(&process->sockets->datagrams_free) &&
	       (kind != SOCKET_DATAGRAM_ECHO || echoes < ECHOES_OF_PROCESS);
}

struct socket_datagram *socket_datagram_begin(
	struct socket_process *process, enum socket_datagram_kind kind, uint32_t number)
{
	struct sockets *sockets = process->sockets;
	struct socket_datagram *datagram;

	if (!has_place(process, kind))
		return NULL;
	datagram = container_of(
		list_pop(&sockets->datagrams_free), struct socket_datagram, of_process);
	datagram->process = process;
	datagram->kind = kind;
	datagram->number = number;
	datagram->slot = socket_slot_take(process);
	bytes_init(&datagram->out, sockets->payloads);
	list_append(&process->datagrams, &datagram->of_process);
	return datagram;
}

void socket_datagram_tell(struct socket_datagram *datagram, const struct lane_opened *opened)
{
	lane_post(lane_of(datagram),
		&(struct lane_item){
			.what = LANE_POST_OPEN, .slot = datagram->slot, .opened = opened});
}

// Its place is free.
static void forget(struct socket_datagram *datagram)
{
	struct socket_process *process = datagram->process;

	process->datagrams_out -= datagram->out.length;
	bytes_clear(&datagram->out);
	list_remove(&datagram->more);
	list_remove(&datagram->of_kind);
	list_remove(&datagram->of_process);
	list_append(&process->sockets->datagrams_free, &datagram->of_process);
}

static void finish(struct socket_datagram *datagram)
{
	struct socket_process *process = datagram->process;
	uint32_t slot = datagram->slot;

	forget(datagram);
	process->flows[slot] = SOCKET_SLOT_LEFT;
	lane_post(process->lane, &(struct lane_item){.what = LANE_POST_CLOSE, .slot = slot});
	socket_slot_settle(process, slot);
}

void socket_datagrams_forget(struct socket_process *process)
{
	while (!list_empty(&process->datagrams))
		forget(container_of(process->datagrams.next, struct socket_datagram, of_process));
}

// --- out -----------------------------------------------------------------------------------------

// What the process has written, out of its reach. False: it is not there yet.
static bool copy(const struct socket_datagram *datagram, uint32_t skip, void *to, uint32_t length)
{
	return lane_copy(lane_of(datagram), datagram->slot, skip, to, length);
}

// False: there is nothing whole, or the process has written nonsense.
static bool take_one(struct socket_datagram *datagram)
{
	struct sockets *sockets = datagram->process->sockets;
	bool udp = datagram->kind == SOCKET_DATAGRAM_UDP;
	struct channel_datagram head;
	int rc;

	if (!copy(datagram, 0, &head, sizeof(head)))
		return false;
	if (head.length > CHANNEL_DATAGRAM_MAX) {
		datagram->process->broken = true;
		return false;
	}
	if (!copy(datagram, sizeof(head), sockets->message + (udp ? sizeof(struct rte_udp_hdr) : 0),
		    head.length))
		return false;
	lane_post(lane_of(datagram), &(struct lane_item){.what = LANE_POST_TAKEN,
					     .slot = datagram->slot,
					     .octets = (uint32_t)sizeof(head) + head.length});
	rc = udp ? socket_udp_send(datagram, &head) : socket_echo_send(datagram, &head);
	if (rc == -EPROTO)
		datagram->process->broken = true;
	else if (rc < 0)
		counter_inc(&sockets->counters.datagrams_lost[SOCKET_DATAGRAM_SENT]);
	return !datagram->process->broken;
}

// What waits for the process goes as far as there is room.
static void push(struct socket_datagram *datagram)
{
	uint64_t before = datagram->out.length;

	socket_push(lane_of(datagram), datagram->slot, &datagram->out);
	datagram->process->datagrams_out -= before - datagram->out.length;
}

unsigned socket_datagram_take(struct socket_datagram *datagram)
{
	struct lane_slot slot;
	unsigned count = 0;

	list_remove(&datagram->more);
	while (count < BURST && take_one(datagram))
		count++;
	if (datagram->process->broken)
		return count;
	push(datagram);
	lane_slot(lane_of(datagram), datagram->slot, &slot);
	if (count == BURST)
		list_append(&datagram->process->sockets->datagrams_more, &datagram->more);
	else if (slot.closed)
		finish(datagram);
	return count;
}

unsigned socket_datagrams_go_on(struct sockets *sockets)
{
	unsigned count = 0;
	struct list now;

	list_init(&now);
	list_move_all(&sockets->datagrams_more, &now);
	while (!list_empty(&now)) {
		struct socket_datagram *datagram =
			container_of(list_pop(&now), struct socket_datagram, more);

		if (!datagram->process->broken)
			count += socket_datagram_take(datagram);
	}
	return count;
}

// --- back ----------------------------------------------------------------------------------------

static void describe_ipv4(const struct rte_mbuf *m, struct channel_datagram *head)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	head->header = (uint16_t)m->l3_len;
	head->hops = ip->time_to_live;
	head->tos = ip->type_of_service;
	memcpy(head->local.address, &ip->dst_addr, sizeof(ip->dst_addr));
	memcpy(head->remote.address, &ip->src_addr, sizeof(ip->src_addr));
}

static void describe_ipv6(const struct rte_mbuf *m, struct channel_datagram *head)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);

	head->hops = ip->hop_limits;
	head->tos = (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);
	head->local.ipv6 = head->remote.ipv6 = 1;
	memcpy(head->local.address, ip->dst_addr, sizeof(ip->dst_addr));
	memcpy(head->remote.address, ip->src_addr, sizeof(ip->src_addr));
}

// Of UDP the payload; of ICMP all of it, behind its header if that is IPv4's.
static uint32_t describe(const struct net_delivery *delivery, struct channel_datagram *head)
{
	const struct rte_mbuf *m = delivery->m;
	uint32_t skip = (uint32_t)m->l3_len;

	*head = (struct channel_datagram){.came_ns = clock_wall_ns()};
	if (net_address_is_ipv4(&delivery->source))
		describe_ipv4(m, head);
	else
		describe_ipv6(m, head);
	if (delivery->kind == NET_DELIVERY_UDP) {
		const struct rte_udp_hdr *udp =
			rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);

		head->local.port = rte_be_to_cpu_16(udp->dst_port);
		head->remote.port = rte_be_to_cpu_16(udp->src_port);
		head->header = 0;
		skip += (uint32_t)sizeof(*udp);
	} else if (head->header != 0) {
		skip = 0;
	}
	head->length = m->pkt_len - skip;
	return skip;
}

static int append(struct socket_datagram *datagram, const struct channel_datagram *head,
	const struct rte_mbuf *m, uint32_t skip)
{
	struct tcp_span spans[SPANS] = {{(const uint8_t *)head, sizeof(*head)}};
	uint32_t length = (uint32_t)sizeof(*head) + head->length;
	unsigned count = 1;
	int rc;

	if (datagram->out.length + length > OUT_MAX ||
		datagram->process->datagrams_out + length > PROCESS_OUT_MAX ||
		head->length - head->header > CHANNEL_DATAGRAM_MAX || m->nb_segs >= SPANS)
		return -ENOBUFS;
	for (const struct rte_mbuf *part = m; part != NULL; part = part->next) {
		if (part->data_len > skip)
			spans[count++] = (struct tcp_span){
				rte_pktmbuf_mtod_offset(part, const uint8_t *, skip),
				part->data_len - skip};
		skip = 0;
	}
	rc = bytes_append(&datagram->out, spans, count);
	if (rc == 0)
		datagram->process->datagrams_out += length;
	return rc;
}

void socket_datagram_give(
	struct socket_datagram *datagram, const struct net_delivery *delivery, uint8_t flags)
{
	struct sockets *sockets = datagram->process->sockets;
	struct channel_datagram head;
	uint32_t skip = describe(delivery, &head);

	head.flags = flags;
	if (append(datagram, &head, delivery->m, skip) < 0)
		counter_inc(&sockets->counters.datagrams_lost[SOCKET_DATAGRAM_RECEIVED]);
	else
		push(datagram);
}

void sockets_datagram(struct sockets *sockets, const struct net_delivery *delivery)
{
	if (delivery->kind == NET_DELIVERY_UDP)
		socket_udp_input(sockets, delivery);
	else
		socket_icmp_input(sockets, delivery);
}

// --- what processes and this floor call addresses ------------------------------------------------

struct net_address socket_address(const uint8_t address[16], bool ipv6)
{
	struct net_address is;
	uint32_t ipv4;

	if (ipv6) {
		memcpy(is.bytes, address, sizeof(is.bytes));
		return is;
	}
	memcpy(&ipv4, address, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

bool socket_address_is_any(const struct net_address *address)
{
	static const struct net_address none;

	return net_address_equal(address, &none) ||
	       (net_address_is_ipv4(address) && net_address_to_ipv4(address) == 0);
}
