// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The resolver's ground: numbers, names and addresses, and the parts of the file
// that stand alone (workers, memory, tcp, files).

#include "control/config_resolve.h"

#include "base/crossing.h"
#include "control/config_document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CORE_MAX 1023u // as CPU_SETSIZE has them

const char *config_path(char *path, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(path, CONFIG_PATH_MAX, format, args);
	va_end(args);
	return path;
}

// --- numbers -------------------------------------------------------------------------------------

static void store(void *into, size_t width, uint64_t value)
{
	switch (width) {
	case 2:
		*(uint16_t *)into = value;
		break;
	case 4:
		*(uint32_t *)into = value;
		break;
	default:
		*(uint64_t *)into = value;
		break;
	}
}

static uint64_t resolve_number(struct config_document *document, const struct config_number *number,
	const char *path, const char *text)
{
	char low[CONFIG_NUMBER_STRLEN], high[CONFIG_NUMBER_STRLEN];
	uint64_t value;

	if (!text)
		return number->fallback;
	config_number_format(number->unit, number->min, low);
	config_number_format(number->unit, number->max, high);
	if (!config_number_parse(number->unit, text, &value))
		config_document_error(document, path,
			"'%s' is not of the right form; valid choices: %s, from %s to %s", text,
			config_number_form(number->unit), low, high);
	else if (value < number->min || value > number->max)
		config_document_error(document, path, "%s is out of range; valid choices: %s to %s",
			text, low, high);
	else
		return value;
	return number->fallback;
}

void config_resolve_numbers(struct config_document *document, enum config_section_id section,
	const char *path, const void *raw, void *into)
{
	const struct config_section *s = &config_sections[section];
	char key[CONFIG_PATH_MAX];

	for (unsigned i = 0; i < s->count; i++) {
		const struct config_number *n = &s->numbers[i];
		const char *text = *(char *const *)((const char *)raw + n->from);

		config_path(key, "%s.%s", path, n->key);
		store((char *)into + n->to, n->width, resolve_number(document, n, key, text));
	}
}

// --- names and addresses -------------------------------------------------------------------------

bool config_resolve_name(struct config_document *document, const char *path, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";

	if (strlen(text) < NET_IF_NAME_MAX && strspn(text, letters) == strlen(text))
		return true;
	config_document_error(document, path,
		"'%s' is not a name; valid choices: up to %d letters, digits, '_', '-' and '.'",
		text, NET_IF_NAME_MAX - 1);
	return false;
}

bool config_resolve_address(struct config_document *document, const char *path, const char *text,
	struct net_address *ret_address)
{
	struct net_address address;

	if (net_address_parse(text, &address) != 0 || !net_address_is_host(&address)) {
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: the address of a host, such as "
			"198.18.0.1 or 2001:db8::1",
			text);
		return false;
	}
	if (net_address_is_link_local(&address)) {
		config_document_error(document, path,
			"'%s' is link-local, which does not say the port; valid choices: another "
			"address of that host",
			text);
		return false;
	}
	*ret_address = address;
	return true;
}

// --- parts that stand alone ----------------------------------------------------------------------

static int resolve_workers(
	struct config_document *document, const struct raw_workers *raw, struct config *config)
{
	static const unsigned default_cores[] = {1};
	const unsigned *cores = raw->cores ? raw->cores : default_cores;
	unsigned count = raw->cores ? raw->cores_count : 1;
	char path[CONFIG_PATH_MAX];

	config_resolve_numbers(document, CONFIG_SECTION_WORKERS, "workers", raw, config);
	if (count > CROSSING_WORKERS_MAX)
		config_document_error(document, "workers.cores",
			"%u cores given; valid choices: 1 to %u cores", count,
			CROSSING_WORKERS_MAX);
	config->worker_cores = calloc(count, sizeof(*config->worker_cores));
	if (!config->worker_cores)
		return -ENOMEM;
	memcpy(config->worker_cores, cores, count * sizeof(*cores));
	config->workers = count;
	config->idle = raw->idle;
	for (unsigned i = 0; i < count; i++) {
		if (cores[i] == config->control_core && raw->idle == CONFIG_IDLE_BUSY)
			config_document_error(document, config_path(path, "workers.cores[%u]", i),
				"core %u is workers.control_core too, and a busy worker leaves it "
				"no time; valid choices: another core, or 'idle: adaptive'",
				cores[i]);
		else if (cores[i] > CORE_MAX)
			config_document_error(document, config_path(path, "workers.cores[%u]", i),
				"%u is out of range; valid choices: 0 to %u", cores[i], CORE_MAX);
	}
	return 0;
}

static void resolve_tcp(
	struct config_document *document, const struct raw_tcp *raw, struct tcp_config *tcp)
{
	config_resolve_numbers(document, CONFIG_SECTION_TCP, "tcp", raw, tcp);
	tcp->congestion = raw->congestion;
	if (tcp->rto_min_us > tcp->rto_max_us)
		config_document_error(
			document, "tcp.rto_min", "must not be larger than tcp.rto_max");
	if (tcp->rto_initial_us < tcp->rto_min_us || tcp->rto_initial_us > tcp->rto_max_us)
		config_document_error(document, "tcp.rto_initial",
			"must lie between tcp.rto_min and tcp.rto_max");
}

// What is not Offramp's own has to go on in monitor mode, and may with two ports in the other.
static void resolve_bridge(
	struct config_document *document, const struct raw_config *raw, struct config *config)
{
	bool monitor = raw->mode == CONFIG_MODE_MONITOR;

	config->bridge = raw->bridge;
	if (config->bridge == CONFIG_BRIDGE_DEFAULT)
		config->bridge = monitor ? CONFIG_BRIDGE_LEARNING : CONFIG_BRIDGE_NONE;
	else if (monitor && config->bridge == CONFIG_BRIDGE_NONE)
		config_document_error(document, "bridge",
			"with 'mode: monitor' everything goes through the bridge; valid choices: "
			"learning, static, hub");
	else if (raw->mode == CONFIG_MODE_SOCKET && config->bridge != CONFIG_BRIDGE_NONE)
		config_document_error(
			document, "bridge", "'mode: socket' bridges nothing; valid choices: none");
	else if (!monitor && config->bridge != CONFIG_BRIDGE_NONE &&
		 (raw->ports_count < 2 || raw->ports_count > BRIDGE_PORTS_MAX))
		config_document_error(document, "bridge",
			"there are 2 to %u ports to a bridge; valid choices: none",
			BRIDGE_PORTS_MAX);
}

static void resolve_files(
	struct config_document *document, const struct raw_config *raw, struct config *config)
{
	config->secret_file = raw->secret_file;
	if (raw->secret_file && raw->secret_file[0] != '/')
		config_document_error(document, "secret_file",
			"'%s' cannot be used; valid choices: an absolute path", raw->secret_file);
}

int config_resolve(
	struct config_document *document, const struct raw_config *raw, struct config *ret_config)
{
	int err;

	ret_config->mode = raw->mode;
	resolve_bridge(document, raw, ret_config);
	ret_config->log_level = raw->log.level ? *raw->log.level : LOG_LEVEL_INFO;
	ret_config->memory.hugepages = raw->memory.hugepages;
	config_resolve_numbers(
		document, CONFIG_SECTION_MEMORY, "memory", &raw->memory, &ret_config->memory);
	resolve_tcp(document, &raw->tcp, &ret_config->tcp);
	config_resolve_numbers(document, CONFIG_SECTION_KEEP_ALIVE, "tcp.keep_alive",
		&raw->tcp.keep_alive, &ret_config->keep_alive);
	resolve_files(document, raw, ret_config);
	err = resolve_workers(document, &raw->workers, ret_config);
	if (!err)
		err = config_resolve_network(document, raw, ret_config);
	if (!err)
		err = config_resolve_brokers(document, raw, ret_config);
	if (!err)
		err = config_resolve_control(document, &raw->control, ret_config);
	if (!err)
		err = config_resolve_socket(document, &raw->socket, ret_config);
	if (!err && config_document_errors(document))
		err = -EINVAL;
	return err;
}

void config_unresolve(struct config *config)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		free(config->ports[i].addresses);
		free((void *)config->ports[i].port.own);
	}
	for (unsigned i = 0; i < config->brokers_count; i++)
		free((void *)config->brokers[i].sources);
	for (unsigned i = 0; i < config->endpoints_count; i++)
		config_tls_destroy(config->endpoints[i].tls);
	config_unresolve_socket(&config->socket);
	free(config->endpoints);
	free(config->ports);
	free(config->routes);
	free(config->neighbours);
	free(config->stations);
	free(config->brokers);
	free(config->worker_cores);
}
