// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The secret file: made when missing, kept, refused when it is something else.

#include "tests.h"

#include "control/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void secret_survives_in_its_file(void **state)
{
	char folder[] = "/tmp/offramp-secret-XXXXXX", file[64];
	uint8_t first[16] = {0}, second[16] = {0}, none[16] = {0};
	struct stat st;
	FILE *out;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/secret", folder);
	struct config config = {.secret_file = file};

	assert_int_equal(config_secret(&config, first), 0);
	assert_int_equal(config_secret(&config, second), 0);
	assert_memory_equal(first, second, 16);
	assert_memory_not_equal(first, none, 16);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	out = fopen(file, "w");
	fputs("short", out);
	fclose(out);
	assert_int_equal(config_secret(&config, second), -EINVAL);
	unlink(file);
	rmdir(folder);
	assert_int_equal(config_secret(&config, second), -ENOENT);
}

static void without_a_file_it_differs_each_time(void **state)
{
	struct config config = {0};
	uint8_t first[16], second[16];

	(void)state;
	assert_int_equal(config_secret(&config, first), 0);
	assert_int_equal(config_secret(&config, second), 0);
	assert_memory_not_equal(first, second, 16);
}

int test_secret(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secret_survives_in_its_file),
		cmocka_unit_test(without_a_file_it_differs_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
