// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Log lines as they arrive on stderr.

#include "base_tests.h"

#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct capture {
	int saved, reader;
};

static struct capture capture_begin(bool journal)
{
	struct capture c;
	struct stat st;
	char stream[64];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	c.saved = dup(STDERR_FILENO);
	c.reader = ends[0];
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino + (journal ? 0 : 1));
	setenv("JOURNAL_STREAM", stream, 1);
	return c;
}

static void capture_end(struct capture *c, char *ret_text, size_t size)
{
	ssize_t n;

	unsetenv("JOURNAL_STREAM");
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	n = read(c->reader, ret_text, size - 1);
	ret_text[n > 0 ? n : 0] = '\0';
	close(c->reader);
}

static void test_a_line_names_level_and_component(void **state)
{
	struct capture c = capture_begin(false);
	char text[256];

	log_warning("net", "%s is gone after %d s", "198.18.0.1", 3);
	capture_end(&c, text, sizeof(text));
	assert_string_equal(text, "warning net: 198.18.0.1 is gone after 3 s\n");
}

static void test_the_journal_gets_priorities(void **state)
{
	struct capture c = capture_begin(true);
	char text[256];

	log_error("port", "no link");
	capture_end(&c, text, sizeof(text));
	assert_string_equal(text, "<3>port: no link\n");
}

static void test_lines_below_the_level_are_dropped(void **state)
{
	struct capture c = capture_begin(false);
	char text[256];

	log_debug("net", "one");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("net", "two");
	log_set_level(LOG_LEVEL_ERROR);
	log_info("net", "three");
	log_set_level(LOG_LEVEL_INFO);
	capture_end(&c, text, sizeof(text));
	assert_string_equal(text, "debug net: two\n");
}

static void test_peers_cannot_forge_lines(void **state)
{
	struct capture c = capture_begin(false);
	char text[256];

	log_info("session", "client %s", "a\nerror net: forged\x1b[2J");
	capture_end(&c, text, sizeof(text));
	assert_string_equal(text, "info session: client a?error net: forged?[2J\n");
}

static void test_a_long_line_is_cut_and_stays_one_line(void **state)
{
	struct capture c = capture_begin(false);
	char text[4096], longest[3000];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	log_info("net", "%s", longest);
	capture_end(&c, text, sizeof(text));
	assert_true(strlen(text) <= 1024);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

int test_base_log(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_names_level_and_component),
		cmocka_unit_test(test_the_journal_gets_priorities),
		cmocka_unit_test(test_lines_below_the_level_are_dropped),
		cmocka_unit_test(test_peers_cannot_forge_lines),
		cmocka_unit_test(test_a_long_line_is_cut_and_stays_one_line),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
