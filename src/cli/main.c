// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp(1): asks a running offrampd, over its unix socket.

#include "cli/client.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/trace.h"
#include "offramp/v1/admin.pb-c.h"

#include <argp.h>
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE     2
#define SOCKET_DEFAULT "/run/offramp/offramp.sock"

static const struct command *const commands[] = {
	&command_status,
	&command_connections,
	&command_subscriptions,
	&command_topics,
	&command_counters,
	&command_filters,
	&command_trace,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

#define FILTERS_MAX 256 // added or removed by one call

struct options {
	const char *socket;
	const struct command *command;
	bool json;
	bool changes; // an option of `change` was given
	Offramp__V1__ChangeFiltersRequest change;
	char *add[FILTERS_MAX], *remove[FILTERS_MAX];
	struct trace_options trace;
};

enum {
	OPTION_JSON = 256,
	OPTION_SOCKET,
	OPTION_BROKER,
	OPTION_ADD,
	OPTION_REMOVE,
	OPTION_CAPTURE,
};

static const struct argp_option option_table[] = {
	{"json", OPTION_JSON, NULL, 0, "one JSON document instead of a table", 0},
	{"socket", OPTION_SOCKET, "PATH", 0,
		"the daemon's socket (default: $OFFRAMP_SOCKET, or " SOCKET_DEFAULT ")", 0},
	{0, 0, NULL, 0, "With filters, until the daemon's next start:", 1},
	{"add", OPTION_ADD, "FILTER", 0, "messages of these topics pass to the broker", 1},
	{"remove", OPTION_REMOVE, "FILTER", 0, "take such a filter away", 1},
	{"capture", OPTION_CAPTURE, "on|off", 0, "off: all messages pass to the broker", 1},
	{"broker", OPTION_BROKER, "NAME", 0, "of which broker, where there are several", 1},
	{0},
};

static void usage_error(const struct argp_state *state, const char *what)
{
	char choices[128] = "";

	for (size_t i = 0; i < COMMANDS; i++) {
		if (i)
			strcat(choices, ", ");
		strcat(choices, commands[i]->name);
	}
	argp_error(state, "%s; valid choices: %s", what, choices);
}

static void list_append(char **list, size_t *count, char *text, const struct argp_state *state)
{
	if (*count == FILTERS_MAX)
		argp_error(state, "more than %u filters", FILTERS_MAX);
	else
		list[(*count)++] = text;
}

static Offramp__V1__Switch switch_parse(const char *text, const struct argp_state *state)
{
	if (strcmp(text, "on") == 0)
		return OFFRAMP__V1__SWITCH__SWITCH_ON;
	if (strcmp(text, "off") != 0)
		argp_error(state, "--capture: valid choices: on, off");
	return OFFRAMP__V1__SWITCH__SWITCH_OFF;
}

static error_t change_parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;
	Offramp__V1__ChangeFiltersRequest *change = &options->change;

	switch (key) {
	case OPTION_BROKER:
		change->broker = arg;
		return 0;
	case OPTION_ADD:
		list_append(options->add, &change->n_add, arg, state);
		break;
	case OPTION_REMOVE:
		list_append(options->remove, &change->n_remove, arg, state);
		break;
	case OPTION_CAPTURE:
		change->capture = switch_parse(arg, state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	options->changes = true;
	return 0;
}

static error_t trace_check(const struct options *options, const struct argp_state *state)
{
	bool is_trace = options->command->is_trace;

	if (options->trace.given && !is_trace)
		argp_error(state, "%s captures nothing: it takes none of the options of trace",
			options->command->name);
	if (is_trace && options->json)
		argp_error(state, "trace writes pcapng: it takes no --json");
	if (is_trace && !options->trace.file)
		argp_error(state, "trace needs --pcapng FILE");
	return 0;
}

static error_t option_parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->trace;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_SOCKET:
		options->socket = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (options->command && options->command->is_trace) {
			trace_expression_add(&options->trace, arg);
			return 0;
		}
		for (size_t i = 0; !options->command && i < COMMANDS; i++)
			if (strcmp(arg, commands[i]->name) == 0) {
				options->command = commands[i];
				return 0;
			}
		usage_error(
			state, options->command ? "only one command at a time" : "no such command");
		return EINVAL;
	case ARGP_KEY_NO_ARGS:
		usage_error(state, "a command is missing");
		return EINVAL;
	case ARGP_KEY_END:
		if ((options->changes || *options->change.broker) && !options->command->change_path)
			argp_error(state,
				"%s changes nothing: it takes none of --add, --remove, "
				"--capture, --broker",
				options->command->name);
		return trace_check(options, state);
	default:
		return change_parse(key, arg, state);
	}
}

// The list of commands, between usage and options.
static char *help_filter(int key, const char *text, void *input)
{
	char *list = NULL;
	size_t size;
	FILE *out;

	(void)input;
	if (key != ARGP_KEY_HELP_PRE_DOC)
		return (char *)text;
	out = open_memstream(&list, &size);
	if (!out)
		return (char *)text;
	fputs("Asks a running offrampd.\n\nCommands:\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-15s%s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "  %-15s%s\n", RUN_NAME, RUN_SUMMARY);
	fclose(out);
	return list;
}

struct run {
	const struct command *command;
	struct output output;
};

static bool message(void *ctx, const uint8_t *bytes, size_t length)
{
	struct run *run = ctx;

	return run->command->message(&run->output, bytes, length);
}

static int run_command(const struct options *options)
{
	const struct command *command = options->command;
	struct run run = {.command = command, .output.as_json = options->json};
	struct output *output = &run.output;
	char *text = NULL, error[512];
	size_t length = 0;
	bool ok;

	output->out = open_memstream(&text, &length);
	if (!output->out)
		err(EXIT_FAILURE, "output");
	json_init(&output->json, output->out);
	table_init(&output->table, command->columns, command->columns_count);
	if (command->list && options->json)
		json_array_begin(&output->json, NULL);
	ok = client_call(options->socket, options->changes ? command->change_path : command->path,
		options->changes ? &options->change.base : NULL, message, &run, error,
		sizeof(error));
	if (command->list && options->json)
		json_array_end(&output->json);
	if (command->columns && !options->json)
		table_print(&output->table, output->out);
	table_fini(&output->table);
	fclose(output->out);
	if (!ok)
		fprintf(stderr, "offramp: %s\n", error);
	else if (fwrite(text, 1, length, stdout) != length || fflush(stdout) != 0) {
		fprintf(stderr, "offramp: cannot write: %s\n", strerror(errno));
		ok = false;
	}
	free(text);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

const char *argp_program_version = "offramp " OFFRAMP_VERSION;

int main(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&trace_argp, 0, "With trace:", 2},
		{0},
	};
	static const struct argp argp = {
		.children = children,
		.options = option_table,
		.parser = option_parse,
		.args_doc = "COMMAND\ntrace --pcapng FILE [EXPRESSION]\nrun -- COMMAND…",
		.doc = "",
		.help_filter = help_filter,
	};
	const char *environment = getenv("OFFRAMP_SOCKET");
	struct options options = {
		.socket = environment && *environment ? environment : SOCKET_DEFAULT,
		.change = OFFRAMP__V1__CHANGE_FILTERS_REQUEST__INIT,
	};

	int status;

	// What follows it is another program's.
	if (argc > 1 && strcmp(argv[1], RUN_NAME) == 0)
		return run_main(argc - 1, argv + 1);
	options.change.add = options.add;
	options.change.remove = options.remove;
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
		return EXIT_USAGE;
	if (!options.command->is_trace)
		return run_command(&options);
	status = trace_run(options.socket, &options.trace);
	free(options.trace.expression);
	return status;
}
