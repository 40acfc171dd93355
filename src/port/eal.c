// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Start and end of the EAL; main thread. What DPDK has to say goes through our log.

#include "port/port.h"

#include "base/log.h"
#include "port/eal_arguments.h"
#include "port/filter.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPONENT      "port"
#define HUGEPAGES_PATH "/sys/kernel/mm/hugepages"

// Bytes in free hugepages, of all sizes and nodes.
static uint64_t hugepages_free_bytes(void)
{
	DIR *dir = opendir(HUGEPAGES_PATH);
	const struct dirent *entry;
	uint64_t bytes = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		uint64_t size_kb, count = 0;
		char path[sizeof(HUGEPAGES_PATH) + sizeof(entry->d_name) + 16];
		FILE *file;

		if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &size_kb) != 1)
			continue;
		snprintf(path, sizeof(path), HUGEPAGES_PATH "/%s/free_hugepages", entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%" SCNu64, &count) == 1)
			bytes += count * size_kb * 1024;
		fclose(file);
	}
	closedir(dir);
	return bytes;
}

static bool hugepages_enough(const struct port_eal_config *config)
{
	uint64_t free_mb;

	if (!config->hugepages)
		return false;
	free_mb = hugepages_free_bytes() >> 20;
	if (free_mb >= config->memory_mb)
		return true;
	log_info(COMPONENT, "%" PRIu64 " MiB of free hugepages, %u needed: using normal pages",
		free_mb, config->memory_mb);
	return false;
}

// A line of DPDK's, "EAL: text\n", as its drivers print it.
static ssize_t dpdk_line_write(void *cookie, const char *text, size_t size)
{
	enum log_level level = LOG_LEVEL_DEBUG;
	int length = (int)size;

	if (rte_log_cur_msg_loglevel() <= RTE_LOG_ERR)
		level = LOG_LEVEL_ERROR;
	else if (rte_log_cur_msg_loglevel() == RTE_LOG_WARNING)
		level = LOG_LEVEL_WARNING;
	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
		length--;
	if (length > 0)
		log_write(level, "dpdk", "%.*s", length, text);
	return (ssize_t)size;
}

static void dpdk_log_redirect(void)
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = dpdk_line_write});

	if (stream == NULL)
		return;
	setvbuf(stream, NULL, _IOLBF, 0);
	rte_openlog_stream(stream); // lives as long as the process
}

// The EAL reorders and overwrites the array it is given (getopt), and copies what it keeps of the
// strings: it gets an array of its own.
static int eal_start(const struct eal_arguments *arguments)
{
	size_t size = ((size_t)arguments->count + 1) * sizeof(char *);
	char **values = malloc(size);
	int r;

	if (values == NULL)
		return -ENOMEM;
	memcpy(values, arguments->values, size);
	r = rte_eal_init(arguments->count, values);
	free(values);
	if (r >= 0)
		return 0;
	return rte_errno > 0 ? -rte_errno : -EIO;
}

struct programs {
	char files[PORT_FILTERS][64];
	const char *paths[PORT_FILTERS]; // NULL: of no use
};

static int interfaces_claim(const struct port_eal_config *config)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->devices_count; i++) {
		const struct port_eal_device *device = &config->devices[i];

		if (device->filter != PORT_FILTER_NONE)
			r = filter_claim(device->name);
		else if (port_is_af_xdp(device->name))
			filter_clean(device->name);
	}
	return r;
}

static int program_prepare(struct programs *programs, enum port_filter filter)
{
	int r;

	if (programs->paths[filter] != NULL)
		return 0;
	r = filter_program_open(filter, programs->files[filter], sizeof(programs->files[filter]));
	if (r < 0)
		log_error(COMPONENT, "no file for the XDP program: %s", strerror(-r));
	else
		programs->paths[filter] = programs->files[filter];
	return r;
}

// Without its program a bridge's port is one as any other; one that shares its interface would take
// it from the host.
static bool bridge_is_possible(const struct port_eal_config *config)
{
	for (unsigned i = 0; i < config->devices_count; i++)
		if (config->devices[i].filter == PORT_FILTER_BRIDGE &&
			filter_try(config->devices[i].name, PORT_FILTER_BRIDGE) < 0) {
			log_warning(COMPONENT,
				"nothing crosses in the kernel: everything comes to Offramp");
			return false;
		}
	return true;
}

static int programs_prepare(const struct port_eal_config *config, struct programs *ret_programs)
{
	int r = interfaces_claim(config);
	bool bridge = r == 0 && bridge_is_possible(config);

	for (unsigned i = 0; r == 0 && i < config->devices_count; i++) {
		enum port_filter filter = config->devices[i].filter;

		if (filter == PORT_FILTER_OWN || (filter == PORT_FILTER_BRIDGE && bridge))
			r = program_prepare(ret_programs, filter);
	}
	return r;
}

int port_eal_init(const struct port_eal_config *config)
{
	bool hugepages = hugepages_enough(config);
	struct eal_arguments arguments;
	struct programs programs = {0};
	int r;

	dpdk_log_redirect();
	r = programs_prepare(config, &programs);
	if (r < 0)
		return r;
	r = eal_arguments_make(config, hugepages, programs.paths, (unsigned)getpid(), &arguments);
	if (r < 0)
		return r;
	r = eal_start(&arguments);
	if (r < 0)
		log_error(COMPONENT,
			"DPDK does not start with %u MiB of %s: %s (its own lines above say why)",
			config->memory_mb, hugepages ? "hugepages" : "normal pages",
			rte_strerror(-r));
	eal_arguments_free(&arguments);
	return r;
}

void port_eal_cleanup(void)
{
	char runtime_dir[256];

	// The EAL makes this directory even where it shares nothing, and leaves it behind.
	snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
	rte_eal_cleanup();
	if (rmdir(runtime_dir) < 0 && errno != ENOENT)
		log_debug(COMPONENT, "%s stays: %s", runtime_dir, strerror(errno));
}

unsigned port_eal_worker_lcore(unsigned worker)
{
	return worker + 1;
}
