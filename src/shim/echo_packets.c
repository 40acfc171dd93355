// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What comes for an ICMP socket, as Linux would queue it (net/ipv4/raw.c, net/ipv4/ping.c,
// net/ipv6/raw.c; icmp(7), ip(7), ipv6(7)): which packets it sees, which errors, and what recvmsg()
// says of them. RFC 792, RFC 4443.

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <linux/errqueue.h>

#include "shim/addresses.h"
#include "shim/echoes.h"

// As many wait to be read, of packets and of errors.
#define QUEUE_MAX 512

#define ICMP_HEADER   8
#define IPV4_HEADER   20
#define IPV6_HEADER   40
#define IPV6_FRAGMENT 8

static void endpoint_from(const struct channel_address *from, struct channel_endpoint *to)
{
	memcpy(to->address, from->address, sizeof(to->address));
	to->port = 0;
	to->ipv6 = from->ipv6 != 0;
}

static struct echo_packet *packet_make(
	const struct channel_datagram *head, const uint8_t *data, uint32_t length)
{
	struct echo_packet *packet = malloc(sizeof(*packet) + length);

	if (packet == NULL)
		return NULL;
	*packet = (struct echo_packet){
		.hops = head->hops,
		.tos = head->tos,
		.came_ns = head->came_ns,
		.length = length,
	};
	list_init(&packet->link);
	endpoint_from(&head->remote, &packet->remote);
	endpoint_from(&head->local, &packet->local);
	memcpy(packet->data, data, length);
	return packet;
}

void echo_packet_drop(struct echo *echo, struct list *queue)
{
	if (queue == &echo->packets)
		echo->packets_count--;
	else
		echo->errors_count--;
	free(container_of(list_pop(queue), struct echo_packet, link));
}

// --- errors --------------------------------------------------------------------------------------

struct meaning {
	int error;
	bool hard; // told to who has not asked for errors
};

// As icmp_err_convert in Linux.
static struct meaning unreachable_ipv4(uint8_t code)
{
	static const struct meaning meanings[] = {
		{ENETUNREACH, false},
		{EHOSTUNREACH, false},
		{ENOPROTOOPT, true},
		{ECONNREFUSED, true},
		{EMSGSIZE, true},
		{EOPNOTSUPP, false},
		{ENETUNREACH, true},
		{EHOSTDOWN, true},
		{ENONET, true},
		{ENETUNREACH, true},
		{EHOSTUNREACH, true},
		{ENETUNREACH, false},
		{EHOSTUNREACH, false},
		{EHOSTUNREACH, true},
		{EHOSTUNREACH, true},
		{EHOSTUNREACH, true},
	};

	return code < sizeof(meanings) / sizeof(meanings[0]) ? meanings[code]
							     : (struct meaning){EHOSTUNREACH, true};
}

static struct meaning meaning_ipv4(uint8_t type, uint8_t code)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
		return unreachable_ipv4(code);
	case ICMP_TIME_EXCEEDED:
		return (struct meaning){EHOSTUNREACH, false};
	case ICMP_PARAMETERPROB:
		return (struct meaning){EPROTO, true};
	default:
		return (struct meaning){0};
	}
}

static struct meaning meaning_ipv6(uint8_t type, uint8_t code)
{
	static const struct meaning unreachable[] = {
		{ENETUNREACH, false},
		{EACCES, true},
		{EHOSTUNREACH, false},
		{EHOSTUNREACH, false},
		{ECONNREFUSED, true},
		{EACCES, true},
		{EACCES, true},
	};

	switch (type) {
	case ICMP6_DST_UNREACH:
		return code < sizeof(unreachable) / sizeof(unreachable[0])
			       ? unreachable[code]
			       : (struct meaning){EPROTO, false};
	case ICMP6_PACKET_TOO_BIG:
		return (struct meaning){EMSGSIZE, true};
	case ICMP6_TIME_EXCEEDED:
		return (struct meaning){EHOSTUNREACH, false};
	case ICMP6_PARAM_PROB:
		return (struct meaning){EPROTO, true};
	default:
		return (struct meaning){0};
	}
}

// The ICMP message that the error quotes, and where it was sent to. NULL: cut short.
static const uint8_t *quoted(const struct echo *echo, const uint8_t *icmp, uint32_t length,
	uint32_t *ret_length, struct channel_endpoint *ret_to)
{
	const uint8_t *ip = icmp + ICMP_HEADER;
	uint32_t header;

	*ret_to = (struct channel_endpoint){.ipv6 = echo->ipv6};
	if (length < ICMP_HEADER + IPV4_HEADER)
		return NULL;
	length -= ICMP_HEADER;
	if (!echo->ipv6) {
		header = (ip[0] & 15u) * 4;
		memcpy(ret_to->address, ip + 16, 4);
	} else {
		if (length < IPV6_HEADER)
			return NULL;
		header = IPV6_HEADER + (ip[6] == IPPROTO_FRAGMENT ? IPV6_FRAGMENT : 0);
		memcpy(ret_to->address, ip + 24, 16);
	}
	if (length < header + ICMP_HEADER)
		return NULL;
	*ret_length = length - header;
	return ip + header;
}

static uint32_t word(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t info_of(const struct echo *echo, const uint8_t *icmp)
{
	if (echo->ipv6)
		return icmp[0] == ICMP6_PACKET_TOO_BIG || icmp[0] == ICMP6_PARAM_PROB
			       ? word(icmp + 4)
			       : 0;
	if (icmp[0] == ICMP_DEST_UNREACH && icmp[1] == ICMP_FRAG_NEEDED)
		return word(icmp + 4) & 0xffff;
	return icmp[0] == ICMP_PARAMETERPROB ? icmp[4] : 0;
}

static void error_queue(struct echo *echo, struct echo_packet *error)
{
	if (error == NULL)
		return;
	if (echo->errors_count == QUEUE_MAX) {
		free(error);
		return;
	}
	list_append(&echo->errors, &error->link);
	echo->errors_count++;
	echo->error = error->error;
}

static void error_arrived(struct echo *echo, const struct channel_datagram *head,
	const uint8_t *icmp, uint32_t length)
{
	struct meaning meaning =
		echo->ipv6 ? meaning_ipv6(icmp[0], icmp[1]) : meaning_ipv4(icmp[0], icmp[1]);
	struct channel_endpoint to;
	struct echo_packet *error;
	const uint8_t *about;
	uint32_t about_length;

	if (meaning.error == 0 || (meaning.error == EMSGSIZE && !echo->options.learns_mtu))
		return;
	about = quoted(echo, icmp, length, &about_length, &to);
	if (about == NULL)
		return;
	if (!echo->options.errors) {
		if (meaning.hard && echo->connected)
			echo->error = meaning.error;
		return;
	}
	error = packet_make(head, about, about_length);
	if (error == NULL)
		return;
	error->error = meaning.error;
	error->origin = echo->ipv6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP;
	error->type = icmp[0];
	error->code = icmp[1];
	error->info = info_of(echo, icmp);
	error->local = error->remote; // who told
	error->remote = to;
	error_queue(echo, error);
}

void echo_too_long(struct echo *echo, const struct channel_endpoint *to, uint16_t mtu)
{
	struct echo_packet *error;

	if (!echo->options.errors)
		return;
	error = packet_make(&(struct channel_datagram){0}, NULL, 0);
	if (error == NULL)
		return;
	error->error = EMSGSIZE;
	error->origin = SO_EE_ORIGIN_LOCAL;
	error->info = mtu;
	error->remote = *to;
	error_queue(echo, error);
	echo->error = 0; // the call itself fails
}

// --- packets -------------------------------------------------------------------------------------

static bool is_filtered(const struct echo *echo, uint8_t type)
{
	const uint32_t *filter = echo->options.filter;

	if (!echo->raw)
		return false;
	if (!echo->ipv6)
		return type < 32 && (filter[0] >> type & 1);
	return filter[type / 32] >> (type % 32) & 1;
}

static bool is_from_peer(const struct echo *echo, const struct channel_datagram *head)
{
	return !echo->connected ||
	       memcmp(echo->peer.address, head->remote.address, echo->ipv6 ? 16 : 4) == 0;
}

void echo_packet_arrived(
	struct echo *echo, const struct channel_datagram *head, const uint8_t *data)
{
	uint8_t reply = echo->ipv6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;
	const uint8_t *icmp = data + head->header;
	uint32_t skip = echo->raw ? 0 : head->header;
	struct echo_packet *packet;

	if (head->header > head->length || head->length - head->header < ICMP_HEADER)
		return;
	if (icmp[0] != reply)
		error_arrived(echo, head, icmp, head->length - head->header);
	if ((!echo->raw && icmp[0] != reply) || is_filtered(echo, icmp[0]) ||
		!is_from_peer(echo, head) || echo->packets_count == QUEUE_MAX)
		return;
	packet = packet_make(head, data + skip, head->length - skip);
	if (packet == NULL)
		return;
	list_append(&echo->packets, &packet->link);
	echo->packets_count++;
}

// --- recvmsg() -----------------------------------------------------------------------------------

// What there is room for in msg_control.
struct control {
	struct msghdr *message;
	size_t room, used;
};

static void put(struct control *control, int level, int type, const void *data, size_t length)
{
	struct cmsghdr *cmsg =
		(struct cmsghdr *)((char *)control->message->msg_control + control->used);

	if (control->room - control->used < CMSG_LEN(length)) {
		control->message->msg_flags |= MSG_CTRUNC;
		return;
	}
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(length);
	memcpy(CMSG_DATA(cmsg), data, length);
	control->used += CMSG_SPACE(length);
	if (control->used > control->room)
		control->used = control->room;
}

static void put_time(
	struct control *control, const struct echo *echo, const struct echo_packet *packet)
{
	const struct timeval time = {(time_t)(packet->came_ns / 1000000000),
		(suseconds_t)(packet->came_ns / 1000 % 1000000)};
	const struct timespec time_ns = {
		(time_t)(packet->came_ns / 1000000000), (long)(packet->came_ns % 1000000000)};

	if (packet->came_ns == 0)
		return;
	if (echo->options.timestamp_ns)
		put(control, SOL_SOCKET, SO_TIMESTAMPNS, &time_ns, sizeof(time_ns));
	else if (echo->options.timestamp)
		put(control, SOL_SOCKET, SO_TIMESTAMP, &time, sizeof(time));
}

static void put_ipv4(
	struct control *control, const struct echo *echo, const struct echo_packet *packet)
{
	const struct echo_options *options = &echo->options;
	int hops = packet->hops;
	struct in_pktinfo info = {0};

	memcpy(&info.ipi_addr, packet->local.address, 4);
	info.ipi_spec_dst = info.ipi_addr;
	if (options->packet_info)
		put(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	if (options->hops)
		put(control, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
	if (options->tos)
		put(control, IPPROTO_IP, IP_TOS, &packet->tos, sizeof(packet->tos));
}

static void put_ipv6(
	struct control *control, const struct echo *echo, const struct echo_packet *packet)
{
	const struct echo_options *options = &echo->options;
	int hops = packet->hops, tos = packet->tos;
	struct in6_pktinfo info = {0};

	memcpy(&info.ipi6_addr, packet->local.address, 16);
	if (options->packet_info)
		put(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	if (options->hops)
		put(control, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
	if (options->tos)
		put(control, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static void put_error(
	struct control *control, const struct echo *echo, const struct echo_packet *packet)
{
	struct {
		struct sock_extended_err error;
		union {
			struct sockaddr any;
			struct sockaddr_in in;
			struct sockaddr_in6 in6;
		} offender;
	} is = {.error = {.ee_errno = (uint32_t)packet->error,
			.ee_origin = packet->origin,
			.ee_type = packet->type,
			.ee_code = packet->code,
			.ee_info = packet->info}};
	socklen_t length = sizeof(is.offender);
	int family = echo->ipv6 ? AF_INET6 : AF_INET;

	if (packet->origin != SO_EE_ORIGIN_LOCAL)
		address_give(&packet->local, family, &is.offender.any, &length);
	length = echo->ipv6 ? sizeof(is.offender.in6) : sizeof(is.offender.in);
	if (echo->ipv6)
		put(control, IPPROTO_IPV6, IPV6_RECVERR, &is, sizeof(is.error) + length);
	else
		put(control, IPPROTO_IP, IP_RECVERR, &is, sizeof(is.error) + length);
}

static size_t copy(const struct echo_packet *packet, const struct msghdr *message)
{
	size_t done = 0;

	for (size_t i = 0; i < message->msg_iovlen && done < packet->length; i++) {
		size_t n = message->msg_iov[i].iov_len;

		n = n < packet->length - done ? n : packet->length - done;
		memcpy(message->msg_iov[i].iov_base, packet->data + done, n);
		done += n;
	}
	return done;
}

ssize_t echo_packet_give(const struct echo *echo, const struct echo_packet *packet,
	struct msghdr *message, int flags)
{
	struct control control = {.message = message,
		.room = message->msg_control != NULL ? message->msg_controllen : 0};
	size_t copied = copy(packet, message);

	message->msg_flags = packet->error != 0 ? MSG_ERRQUEUE : 0;
	if (copied < packet->length)
		message->msg_flags |= MSG_TRUNC;
	if (message->msg_name != NULL)
		address_give(&packet->remote, echo->ipv6 ? AF_INET6 : AF_INET, message->msg_name,
			&message->msg_namelen);
	put_time(&control, echo, packet);
	if (packet->error != 0)
		put_error(&control, echo, packet);
	else if (echo->ipv6)
		put_ipv6(&control, echo, packet);
	else
		put_ipv4(&control, echo, packet);
	message->msg_controllen = control.used;
	return (ssize_t)((flags & MSG_TRUNC) ? packet->length : copied);
}
