// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ancillary data of datagram sockets, both ways (ip(7), ipv6(7), socket(7)).

#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <linux/errqueue.h>

#include "shim/addresses.h"
#include "shim/dgrams.h"

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
	struct control *control, const struct dgram *dgram, const struct dgram_packet *packet)
{
	const struct timeval time = {(time_t)(packet->came_ns / 1000000000),
		(suseconds_t)(packet->came_ns / 1000 % 1000000)};
	const struct timespec time_ns = {
		(time_t)(packet->came_ns / 1000000000), (long)(packet->came_ns % 1000000000)};

	if (packet->came_ns == 0)
		return;
	if (dgram->options.timestamp_ns)
		put(control, SOL_SOCKET, SO_TIMESTAMPNS, &time_ns, sizeof(time_ns));
	else if (dgram->options.timestamp)
		put(control, SOL_SOCKET, SO_TIMESTAMP, &time, sizeof(time));
}

static void put_ipv4(
	struct control *control, const struct dgram *dgram, const struct dgram_packet *packet)
{
	const struct dgram_options *options = &dgram->options;
	int hops = packet->hops;
	struct in_pktinfo info = {0};

	memcpy(&info.ipi_addr, packet->local.address, 4);
	info.ipi_spec_dst = info.ipi_addr;
	if (options->packet_info[false])
		put(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	if (options->hops[false])
		put(control, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
	if (options->tos[false])
		put(control, IPPROTO_IP, IP_TOS, &packet->tos, sizeof(packet->tos));
}

// What came over IPv4 has its address in IPv6's form, and no hop limit or traffic class.
static void put_ipv6(
	struct control *control, const struct dgram *dgram, const struct dgram_packet *packet)
{
	const struct dgram_options *options = &dgram->options;
	int hops = packet->hops, tos = packet->tos;
	struct sockaddr_in6 local = {0};
	socklen_t length = sizeof(local);
	struct in6_pktinfo info = {0};

	address_give(&packet->local, AF_INET6, (struct sockaddr *)&local, &length);
	info.ipi6_addr = local.sin6_addr;
	if (options->packet_info[true])
		put(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	if (!packet->local.ipv6)
		return;
	if (options->hops[true])
		put(control, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
	if (options->tos[true])
		put(control, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static void put_error(
	struct control *control, const struct dgram *dgram, const struct dgram_packet *packet)
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

	if (packet->origin != SO_EE_ORIGIN_LOCAL)
		address_give(&packet->local, dgram->family, &is.offender.any, &length);
	if (dgram->family == AF_INET6)
		put(control, IPPROTO_IPV6, IPV6_RECVERR, &is,
			sizeof(is.error) + sizeof(is.offender.in6));
	else
		put(control, IPPROTO_IP, IP_RECVERR, &is,
			sizeof(is.error) + sizeof(is.offender.in));
}

void dgram_control_give(
	const struct dgram *dgram, const struct dgram_packet *packet, struct msghdr *message)
{
	struct control control = {.message = message,
		.room = message->msg_control != NULL ? message->msg_controllen : 0};

	put_time(&control, dgram, packet);
	if (packet->error != 0) {
		put_error(&control, dgram, packet);
	} else {
		if (dgram->family == AF_INET6)
			put_ipv6(&control, dgram, packet);
		if (!packet->local.ipv6)
			put_ipv4(&control, dgram, packet);
	}
	message->msg_controllen = control.used;
}

// --- sendmsg() -----------------------------------------------------------------------------------

// A number, in an octet or an int.
static int number(const struct cmsghdr *cmsg)
{
	int value = 0;

	if (cmsg->cmsg_len < CMSG_LEN(1))
		return -1;
	if (cmsg->cmsg_len < CMSG_LEN(sizeof(value)))
		return *(const uint8_t *)CMSG_DATA(cmsg);
	memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
	return value;
}

static bool take_ipv4(const struct cmsghdr *cmsg, struct dgram_wishes *wishes)
{
	struct in_pktinfo info;

	switch (cmsg->cmsg_type) {
	case IP_PKTINFO:
		if (cmsg->cmsg_len < CMSG_LEN(sizeof(info)))
			return false;
		memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
		wishes->from.ipv6 = false;
		memcpy(wishes->from.address, &info.ipi_spec_dst, 4);
		return info.ipi_ifindex == 0;
	case IP_TTL:
		wishes->hops = number(cmsg);
		return wishes->hops > 0 && wishes->hops <= UINT8_MAX;
	case IP_TOS:
		wishes->tos = number(cmsg);
		return wishes->tos >= 0 && wishes->tos <= UINT8_MAX;
	default:
		return false;
	}
}

static bool take_ipv6(const struct cmsghdr *cmsg, struct dgram_wishes *wishes)
{
	struct in6_pktinfo info;
	struct sockaddr_in6 from = {.sin6_family = AF_INET6};

	switch (cmsg->cmsg_type) {
	case IPV6_PKTINFO:
		if (cmsg->cmsg_len < CMSG_LEN(sizeof(info)))
			return false;
		memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
		from.sin6_addr = info.ipi6_addr;
		return info.ipi6_ifindex == 0 &&
		       address_take((const struct sockaddr *)&from, sizeof(from), &wishes->from);
	case IPV6_HOPLIMIT:
		wishes->hops = number(cmsg);
		return wishes->hops > 0 && wishes->hops <= UINT8_MAX;
	case IPV6_TCLASS:
		wishes->tos = number(cmsg);
		return wishes->tos >= -1 && wishes->tos <= UINT8_MAX;
	case IPV6_DONTFRAG:
		wishes->whole = number(cmsg) > 0;
		return true;
	default:
		return false;
	}
}

bool dgram_control_take(
	const struct dgram *dgram, const struct msghdr *message, struct dgram_wishes *ret_wishes)
{
	*ret_wishes = (struct dgram_wishes){.hops = -1, .tos = -1};
	if (message->msg_controllen == 0)
		return true;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg != NULL;
		cmsg = CMSG_NXTHDR((struct msghdr *)message, cmsg)) {
		bool known = cmsg->cmsg_level == IPPROTO_IP ? take_ipv4(cmsg, ret_wishes)
			     : cmsg->cmsg_level == IPPROTO_IPV6 && dgram->family == AF_INET6
				     ? take_ipv6(cmsg, ret_wishes)
				     : false;

		if (!known)
			return false;
	}
	return true;
}
