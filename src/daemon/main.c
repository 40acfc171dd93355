// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offrampd: reads its configuration, makes ports and the worker, serves control,
// and waits for signals. Signals are blocked in every thread and taken by the main
// thread with sigtimedwait().

#include <rte_eal.h>
#include <rte_launch.h>

#include <argp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "control/control.h"
#include "daemon/memory.h"
#include "daemon/pools.h"
#include "daemon/watch.h"
#include "daemon/worker.h"
#include "offload/offload.h"
#include "port/port.h"

// What is owed to clients has so long to be delivered after SIGTERM.
#define DRAIN_US (10 * US_IN_S)

struct daemon {
	const char *file;
	bool test_config;
	struct config *config;
	struct memory *memory;
	struct worker_pools pools;
	struct port **ports;
	struct worker *worker;
	struct control_worker control_worker;
	struct control_source source;
	struct control *control;
	struct watch *watch;
	sigset_t signals;
	bool eal, running;
};

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

// What the operator vouches for is said aloud.
static void announce(const struct config *config)
{
	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct offload_broker_config *broker = &config->brokers[i];
		char listen[NET_ENDPOINT_STRLEN], address[NET_ENDPOINT_STRLEN];

		log_info("broker", "%s: clients connect to %s, the broker is %s", broker->name,
			net_endpoint_format(&broker->listen, listen),
			net_endpoint_format(&broker->address, address));
		if (broker->knowledge == OFFLOAD_KNOWLEDGE_WIRE)
			log_warning("broker",
				"%s: knowledge: wire: you declare that every client comes through "
				"Offramp and that the broker started without sessions",
				broker->name);
		if (broker->authorization == OFFLOAD_AUTHORIZATION_OPEN)
			log_warning("broker",
				"%s: authorization: open: you declare that the broker has no ACLs",
				broker->name);
	}
}

static int start_eal(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	const char **devices = calloc(config->ports_count, sizeof(*devices));
	struct port_eal_config eal;
	int rc;

	if (devices == NULL)
		return -ENOMEM;
	config_to_eal(config, devices, &eal);
	rc = port_eal_init(&eal);
	free(devices);
	daemon->eal = rc == 0;
	return rc;
}

static int start_ports(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int rc = worker_pools_create(config, 0, &daemon->pools);

	daemon->ports = calloc(config->ports_count, sizeof(*daemon->ports));
	if (daemon->ports == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_open(&config->ports[i].port, 1, &daemon->pools.rx, &daemon->ports[i]);
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_start(daemon->ports[i]);
	return rc;
}

static void recall(struct daemon *daemon)
{
	struct offload *offload = worker_offload(daemon->worker);

	for (unsigned i = 0; i < daemon->config->brokers_count; i++) {
		uint8_t *kept = memory_kept(daemon->memory, i);

		if (*kept != 0) {
			log_warning("broker",
				"%s: sessions of an earlier run may live on in the broker: restart "
				"it without them, remove %s and restart",
				daemon->config->brokers[i].name, memory_path(daemon->memory));
			offload_broker_distrust(offload, i,
				"sessions of an earlier run of Offramp may live on in the broker");
		}
		offload_broker_remember(offload, i, kept);
	}
}

static int start_worker(struct daemon *daemon)
{
	int rc = worker_create(daemon->config, 0, daemon->ports, &daemon->pools, &daemon->worker);

	if (rc < 0)
		return rc;
	recall(daemon);
	rc = rte_eal_remote_launch(worker_run, daemon->worker, port_eal_worker_lcore(0));
	daemon->running = rc == 0;
	return rc;
}

static void ask_to_stop(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGTERM);
}

// Threads of control are to stay off the workers' cores: they inherit this thread's affinity.
static int start_control(struct daemon *daemon)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(daemon->config->control_core, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		log_warning("daemon", "cannot stay on core %u: %s", daemon->config->control_core,
			strerror(errno));
	worker_control(daemon->worker, &daemon->control_worker);
	daemon->source = (struct control_source){
		.config = daemon->config,
		.started_us = clock_now_us(),
		.ports = daemon->ports,
		.ports_count = daemon->config->ports_count,
		.workers = &daemon->control_worker,
		.workers_count = 1,
		.drain = ask_to_stop,
	};
	return control_start(&daemon->source, &daemon->control);
}

static int daemon_start(struct daemon *daemon)
{
	int rc;

	if ((rc = start_eal(daemon)) < 0)
		return rc;
	if ((rc = memory_open(daemon->config, &daemon->memory)) < 0)
		return rc;
	if ((rc = start_ports(daemon)) < 0)
		return rc;
	announce(daemon->config);
	if ((rc = start_worker(daemon)) < 0)
		return rc;
	if ((rc = start_control(daemon)) < 0)
		return rc;
	return watch_create(daemon->config, daemon->ports, daemon->worker, &daemon->watch);
}

// --- life ----------------------------------------------------------------------------------------

// The log level changes at once; for the rest the process must start anew, and says so.
static void reload(struct daemon *daemon)
{
	struct config *config;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_now_us());
	if (config_load(daemon->file, &config, stderr) < 0) {
		log_error("daemon", "%s: not reloaded, the old configuration stays", daemon->file);
	} else {
		log_set_level(config->log_level);
		log_info("daemon",
			"%s: reloaded: log.level; every other change takes effect at the next start",
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

// A second signal, or the end of patience, makes an end of it.
static void drain(struct daemon *daemon)
{
	const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
	uint64_t until_us = clock_now_us() + DRAIN_US;

	log_info("daemon", "stopping: delivering what is owed to clients");
	sd_notify(0, "STOPPING=1");
	worker_order(daemon->worker, WORKER_DRAIN);
	while (!worker_stopped(daemon->worker) && clock_now_us() < until_us) {
		int signal = sigtimedwait(&daemon->signals, NULL, &tick);

		if (signal == SIGTERM || signal == SIGINT)
			break;
	}
	if (!worker_stopped(daemon->worker))
		log_warning("daemon", "some clients did not take what they are owed");
}

// A broker that keeps no session has none that the next run would not know.
static void forget(struct daemon *daemon)
{
	struct offload *offload = worker_offload(daemon->worker);

	for (unsigned i = 0; i < daemon->config->brokers_count; i++)
		if (offload_broker_trusted(offload, i) && offload_broker_forgetful(offload, i))
			*memory_kept(daemon->memory, i) = 0;
}

static void daemon_stop(struct daemon *daemon)
{
	control_stop(daemon->control);
	watch_destroy(daemon->watch);
	if (daemon->running) {
		worker_order(daemon->worker, WORKER_STOP);
		rte_eal_mp_wait_lcore();
		forget(daemon);
	}
	worker_end(daemon->worker);
	for (unsigned i = 0; daemon->ports != NULL && i < daemon->config->ports_count; i++)
		port_close(daemon->ports[i]);
	worker_destroy(daemon->worker);
	free(daemon->ports);
	memory_close(daemon->memory);
	if (daemon->eal)
		port_eal_cleanup();
	config_free(daemon->config);
}

int main(int argc, char **argv)
{
	struct daemon daemon = {0};
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &daemon);
	if (config_load(daemon.file, &daemon.config, stderr) < 0)
		return EXIT_FAILURE;
	if (daemon.test_config) {
		config_free(daemon.config);
		return EXIT_SUCCESS;
	}
	log_set_level(daemon.config->log_level);
	block_signals(&daemon);
	rc = daemon_start(&daemon);
	if (rc == 0) {
		log_info("daemon", "ready");
		sd_notify(0, "READY=1");
		serve(&daemon);
		drain(&daemon);
	}
	daemon_stop(&daemon);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
