// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offrampd: reads its configuration, starts, and waits for signals. Signals are blocked in every
// thread and taken by the main thread with sigtimedwait().

#include <argp.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"

const char *argp_program_version = "offrampd " OFFRAMP_VERSION;

static const struct argp_option options[] = {
	{"config", 'c', "FILE", 0, "the configuration (offrampd.yaml(5))", 0},
	{"test-config", 't', NULL, 0, "check the configuration and exit", 0},
	{0},
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct daemon *daemon = state->input;

	switch (key) {
	case 'c':
		daemon->file = arg;
		return 0;
	case 't':
		daemon->test_config = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument '%s'", arg);
		return 0;
	case ARGP_KEY_END:
		if (daemon->file == NULL)
			argp_error(state, "no configuration: name one with -c FILE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = option,
	.doc = "Takes MQTT PUBLISH traffic off the road before it reaches the broker. Runs in the "
	       "foreground and logs to stderr. SIGTERM: orderly stop. SIGHUP: reload.",
};

// --- start ---------------------------------------------------------------------------------------

static void block_signals(struct daemon *daemon)
{
	sigemptyset(&daemon->signals);
	sigaddset(&daemon->signals, SIGTERM);
	sigaddset(&daemon->signals, SIGINT);
	sigaddset(&daemon->signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &daemon->signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

// Each client of control is a file, and the gRPC core stops listening when there is none left.
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning(
			"daemon", "the limit of open files cannot be raised: %s", strerror(errno));
}

// --- life ----------------------------------------------------------------------------------------

// The log level and certificates change at once; for the rest the process must start anew, and says
// so.
static void reload(struct daemon *daemon)
{
	struct config *config;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_now_us());
	if (config_load(daemon->file, &config, stderr) < 0) {
		log_error("daemon", "%s: not reloaded, the old configuration stays", daemon->file);
	} else {
		log_set_level(config->log_level);
		control_reload(daemon->control, config);
		log_info("daemon",
			"%s: reloaded: log.level and certificates; every other change takes "
			"effect at the next start",
			daemon->file);
		config_free(config);
	}
	sd_notify(0, "READY=1");
}

static void serve(struct daemon *daemon)
{
	const struct timespec second = {.tv_sec = 1};

	for (;;) {
		int signal = sigtimedwait(&daemon->signals, NULL, &second);

		if (signal == SIGTERM || signal == SIGINT)
			return;
		if (signal == SIGHUP)
			reload(daemon);
		else if (signal < 0 && errno == EAGAIN)
			watch_look(daemon->watch);
	}
}

// What is sized at start for the most there may be costs what is touched of it, as long as it is a
// mapping of its own. The C library would move its bound with whatever is freed.
#define MAPPED_FROM (128 << 10)

int main(int argc, char **argv)
{
	struct daemon daemon = {0};
	int rc;

	mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
	argp_parse(&argp, argc, argv, 0, NULL, &daemon);
	if (config_load(daemon.file, &daemon.config, stderr) < 0)
		return EXIT_FAILURE;
	if (daemon.test_config) {
		config_free(daemon.config);
		return EXIT_SUCCESS;
	}
	log_set_level(daemon.config->log_level);
	block_signals(&daemon);
	raise_file_limit();
	rc = daemon_start(&daemon);
	if (rc == 0) {
		log_info("daemon", "ready");
		sd_notify(0, "READY=1");
		serve(&daemon);
		daemon_drain(&daemon);
	}
	daemon_stop(&daemon);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
