// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Text forms of addresses, endpoints and prefixes.

#include "net_tests.h"

#include <errno.h>
#include <string.h>

static void test_addresses_are_parsed_and_formatted_back(void **state)
{
	static const char *const texts[] = {"0.0.0.0", "198.18.0.1", "255.255.255.255", "::", "::1",
		"2001:db8::1", "fe80::ff:1"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char text[NET_ADDRESS_STRLEN];
		struct net_address a;

		assert_int_equal(net_address_parse(texts[i], &a), 0);
		assert_string_equal(net_address_format(&a, text), texts[i]);
		assert_int_equal(net_address_is_ipv4(&a), strchr(texts[i], '.') != NULL);
	}
}

static void test_what_is_no_address_is_refused_and_leaves_the_output_alone(void **state)
{
	static const char *const texts[] = {"", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", " 1.2.3.4",
		"1.2.3.4 ", "1.2.3.4/8", "12345::", "::g", "broker"};
	struct net_address a = {.words = {1, 2, 3, 4}}, before = a;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(net_address_parse(texts[i], &a), -EINVAL);
		assert_true(net_address_equal(&a, &before));
	}
}

static void test_endpoints_need_a_port_and_ipv6_its_brackets(void **state)
{
	static const struct {
		const char *text;
		int port; // -1: refused
	} cases[] = {
		{"198.18.0.1:1883", 1883},
		{"198.18.0.1:0", 0},
		{"198.18.0.1:65535", 65535},
		{"[2001:db8::1]:1883", 1883},
		{"198.18.0.1", -1},
		{"198.18.0.1:", -1},
		{"198.18.0.1:65536", -1},
		{"198.18.0.1:+1", -1},
		{"198.18.0.1: 1", -1},
		{"198.18.0.1:1x", -1},
		{"198.18.0.1:99999999999", -1},
		{":1883", -1},
		{"2001:db8::1:1883", -1},
		{"[2001:db8::1]", -1},
		{"[2001:db8::1]x:1", -1},
		{"[198.18.0.1]:1883", -1},
		{"[]:1883", -1},
		{"", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[NET_ENDPOINT_STRLEN];
		struct net_endpoint e = {0};
		int rc = net_endpoint_parse(cases[i].text, &e);

		assert_int_equal(rc, cases[i].port >= 0 ? 0 : -EINVAL);
		if (rc != 0)
			continue;
		assert_int_equal(e.port, cases[i].port);
		assert_string_equal(net_endpoint_format(&e, text), cases[i].text);
	}
}

static void test_prefixes_have_the_length_of_their_family(void **state)
{
	static const struct {
		const char *text;
		int prefix; // -1: refused
	} cases[] = {
		{"198.18.0.1/16", 16},
		{"198.18.0.1", 32},
		{"0.0.0.0/0", 0},
		{"198.18.0.1/33", -1},
		{"198.18.0.1/", -1},
		{"198.18.0.1/-1", -1},
		{"2001:db8::1/64", 64},
		{"2001:db8::1", 128},
		{"2001:db8::1/129", -1},
		{"/8", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_address a;
		uint8_t prefix = 255;
		int rc = net_prefix_parse(cases[i].text, &a, &prefix);

		assert_int_equal(rc, cases[i].prefix >= 0 ? 0 : -EINVAL);
		assert_int_equal(prefix, rc == 0 ? cases[i].prefix : 255);
	}
}

static void test_a_prefix_contains_what_shares_its_bits(void **state)
{
	static const struct {
		const char *prefix, *address;
		bool contains;
	} cases[] = {
		{"198.18.0.0/15", "198.19.255.255", true},
		{"198.18.0.0/15", "198.20.0.0", false},
		{"198.18.0.1/16", "198.18.77.1", true},
		{"198.18.0.1/32", "198.18.0.1", true},
		{"198.18.0.1/32", "198.18.0.0", false},
		{"0.0.0.0/0", "8.8.8.8", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "8.8.8.8", false},
		{"::/0", "2001:db8::1", true},
		{"2001:db8::/33", "2001:db8:7fff::", true},
		{"2001:db8::/33", "2001:db8:8000::", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_address prefix, address;
		uint8_t length;

		assert_int_equal(net_prefix_parse(cases[i].prefix, &prefix, &length), 0);
		assert_int_equal(net_address_parse(cases[i].address, &address), 0);
		assert_int_equal(net_prefix_contains(&prefix, length, &address), cases[i].contains);
	}
}

int test_net_address(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_are_parsed_and_formatted_back),
		cmocka_unit_test(test_what_is_no_address_is_refused_and_leaves_the_output_alone),
		cmocka_unit_test(test_endpoints_need_a_port_and_ipv6_its_brackets),
		cmocka_unit_test(test_prefixes_have_the_length_of_their_family),
		cmocka_unit_test(test_a_prefix_contains_what_shares_its_bits),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
