// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The filter expression is compiled here, where its names are looked up as the caller's
// are; the daemon gets the instructions. SIGINT and SIGTERM end the capture in good
// order; a second one at once.

#include "cli/trace.h"

#include "cli/client.h"
#include "cli/output.h"
#include "offramp/v1/admin.pb-c.h"

#include <pcap/pcap.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE     2
#define FILTER_MAX     1024	    // bytes of its text that the daemon takes
#define SNAP_LENGTH    (128 * 1024) // for the compiler: more than any frame has
#define BUFFER_MAX_KIB (128 * 1024)

enum {
	OPTION_PCAPNG = 512,
	OPTION_PORT,
	OPTION_COUNT,
	OPTION_SECONDS,
	OPTION_SNAP_LENGTH,
	OPTION_BUFFER,
};

static const struct argp_option option_table[] = {
	{"pcapng", OPTION_PCAPNG, "FILE", 0, "where the capture goes; '-': standard output", 0},
	{"port", OPTION_PORT, "NAME", 0, "only of this port; may be given several times", 0},
	{"count", OPTION_COUNT, "N", 0, "end after so many frames", 0},
	{"seconds", OPTION_SECONDS, "N", 0, "end after so long", 0},
	{"snap-length", OPTION_SNAP_LENGTH, "BYTES", 0, "so much of a frame at most", 0},
	{"buffer", OPTION_BUFFER, "KIB", 0,
		"what may wait here for a slow disk, of each worker (default: 4096)", 0},
	{0},
};

static uint64_t number_parse(
	const char *name, const char *text, uint64_t max, const struct argp_state *state)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || value == 0 || value > max)
		argp_error(state, "--%s: a number from 1 to %" PRIu64, name, max);
	return value;
}

static error_t option_parse(int key, char *arg, struct argp_state *state)
{
	struct trace_options *options = state->input;

	switch (key) {
	case OPTION_PCAPNG:
		options->file = arg;
		break;
	case OPTION_PORT:
		if (options->ports_count == TRACE_PORTS_MAX)
			argp_error(state, "--port: more than %u", TRACE_PORTS_MAX);
		else
			options->ports[options->ports_count++] = arg;
		break;
	case OPTION_COUNT:
		options->count = number_parse("count", arg, UINT64_MAX, state);
		break;
	case OPTION_SECONDS:
		options->seconds = number_parse("seconds", arg, UINT32_MAX, state);
		break;
	case OPTION_SNAP_LENGTH:
		options->snap_length = number_parse("snap-length", arg, UINT32_MAX, state);
		break;
	case OPTION_BUFFER:
		options->buffer_kib = number_parse("buffer", arg, BUFFER_MAX_KIB, state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	options->given = true;
	return 0;
}

const struct argp trace_argp = {.options = option_table, .parser = option_parse};

void trace_expression_add(struct trace_options *options, const char *word)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", options->expression ? options->expression : "",
		    options->expression ? " " : "", word) < 0)
		abort();
	free(options->expression);
	options->expression = longer;
}

// --- the filter ----------------------------------------------------------------------------------

struct filter {
	Offramp__V1__FilterInstruction *instructions, **pointers;
	unsigned count;
};

static void filter_fini(struct filter *filter)
{
	free(filter->instructions);
	free(filter->pointers);
}

static bool filter_copy(struct filter *filter, const struct bpf_program *program)
{
	filter->count = program->bf_len;
	filter->instructions = calloc(filter->count + 1, sizeof(*filter->instructions));
	filter->pointers = calloc(filter->count + 1, sizeof(*filter->pointers));
	if (!filter->instructions || !filter->pointers)
		return false;
	for (unsigned i = 0; i < filter->count; i++) {
		const struct bpf_insn *from = &program->bf_insns[i];

		offramp__v1__filter_instruction__init(&filter->instructions[i]);
		filter->instructions[i].code = from->code;
		filter->instructions[i].jump_true = from->jt;
		filter->instructions[i].jump_false = from->jf;
		filter->instructions[i].k = from->k;
		filter->pointers[i] = &filter->instructions[i];
	}
	return true;
}

// False after a line that says why.
static bool filter_compile(struct filter *filter, const char *expression)
{
	struct bpf_program program;
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAP_LENGTH);
	bool ok = false;

	if (!pcap) {
		fprintf(stderr, "offramp: out of memory\n");
		return false;
	}
	if (pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN) == 0) {
		ok = filter_copy(filter, &program);
		pcap_freecode(&program);
		if (!ok)
			fprintf(stderr, "offramp: out of memory\n");
	} else {
		fprintf(stderr, "offramp: '%s': %s\n", expression, pcap_geterr(pcap));
	}
	pcap_close(pcap);
	return ok;
}

// --- the capture ---------------------------------------------------------------------------------

struct capture {
	FILE *out;
	uint64_t frames, lost;
	unsigned stops; // signals
	bool told;	// of losses
	int write_errno;
};

static bool on_message(void *ctx, const uint8_t *bytes, size_t length)
{
	Offramp__V1__TraceResponse *response =
		offramp__v1__trace_response__unpack(NULL, length, bytes);
	struct capture *capture = ctx;
	size_t size;

	if (!response)
		return false;
	size = response->pcapng.len;
	if (fwrite(response->pcapng.data, 1, size, capture->out) != size ||
		fflush(capture->out) != 0)
		capture->write_errno = errno;
	capture->frames = response->frames;
	capture->lost = response->lost;
	offramp__v1__trace_response__free_unpacked(response, NULL);
	if (capture->lost > 0 && !capture->told)
		fprintf(stderr, "offramp: frames are being lost: this end is too slow\n");
	capture->told = capture->lost > 0;
	return true;
}

// How often it has been told to stop.
static unsigned on_look(void *ctx)
{
	static const struct timespec at_once = {0};
	struct capture *capture = ctx;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	while (sigtimedwait(&signals, NULL, &at_once) > 0)
		capture->stops++;
	return capture->write_errno ? 2 : capture->stops;
}

// In this thread and those of gRPC, which it starts.
static void block_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int capture_run(
	const char *socket, const Offramp__V1__TraceRequest *request, struct capture *capture)
{
	char error[512];
	bool ok;

	block_signals();
	ok = client_follow(socket, "/offramp.v1.Admin/Trace", &request->base, on_message, on_look,
		capture, error, sizeof(error));
	if (capture->write_errno) {
		fprintf(stderr, "offramp: cannot write: %s\n", strerror(capture->write_errno));
		return EXIT_FAILURE;
	}
	if (!ok)
		fprintf(stderr, "offramp: %s\n", error);
	if (ok || capture->frames > 0)
		fprintf(stderr, "%" PRIu64 " frames, %" PRIu64 " lost\n", capture->frames,
			capture->lost);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static FILE *file_open(const char *name)
{
	FILE *file;

	if (strcmp(name, "-") != 0) {
		file = fopen(name, "wbe");
		if (!file)
			fprintf(stderr, "offramp: %s: %s\n", name, strerror(errno));
		return file;
	}
	if (isatty(STDOUT_FILENO)) {
		fprintf(stderr, "offramp: standard output is a terminal: redirect it\n");
		return NULL;
	}
	return stdout;
}

int trace_run(const char *socket, const struct trace_options *options)
{
	Offramp__V1__TraceRequest request = OFFRAMP__V1__TRACE_REQUEST__INIT;
	struct capture capture = {0};
	struct filter filter = {0};
	int status;

	if (options->expression && !filter_compile(&filter, options->expression)) {
		filter_fini(&filter);
		return EXIT_USAGE;
	}
	capture.out = file_open(options->file);
	if (!capture.out) {
		filter_fini(&filter);
		return EXIT_FAILURE;
	}
	request.ports = (char **)options->ports;
	request.n_ports = options->ports_count;
	// The daemon only shows it; one that is too long to be shown works too.
	if (options->expression && strlen(options->expression) <= FILTER_MAX)
		request.filter = options->expression;
	request.code = filter.pointers;
	request.n_code = filter.count;
	request.snap_length = (uint32_t)options->snap_length;
	request.buffer_size = (uint32_t)options->buffer_kib * 1024;
	request.frames_max = options->count;
	request.duration_us = options->seconds * 1000000;
	status = capture_run(socket, &request, &capture);
	if (capture.out != stdout && fclose(capture.out) != 0 && status == EXIT_SUCCESS) {
		fprintf(stderr, "offramp: %s: %s\n", options->file, strerror(errno));
		status = EXIT_FAILURE;
	}
	filter_fini(&filter);
	return status;
}

const struct command command_trace = {
	.name = "trace",
	.summary = "a live capture of what goes in and out of ports",
	.is_trace = true,
};
