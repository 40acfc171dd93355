// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sets variables and becomes the program: LD_PRELOAD, to which the shim is added, OFFRAMP_CHANNEL,
// where it finds the daemon, and OFFRAMP_CHANNEL_SECRET_FILE, where that asks for a secret.

#include "cli/run.h"

#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define SHIM		"libofframp-shim.so"
#define CHANNEL_DEFAULT "/run/offramp/channel.sock"
#define EXIT_NOT_RUN	126
#define EXIT_NOT_FOUND	127

struct run {
	const char *config;
	const char *channel;
	const char *secret_file;
	char **command;
};

enum { OPTION_CHANNEL = 256, OPTION_SECRET_FILE };

static const struct argp_option options[] = {
	{"config", 'c', "FILE", 0, "the daemon's configuration: socket.path is taken from it", 0},
	{"channel", OPTION_CHANNEL, "WHERE", 0,
		"where the daemon lets processes attach: socket.path, or an address of "
		"socket.listen (default: $OFFRAMP_CHANNEL, or " CHANNEL_DEFAULT ")",
		0},
	{"secret-file", OPTION_SECRET_FILE, "FILE", 0,
		"what the daemon asks for there (default: $OFFRAMP_CHANNEL_SECRET_FILE)", 0},
	{0},
};

static bool is_address(const char *text, size_t length)
{
	char address[INET6_ADDRSTRLEN + 2];
	uint8_t bytes[16];

	if (length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (length < 2 || address[0] != '[' || address[length - 1] != ']')
		return inet_pton(AF_INET, address, bytes) == 1;
	address[length - 1] = '\0';
	return inet_pton(AF_INET6, address + 1, bytes) == 1;
}

// As the shim reads it.
static bool is_channel(const char *text)
{
	const char *colon = strrchr(text, ':');
	unsigned long port;
	char *end;

	if (text[0] == '/' || strncmp(text, "unix:/", 6) == 0)
		return true;
	if (colon == NULL || !is_address(text, (size_t)(colon - text)))
		return false;
	port = strtoul(colon + 1, &end, 10);
	return colon[1] != '\0' && *end == '\0' && port >= 1 && port <= 65535;
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct run *run = state->input;

	switch (key) {
	case 'c':
		run->config = arg;
		return 0;
	case OPTION_CHANNEL:
		if (!is_channel(arg))
			argp_error(state,
				"'%s' cannot be used; valid choices: an absolute path, unix: and "
				"one, or an address and a TCP port such as 192.0.2.1:1890 or "
				"[2001:db8::1]:1890",
				arg);
		run->channel = arg;
		return 0;
	case OPTION_SECRET_FILE:
		if (access(arg, R_OK) < 0)
			argp_error(state, "%s: %s", arg, strerror(errno));
		run->secret_file = arg;
		return 0;
	case ARGP_KEY_ARG: // what follows is the program's
		run->command = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "a command is missing: offramp run -- mosquitto -c FILE");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

// --- socket.path of the configuration ------------------------------------------------------------

static yaml_node_t *value_of(yaml_document_t *document, yaml_node_t *map, const char *name)
{
	if (map == NULL || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *pair = map->data.mapping.pairs.start;
		pair < map->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(document, pair->key);

		if (key->type == YAML_SCALAR_NODE &&
			strcmp((const char *)key->data.scalar.value, name) == 0)
			return yaml_document_get_node(document, pair->value);
	}
	return NULL;
}

static const char *path_of(yaml_document_t *document)
{
	yaml_node_t *socket = value_of(document, yaml_document_get_root_node(document), "socket");
	yaml_node_t *path = value_of(document, socket, "path");

	if (path == NULL || path->type != YAML_SCALAR_NODE)
		return strdup(CHANNEL_DEFAULT);
	return strdup((const char *)path->data.scalar.value);
}

// NULL after one line.
static const char *read_config(const char *name)
{
	const char *path = NULL;
	yaml_document_t document;
	yaml_parser_t parser;
	FILE *file = fopen(name, "r");

	if (file == NULL) {
		fprintf(stderr, "offramp: %s: %s\n", name, strerror(errno));
		return NULL;
	}
	yaml_parser_initialize(&parser);
	yaml_parser_set_input_file(&parser, file);
	if (yaml_parser_load(&parser, &document)) {
		path = path_of(&document);
		yaml_document_delete(&document);
	} else {
		fprintf(stderr, "offramp: %s:%zu: %s\n", name, parser.problem_mark.line + 1,
			parser.problem);
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return path;
}

// --- the shim ------------------------------------------------------------------------------------

// Beside this program, as in a build directory, or where it is installed.
static bool find_shim(char path[PATH_MAX])
{
	char self[PATH_MAX - sizeof(SHIM) - 1];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length > 0) {
		self[length] = '\0';
		snprintf(path, PATH_MAX, "%.*s/" SHIM, (int)(strrchr(self, '/') - self), self);
		if (access(path, R_OK) == 0)
			return true;
	}
	snprintf(path, PATH_MAX, "%s/" SHIM, OFFRAMP_LIBDIR);
	return access(path, R_OK) == 0;
}

static bool preload(const char *shim)
{
	const char *before = getenv("LD_PRELOAD");
	char *list;
	bool ok;

	if (before == NULL || *before == '\0')
		return setenv("LD_PRELOAD", shim, 1) == 0;
	if (asprintf(&list, "%s:%s", before, shim) < 0)
		return false;
	ok = setenv("LD_PRELOAD", list, 1) == 0;
	free(list);
	return ok;
}

int run_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = option,
		.args_doc = "-- COMMAND…",
		.doc = "Starts a program whose listening sockets and connections live in offrampd, on "
		       "the addresses that its configuration names (mode: socket). All else of it is "
		       "untouched.",
	};
	const char *environment = getenv("OFFRAMP_CHANNEL");
	struct run run = {.channel = environment};
	char shim[PATH_MAX];

	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &run) != 0)
		return argp_err_exit_status;
	if (run.config != NULL && (run.channel = read_config(run.config)) == NULL)
		return EXIT_NOT_RUN;
	if (!find_shim(shim)) {
		fprintf(stderr, "offramp: " SHIM " is neither beside this program nor in %s\n",
			OFFRAMP_LIBDIR);
		return EXIT_NOT_RUN;
	}
	if ((run.channel != NULL && setenv("OFFRAMP_CHANNEL", run.channel, 1) < 0) ||
		(run.secret_file != NULL &&
			setenv("OFFRAMP_CHANNEL_SECRET_FILE", run.secret_file, 1) < 0) ||
		!preload(shim)) {
		fprintf(stderr, "offramp: %s\n", strerror(errno));
		return EXIT_NOT_RUN;
	}
	execvp(run.command[0], run.command);
	fprintf(stderr, "offramp: %s: %s\n", run.command[0], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}
