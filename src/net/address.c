// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text forms of addresses, endpoints and prefixes (RFC 4291 2.2, RFC 5952), and
// prefix comparison. Any thread; pure functions.

#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool net_address_is_ipv4(const struct net_address *a)
{
	return memcmp(a->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

struct net_address net_address_from_ipv4(uint32_t ipv4)
{
	struct net_address a;

	memcpy(a.bytes, mapped_prefix, sizeof(mapped_prefix));
	a.words[3] = ipv4;
	return a;
}

int net_address_parse(const char *text, struct net_address *ret_address)
{
	struct net_address a;
	uint32_t ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1)
		a = net_address_from_ipv4(ipv4);
	else if (inet_pton(AF_INET6, text, a.bytes) != 1)
		return -EINVAL;
	*ret_address = a;
	return 0;
}

// Plain decimal digits, no sign, no blanks: strtoul() takes too much.
static int number_parse(const char *text, unsigned max, unsigned *ret_number)
{
	unsigned number = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (unsigned)(*text - '0');
		if (number > max)
			return -EINVAL;
	}
	*ret_number = number;
	return 0;
}

// The address in the first `length` bytes of text.
static int address_parse_part(const char *text, size_t length, struct net_address *ret_address)
{
	char part[NET_ADDRESS_STRLEN];

	if (length >= sizeof(part))
		return -EINVAL;
	memcpy(part, text, length);
	part[length] = '\0';
	return net_address_parse(part, ret_address);
}

int net_endpoint_parse(const char *text, struct net_endpoint *ret_endpoint)
{
	struct net_address address;
	const char *colon = strrchr(text, ':');
	const char *start = text, *end = colon;
	unsigned port;

	if (colon == NULL)
		return -EINVAL;
	if (*text == '[') {
		if (colon[-1] != ']')
			return -EINVAL;
		start++;
		end--;
	} else if (strchr(text, ':') != colon) {
		return -EINVAL; // an IPv6 address needs its brackets
	}
	if (address_parse_part(start, (size_t)(end - start), &address) != 0)
		return -EINVAL;
	if ((*text == '[') != (memchr(start, ':', (size_t)(end - start)) != NULL))
		return -EINVAL;
	if (number_parse(colon + 1, UINT16_MAX, &port) != 0)
		return -EINVAL;
	*ret_endpoint = (struct net_endpoint){.address = address, .port = (uint16_t)port};
	return 0;
}

int net_prefix_parse(const char *text, struct net_address *ret_address, uint8_t *ret_prefix)
{
	const char *slash = strchr(text, '/');
	size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct net_address address;
	unsigned bits, prefix;

	if (address_parse_part(text, length, &address) != 0)
		return -EINVAL;
	bits = net_address_is_ipv4(&address) ? 32 : 128;
	prefix = bits;
	if (slash != NULL && number_parse(slash + 1, bits, &prefix) != 0)
		return -EINVAL;
	*ret_address = address;
	*ret_prefix = (uint8_t)prefix;
	return 0;
}

const char *net_address_format(const struct net_address *a, char text[NET_ADDRESS_STRLEN])
{
	// Cannot fail: the family is known and the buffer holds the longest form.
	if (net_address_is_ipv4(a))
		inet_ntop(AF_INET, &a->words[3], text, NET_ADDRESS_STRLEN);
	else
		inet_ntop(AF_INET6, a->bytes, text, NET_ADDRESS_STRLEN);
	return text;
}

const char *net_endpoint_format(const struct net_endpoint *e, char text[NET_ENDPOINT_STRLEN])
{
	char address[NET_ADDRESS_STRLEN];
	const char *form = net_address_is_ipv4(&e->address) ? "%s:%u" : "[%s]:%u";

	snprintf(
		text, NET_ENDPOINT_STRLEN, form, net_address_format(&e->address, address), e->port);
	return text;
}

static const struct net_address loopback = {.bytes = {[15] = 1}};
static const struct net_address unspecified;

bool net_address_is_host(const struct net_address *a)
{
	if (net_address_is_ipv4(a))
		return a->bytes[12] != 0 && a->bytes[12] != 127 && a->bytes[12] < 224;
	return a->bytes[0] != 0xff && !net_address_equal(a, &loopback) &&
	       !net_address_equal(a, &unspecified);
}

bool net_address_is_link_local(const struct net_address *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

// Do all bits from `from` on equal `bit`?
static bool bits_equal(const struct net_address *a, unsigned from, unsigned bit)
{
	for (unsigned i = from; i < 128; i++) {
		if ((a->bytes[i / 8] >> (7 - i % 8) & 1u) != bit)
			return false;
	}
	return true;
}

static unsigned prefix_bits(const struct net_address *a, uint8_t len)
{
	return net_address_is_ipv4(a) ? len + 96u : len;
}

bool net_prefix_names_host(const struct net_address *a, uint8_t len)
{
	unsigned bits = prefix_bits(a, len);

	if (!net_address_is_host(a))
		return false;
	if (bits >= 127) // both addresses of a point-to-point link are hosts'
		return true;
	return !bits_equal(a, bits, 0) && !(net_address_is_ipv4(a) && bits_equal(a, bits, 1));
}

bool net_prefix_names_network(const struct net_address *a, uint8_t len)
{
	return bits_equal(a, prefix_bits(a, len), 0);
}

bool net_prefix_contains(const struct net_address *prefix, uint8_t len, const struct net_address *a)
{
	bool ipv4 = net_address_is_ipv4(prefix);
	unsigned bits = ipv4 ? len + 96u : len;
	unsigned whole = bits / 8, rest = bits % 8;

	if (ipv4 != net_address_is_ipv4(a) || bits > 128)
		return false;
	if (memcmp(prefix->bytes, a->bytes, whole) != 0)
		return false;
	return rest == 0 || ((prefix->bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}
