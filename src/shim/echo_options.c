// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The kernel's socket remembers every option, and checks it; here they are read back.

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

#include "shim/echoes.h"
#include "shim/libc.h"

#define SOL_RAW 255

static int get(int fd, int level, int name, int otherwise)
{
	int value = otherwise;
	socklen_t length = sizeof(value);

	return libc_get()->getsockopt(fd, level, name, &value, &length) < 0 ? otherwise : value;
}

static int64_t get_time(int fd, int name)
{
	struct timeval time = {0};
	socklen_t length = sizeof(time);

	if (libc_get()->getsockopt(fd, SOL_SOCKET, name, &time, &length) < 0 ||
		(time.tv_sec == 0 && time.tv_usec == 0))
		return -1;
	return time.tv_sec * 1000000 + time.tv_usec;
}

static void read_ipv4(struct echo_options *options, int fd)
{
	int mtu = get(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
	socklen_t length = sizeof(options->filter[0]), options_length = 40;
	char ip_options[40];

	options->hops = get(fd, IPPROTO_IP, IP_RECVTTL, 0) != 0;
	options->tos = get(fd, IPPROTO_IP, IP_RECVTOS, 0) != 0;
	options->packet_info = get(fd, IPPROTO_IP, IP_PKTINFO, 0) != 0;
	options->errors = get(fd, IPPROTO_IP, IP_RECVERR, 0) != 0;
	options->whole = mtu == IP_PMTUDISC_DO || mtu == IP_PMTUDISC_PROBE;
	options->learns_mtu = mtu != IP_PMTUDISC_DONT;
	options->elsewhere = get(fd, IPPROTO_IP, IP_HDRINCL, 0) != 0 ||
			     (libc_get()->getsockopt(fd, IPPROTO_IP, IP_OPTIONS, ip_options,
				      &options_length) == 0 &&
				     options_length > 0);
	options->send_hops = get(fd, IPPROTO_IP, IP_TTL, -1);
	options->send_tos = get(fd, IPPROTO_IP, IP_TOS, -1);
	libc_get()->getsockopt(fd, SOL_RAW, ICMP_FILTER, options->filter, &length);
}

static void read_ipv6(struct echo_options *options, int fd)
{
	int mtu = get(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT);
	socklen_t length = sizeof(options->filter);

	options->hops = get(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0) != 0;
	options->tos = get(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 0) != 0;
	options->packet_info = get(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0) != 0;
	options->errors = get(fd, IPPROTO_IPV6, IPV6_RECVERR, 0) != 0;
	options->whole = mtu == IPV6_PMTUDISC_DO || mtu == IPV6_PMTUDISC_PROBE ||
			 get(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 0) != 0;
	options->learns_mtu = mtu != IPV6_PMTUDISC_DONT;
	options->send_hops = get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1);
	options->send_tos = get(fd, IPPROTO_IPV6, IPV6_TCLASS, -1);
	libc_get()->getsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, options->filter, &length);
}

void echo_options_read(struct echo *echo, int fd)
{
	struct echo_options options = {
		.timestamp = get(fd, SOL_SOCKET, SO_TIMESTAMP, 0) != 0,
		.timestamp_ns = get(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0) != 0,
		.read_timeout_us = get_time(fd, SO_RCVTIMEO),
		.write_timeout_us = get_time(fd, SO_SNDTIMEO),
	};
	char device[64] = "";
	socklen_t length = sizeof(device);

	if (echo->ipv6)
		read_ipv6(&options, fd);
	else
		read_ipv4(&options, fd);
	if (libc_get()->getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) == 0 &&
		device[0] != '\0')
		options.elsewhere = true;
	echo->options = options;
}
