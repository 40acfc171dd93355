// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The kernel's socket remembers every option, and checks it; here they are read back.

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "shim/dgrams.h"
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

static void read_ipv4(struct dgram_options *options, int fd)
{
	int mtu = get(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
	socklen_t length = sizeof(options->filter[0]), options_length = 40;
	char ip_options[40];

	options->hops[false] = get(fd, IPPROTO_IP, IP_RECVTTL, 0) != 0;
	options->tos[false] = get(fd, IPPROTO_IP, IP_RECVTOS, 0) != 0;
	options->packet_info[false] = get(fd, IPPROTO_IP, IP_PKTINFO, 0) != 0;
	options->errors[false] = get(fd, IPPROTO_IP, IP_RECVERR, 0) != 0;
	options->whole[false] = mtu == IP_PMTUDISC_DO || mtu == IP_PMTUDISC_PROBE;
	options->learns_mtu[false] = mtu != IP_PMTUDISC_DONT;
	options->elsewhere = get(fd, IPPROTO_IP, IP_HDRINCL, 0) != 0 ||
			     (libc_get()->getsockopt(fd, IPPROTO_IP, IP_OPTIONS, ip_options,
				      &options_length) == 0 &&
				     options_length > 0);
	options->send_hops[false] = get(fd, IPPROTO_IP, IP_TTL, -1);
	options->send_tos[false] = get(fd, IPPROTO_IP, IP_TOS, -1);
	libc_get()->getsockopt(fd, SOL_RAW, ICMP_FILTER, options->filter, &length);
}

static void read_ipv6(struct dgram_options *options, int fd)
{
	int mtu = get(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT);
	socklen_t length = sizeof(options->filter);

	options->hops[true] = get(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0) != 0;
	options->tos[true] = get(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 0) != 0;
	options->packet_info[true] = get(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0) != 0;
	options->errors[true] = get(fd, IPPROTO_IPV6, IPV6_RECVERR, 0) != 0;
	options->whole[true] = mtu == IPV6_PMTUDISC_DO || mtu == IPV6_PMTUDISC_PROBE ||
			       get(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 0) != 0;
	options->learns_mtu[true] = mtu != IPV6_PMTUDISC_DONT;
	options->send_hops[true] = get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1);
	options->send_tos[true] = get(fd, IPPROTO_IPV6, IPV6_TCLASS, -1);
	libc_get()->getsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, options->filter, &length);
}

static void options_read(struct dgram *dgram, int fd)
{
	struct dgram_options options = {
		.timestamp = get(fd, SOL_SOCKET, SO_TIMESTAMP, 0) != 0,
		.timestamp_ns = get(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0) != 0,
		.read_timeout_us = get_time(fd, SO_RCVTIMEO),
		.write_timeout_us = get_time(fd, SO_SNDTIMEO),
		.receive_octets = (uint32_t)get(fd, SOL_SOCKET, SO_RCVBUF, 212992),
	};
	char device[64] = "";
	socklen_t length = sizeof(device);

	// Also of an IPv6 socket, which may speak IPv4.
	read_ipv4(&options, fd);
	if (dgram->family == AF_INET6)
		read_ipv6(&options, fd);
	if (libc_get()->getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) == 0 &&
		device[0] != '\0')
		options.elsewhere = true;
	dgram->options = options;
	dgram->options_stale = false;
}

void dgram_options_refresh(struct dgram *dgram)
{
	if (dgram->options_stale)
		options_read(dgram, dgram->object.fd);
}

void dgram_options_changed(struct dgram *dgram)
{
	dgram->options_stale = true;
	if (dgram->open)
		dgram_options_refresh(dgram);
}

bool dgram_option_refused(const struct dgram *dgram, int level, int name)
{
	return level == IPPROTO_UDP && (name == UDP_SEGMENT || name == UDP_CORK) &&
	       dgram->kind == DGRAM_UDP && !dgram_is_kernels(dgram);
}
