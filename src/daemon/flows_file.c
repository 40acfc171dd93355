// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A header that says whose records follow, then one place a flow. It lives as long as
// /run does, as no connection outlives the machine's restart.

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
	size_t size;
};

static void header_fill(const struct config *config, struct flows_header *ret_header)
{
	*ret_header = (struct flows_header){
		.magic = "offramp",
		.version = FLOWS_VERSION,
		.record_size = sizeof(struct monitor_record),
		.records = config_flows_max(config),
		.ports = config->ports_count,
	};
	for (unsigned i = 0; i < config->ports_count; i++)
		snprintf(ret_header->port_names[i], sizeof(ret_header->port_names[i]), "%s",
			config->ports[i].port.name);
}

static int map_file(struct flows_file *file)
{
	int fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	void *map;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)file->size) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	map = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	file->header = map;
	return 0;
}

int flows_file_open(const struct config *config, struct flows_file **ret_file)
{
	struct flows_header header;
	struct flows_file *file;
	int rc = -ENOMEM;

	*ret_file = NULL;
	if (config->mode != CONFIG_MODE_MONITOR)
		return 0;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return -ENOMEM;
	header_fill(config, &header);
	file->size = sizeof(header) + header.records * sizeof(struct monitor_record);
	if (asprintf(&file->path, "%s.flows", config->control_socket) < 0) {
		file->path = NULL;
		goto err;
	}
	rc = map_file(file);
	if (rc < 0) {
		log_error("daemon", "%s: %s", file->path, strerror(-rc));
		goto err;
	}
	if (memcmp(file->header, &header, sizeof(header)) != 0) {
		memset(file->header, 0, file->size);
		*file->header = header;
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
	free(file->path);
	free(file);
}

struct monitor_record *flows_file_records(struct flows_file *file)
{
	return file == NULL ? NULL : (struct monitor_record *)(file->header + 1);
}
