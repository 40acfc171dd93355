// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The file of adopted connections: what one run leaves the next one finds, however many
// workers either has, and until it has taken it over; whatever else lies there does no harm.

#include "daemon_tests.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/monitor.h"
#include "control/config.h"
#include "daemon/flows_file.h"

#define CONNECTIONS 100

struct fixture {
	char folder[64], socket[80], path[90];
	struct config_port ports[2];
	struct config config;
	struct flows_file *file;
	const struct monitor_record *left;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/offramp-flows-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		return -1;
	snprintf(f->socket, sizeof(f->socket), "%s/sock", f->folder);
	snprintf(f->path, sizeof(f->path), "%s.flows", f->socket);
	f->ports[0].port.name = "clients";
	f->ports[1].port.name = "broker";
	f->config.mode = CONFIG_MODE_MONITOR;
	f->config.ports = f->ports;
	f->config.ports_count = 2;
	f->config.workers = 1;
	f->config.memory.connections = CONNECTIONS;
	f->config.control_socket = f->socket;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	flows_file_close(f->file);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

// The next run has so many workers. Returns how many connections the one before has left.
static uint32_t start(struct fixture *f, unsigned workers)
{
	flows_file_close(f->file);
	f->config.workers = workers;
	assert_int_equal(flows_file_open(&f->config, &f->file), 0);
	return flows_file_left(f->file, &f->left);
}

// A connection at the first or last of the worker's places, which are nobody else's.
static void adopt_at(struct fixture *f, unsigned worker, bool last, uint16_t client_port)
{
	uint32_t place = last ? config_flows_max(&f->config) - 1 : 0;

	flows_file_records(f->file, worker)[place] =
		(struct monitor_record){.client.port = client_port, .used = 1};
}

static void adopt(struct fixture *f, unsigned worker, uint16_t client_port)
{
	adopt_at(f, worker, true, client_port);
}

static void test_the_next_run_finds_what_was_adopted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f, 1), 0);
	flows_file_begin(f->file);
	adopt(f, 0, 40000);
	assert_int_equal(start(f, 1), 1);
	assert_int_equal(f->left[0].client.port, 40000);
}

static void test_more_or_fewer_workers_find_all_of_it(void **state)
{
	const unsigned counts[] = {3, 1, 16, 2};
	struct fixture *f = *state;

	start(f, 2);
	flows_file_begin(f->file);
	adopt(f, 0, 40000);
	adopt(f, 1, 40001);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(start(f, counts[i]), 2);
		assert_int_equal(f->left[0].client.port, 40000);
		assert_int_equal(f->left[1].client.port, 40001);
		flows_file_begin(f->file);
		adopt_at(f, 0, false, 40000);
		adopt_at(f, counts[i] - 1, true, 40001);
	}
}

static void test_it_is_there_until_it_has_been_taken_over(void **state)
{
	struct fixture *f = *state;

	start(f, 2);
	flows_file_begin(f->file);
	adopt(f, 1, 40001);
	assert_int_equal(start(f, 4), 1); // and this run fails to start
	assert_int_equal(start(f, 2), 1);
	flows_file_begin(f->file);
	assert_int_equal(f->left[0].client.port, 40001); // a copy
	assert_int_equal(start(f, 2), 0);
}

static void test_what_other_ports_left_is_of_no_use(void **state)
{
	struct fixture *f = *state;

	start(f, 1);
	flows_file_begin(f->file);
	adopt(f, 0, 40000);
	f->ports[1].port.name = "uplink";
	assert_int_equal(start(f, 1), 0);
}

static void test_whatever_lies_there_does_no_harm(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[8192];
	int fd;

	for (unsigned round = 0; round < 3; round++) {
		size_t length = round == 0 ? 0 : round == 1 ? 7 : sizeof(bytes);

		memset(bytes, 0xff, sizeof(bytes));
		flows_file_close(f->file);
		f->file = NULL;
		fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, bytes, length), length);
		close(fd);
		assert_int_equal(start(f, 2), 0);
		flows_file_begin(f->file);
		adopt(f, 1, 40000);
		assert_int_equal(start(f, 2), 1);
	}
	// A header that promises more than there is.
	flows_file_close(f->file);
	f->file = NULL;
	assert_int_equal(truncate(f->path, 2000), 0);
	f->config.memory.connections = 1;
	assert_int_equal(start(f, 1), 0);
}

static void test_other_modes_have_none(void **state)
{
	struct fixture *f = *state;

	f->config.mode = CONFIG_MODE_STACK;
	assert_int_equal(start(f, 1), 0);
	assert_null(f->file);
	assert_null(flows_file_records(f->file, 0));
	assert_int_not_equal(access(f->path, F_OK), 0);
}

int test_daemon_flows_file(void)
{
#define file_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		file_test(test_the_next_run_finds_what_was_adopted),
		file_test(test_more_or_fewer_workers_find_all_of_it),
		file_test(test_it_is_there_until_it_has_been_taken_over),
		file_test(test_what_other_ports_left_is_of_no_use),
		file_test(test_whatever_lies_there_does_no_harm),
		file_test(test_other_modes_have_none),
	};

	return cmocka_run_group_tests_name("flows file", tests, NULL, NULL);
}
