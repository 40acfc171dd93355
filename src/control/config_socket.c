// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Resolver of `socket`: where processes attach. Whoever does may listen where the broker does, so a
// unix socket has its mode, and over TCP everybody must know a secret; what can be reached from
// another machine is open to named addresses alone.

#include "control/config_resolve.h"

#include "control/config_document.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// --- secrets -------------------------------------------------------------------------------------

// One more than there may be is read.
static uint32_t read_secret(FILE *file, uint8_t *ret_secret)
{
	size_t length = fread(ret_secret, 1, CONFIG_SECRET_MAX + 1, file);

	// What an editor puts at the end of a line is not meant.
	while (length > 0 && (ret_secret[length - 1] == '\n' || ret_secret[length - 1] == '\r'))
		length--;
	return (uint32_t)length;
}

static void check_secret(struct config_document *document, const char *path, const char *name,
	FILE *file, uint32_t length)
{
	struct stat status;

	if (fstat(fileno(file), &status) == 0 && (status.st_mode & S_IRWXO))
		config_document_error(
			document, path, "%s is open to everybody; chmod 640 it", name);
	else if (length < CONFIG_SECRET_MIN || length > CONFIG_SECRET_MAX)
		config_document_error(document, path,
			"%s holds no secret; valid choices: a file of %u to %u bytes", name,
			CONFIG_SECRET_MIN, CONFIG_SECRET_MAX);
}

static int resolve_secret(struct config_document *document, const char *path, const char *name,
	struct config_door *door)
{
	FILE *file = name[0] == '/' ? fopen(name, "re") : NULL;

	door->secret = calloc(1, CONFIG_SECRET_MAX + 1);
	if (!door->secret) {
		if (file)
			fclose(file);
		return -ENOMEM;
	}
	if (name[0] != '/') {
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: an absolute path", name);
	} else if (!file) {
		config_document_error(
			document, path, "%s cannot be read: %s", name, strerror(errno));
	} else {
		door->secret_length = read_secret(file, door->secret);
		check_secret(document, path, name, file, door->secret_length);
		fclose(file);
	}
	return 0;
}

// --- who may -------------------------------------------------------------------------------------

static int resolve_allow(struct config_document *document, const struct raw_door *raw, unsigned i,
	struct config_door *door)
{
	char path[CONFIG_PATH_MAX];

	door->allow = calloc(raw->allow_count + 1, sizeof(*door->allow));
	if (!door->allow)
		return -ENOMEM;
	door->allow_count = raw->allow_count;
	for (unsigned j = 0; j < raw->allow_count; j++)
		if (net_prefix_parse(
			    raw->allow[j], &door->allow[j].address, &door->allow[j].prefix) < 0)
			config_document_error(document,
				config_path(path, "socket.listen[%u].allow[%u]", i, j),
				"'%s' cannot be used; valid choices: an address, or a prefix such "
				"as 192.168.100.0/30",
				raw->allow[j]);
	return 0;
}

static void check_open(
	struct config_document *document, const char *path, const struct config_door *door)
{
	if (door->path)
		return;
	if (!door->secret)
		config_document_error(document, path,
			"whoever reaches %s could take the broker's place; valid choices: a unix "
			"socket, or secret_file",
			door->address);
	else if (door->allow_count == 0 && !config_is_loopback(&door->tcp.address))
		config_document_error(document, path,
			"%s can be reached from other machines; valid choices: a loopback address, "
			"a unix socket, or allow",
			door->address);
}

static void check_unix(struct config_document *document, const struct raw_door *raw, unsigned i,
	const struct config_door *door)
{
	char path[CONFIG_PATH_MAX];

	if (!door->path && raw->group)
		config_document_error(document, config_path(path, "socket.listen[%u].group", i),
			"only a unix socket has a group");
	if (door->path && raw->allow_count > 0)
		config_document_error(document, config_path(path, "socket.listen[%u].allow", i),
			"a unix socket needs none: its mode says who may use it");
}

static void check_alone(struct config_document *document, const char *path,
	const struct config *config, const struct config_door *door)
{
	bool twice = door->path && strcmp(door->path, config->socket.path) == 0;

	for (const struct config_door *other = config->socket.doors; other < door; other++)
		twice |= strcmp(other->address, door->address) == 0;
	if (twice)
		config_document_error(document, path, "%s is used already", door->address);
}

static int resolve_door(struct config_document *document, const struct raw_door *raw, unsigned i,
	struct config *config)
{
	struct config_door *door = &config->socket.doors[i];
	char path[CONFIG_PATH_MAX];
	bool usable;
	int err;

	door->address = raw->address;
	usable = config_resolve_place(document, config_path(path, "socket.listen[%u].address", i),
		raw->address, &door->path, &door->tcp);
	check_alone(document, path, config, door);
	check_unix(document, raw, i, door);
	door->group = config_group_of(
		document, config_path(path, "socket.listen[%u].group", i), raw->group);
	err = resolve_allow(document, raw, i, door);
	if (!err && raw->secret_file)
		err = resolve_secret(document,
			config_path(path, "socket.listen[%u].secret_file", i), raw->secret_file,
			door);
	if (!err && usable)
		check_open(document, config_path(path, "socket.listen[%u].address", i), door);
	return err;
}

// --- where to ------------------------------------------------------------------------------------

// What no address on a wire is in, alone or with others.
static bool is_of_host(const struct config_network *network)
{
	static const char *const own[] = {
		"127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/4", "::1/128", "ff00::/8", "fe80::/10"};
	struct net_address address;
	uint8_t length;

	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (net_prefix_parse(own[i], &address, &length) == 0 && network->prefix >= length &&
			net_prefix_contains(&address, length, &network->address))
			return true;
	return false;
}

static int resolve_connects(
	struct config_document *document, const struct raw_socket *raw, struct config *config)
{
	struct config_socket *socket = &config->socket;
	char path[CONFIG_PATH_MAX];

	if (raw->connect_count > CONFIG_CONNECTS_MAX) {
		config_document_error(
			document, "socket.connect", "at most %u entries", CONFIG_CONNECTS_MAX);
		return 0;
	}
	socket->connects = calloc(raw->connect_count + 1, sizeof(*socket->connects));
	if (!socket->connects)
		return -ENOMEM;
	socket->connects_count = raw->connect_count;
	for (unsigned i = 0; i < raw->connect_count; i++) {
		struct config_network *network = &socket->connects[i];

		if (net_prefix_parse(raw->connect[i], &network->address, &network->prefix) < 0 ||
			!net_prefix_names_network(&network->address, network->prefix) ||
			is_of_host(network))
			config_document_error(document, config_path(path, "socket.connect[%u]", i),
				"'%s' cannot be used; valid choices: an address, or a prefix such "
				"as 192.0.2.0/24 whose other bits are 0, neither of loopback nor "
				"link-local nor multicast",
				raw->connect[i]);
	}
	return 0;
}

// --- UDP -----------------------------------------------------------------------------------------

// An address of ours, with a port or (0) without.
static void resolve_place(struct config_document *document, const char *text, unsigned i,
	const struct config *config, struct net_endpoint *ret_place)
{
	char path[CONFIG_PATH_MAX];
	bool usable = net_endpoint_parse(text, ret_place) == 0 && ret_place->port != 0;

	config_path(path, "socket.udp[%u]", i);
	if (!usable) {
		ret_place->port = 0;
		usable = net_address_parse(text, &ret_place->address) == 0;
	}
	if (usable)
		config_check_own(document, path, text, config, &ret_place->address);
	else
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: an address of ours, and a port if "
			"only that one is meant, such as 198.18.0.1:5683 or [2001:db8::1]:5683",
			text);
}

static int resolve_udp(
	struct config_document *document, const struct raw_socket *raw, struct config *config)
{
	struct net_endpoint *udp = calloc(raw->udp_count + 1, sizeof(*udp));

	if (!udp)
		return -ENOMEM;
	config->socket.udp = udp;
	config->socket.udp_count = raw->udp_count;
	if (raw->udp_count > CONFIG_UDP_MAX) {
		config_document_error(document, "socket.udp", "at most %u entries", CONFIG_UDP_MAX);
		return 0;
	}
	for (unsigned i = 0; i < raw->udp_count; i++)
		resolve_place(document, raw->udp[i], i, config, &udp[i]);
	return 0;
}

int config_resolve_socket(
	struct config_document *document, const struct raw_socket *raw, struct config *config)
{
	int err;

	config->socket.path = raw->path ? raw->path : CONFIG_CHANNEL_DEFAULT;
	config_check_socket(document, "socket.path", config->socket.path);
	config->socket.group = config_group_of(document, "socket.group", raw->group);
	config_resolve_numbers(document, CONFIG_SECTION_SOCKET, "socket", raw, &config->socket);
	if (config->mode != CONFIG_MODE_SOCKET &&
		(raw->path || raw->group || raw->memory || raw->silence || raw->listen_count > 0 ||
			raw->connect_count > 0 || raw->udp_count > 0))
		config_document_error(document, "socket",
			"with 'mode: %s' no process attaches; valid choices: none",
			config_mode_name(config->mode));
	if (raw->listen_count > CONFIG_DOORS_MAX) {
		config_document_error(
			document, "socket.listen", "at most %u entries", CONFIG_DOORS_MAX);
		return 0;
	}
	err = resolve_connects(document, raw, config);
	if (!err)
		err = resolve_udp(document, raw, config);
	if (err)
		return err;
	config->socket.doors = calloc(raw->listen_count + 1, sizeof(*config->socket.doors));
	if (!config->socket.doors)
		return -ENOMEM;
	for (unsigned i = 0; !err && i < raw->listen_count; i++) {
		config->socket.doors_count = i + 1;
		err = resolve_door(document, &raw->listen[i], i, config);
	}
	return err;
}

void config_unresolve_socket(struct config_socket *socket)
{
	for (unsigned i = 0; i < socket->doors_count; i++) {
		free(socket->doors[i].allow);
		free(socket->doors[i].secret);
	}
	free(socket->doors);
	free(socket->connects);
	free(socket->udp);
}
