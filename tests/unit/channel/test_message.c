// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every message there and back, and as Cap'n Proto's own tool reads it.

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "channel_tests.h"

static const struct channel_message messages[] = {
	{.call = 1, .kind = CHANNEL_HELLO, .hello = {1, 4711, "mosquitto", 6, "secret"}},
	{.kind = CHANNEL_WELCOME,
		.welcome = {.version = 1,
			.lanes = 2,
			.icmp = true,
			.udp = true,
			.epoch = 0x123456789abcdef0,
			.lane_bytes = 1 << 30,
			.listens_count = 2,
			.listens = {{.address = {'A', 'B', 'C', 'D'}, .port = 1883},
				{.address = "0123456789abcdef", .port = 65535, .ipv6 = true}},
			.connects_count = 2,
			.connects = {{.address = {'E', 'F'}, .length = 16},
				{.address = "fedcba98", .length = 64, .ipv6 = true}},
			.ticket = "fedcba9876543210",
			.slots = 16384,
			.chunks = 8192,
			.silence_ms = 30000}},
	{.kind = CHANNEL_REFUSED, .refused = {"no"}},
	{.call = 0xffffffff,
		.kind = CHANNEL_LISTEN,
		.listen = {.listener = 9,
			.backlog = 128,
			.accepts = true,
			.ipv6_only = true,
			.endpoint = {.address = {'l', 'o', 'o', 'p'}, .port = 8883}}},
	{.kind = CHANNEL_UNLISTEN, .unlisten = {9}},
	{.kind = CHANNEL_OPTION, .option = {5, CHANNEL_LINGER, -1}},
	{.call = 4, .kind = CHANNEL_INFO, .info = {6}},
	{.call = 4, .kind = CHANNEL_INFO_IS, .info_is = {1, 1448, 14480, 250, 30, 2, 1ull << 40}},
	{.call = 5, .kind = CHANNEL_DONE, .done = {98}},
	{.kind = CHANNEL_JOIN, .join = {"0123456789abcdef", 3}},
	{.call = 6, .kind = CHANNEL_ICMP, .icmp = {3}},
	{.call = 7,
		.kind = CHANNEL_ROUTE,
		.route.remote = {.address = "0123456789abcdef", .ipv6 = true}},
	{.call = 7,
		.kind = CHANNEL_ROUTE_IS,
		.route_is = {.error = 113,
			.own = true,
			.general = true,
			.mtu = 1500,
			.longest = 11840,
			.local = {.address = {'l', 'o', 'o', 'p'}}}},
	{.call = 8,
		.kind = CHANNEL_CONNECT,
		.connect = {.socket = 17,
			.attempts = 3,
			.local = {.address = {'h', 'e', 'r', 'e'}, .port = 4242},
			.remote = {.address = "0123456789abcdef", .port = 8883, .ipv6 = true}}},
	{.call = 9,
		.kind = CHANNEL_UDP,
		.udp = {.socket = 4,
			.ipv6_only = true,
			.shares = true,
			.cookie = 1ull << 40,
			.local = {.address = {'l', 'o', 'o', 'p'}, .port = 5683},
			.remote = {.address = "0123456789abcdef", .port = 53, .ipv6 = true}}},
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

// What the tool prints of them.
static const char *const texts[MESSAGES] = {
	"( call = 1, hello = ( version = 1, pid = 4711, name = \"mosquitto\", secret = \"secret\" ) )",
	"( call = 0, welcome = ( version = 1, lanes = 2, epoch = 1311768467463790320, "
	"laneBytes = 1073741824, listens = [ ( address = \"ABCD\", port = 1883 ), "
	"( address = \"0123456789abcdef\", "
	"port = 65535 ) ], icmp = true, ticket = \"fedcba9876543210\", slots = 16384, "
	"chunks = 8192, silenceMs = 30000, connects = [ "
	"( address = \"EF\\000\\000\", length = 16 ), "
	"( address = \"fedcba98\\000\\000\\000\\000\\000\\000\\000\\000\", "
	"length = 64 ) ], udp = true ) )",
	"( call = 0, refused = ( reason = \"no\" ) )",
	"( call = 4294967295, listen = ( listener = 9, endpoint = ( address = "
	"\"loop\", port = 8883 ), backlog = 128, accepts = true, ipv6Only = true ) )",
	"( call = 0, unlisten = ( listener = 9 ) )",
	"( call = 0, option = ( slot = 5, option = linger, value = -1 ) )",
	"( call = 4, info = ( slot = 6 ) )",
	"( call = 4, infoIs = ( state = 1, mss = 1448, cwnd = 14480, rttUs = 250, rttVarUs = 30, "
	"retransmits = 2, unacked = 1099511627776 ) )",
	"( call = 5, done = ( error = 98 ) )",
	"( call = 0, join = ( ticket = \"0123456789abcdef\", lane = 3 ) )",
	"( call = 6, icmp = ( socket = 3 ) )",
	"( call = 7, route = ( remote = ( address = \"0123456789abcdef\", port = 0 ) ) )",
	"( call = 7, routeIs = ( error = 113, local = ( address = \"loop\", port = 0 ), own = true, "
	"general = true, mtu = 1500, longest = 11840 ) )",
	"( call = 8, connect = ( socket = 17, local = ( address = \"here\", port = 4242 ), "
	"remote = ( address = \"0123456789abcdef\", port = 8883 ), attempts = 3 ) )",
	"( call = 9, udp = ( socket = 4, local = ( address = \"loop\", port = 5683 ), remote = ( "
	"address = \"0123456789abcdef\", port = 53 ), cookie = 1099511627776, ipv6Only = true, "
	"reuses = false, shares = true, ephemeral = false ) )",
};

static void test_every_message_comes_back_as_it_went(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint8_t bytes[CHANNEL_MESSAGE_MAX];
		size_t length = channel_message_encode(&messages[i], bytes);
		struct channel_message back;

		assert_int_equal(channel_message_decode(bytes, length, &back), 0);
		assert_memory_equal(&back, &messages[i], sizeof(back));
	}
}

static void test_the_longest_welcome_fits(void **state)
{
	struct channel_message message = {.kind = CHANNEL_WELCOME,
				       .welcome.listens_count = CHANNEL_LISTENS_MAX,
				       .welcome.connects_count = CHANNEL_CONNECTS_MAX},
			       back;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	size_t length;

	(void)state;
	for (unsigned i = 0; i < CHANNEL_LISTENS_MAX; i++)
		message.welcome.listens[i] =
			(struct channel_endpoint){.port = (uint16_t)i, .ipv6 = true};
	for (unsigned i = 0; i < CHANNEL_CONNECTS_MAX; i++)
		message.welcome.connects[i] =
			(struct channel_prefix){.length = (uint8_t)(128 - i), .ipv6 = true};
	length = channel_message_encode(&message, bytes);
	assert_true(length <= sizeof(bytes));
	assert_int_equal(channel_message_decode(bytes, length, &back), 0);
	assert_memory_equal(&back, &message, sizeof(back));
}

// Cut anywhere, or with any octet changed, it is refused or is some message; under the
// sanitizers nothing else happens.
static void test_what_is_no_message_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint8_t bytes[CHANNEL_MESSAGE_MAX];
		size_t length = channel_message_encode(&messages[i], bytes);
		struct channel_message back;

		for (size_t cut = 0; cut < length; cut++) {
			uint8_t *copy = malloc(cut + 1);

			memcpy(copy, bytes, cut);
			assert_int_equal(channel_message_decode(copy, cut, &back), -EBADMSG);
			free(copy);
		}
		for (size_t at = 0; at < length; at++)
			for (unsigned bit = 0; bit < 8; bit++) {
				bytes[at] ^= (uint8_t)(1u << bit);
				channel_message_decode(bytes, length, &back);
				bytes[at] ^= (uint8_t)(1u << bit);
			}
	}
}

static void decode_with_tool(const uint8_t *bytes, size_t length, char *text, int size)
{
	char name[] = "/tmp/offramp-message-XXXXXX", command[512];
	int fd = mkstemp(name);
	FILE *tool;
	size_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
	snprintf(command, sizeof(command), "capnp decode " CHANNEL_SCHEMA " Message < %s", name);
	tool = popen(command, "r");
	assert_non_null(tool);
	n = fread(text, 1, (size_t)size - 1, tool);
	text[n] = '\0';
	assert_int_equal(pclose(tool), 0);
	unlink(name);
}

// How lines are broken is the tool's taste.
static void squeeze(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++)
		if (*text != ' ' && *text != '\n')
			*to++ = *text;
	*to = '\0';
}

static void test_capnp_reads_what_was_written(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint8_t bytes[CHANNEL_MESSAGE_MAX];
		size_t length = channel_message_encode(&messages[i], bytes);
		char text[1024], wanted[1024];

		decode_with_tool(bytes, length, text, sizeof(text));
		snprintf(wanted, sizeof(wanted), "%s", texts[i]);
		squeeze(text);
		squeeze(wanted);
		assert_string_equal(text, wanted);
	}
}

static size_t encode_with_tool(const char *text, uint8_t *ret_bytes, size_t size)
{
	char command[1024];
	FILE *tool;
	size_t n;

	snprintf(command, sizeof(command),
		"printf '%%s' '%s' | capnp encode " CHANNEL_SCHEMA " Message", text);
	tool = popen(command, "r");
	assert_non_null(tool);
	n = fread(ret_bytes, 1, size, tool);
	assert_int_equal(pclose(tool), 0);
	return n;
}

static void test_what_capnp_has_written_is_read(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint8_t bytes[CHANNEL_MESSAGE_MAX];
		size_t length = encode_with_tool(texts[i], bytes, sizeof(bytes));
		struct channel_message back;

		assert_int_equal(channel_message_decode(bytes, length, &back), 0);
		assert_memory_equal(&back, &messages[i], sizeof(back));
	}
}

int test_message(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_comes_back_as_it_went),
		cmocka_unit_test(test_the_longest_welcome_fits),
		cmocka_unit_test(test_what_is_no_message_is_refused),
		cmocka_unit_test(test_capnp_reads_what_was_written),
		cmocka_unit_test(test_what_capnp_has_written_is_read),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
