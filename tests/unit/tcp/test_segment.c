// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The header codec: what is written can be read, what is broken is refused.

#include "tcp_tests.h"

static const struct tcp_segment segments[] = {
	{.seq = 1, .ack = 2, .source = 3, .destination = 4, .wnd = 5, .flags = ACK},
	{.seq = UINT32_MAX, .flags = SYN, .options = {.present = TCP_OPTION_MSS, .mss = 1460}},
	{.flags = SYN | ACK,
		.options = {.present = TCP_OPTION_MSS | TCP_OPTION_WSCALE |
				       TCP_OPTION_SACK_PERMITTED | TCP_OPTION_TIMESTAMPS,
			.mss = 536,
			.wscale = 7,
			.tsval = 0x01020304,
			.tsecr = 0xf1f2f3f4}},
	{.flags = ACK | PSH, .options = {.present = TCP_OPTION_TIMESTAMPS, .tsval = 1, .tsecr = 2}},
};

static void what_is_encoded_decodes(void **state)
{
	for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		uint8_t header[TCP_HEADER_MAX + 10];
		struct tcp_segment out;
		unsigned length = tcp_segment_encode(header, &segments[i]);

		assert_true(tcp_segment_decode(header, length, length + 10, &out));
		assert_int_equal(out.header_length, length);
		assert_int_equal(out.length, 10);
		assert_int_equal(out.seq, segments[i].seq);
		assert_int_equal(out.ack, segments[i].ack);
		assert_int_equal(out.source, segments[i].source);
		assert_int_equal(out.destination, segments[i].destination);
		assert_int_equal(out.wnd, segments[i].wnd);
		assert_int_equal(out.flags, segments[i].flags);
		assert_int_equal(out.options.present, segments[i].options.present);
		if (out.options.present & TCP_OPTION_TIMESTAMPS) {
			assert_int_equal(out.options.tsval, segments[i].options.tsval);
			assert_int_equal(out.options.tsecr, segments[i].options.tsecr);
		}
		for (unsigned cut = 0; cut < length; cut++)
			assert_false(tcp_segment_decode(header, cut, cut, &out));
	}
}

// Options of a header, and whether they are legal (RFC 9293 3.2, MUST-7).
static const struct {
	uint8_t bytes[12];
	unsigned length;
	bool legal;
	uint8_t present;
} option_cases[] = {
	{{0, 0, 0, 0}, 4, true, 0}, {{1, 1, 1, 1}, 4, true, 0},
	{{2, 4, 5, 0xb4}, 4, true, TCP_OPTION_MSS},
	{{2, 3, 5, 0xb4}, 4, false, 0},					   // the rest is cut short
	{{2, 4, 5}, 4, true, TCP_OPTION_MSS}, {{99, 4, 5, 6}, 4, true, 0}, // unknown: skipped
	{{99, 0, 5, 6}, 4, false, 0},					   // length 0
	{{99, 1, 5, 6}, 4, false, 0},					   // length 1
	{{99, 5, 5, 6}, 4, false, 0},					   // beyond the header
	{{1, 1, 1, 99}, 4, false, 0},					   // no length at all
	{{3, 3, 200, 0}, 4, true, TCP_OPTION_WSCALE},
	{{4, 2, 1, 1}, 4, true, TCP_OPTION_SACK_PERMITTED},
	{{0, 99, 0, 0}, 4, true, 0}, // nothing counts behind the end
	{{8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1}, 12, true, TCP_OPTION_TIMESTAMPS},
	{{8, 9, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1}, 12, true, 0}, // not its length: ignored
};

static void options_are_read_and_broken_ones_refused(void **state)
{
	for (unsigned i = 0; i < sizeof(option_cases) / sizeof(option_cases[0]); i++) {
		uint8_t header[TCP_HEADER_MAX] = {0};
		struct tcp_segment out;
		unsigned length = TCP_HEADER_MIN + option_cases[i].length;

		header[12] = (uint8_t)(length / 4 << 4);
		memcpy(header + TCP_HEADER_MIN, option_cases[i].bytes, option_cases[i].length);
		assert_int_equal(
			tcp_segment_decode(header, length, length, &out), option_cases[i].legal);
		if (option_cases[i].legal)
			assert_int_equal(out.options.present, option_cases[i].present);
		if (option_cases[i].present == TCP_OPTION_WSCALE)
			assert_int_equal(out.options.wscale, TCP_WSCALE_MAX);
	}
}

static void the_data_offset_must_make_sense(void **state)
{
	uint8_t header[TCP_HEADER_MAX] = {0};
	struct tcp_segment out;

	for (unsigned words = 0; words < 16; words++) {
		header[12] = (uint8_t)(words << 4);
		assert_int_equal(
			tcp_segment_decode(header, 40, 40, &out), words >= 5 && words <= 10);
	}
}

int test_tcp_segment(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_decodes),
		cmocka_unit_test(options_are_read_and_broken_ones_refused),
		cmocka_unit_test(the_data_offset_must_make_sense),
	};

	return cmocka_run_group_tests_name("tcp_segment", tests, NULL, NULL);
}
