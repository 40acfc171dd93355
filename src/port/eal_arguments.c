// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The EAL's command line.

#include "port/eal_arguments.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool eal_device_is_physical(const char *device)
{
	const char *colon = strchr(device, ':'), *comma = strchr(device, ',');

	return colon != NULL && (comma == NULL || colon < comma);
}

__attribute__((format(printf, 2, 3))) static int add(
	struct eal_arguments *arguments, const char *format, ...)
{
	va_list args;
	char *text;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	if (r < 0)
		return -ENOMEM;
	arguments->values[arguments->count++] = text;
	return 0;
}

// lcore 0 is the main one, lcore i + 1 worker i; two may share a CPU on a machine with only one.
static int add_lcores(struct eal_arguments *arguments, const struct port_eal_config *config)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int r;

	if (stream == NULL)
		return -ENOMEM;
	fprintf(stream, "0@%u", config->control_core);
	for (unsigned i = 0; i < config->workers; i++)
		fprintf(stream, ",%u@%u", i + 1, config->worker_cores[i]);
	r = fclose(stream) == 0 ? add(arguments, "--lcores=%s", text) : -ENOMEM;
	free(text);
	return r;
}

static int add_memory(struct eal_arguments *arguments, const struct port_eal_config *config,
	bool hugepages, unsigned process_id)
{
	int r = add(arguments, "--file-prefix=offramp-%u", process_id);

	// --in-memory refuses to go with --no-huge, which --no-shconf does not.
	if (hugepages)
		r |= add(arguments, "--in-memory");
	else
		r |= add(arguments, "--no-huge") | add(arguments, "--no-shconf");
	return r | add(arguments, "-m") | add(arguments, "%u", config->memory_mb);
}

static int add_devices(struct eal_arguments *arguments, const struct port_eal_config *config,
	const char *const programs[PORT_FILTERS])
{
	bool physical = false;
	int r = 0;

	for (unsigned i = 0; i < config->devices_count; i++) {
		const char *device = config->devices[i].name;

		if (eal_device_is_physical(device)) {
			physical = true;
			r |= add(arguments, "--allow=%s", device);
		} else {
			const char *program = programs[config->devices[i].filter];

			r |= add(arguments, "--vdev=%s%s%s", device,
				program != NULL ? ",xdp_prog=" : "",
				program != NULL ? program : "");
		}
	}
	// Without an --allow the EAL would take over every device that is bound to a user driver.
	return physical ? r : r | add(arguments, "--no-pci");
}

int eal_arguments_make(const struct port_eal_config *config, bool hugepages,
	const char *const programs[PORT_FILTERS], unsigned process_id,
	struct eal_arguments *ret_arguments)
{
	struct eal_arguments arguments = {
		.values = calloc(EAL_FIXED_ARGUMENTS + config->devices_count, sizeof(char *)),
	};
	int r;

	if (arguments.values == NULL)
		return -ENOMEM;
	r = add(&arguments, "offramp") | add_lcores(&arguments, config) |
	    add_memory(&arguments, config, hugepages, process_id) |
	    add(&arguments, "--no-telemetry") |
	    add(&arguments, "--log-level=*:%s",
		    log_get_level() == LOG_LEVEL_DEBUG ? "info" : "error") |
	    add_devices(&arguments, config, programs);
	if (r != 0) {
		eal_arguments_free(&arguments);
		return -ENOMEM;
	}
	*ret_arguments = arguments;
	return 0;
}

void eal_arguments_free(struct eal_arguments *arguments)
{
	for (int i = 0; i < arguments->count; i++)
		free(arguments->values[i]);
	free(arguments->values);
	*arguments = (struct eal_arguments){0};
}
