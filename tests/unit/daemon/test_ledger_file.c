// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The file of what persistent sessions are owed: it comes whole or not at all, and whatever lies in
// its place does no harm. What stands in it is offload/test_ledger.c's.

#include "daemon_tests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config.h"
#include "daemon/ledger_file.h"
#include "offload/ledger.h"

#define PAGE 4096

struct fixture {
	char folder[64], socket[80], path[90];
	struct offload_broker_config broker;
	struct config config;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/offramp-ledger-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		return -1;
	snprintf(f->socket, sizeof(f->socket), "%s/sock", f->folder);
	snprintf(f->path, sizeof(f->path), "%s.owed", f->socket);
	f->broker.name = "broker";
	f->config.brokers = &f->broker;
	f->config.brokers_count = 1;
	f->config.control_socket = f->socket;
	f->config.memory.payloads = 1 << 20;
	*state = f;
	return 0;
}

// How many files there are; they are gone afterwards.
static unsigned sweep(const struct fixture *f)
{
	DIR *folder = opendir(f->folder);
	unsigned count = 0;

	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		unlinkat(dirfd(folder), entry->d_name, 0);
	}
	closedir(folder);
	return count;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	umount2(f->folder, MNT_DETACH);
	rmdir(f->path);
	sweep(f);
	rmdir(f->folder);
	free(f);
	return 0;
}

// A session that is owed `count` messages of a page each.
static void write_session(struct ledger_writer *writer, const char *client_id, unsigned count)
{
	static const uint8_t head[] = {0, 1, 'a', 0, 1, 0}, page[PAGE];
	const struct ledger_owner owner = {.broker = "broker",
		.client_id = mqtt_bytes(client_id, strlen(client_id)),
		.expiry_s = 300};

	ledger_write_begin(writer, &owner);
	while (count-- > 0) {
		ledger_write_publish(writer, 2, sizeof(head) + sizeof(page));
		ledger_write_bytes(writer, head, sizeof(head));
		ledger_write_bytes(writer, page, sizeof(page));
	}
	ledger_write_end(writer);
}

static void write_file(struct fixture *f, const char *client_id, unsigned count)
{
	struct ledger_file *file = ledger_file_create(&f->config);

	assert_non_null(file);
	write_session(ledger_file_writer(file), client_id, count);
	ledger_file_finish(file);
}

// What the next start finds for the client.
static uint32_t read_file(const struct fixture *f, const char *client_id)
{
	struct ledger_entry *entry = NULL;
	struct ledger *ledger;
	uint32_t deliveries;

	ledger_file_read(&f->config, &ledger);
	if (ledger != NULL)
		entry = ledger_take(ledger, 0, mqtt_bytes(client_id, strlen(client_id)));
	deliveries = entry == NULL ? 0 : entry->deliveries;
	ledger_destroy(ledger);
	return deliveries;
}

static void patch(const struct fixture *f, off_t at, const void *bytes, size_t length)
{
	int fd = open(f->path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, length, at), length);
	close(fd);
}

static void what_is_written_is_found_once(void **state)
{
	struct fixture *f = *state;
	struct stat stat_;

	write_file(f, "k", 3);
	assert_int_equal(stat(f->path, &stat_), 0);
	assert_int_equal(stat_.st_mode & 0777, 0600); // messages are nobody else's business
	assert_int_equal(read_file(f, "k"), 3);
	assert_int_equal(read_file(f, "another"), 0);
	ledger_file_remove(&f->config);
	assert_int_equal(read_file(f, "k"), 0);
	ledger_file_remove(&f->config); // that there is none is no mistake
	assert_int_equal(sweep(f), 0);
}

static void nothing_owed_leaves_no_file(void **state)
{
	struct fixture *f = *state;

	write_file(f, "k", 0);
	ledger_file_finish(NULL);
	assert_int_equal(sweep(f), 0);
}

// What was written before, and a half of another that a crash has left, give way.
static void a_later_stop_replaces_the_file(void **state)
{
	struct fixture *f = *state;
	char half[100];

	write_file(f, "old", 1);
	snprintf(half, sizeof(half), "%s.new", f->path);
	close(open(half, O_WRONLY | O_CREAT, 0600));
	write_file(f, "new", 2);
	assert_int_equal(read_file(f, "old"), 0);
	assert_int_equal(read_file(f, "new"), 2);
	assert_int_equal(sweep(f), 1);
}

static void another_version_is_dropped(void **state)
{
	struct fixture *f = *state;

	write_file(f, "k", 3);
	patch(f, 7, "\x7f", 1);
	assert_int_equal(read_file(f, "k"), 0);
	patch(f, 0, "garbage", 7);
	assert_int_equal(read_file(f, "k"), 0);
}

// Sessions before the damage are sound, those behind it are lost; it may be anywhere.
static void damage_costs_what_stands_behind_it(void **state)
{
	struct fixture *f = *state;
	struct stat stat_;

	for (off_t cut = 0; cut < 3 * PAGE; cut += 997) {
		struct ledger_file *file = ledger_file_create(&f->config);

		write_session(ledger_file_writer(file), "first", 1);
		write_session(ledger_file_writer(file), "second", 1);
		ledger_file_finish(file);
		assert_int_equal(stat(f->path, &stat_), 0);
		assert_int_equal(truncate(f->path, cut < stat_.st_size ? cut : stat_.st_size), 0);
		assert_int_equal(read_file(f, "first"), cut > stat_.st_size / 2 + 4);
		assert_int_equal(read_file(f, "second"), cut >= stat_.st_size);
	}
	write_file(f, "k", 3);
	patch(f, PAGE, "x", 1);
	assert_int_equal(read_file(f, "k"), 0);
}

// More than memory.payloads is not taken in, and not written.
static void it_is_no_larger_than_the_memory_for_it(void **state)
{
	struct fixture *f = *state;
	struct ledger_file *file;
	struct stat stat_;

	write_file(f, "k", 100);
	assert_int_equal(read_file(f, "k"), 100);
	f->config.memory.payloads = 10 * PAGE;
	assert_int_equal(read_file(f, "k"), 0);
	file = ledger_file_create(&f->config);
	for (unsigned i = 0; i < 100; i++)
		write_session(ledger_file_writer(file), "k", 1);
	assert_true(ledger_file_writer(file)->left_out > 0);
	ledger_file_finish(file);
	assert_int_equal(stat(f->path, &stat_), 0);
	assert_true(stat_.st_size <= 10 * PAGE);
}

// A folder, a link, a pipe in its place: nothing is read of them, and nobody waits.
static void what_is_no_file_is_not_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(read_file(f, "k"), 0);
	write_file(f, "k", 1);
	assert_int_equal(read_file(f, "k"), 0);
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(symlink("/etc/passwd", f->path), 0);
	assert_int_equal(read_file(f, "k"), 0);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(read_file(f, "k"), 0);
}

static void without_its_folder_the_stop_goes_on(void **state)
{
	struct fixture *f = *state;

	snprintf(f->socket, sizeof(f->socket), "%s/gone/sock", f->folder);
	write_file(f, "k", 1);
	assert_int_equal(read_file(f, "k"), 0);
	ledger_file_remove(&f->config);
	assert_int_equal(sweep(f), 0);
}

// Of a file that does not fit nothing stays, and an earlier one is as it was.
static void a_full_disk_leaves_no_half(void **state)
{
	struct fixture *f = *state;

	// Of this process alone; needs root.
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", f->folder, "tmpfs", 0, "size=64k") < 0)
		skip();
	write_file(f, "old", 2);
	assert_int_equal(read_file(f, "old"), 2);
	write_file(f, "k", 100);
	assert_int_equal(read_file(f, "k"), 0);
	assert_int_equal(read_file(f, "old"), 2);
	assert_int_equal(sweep(f), 1);
	write_file(f, "k", 5); // there is room again
	assert_int_equal(read_file(f, "k"), 5);
}

int test_daemon_ledger_file(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_found_once, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_owed_leaves_no_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_later_stop_replaces_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(another_version_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(
			damage_costs_what_stands_behind_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			it_is_no_larger_than_the_memory_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_its_folder_the_stop_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_leaves_no_half, setup, teardown),
	};

	return cmocka_run_group_tests_name("ledger_file", tests, NULL, NULL);
}
