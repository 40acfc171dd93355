// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The file is named after the control socket, which is one a daemon, and lives as long
// as /run does: until the machine, and with it a broker on it, starts anew.

#include "daemon/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "control/config.h"

struct memory {
	char *path;
	uint8_t *kept;
	size_t size;
};

// The folder of the control socket, when only that is missing (/run starts empty).
static void make_folder(const char *path)
{
	char *copy = strdup(path);

	if (copy != NULL)
		mkdir(dirname(copy), 0755);
	free(copy);
}

static int map_file(struct memory *memory)
{
	int fd = open(memory->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	void *map;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)memory->size) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	map = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	memory->kept = map;
	return 0;
}

int memory_open(const struct config *config, struct memory **ret_memory)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	int rc = -ENOMEM;

	if (memory == NULL)
		return -ENOMEM;
	memory->size = config->brokers_count;
	if (asprintf(&memory->path, "%s.sessions", config->control_socket) < 0) {
		memory->path = NULL;
		goto err;
	}
	make_folder(memory->path);
	rc = map_file(memory);
	if (rc < 0) {
		log_error("daemon", "%s: %s", memory->path, strerror(-rc));
		goto err;
	}
	*ret_memory = memory;
	return 0;
err:
	memory_close(memory);
	return rc;
}

void memory_close(struct memory *memory)
{
	if (memory == NULL)
		return;
	if (memory->kept != NULL)
		munmap(memory->kept, memory->size);
	free(memory->path);
	free(memory);
}

uint8_t *memory_kept(struct memory *memory, unsigned broker)
{
	return &memory->kept[broker];
}

const char *memory_path(const struct memory *memory)
{
	return memory->path;
}
