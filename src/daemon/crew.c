// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The workers: what they inherit from an earlier run, how they reach each other, and what they
// leave to the next one.

#include "daemon/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/ledger_file.h"
#include "offload/ledger.h"
#include "offload/offload.h"
#include "port/port.h"

#include <rte_eal.h>
#include <rte_launch.h>

#include <string.h>
#include <sys/random.h>

// Messages on their way from one worker to another.
#define CHANGES 2048
#define PARCELS 1024

// --- start ---------------------------------------------------------------------------------------

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

int crew_start(struct daemon *daemon)
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

// --- life ----------------------------------------------------------------------------------------

void crew_order(struct daemon *daemon, enum worker_order order)
{
	for (unsigned i = 0; i < daemon->running; i++)
		worker_order(daemon->workers[i], order);
}

bool crew_drained(const struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->running; i++)
		if (!worker_drained(daemon->workers[i]))
			return false;
	return true;
}

// --- end -----------------------------------------------------------------------------------------

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

void crew_stop(struct daemon *daemon)
{
	crew_order(daemon, WORKER_STOP);
	rte_eal_mp_wait_lcore();
	bequeath(daemon);
	for (unsigned i = 0; i < daemon->config->brokers_count; i++)
		forget(daemon, i);
}
