// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP errors about what a datagram socket has sent: which of them its program hears of, how, and
// what they say of the path (ip(7) IP_RECVERR; icmp_err_convert, ping_err() and udp_err() of
// Linux). RFC 792, RFC 4443, RFC 1191, RFC 8201.

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>

#include "shim/dgrams.h"

// As many wait to be read.
#define ERRORS_MAX 512

#define ICMP_HEADER   8
#define UDP_HEADER    8
#define IPV4_HEADER   20
#define IPV6_HEADER   40
#define IPV6_FRAGMENT 8
// Less is not believed (RFC 791, RFC 8201 4).
#define IPV4_MTU_MIN 68
#define IPV6_MTU_MIN 1280

// --- what errors mean ----------------------------------------------------------------------------

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

static uint32_t word(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t info_of(bool ipv6, const uint8_t *icmp)
{
	if (ipv6)
		return icmp[0] == ICMP6_PACKET_TOO_BIG || icmp[0] == ICMP6_PARAM_PROB
			       ? word(icmp + 4)
			       : 0;
	if (icmp[0] == ICMP_DEST_UNREACH && icmp[1] == ICMP_FRAG_NEEDED)
		return word(icmp + 4) & 0xffff;
	return icmp[0] == ICMP_PARAMETERPROB ? icmp[4] : 0;
}

// --- what they are about -------------------------------------------------------------------------

// The ICMP or UDP message that the error quotes, and where it was sent to. NULL: cut short.
static const uint8_t *quoted(bool ipv6, const uint8_t *icmp, uint32_t length, uint32_t *ret_length,
	struct channel_endpoint *ret_to)
{
	const uint8_t *ip = icmp + ICMP_HEADER;
	uint32_t header;

	*ret_to = (struct channel_endpoint){.ipv6 = ipv6};
	if (length < ICMP_HEADER + IPV4_HEADER)
		return NULL;
	length -= ICMP_HEADER;
	if (!ipv6) {
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

// What has been sent is longer than a router can pass on.
static void learn_mtu(struct dgram *dgram, const struct channel_endpoint *to, uint32_t mtu)
{
	struct dgram_peer *peer = dgram_peer_of(dgram, to);

	if (mtu >= (to->ipv6 ? IPV6_MTU_MIN : IPV4_MTU_MIN) && mtu <= UINT16_MAX &&
		(peer->mtu == 0 || mtu < peer->mtu))
		peer->mtu = (uint16_t)mtu;
}

// --- telling -------------------------------------------------------------------------------------

static void error_queue(struct dgram *dgram, struct dgram_packet *error)
{
	if (error == NULL)
		return;
	if (dgram->errors_count == ERRORS_MAX) {
		free(error);
		return;
	}
	list_append(&dgram->errors, &error->link);
	dgram->errors_count++;
	dgram->error = error->error;
}

static bool is_about_peer(const struct dgram *dgram, const struct channel_endpoint *to)
{
	return dgram->connected && dgram_same_address(&dgram->peer, to) &&
	       dgram->peer.port == to->port;
}

void dgram_error_arrived(struct dgram *dgram, const struct channel_datagram *head,
	const uint8_t *icmp, uint32_t length)
{
	bool ipv6 = head->remote.ipv6 != 0;
	struct meaning meaning;
	struct channel_endpoint to;
	struct dgram_packet *error;
	const uint8_t *about;
	uint32_t about_length = 0;

	about = quoted(ipv6, icmp, length, &about_length, &to);
	if (about == NULL)
		return;
	meaning = ipv6 ? meaning_ipv6(icmp[0], icmp[1]) : meaning_ipv4(icmp[0], icmp[1]);
	if (dgram->kind == DGRAM_UDP) {
		to.port = (uint16_t)(about[2] << 8 | about[3]);
		about += UDP_HEADER;
		about_length -= UDP_HEADER;
	}
	if (meaning.error == EMSGSIZE && dgram->kind == DGRAM_UDP)
		learn_mtu(dgram, &to, info_of(ipv6, icmp));
	if (meaning.error == 0 || (meaning.error == EMSGSIZE && !dgram->options.learns_mtu[ipv6]))
		return;
	if (!dgram->options.errors[ipv6]) {
		if (meaning.hard && is_about_peer(dgram, &to))
			dgram->error = meaning.error;
		return;
	}
	error = dgram_packet_make(head, about, about_length);
	if (error == NULL)
		return;
	error->error = meaning.error;
	error->origin = ipv6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP;
	error->type = icmp[0];
	error->code = icmp[1];
	error->info = info_of(ipv6, icmp);
	error->local = error->remote; // who told
	error->remote = to;
	error_queue(dgram, error);
}

void dgram_too_long(struct dgram *dgram, const struct channel_endpoint *to, uint16_t mtu)
{
	struct dgram_packet *error;

	if (!dgram->options.errors[to->ipv6])
		return;
	error = dgram_packet_make(&(struct channel_datagram){0}, NULL, 0);
	if (error == NULL)
		return;
	error->error = EMSGSIZE;
	error->origin = SO_EE_ORIGIN_LOCAL;
	error->info = mtu;
	error->remote = *to;
	error_queue(dgram, error);
	dgram->error = 0; // the call itself fails
}
