// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A header that says whose records follow, then one place a flow, worker by worker. It
// lives as long as /run does, as no connection outlives the machine's restart. How many
// workers the earlier run had does not matter.

#include "daemon/flows_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/monitor.h"
#include "base/log.h"
#include "control/config.h"

#define FLOWS_VERSION 1u

struct flows_header {
	char magic[8];
	uint32_t version, record_size, records, ports;
	char port_names[BRIDGE_PORTS_MAX][NET_IF_NAME_MAX]; // records tell ports by number
};

struct flows_file {
	char *path;
	struct flows_header *header;
	size_t size; // of what is mapped: this run's, or an earlier one's when it was larger
	struct flows_header own;
	uint32_t records_each; // a worker's
	struct monitor_record *left;
	uint32_t left_count;
};

static void header_fill(const struct config *config, struct flows_header *ret_header)
{
	*ret_header = (struct flows_header){
		.magic = "offramp",
		.version = FLOWS_VERSION,
		.record_size = sizeof(struct monitor_record),
		.records = config->workers * config_flows_max(config),
		.ports = config->ports_count,
	};
	for (unsigned i = 0; i < config->ports_count; i++)
		snprintf(ret_header->port_names[i], sizeof(ret_header->port_names[i]), "%s",
			config->ports[i].port.name);
}

static size_t size_with(uint64_t records)
{
	return sizeof(struct flows_header) + records * sizeof(struct monitor_record);
}

static struct monitor_record *records_of(const struct flows_file *file)
{
	return (struct monitor_record *)(file->header + 1);
}

// --- what is there -------------------------------------------------------------------------------

// Never shorter than what an earlier run has written.
static int map_file(struct flows_file *file)
{
	int fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat was;
	void *map;
	int rc = 0;

	if (fd < 0)
		return -errno;
	file->size = size_with(file->own.records);
	if (fstat(fd, &was) < 0)
		rc = -errno;
	else if ((size_t)was.st_size > file->size)
		file->size = (size_t)was.st_size;
	if (rc == 0 && ftruncate(fd, (off_t)file->size) < 0)
		rc = -errno;
	map = rc < 0 ? MAP_FAILED
		     : mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rc == 0 && map == MAP_FAILED)
		rc = -errno;
	close(fd);
	if (rc == 0)
		file->header = map;
	return rc;
}

// Records tell ports by number, so they must be the same ones.
static bool is_readable(const struct flows_file *file)
{
	struct flows_header expected = file->own;

	expected.records = file->header->records;
	return memcmp(file->header, &expected, sizeof(expected)) == 0 &&
	       size_with(expected.records) <= file->size;
}

static int read_left(struct flows_file *file)
{
	const struct monitor_record *records = records_of(file);
	uint32_t count = 0;

	if (!is_readable(file))
		return 0;
	for (uint32_t i = 0; i < file->header->records; i++)
		count += records[i].used != 0;
	if (count == 0)
		return 0;
	file->left = calloc(count, sizeof(*file->left));
	if (file->left == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < file->header->records; i++)
		if (records[i].used)
			file->left[file->left_count++] = records[i];
	return 0;
}

// --- start and end -------------------------------------------------------------------------------

int flows_file_open(const struct config *config, struct flows_file **ret_file)
{
	struct flows_file *file;
	int rc = -ENOMEM;

	*ret_file = NULL;
	if (config->mode != CONFIG_MODE_MONITOR)
		return 0;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return -ENOMEM;
	header_fill(config, &file->own);
	file->records_each = config_flows_max(config);
	if (asprintf(&file->path, "%s.flows", config->control_socket) < 0) {
		file->path = NULL;
		goto err;
	}
	rc = map_file(file);
	if (rc == 0)
		rc = read_left(file);
	if (rc < 0) {
		log_error("daemon", "%s: %s", file->path, strerror(-rc));
		goto err;
	}
	*ret_file = file;
	return 0;
err:
	flows_file_close(file);
	return rc;
}

void flows_file_close(struct flows_file *file)
{
	if (file == NULL)
		return;
	if (file->header != NULL)
		munmap(file->header, file->size);
	free(file->left);
	free(file->path);
	free(file);
}

uint32_t flows_file_left(const struct flows_file *file, const struct monitor_record **ret_left)
{
	*ret_left = file == NULL ? NULL : file->left;
	return file == NULL ? 0 : file->left_count;
}

void flows_file_begin(struct flows_file *file)
{
	if (file == NULL)
		return;
	memset(file->header, 0, file->size);
	*file->header = file->own;
}

struct monitor_record *flows_file_records(struct flows_file *file, unsigned worker)
{
	return file == NULL ? NULL : records_of(file) + (size_t)worker * file->records_each;
}
