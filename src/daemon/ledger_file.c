// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Main thread only, while no worker runs. No larger than what memory.payloads allows, for what is
// read is held until it is asked for.

#include "daemon/ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "offload/ledger.h"

struct ledger_file {
	struct ledger_writer writer;
	char *path, *path_new;
	int fd; // -1: nothing has been written yet
};

static uint64_t wall_s(void)
{
	return (uint64_t)time(NULL);
}

// NULL: no memory.
static char *path_make(const struct config *config, const char *suffix)
{
	char *path = NULL;

	if (asprintf(&path, "%s.owed%s", config->control_socket, suffix) < 0)
		return NULL;
	return path;
}

// --- reading -------------------------------------------------------------------------------------

static int read_all(int fd, uint8_t *data, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t n = read(fd, data + at, length - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

// *ret_data from malloc().
static int load_open(int fd, uint64_t largest, uint8_t **ret_data, size_t *ret_length)
{
	struct stat stat;
	uint8_t *data;
	size_t length;
	int rc;

	if (fstat(fd, &stat) < 0)
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return -EINVAL;
	length = (uint64_t)stat.st_size < largest ? (size_t)stat.st_size : largest;
	data = malloc(length + 1);
	if (data == NULL)
		return -ENOMEM;
	rc = read_all(fd, data, length);
	if (rc < 0) {
		free(data);
		return rc;
	}
	*ret_data = data;
	*ret_length = length;
	return 0;
}

static int load(const char *path, uint64_t largest, uint8_t **ret_data, size_t *ret_length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return -errno;
	rc = load_open(fd, largest, ret_data, ret_length);
	close(fd);
	return rc;
}

static void tell_found(const char *path, const struct ledger_found *found)
{
	if (found->foreign) {
		log_warning("daemon",
			"%s: not written by this version of Offramp: what it holds is dropped",
			path);
		return;
	}
	log_info("daemon", "%s: %u messages are owed to %u persistent sessions", path,
		found->deliveries, found->sessions);
	if (found->damaged)
		log_warning(
			"daemon", "%s: damaged: what stands behind these sessions is lost", path);
	if (found->unsound + found->strangers + found->ended > 0)
		log_warning("daemon",
			"%s: dropped: %u sessions of brokers that are not configured, %u that "
			"have ended, %u that make no sense",
			path, found->strangers, found->ended, found->unsound);
}

static int read_ledger(const struct config *config, const char *path, struct ledger **ret_ledger)
{
	struct ledger_config ledger = {
		.brokers = config->brokers,
		.brokers_count = config->brokers_count,
		.wall_s = wall_s(),
		.now_us = clock_now_us(),
	};
	struct ledger_found found;
	uint8_t *data = NULL;
	size_t length = 0;
	int rc = load(path, config->memory.payloads, &data, &length);

	if (rc < 0)
		return rc;
	rc = ledger_create(&ledger, data, length, &found, ret_ledger);
	if (rc == 0)
		tell_found(path, &found);
	return rc;
}

void ledger_file_read(const struct config *config, struct ledger **ret_ledger)
{
	char *path = path_make(config, "");
	int rc = path == NULL ? -ENOMEM : read_ledger(config, path, ret_ledger);

	if (rc < 0)
		*ret_ledger = NULL;
	if (rc < 0 && rc != -ENOENT)
		log_error("daemon", "%s.owed: %s: what it holds is dropped", config->control_socket,
			strerror(-rc));
	free(path);
}

void ledger_file_remove(const struct config *config)
{
	char *path = path_make(config, "");

	if (path != NULL && unlink(path) < 0 && errno != ENOENT)
		log_warning("daemon", "%s: cannot be removed: %s", path, strerror(errno));
	free(path);
}

// --- writing -------------------------------------------------------------------------------------

static int file_write(void *ctx, const void *data, size_t length)
{
	struct ledger_file *file = ctx;

	if (file->fd < 0)
		file->fd = open(file->path_new,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->fd < 0)
		return -errno;
	for (size_t at = 0; at < length;) {
		ssize_t n = write(file->fd, (const uint8_t *)data + at, length - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

struct ledger_file *ledger_file_create(const struct config *config)
{
	struct ledger_file *file = calloc(1, sizeof(*file));

	if (file == NULL)
		goto err;
	file->fd = -1;
	file->writer = (struct ledger_writer){
		.write = file_write,
		.ctx = file,
		.wall_s = wall_s(),
		.room = config->memory.payloads,
	};
	file->path = path_make(config, "");
	file->path_new = path_make(config, ".new");
	if (file->path != NULL && file->path_new != NULL)
		return file;
	free(file->path);
	free(file->path_new);
	free(file);
err:
	log_error("daemon", "no memory: what persistent sessions are owed is lost");
	return NULL;
}

struct ledger_writer *ledger_file_writer(struct ledger_file *file)
{
	return &file->writer;
}

// The name of a file that has been renamed is the folder's.
static void sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(copy);
}

static int publish(struct ledger_file *file)
{
	if (file->writer.error < 0)
		return file->writer.error;
	if (fsync(file->fd) < 0 || rename(file->path_new, file->path) < 0)
		return -errno;
	sync_folder(file->path);
	return 0;
}

void ledger_file_finish(struct ledger_file *file)
{
	int rc = 0;

	if (file == NULL)
		return;
	if (file->fd >= 0 || file->writer.error < 0)
		rc = publish(file);
	if (file->fd >= 0)
		close(file->fd);
	if (rc < 0) {
		unlink(file->path_new);
		log_error("daemon", "%s: %s: what persistent sessions are owed is lost", file->path,
			strerror(-rc));
	} else if (file->writer.sessions > 0) {
		log_info("daemon", "%s: %u messages that are owed to %u persistent sessions",
			file->path, file->writer.deliveries, file->writer.sessions);
	}
	if (file->writer.left_out > 0)
		log_warning("daemon",
			"%s: %u messages are lost: more is owed than memory.payloads holds",
			file->path, file->writer.left_out);
	ledger_write_fini(&file->writer);
	free(file->path);
	free(file->path_new);
	free(file);
}
