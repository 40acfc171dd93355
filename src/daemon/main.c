// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offrampd: reads its configuration, makes ports and workers, serves control,
// and waits for signals. Signals are blocked in every thread and taken by the main
// thread with sigtimedwait().

#include <rte_eal.h>
#include <rte_launch.h>

#include <argp.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crossing.h"
#include "base/log.h"
#include "control/config.h"
#include "control/control.h"
#include "daemon/door.h"
#include "daemon/flows_file.h"
#include "daemon/ledger_file.h"
#include "daemon/memory.h"
#include "daemon/pools.h"
#include "daemon/steering.h"
#include "daemon/watch.h"
#include "daemon/worker.h"
#include "offload/ledger.h"
#include "offload/offload.h"
#include "port/port.h"

// What is owed to clients has so long to be delivered after SIGTERM.
#define DRAIN_US (10 * US_IN_S)
// Messages on their way from one worker to another.
#define CHANGES 2048
#define PARCELS 1024

struct daemon {
	const char *file;
	bool test_config;
	struct config *config;
	struct memory *memory;
	struct flows_file *flows; // NULL: not monitor mode
	struct ledger *ledger;	  // what an earlier run owed; NULL: nothing
	struct port **ports;
	struct worker_pools *pools; // one a worker, as all that follows
	struct worker **workers;
	struct control_worker *control_workers;
	struct steering *steering; // NULL: one worker
	struct crossing *changes, *parcels;
	struct control_source source;
	struct control *control;
	struct door *door; // NULL: not socket mode
	struct watch *watch;
	sigset_t signals;
	bool eal;
	unsigned running; // workers
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

// What the operator vouches for is said aloud.
static void announce(const struct config *config)
{
	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct offload_broker_config *broker = &config->brokers[i];
		char listen[NET_ENDPOINT_STRLEN], address[NET_ENDPOINT_STRLEN];

		if (config->mode == CONFIG_MODE_SOCKET)
			log_info("broker",
				"%s: clients connect to %s, once a process listens there",
				broker->name, net_endpoint_format(&broker->listen, listen));
		else if (config->mode == CONFIG_MODE_MONITOR)
			log_info("broker", "%s: connections to %s are adopted", broker->name,
				net_endpoint_format(&broker->address, address));
		else
			log_info("broker", "%s: clients connect to %s, the broker is %s",
				broker->name, net_endpoint_format(&broker->listen, listen),
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
	struct port_eal_device *devices = calloc(config->ports_count, sizeof(*devices));
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

static int start_pools(struct daemon *daemon)
{
	unsigned workers = daemon->config->workers;
	int rc = 0;

	daemon->pools = calloc(workers, sizeof(*daemon->pools));
	daemon->workers = calloc(workers, sizeof(*daemon->workers));
	daemon->control_workers = calloc(workers, sizeof(*daemon->control_workers));
	if (daemon->pools == NULL || daemon->workers == NULL || daemon->control_workers == NULL)
		return -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < workers; i++)
		rc = worker_pools_create(daemon->config, i, &daemon->pools[i]);
	return rc;
}

// What need not come to Offramp crosses in the kernel or the card, where that is possible and asked
// for.
static int start_shortcut(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct port_station *stations = calloc(config->stations_count + 1, sizeof(*stations));
	struct port_endpoint *brokers = calloc(config->brokers_count, sizeof(*brokers));
	struct port_shortcut_config shortcut;
	int rc = -ENOMEM;

	if (stations != NULL && brokers != NULL) {
		config_to_shortcut(config, stations, brokers, &shortcut);
		rc = port_shortcut_open(daemon->ports, &shortcut);
	}
	free(brokers);
	free(stations);
	return rc;
}

static int start_filters(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	if (config_wants_shortcut(config))
		return start_shortcut(daemon);
	for (unsigned i = 0; i < config->ports_count; i++)
		if (config->ports[i].port.filter == PORT_FILTER_BRIDGE)
			log_warning("port",
				"%s: nothing can cross without Offramp, that takes two ports, both "
				"of af_xdp or both cards, with 'filter: auto': everything comes",
				config->ports[i].port.name);
	return 0;
}

static int start_ports(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct rte_mempool **rx = calloc(config->workers, sizeof(*rx));
	int rc = 0;

	daemon->ports = calloc(config->ports_count, sizeof(*daemon->ports));
	if (daemon->ports == NULL || rx == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < config->workers; i++)
		rx[i] = daemon->pools[i].rx;
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_open(&config->ports[i].port, config->workers, rx, &daemon->ports[i]);
	for (unsigned i = 0; rc == 0 && i < config->ports_count; i++)
		rc = port_start(daemon->ports[i]);
	if (rc == 0)
		rc = start_filters(daemon);
	free(rx);
	return rc;
}

// What an earlier run left in the brokers, for every worker.
static void recall(struct daemon *daemon, unsigned broker)
{
	uint8_t *kept = memory_kept(daemon->memory, broker);
	bool wire = daemon->config->brokers[broker].knowledge == OFFLOAD_KNOWLEDGE_WIRE;
	bool distrusted = wire && *kept != 0;

	if (distrusted)
		log_warning("broker",
			"%s: sessions of an earlier run may live on in the broker: restart "
			"it without them, remove %s and restart",
			daemon->config->brokers[broker].name, memory_path(daemon->memory));
	for (unsigned i = 0; i < daemon->config->workers; i++) {
		struct offload *offload = worker_offload(daemon->workers[i]);

		if (distrusted)
			offload_broker_distrust(offload, broker,
				"sessions of an earlier run of Offramp may live on in the broker");
		offload_broker_remember(offload, broker, kept);
	}
}

// What an earlier run owed to persistent sessions.
static void inherit(struct daemon *daemon)
{
	ledger_file_read(daemon->config, &daemon->ledger);
	for (unsigned i = 0; i < daemon->config->workers; i++)
		offload_recall(worker_offload(daemon->workers[i]), daemon->ledger);
}

static uint64_t random_seed(void)
{
	uint64_t seed = clock_now_us();

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		log_warning("daemon", "no random seed from the kernel; the clock has to do");
	return seed;
}

// Everything by which several workers reach each other.
static int join_workers(struct daemon *daemon, struct worker_setup *setup)
{
	const struct config *config = daemon->config;
	uint64_t key[2] = {random_seed(), random_seed()};
	int rc = steering_create(config, random_seed(), &daemon->steering);

	if (rc == 0)
		rc = crossing_create("changes", config->workers, CHANGES, &daemon->changes);
	if (rc == 0)
		rc = crossing_create("parcels", config->workers, PARCELS, &daemon->parcels);
	if (rc < 0)
		log_error("daemon", "no memory for %u workers", config->workers);
	setup->steering = daemon->steering;
	setup->peers = (struct offload_peers_config){
		.changes = daemon->changes,
		.parcels = daemon->parcels,
		.count = config->workers,
	};
	memcpy(setup->peers.hash_key, key, sizeof(setup->peers.hash_key));
	return rc;
}

static int make_workers(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct worker_setup setup = {
		.config = config,
		.ports = daemon->ports,
	};
	int rc = config_secret(config, setup.secret);

	if (rc == 0 && config->workers > 1)
		rc = join_workers(daemon, &setup);
	setup.flows_left_count = flows_file_left(daemon->flows, &setup.flows_left);
	for (unsigned i = 0; rc == 0 && i < config->workers; i++) {
		setup.index = i;
		setup.seed = random_seed();
		setup.pools = daemon->pools[i];
		rc = worker_create(&setup, &daemon->workers[i]);
	}
	return rc;
}

// Connections that an earlier run had adopted are the workers' now.
static void keep_flows(struct daemon *daemon)
{
	flows_file_begin(daemon->flows);
	for (unsigned i = 0; daemon->flows != NULL && i < daemon->config->workers; i++)
		worker_keep_flows(daemon->workers[i], flows_file_records(daemon->flows, i));
}

static int start_workers(struct daemon *daemon)
{
	int rc = make_workers(daemon);

	if (rc < 0)
		return rc;
	keep_flows(daemon);
	for (unsigned i = 0; i < daemon->config->brokers_count; i++)
		recall(daemon, i);
	inherit(daemon);
	for (unsigned i = 0; rc == 0 && i < daemon->config->workers; i++) {
		rc = rte_eal_remote_launch(
			worker_run, daemon->workers[i], port_eal_worker_lcore(i));
		daemon->running += rc == 0;
	}
	// From now on a stop writes it anew.
	if (rc == 0)
		ledger_file_remove(daemon->config);
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
	for (unsigned i = 0; i < daemon->config->workers; i++)
		worker_control(daemon->workers[i], &daemon->control_workers[i]);
	daemon->source = (struct control_source){
		.config = daemon->config,
		.started_us = clock_now_us(),
		.ports = daemon->ports,
		.ports_count = daemon->config->ports_count,
		.workers = daemon->control_workers,
		.workers_count = daemon->config->workers,
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
	if ((rc = flows_file_open(daemon->config, &daemon->flows)) < 0)
		return rc;
	if ((rc = start_pools(daemon)) < 0)
		return rc;
	if ((rc = start_ports(daemon)) < 0)
		return rc;
	announce(daemon->config);
	if ((rc = start_workers(daemon)) < 0)
		return rc;
	if ((rc = start_control(daemon)) < 0)
		return rc;
	if (daemon->config->mode == CONFIG_MODE_SOCKET &&
		(rc = door_open(daemon->config, daemon->workers, &daemon->door)) < 0)
		return rc;
	return watch_create(daemon->config, daemon->ports, daemon->workers, &daemon->watch);
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

static void order_workers(struct daemon *daemon, enum worker_order order)
{
	for (unsigned i = 0; i < daemon->running; i++)
		worker_order(daemon->workers[i], order);
}

static bool all_drained(const struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->running; i++)
		if (!worker_drained(daemon->workers[i]))
			return false;
	return true;
}

// A second signal, or the end of patience, makes an end of it.
static void drain(struct daemon *daemon)
{
	const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
	uint64_t until_us = clock_now_us() + DRAIN_US;

	log_info("daemon", "stopping: delivering what is owed to clients");
	sd_notify(0, "STOPPING=1");
	control_draining(daemon->control);
	order_workers(daemon, WORKER_DRAIN);
	while (!all_drained(daemon) && clock_now_us() < until_us) {
		int signal = sigtimedwait(&daemon->signals, NULL, &tick);

		if (signal == SIGTERM || signal == SIGINT)
			break;
	}
	if (!all_drained(daemon))
		log_warning("daemon", "some clients did not take what they are owed");
}

// A broker that keeps no session has none that the next run would not know.
static void forget(struct daemon *daemon, unsigned broker)
{
	bool forgetful = true;

	for (unsigned i = 0; i < daemon->config->workers; i++) {
		struct offload *offload = worker_offload(daemon->workers[i]);

		forgetful &= offload_broker_trusted(offload, broker) &&
			     offload_broker_forgetful(offload, broker);
	}
	if (forgetful)
		*memory_kept(daemon->memory, broker) = 0;
}

// Enough for a session on its way from one worker to another to be with one of them alone.
#define LAST_TURNS 8

// Everybody goes; what is under way between the workers, which run no more, arrives.
static void leave(struct daemon *daemon)
{
	unsigned workers = daemon->config->workers;

	for (unsigned i = 0; i < workers; i++)
		offload_leave(worker_offload(daemon->workers[i]));
	for (unsigned i = 0; i < LAST_TURNS * workers; i++)
		offload_settle(worker_offload(daemon->workers[i % workers]));
}

// What is still owed to persistent sessions is the next run's.
static void bequeath(struct daemon *daemon)
{
	struct ledger_file *file = ledger_file_create(daemon->config);

	if (file == NULL)
		return;
	leave(daemon);
	for (unsigned i = 0; i < daemon->config->workers; i++)
		offload_bequeath(worker_offload(daemon->workers[i]), ledger_file_writer(file));
	ledger_write_rest(ledger_file_writer(file), daemon->ledger);
	ledger_file_finish(file);
}

static void stop_workers(struct daemon *daemon)
{
	order_workers(daemon, WORKER_STOP);
	rte_eal_mp_wait_lcore();
	bequeath(daemon);
	for (unsigned i = 0; i < daemon->config->brokers_count; i++)
		forget(daemon, i);
}

static void daemon_stop(struct daemon *daemon)
{
	unsigned workers = daemon->workers == NULL ? 0 : daemon->config->workers;

	control_stop(daemon->control);
	door_close(daemon->door);
	watch_destroy(daemon->watch);
	if (daemon->running > 0)
		stop_workers(daemon);
	for (unsigned i = 0; i < workers; i++)
		worker_end(daemon->workers[i]);
	control_destroy(daemon->control);
	steering_destroy(daemon->steering);
	crossing_destroy(daemon->changes);
	crossing_destroy(daemon->parcels);
	for (unsigned i = 0; daemon->ports != NULL && i < daemon->config->ports_count; i++)
		port_close(daemon->ports[i]);
	for (unsigned i = 0; i < workers; i++)
		worker_destroy(daemon->workers[i]);
	free(daemon->control_workers);
	free(daemon->workers);
	free(daemon->pools);
	free(daemon->ports);
	ledger_destroy(daemon->ledger);
	flows_file_close(daemon->flows);
	memory_close(daemon->memory);
	if (daemon->eal)
		port_eal_cleanup();
	config_free(daemon->config);
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
		drain(&daemon);
	}
	daemon_stop(&daemon);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
