// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The encoding (capnproto.org/encoding.html): words of eight octets, little-endian. A struct
// pointer is an offset in words from behind itself (30 bits), then the words of the struct's data
// and of its pointers; a list pointer is an offset, the kind of element and how many there are.
//
//   0: segments - 1, words   (the stream's framing)
//   1: root pointer
//   2: Message: call, tag │ pointer to the member
//   4: the member's data, its pointers, then what these point to

#include "channel/message.h"

#include <errno.h>
#include <string.h>

#define WORD	       8
#define MEMBER	       4 // the word where the union's member begins
#define TAG_STRUCT     0
#define TAG_LIST       1
#define LIST_BYTES     2
#define LIST_COMPOSITE 7
#define NOWHERE	       UINT32_MAX // of a pointer that a struct does not have

struct shape {
	uint16_t data, pointers; // words
};

static const struct shape shapes[CHANNEL_KINDS] = {
	[CHANNEL_HELLO] = {1, 2},
	[CHANNEL_WELCOME] = {5, 3},
	[CHANNEL_REFUSED] = {0, 1},
	[CHANNEL_LISTEN] = {2, 1},
	[CHANNEL_UNLISTEN] = {1, 0},
	[CHANNEL_OPTION] = {2, 0},
	[CHANNEL_INFO] = {1, 0},
	[CHANNEL_INFO_IS] = {4, 0},
	[CHANNEL_DONE] = {1, 0},
	[CHANNEL_JOIN] = {1, 1},
	[CHANNEL_ICMP] = {1, 0},
	[CHANNEL_ROUTE] = {0, 1},
	[CHANNEL_ROUTE_IS] = {2, 1},
	[CHANNEL_CONNECT] = {1, 2},
	[CHANNEL_UDP] = {2, 2},
};

static const struct shape endpoint_shape = {1, 1}, prefix_shape = {1, 1};

// --- writing -------------------------------------------------------------------------------------

struct writer {
	uint8_t *bytes;
	uint32_t end; // words written; the first is the framing
};

static void put(struct writer *w, uint32_t word, unsigned offset, uint64_t value, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		w->bytes[word * WORD + offset + i] = (uint8_t)(value >> (8 * i));
}

static uint32_t take_words(struct writer *w, uint32_t words)
{
	uint32_t at = w->end;

	memset(w->bytes + at * WORD, 0, words * WORD);
	w->end += words;
	return at;
}

static void point_to_struct(struct writer *w, uint32_t from, uint32_t to, struct shape shape)
{
	put(w, from, 0, (uint64_t)(to - from - 1) << 2 | TAG_STRUCT, 4);
	put(w, from, 4, shape.data, 2);
	put(w, from, 6, shape.pointers, 2);
}

static void point_to_list(
	struct writer *w, uint32_t from, uint32_t to, unsigned elements, uint32_t count)
{
	put(w, from, 0, (uint64_t)(to - from - 1) << 2 | TAG_LIST, 4);
	put(w, from, 4, (uint64_t)count << 3 | elements, 4);
}

static void put_bytes(struct writer *w, uint32_t from, const void *data, uint32_t length)
{
	uint32_t to = take_words(w, (length + WORD - 1) / WORD);

	memcpy(w->bytes + to * WORD, data, length);
	point_to_list(w, from, to, LIST_BYTES, length);
}

// A Text's zero is an octet of it.
static void put_text(struct writer *w, uint32_t from, const char *text)
{
	put_bytes(w, from, text, (uint32_t)strnlen(text, CHANNEL_NAME_MAX) + 1);
}

static void put_endpoint(struct writer *w, uint32_t at, const struct channel_endpoint *endpoint)
{
	put(w, at, 0, endpoint->port, 2);
	put_bytes(w, at + endpoint_shape.data, endpoint->address, endpoint->ipv6 ? 16 : 4);
}

// A struct of its own, which the pointer at `from` points to.
static void put_endpoint_at(
	struct writer *w, uint32_t from, const struct channel_endpoint *endpoint)
{
	uint32_t at = take_words(w, endpoint_shape.data + endpoint_shape.pointers);

	point_to_struct(w, from, at, endpoint_shape);
	put_endpoint(w, at, endpoint);
}

// A list of structs. Returns where the first is; the others are behind it.
static uint32_t put_list(struct writer *w, uint32_t from, unsigned count, struct shape shape)
{
	uint32_t size = (uint32_t)shape.data + shape.pointers;
	uint32_t tag = take_words(w, 1 + count * size);

	point_to_list(w, from, tag, LIST_COMPOSITE, count * size);
	put(w, tag, 0, (uint64_t)count << 2 | TAG_STRUCT, 4);
	put(w, tag, 4, shape.data, 2);
	put(w, tag, 6, shape.pointers, 2);
	return tag + 1;
}

static void put_listens(struct writer *w, uint32_t from, const struct channel_message *message)
{
	unsigned count = message->welcome.listens_count;
	uint32_t at = put_list(w, from, count, endpoint_shape);

	for (unsigned i = 0; i < count; i++)
		put_endpoint(w, at + i * (endpoint_shape.data + endpoint_shape.pointers),
			&message->welcome.listens[i]);
}

static void put_connects(struct writer *w, uint32_t from, const struct channel_message *message)
{
	unsigned count = message->welcome.connects_count;
	uint32_t at = put_list(w, from, count, prefix_shape);

	for (unsigned i = 0; i < count; i++) {
		const struct channel_prefix *prefix = &message->welcome.connects[i];
		uint32_t one = at + i * (prefix_shape.data + prefix_shape.pointers);

		put(w, one, 0, prefix->length, 1);
		put_bytes(w, one + prefix_shape.data, prefix->address, prefix->ipv6 ? 16 : 4);
	}
}

static void put_listen(struct writer *w, uint32_t at, const struct channel_message *message)
{
	put(w, at, 0, message->listen.listener, 4);
	put(w, at, 4, message->listen.backlog, 4);
	put(w, at + 1, 0, message->listen.accepts | message->listen.ipv6_only << 1, 1);
	put_endpoint_at(w, at + shapes[CHANNEL_LISTEN].data, &message->listen.endpoint);
}

static void put_welcome(struct writer *w, uint32_t at, const struct channel_message *message)
{
	put(w, at, 0, message->welcome.version, 2);
	put(w, at, 2, message->welcome.lanes, 2);
	put(w, at, 4, message->welcome.icmp | message->welcome.udp << 1, 1);
	put(w, at + 1, 0, message->welcome.epoch, 8);
	put(w, at + 2, 0, message->welcome.lane_bytes, 8);
	put(w, at + 3, 0, message->welcome.slots, 4);
	put(w, at + 3, 4, message->welcome.chunks, 4);
	put(w, at + 4, 0, message->welcome.silence_ms, 4);
	put_listens(w, at + 5, message);
	put_bytes(w, at + 6, message->welcome.ticket, CHANNEL_TICKET);
	put_connects(w, at + 7, message);
}

static void put_info(struct writer *w, uint32_t at, const struct channel_message *message)
{
	put(w, at, 0, message->info_is.state, 1);
	put(w, at, 4, message->info_is.mss, 4);
	put(w, at + 1, 0, message->info_is.cwnd, 4);
	put(w, at + 1, 4, message->info_is.rtt_us, 4);
	put(w, at + 2, 0, message->info_is.rtt_var_us, 4);
	put(w, at + 2, 4, message->info_is.retransmits, 4);
	put(w, at + 3, 0, message->info_is.unacked, 8);
}

static void put_route(struct writer *w, uint32_t at, const struct channel_message *message)
{
	put(w, at, 0, message->route_is.error, 2);
	put(w, at, 2, message->route_is.own | message->route_is.general << 1, 1);
	put(w, at, 4, message->route_is.mtu, 2);
	put(w, at + 1, 0, message->route_is.longest, 4);
	put_endpoint_at(w, at + shapes[CHANNEL_ROUTE_IS].data, &message->route_is.local);
}

static void put_connect(struct writer *w, uint32_t at, const struct channel_message *message)
{
	uint32_t pointers = at + shapes[CHANNEL_CONNECT].data;

	put(w, at, 0, message->connect.socket, 4);
	put(w, at, 4, message->connect.attempts, 1);
	put_endpoint_at(w, pointers, &message->connect.local);
	put_endpoint_at(w, pointers + 1, &message->connect.remote);
}

static void put_udp(struct writer *w, uint32_t at, const struct channel_message *message)
{
	uint32_t pointers = at + shapes[CHANNEL_UDP].data;

	put(w, at, 0, message->udp.socket, 4);
	put(w, at, 4,
		message->udp.ipv6_only | message->udp.reuses << 1 | message->udp.shares << 2 |
			message->udp.ephemeral << 3,
		1);
	put(w, at + 1, 0, message->udp.cookie, 8);
	put_endpoint_at(w, pointers, &message->udp.local);
	put_endpoint_at(w, pointers + 1, &message->udp.remote);
}

static void put_member(struct writer *w, uint32_t at, const struct channel_message *message)
{
	switch (message->kind) {
	case CHANNEL_HELLO:
		put(w, at, 0, message->hello.version, 2);
		put(w, at, 4, message->hello.pid, 4);
		put_text(w, at + 1, message->hello.name);
		put_bytes(w, at + 2, message->hello.secret, message->hello.secret_length);
		break;
	case CHANNEL_WELCOME:
		put_welcome(w, at, message);
		break;
	case CHANNEL_REFUSED:
		put_text(w, at, message->refused.reason);
		break;
	case CHANNEL_LISTEN:
		put_listen(w, at, message);
		break;
	case CHANNEL_UNLISTEN:
		put(w, at, 0, message->unlisten.listener, 4);
		break;
	case CHANNEL_OPTION:
		put(w, at, 0, message->option.slot, 4);
		put(w, at, 4, message->option.option, 2);
		put(w, at + 1, 0, (uint32_t)message->option.value, 4);
		break;
	case CHANNEL_INFO:
		put(w, at, 0, message->info.slot, 4);
		break;
	case CHANNEL_INFO_IS:
		put_info(w, at, message);
		break;
	case CHANNEL_DONE:
		put(w, at, 0, message->done.error, 2);
		break;
	case CHANNEL_JOIN:
		put(w, at, 0, message->join.lane, 2);
		put_bytes(w, at + 1, message->join.ticket, CHANNEL_TICKET);
		break;
	case CHANNEL_ICMP:
		put(w, at, 0, message->icmp.socket, 4);
		break;
	case CHANNEL_ROUTE:
		put_endpoint_at(w, at, &message->route.remote);
		break;
	case CHANNEL_ROUTE_IS:
		put_route(w, at, message);
		break;
	case CHANNEL_CONNECT:
		put_connect(w, at, message);
		break;
	case CHANNEL_UDP:
		put_udp(w, at, message);
		break;
	case CHANNEL_KINDS:
		break;
	}
}

size_t channel_message_encode(const struct channel_message *message, uint8_t *ret_bytes)
{
	struct writer w = {ret_bytes, 0};
	struct shape shape = shapes[message->kind];

	take_words(&w, MEMBER);
	point_to_struct(&w, 1, 2, (struct shape){1, 1});
	put(&w, 2, 0, message->call, 4);
	put(&w, 2, 4, message->kind, 2);
	take_words(&w, shape.data + shape.pointers);
	point_to_struct(&w, 3, MEMBER, shape);
	put_member(&w, MEMBER, message);
	put(&w, 0, 4, w.end - 1, 4);
	return (size_t)w.end * WORD;
}

// --- reading -------------------------------------------------------------------------------------

struct reader {
	const uint8_t *words; // of the segment
	uint32_t count;
	bool bad;
};

// A struct as it came: of another version of the schema it may be shorter or longer.
struct found {
	uint32_t at;
	struct shape shape;
};

static uint64_t get(const struct reader *r, uint32_t word, unsigned offset, unsigned octets)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < octets; i++)
		value |= (uint64_t)r->words[(size_t)word * WORD + offset + i] << (8 * i);
	return value;
}

// Is [at, at + words) in the segment?
static bool within(struct reader *r, int64_t at, uint64_t words)
{
	if (at < 0 || (uint64_t)at + words > r->count)
		r->bad = true;
	return !r->bad;
}

// Where the pointer at `word` points to. What is 0 is null.
static int64_t target(const struct reader *r, uint32_t word)
{
	int32_t offset = (int32_t)(uint32_t)get(r, word, 0, 4) >> 2;

	return (int64_t)word + 1 + offset;
}

static struct found find_struct(struct reader *r, uint32_t word)
{
	struct found none = {0};
	struct found found;

	if (r->bad || word == NOWHERE || !within(r, word, 1) || get(r, word, 0, 8) == 0)
		return none;
	found.shape.data = (uint16_t)get(r, word, 4, 2);
	found.shape.pointers = (uint16_t)get(r, word, 6, 2);
	if ((get(r, word, 0, 1) & 3) != TAG_STRUCT ||
		!within(r, target(r, word), (uint64_t)found.shape.data + found.shape.pointers)) {
		r->bad = true;
		return none;
	}
	found.at = (uint32_t)target(r, word);
	return found;
}

static uint64_t field(
	const struct reader *r, struct found found, uint32_t word, unsigned offset, unsigned octets)
{
	if (r->bad || word >= found.shape.data)
		return 0;
	return get(r, found.at + word, offset, octets);
}

// The word of the struct's pointer.
static uint32_t pointer(const struct reader *r, struct found found, uint32_t index)
{
	if (r->bad || index >= found.shape.pointers)
		return NOWHERE;
	return found.at + found.shape.data + index;
}

static const uint8_t *find_bytes(struct reader *r, uint32_t word, uint32_t *ret_length)
{
	uint32_t what;

	*ret_length = 0;
	if (r->bad || word == NOWHERE || get(r, word, 0, 8) == 0)
		return NULL;
	what = (uint32_t)get(r, word, 4, 4);
	if ((get(r, word, 0, 1) & 3) != TAG_LIST || (what & 7) != LIST_BYTES ||
		!within(r, target(r, word), ((uint64_t)(what >> 3) + WORD - 1) / WORD)) {
		r->bad = true;
		return NULL;
	}
	*ret_length = what >> 3;
	return r->words + (size_t)target(r, word) * WORD;
}

static void read_text(struct reader *r, uint32_t word, char text[CHANNEL_NAME_MAX + 1])
{
	uint32_t length;
	const uint8_t *bytes = find_bytes(r, word, &length);

	if (bytes == NULL)
		return;
	if (length == 0 || length > CHANNEL_NAME_MAX + 1 || bytes[length - 1] != 0 ||
		memchr(bytes, 0, length) != bytes + length - 1) {
		r->bad = true;
		return;
	}
	memcpy(text, bytes, length);
}

static void read_secret(struct reader *r, uint32_t word, struct channel_message *message)
{
	uint32_t length;
	const uint8_t *bytes = find_bytes(r, word, &length);

	if (length > CHANNEL_SECRET_MAX) {
		r->bad = true;
		return;
	}
	if (bytes != NULL)
		memcpy(message->hello.secret, bytes, length);
	message->hello.secret_length = length;
}

static void read_ticket(struct reader *r, uint32_t word, uint8_t ticket[CHANNEL_TICKET])
{
	uint32_t length;
	const uint8_t *bytes = find_bytes(r, word, &length);

	if (length == CHANNEL_TICKET)
		memcpy(ticket, bytes, length);
	else if (length != 0)
		r->bad = true;
}

static void read_address(struct reader *r, uint32_t word, uint8_t address[16], bool *ret_ipv6)
{
	uint32_t length;
	const uint8_t *bytes = find_bytes(r, word, &length);

	if (bytes == NULL || (length != 4 && length != 16)) {
		r->bad = true;
		return;
	}
	memcpy(address, bytes, length);
	*ret_ipv6 = length == 16;
}

static void read_endpoint(
	struct reader *r, struct found found, struct channel_endpoint *ret_endpoint)
{
	ret_endpoint->port = (uint16_t)field(r, found, 0, 0, 2);
	read_address(r, pointer(r, found, 0), ret_endpoint->address, &ret_endpoint->ipv6);
}

static void read_prefix(struct reader *r, struct found found, struct channel_prefix *ret_prefix)
{
	ret_prefix->length = (uint8_t)field(r, found, 0, 0, 1);
	read_address(r, pointer(r, found, 0), ret_prefix->address, &ret_prefix->ipv6);
	if (ret_prefix->length > (ret_prefix->ipv6 ? 128 : 32))
		r->bad = true;
}

// A list of structs, of `max` at most. Returns how many; the first, and the others behind it.
static uint32_t find_list(struct reader *r, uint32_t word, uint32_t max, struct found *ret_first)
{
	uint32_t what, count;
	int64_t tag;
	struct shape shape;

	if (r->bad || word == NOWHERE || get(r, word, 0, 8) == 0)
		return 0;
	what = (uint32_t)get(r, word, 4, 4);
	tag = target(r, word);
	if ((get(r, word, 0, 1) & 3) != TAG_LIST || (what & 7) != LIST_COMPOSITE ||
		!within(r, tag, (uint64_t)(what >> 3) + 1)) {
		r->bad = true;
		return 0;
	}
	count = (uint32_t)get(r, (uint32_t)tag, 0, 4) >> 2;
	shape.data = (uint16_t)get(r, (uint32_t)tag, 4, 2);
	shape.pointers = (uint16_t)get(r, (uint32_t)tag, 6, 2);
	if (count > max || count * ((uint64_t)shape.data + shape.pointers) > what >> 3) {
		r->bad = true;
		return 0;
	}
	*ret_first = (struct found){(uint32_t)tag + 1, shape};
	return count;
}

static struct found behind(struct found found)
{
	return (struct found){
		found.at + (uint32_t)found.shape.data + found.shape.pointers, found.shape};
}

static void read_listens(struct reader *r, uint32_t word, struct channel_message *message)
{
	struct found found = {0};
	uint32_t count = find_list(r, word, CHANNEL_LISTENS_MAX, &found);

	for (uint32_t i = 0; i < count; i++, found = behind(found))
		read_endpoint(r, found, &message->welcome.listens[i]);
	message->welcome.listens_count = count;
}

static void read_connects(struct reader *r, uint32_t word, struct channel_message *message)
{
	struct found found = {0};
	uint32_t count = find_list(r, word, CHANNEL_CONNECTS_MAX, &found);

	for (uint32_t i = 0; i < count; i++, found = behind(found))
		read_prefix(r, found, &message->welcome.connects[i]);
	message->welcome.connects_count = count;
}

static void read_welcome(struct reader *r, struct found found, struct channel_message *message)
{
	message->welcome.version = (uint16_t)field(r, found, 0, 0, 2);
	message->welcome.lanes = (uint16_t)field(r, found, 0, 2, 2);
	message->welcome.icmp = field(r, found, 0, 4, 1) & 1;
	message->welcome.udp = field(r, found, 0, 4, 1) >> 1 & 1;
	message->welcome.epoch = field(r, found, 1, 0, 8);
	message->welcome.lane_bytes = field(r, found, 2, 0, 8);
	message->welcome.slots = (uint32_t)field(r, found, 3, 0, 4);
	message->welcome.chunks = (uint32_t)field(r, found, 3, 4, 4);
	message->welcome.silence_ms = (uint32_t)field(r, found, 4, 0, 4);
	read_listens(r, pointer(r, found, 0), message);
	read_ticket(r, pointer(r, found, 1), message->welcome.ticket);
	read_connects(r, pointer(r, found, 2), message);
}

static void read_option(struct reader *r, struct found found, struct channel_message *message)
{
	message->option.slot = (uint32_t)field(r, found, 0, 0, 4);
	message->option.option = (enum channel_option)field(r, found, 0, 4, 2);
	message->option.value = (int32_t)(uint32_t)field(r, found, 1, 0, 4);
	if (message->option.option >= CHANNEL_OPTIONS)
		r->bad = true;
}

static void read_info(struct reader *r, struct found found, struct channel_message *message)
{
	message->info_is.state = (uint8_t)field(r, found, 0, 0, 1);
	message->info_is.mss = (uint32_t)field(r, found, 0, 4, 4);
	message->info_is.cwnd = (uint32_t)field(r, found, 1, 0, 4);
	message->info_is.rtt_us = (uint32_t)field(r, found, 1, 4, 4);
	message->info_is.rtt_var_us = (uint32_t)field(r, found, 2, 0, 4);
	message->info_is.retransmits = (uint32_t)field(r, found, 2, 4, 4);
	message->info_is.unacked = field(r, found, 3, 0, 8);
}

static void read_route(struct reader *r, struct found found, struct channel_message *message)
{
	message->route_is.error = (uint16_t)field(r, found, 0, 0, 2);
	message->route_is.own = field(r, found, 0, 2, 1) & 1;
	message->route_is.general = field(r, found, 0, 2, 1) >> 1 & 1;
	message->route_is.mtu = (uint16_t)field(r, found, 0, 4, 2);
	message->route_is.longest = (uint32_t)field(r, found, 1, 0, 4);
	read_endpoint(r, find_struct(r, pointer(r, found, 0)), &message->route_is.local);
}

static void read_connect(struct reader *r, struct found found, struct channel_message *message)
{
	message->connect.socket = (uint32_t)field(r, found, 0, 0, 4);
	message->connect.attempts = (uint8_t)field(r, found, 0, 4, 1);
	read_endpoint(r, find_struct(r, pointer(r, found, 0)), &message->connect.local);
	read_endpoint(r, find_struct(r, pointer(r, found, 1)), &message->connect.remote);
}

static void read_udp(struct reader *r, struct found found, struct channel_message *message)
{
	uint64_t flags = field(r, found, 0, 4, 1);

	message->udp.socket = (uint32_t)field(r, found, 0, 0, 4);
	message->udp.ipv6_only = flags & 1;
	message->udp.reuses = flags >> 1 & 1;
	message->udp.shares = flags >> 2 & 1;
	message->udp.ephemeral = flags >> 3 & 1;
	message->udp.cookie = field(r, found, 1, 0, 8);
	read_endpoint(r, find_struct(r, pointer(r, found, 0)), &message->udp.local);
	read_endpoint(r, find_struct(r, pointer(r, found, 1)), &message->udp.remote);
}

static void read_member(struct reader *r, struct found found, struct channel_message *message)
{
	switch (message->kind) {
	case CHANNEL_HELLO:
		message->hello.version = (uint16_t)field(r, found, 0, 0, 2);
		message->hello.pid = (uint32_t)field(r, found, 0, 4, 4);
		read_text(r, pointer(r, found, 0), message->hello.name);
		read_secret(r, pointer(r, found, 1), message);
		break;
	case CHANNEL_WELCOME:
		read_welcome(r, found, message);
		break;
	case CHANNEL_REFUSED:
		read_text(r, pointer(r, found, 0), message->refused.reason);
		break;
	case CHANNEL_LISTEN:
		message->listen.listener = (uint32_t)field(r, found, 0, 0, 4);
		message->listen.backlog = (uint32_t)field(r, found, 0, 4, 4);
		message->listen.accepts = field(r, found, 1, 0, 1) & 1;
		message->listen.ipv6_only = field(r, found, 1, 0, 1) >> 1 & 1;
		read_endpoint(r, find_struct(r, pointer(r, found, 0)), &message->listen.endpoint);
		break;
	case CHANNEL_UNLISTEN:
		message->unlisten.listener = (uint32_t)field(r, found, 0, 0, 4);
		break;
	case CHANNEL_OPTION:
		read_option(r, found, message);
		break;
	case CHANNEL_INFO:
		message->info.slot = (uint32_t)field(r, found, 0, 0, 4);
		break;
	case CHANNEL_INFO_IS:
		read_info(r, found, message);
		break;
	case CHANNEL_DONE:
		message->done.error = (uint16_t)field(r, found, 0, 0, 2);
		break;
	case CHANNEL_JOIN:
		message->join.lane = (uint16_t)field(r, found, 0, 0, 2);
		read_ticket(r, pointer(r, found, 0), message->join.ticket);
		break;
	case CHANNEL_ICMP:
		message->icmp.socket = (uint32_t)field(r, found, 0, 0, 4);
		break;
	case CHANNEL_ROUTE:
		read_endpoint(r, find_struct(r, pointer(r, found, 0)), &message->route.remote);
		break;
	case CHANNEL_ROUTE_IS:
		read_route(r, found, message);
		break;
	case CHANNEL_CONNECT:
		read_connect(r, found, message);
		break;
	case CHANNEL_UDP:
		read_udp(r, found, message);
		break;
	case CHANNEL_KINDS:
		break;
	}
}

// One segment, which is all there is.
int channel_message_length(const uint8_t *bytes)
{
	const struct reader framing = {.words = bytes};
	uint64_t words = get(&framing, 0, 4, 4);

	if (get(&framing, 0, 0, 4) != 0 || words < CHANNEL_MESSAGE_MIN / WORD - 1 ||
		words > CHANNEL_MESSAGE_MAX / WORD - 1)
		return -EBADMSG;
	return (int)(words + 1) * WORD;
}

int channel_message_decode(const uint8_t *bytes, size_t length, struct channel_message *ret_message)
{
	struct reader r = {.words = bytes + WORD};
	struct channel_message message = {0};
	struct found root;
	uint64_t kind;

	if (length < CHANNEL_MESSAGE_MIN || channel_message_length(bytes) != (int)length)
		return -EBADMSG;
	r.count = (uint32_t)(length / WORD) - 1;
	root = find_struct(&r, 0);
	kind = field(&r, root, 0, 4, 2);
	if (r.bad || root.shape.data == 0 || kind >= CHANNEL_KINDS)
		return -EBADMSG;
	message.call = (uint32_t)field(&r, root, 0, 0, 4);
	message.kind = (enum channel_kind)kind;
	read_member(&r, find_struct(&r, pointer(&r, root, 0)), &message);
	if (r.bad)
		return -EBADMSG;
	*ret_message = message;
	return 0;
}
