// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How a daemon ends: what is owed is delivered, then its parts go, the last one first.

#include "daemon/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "offload/ledger.h"
#include "port/port.h"

#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

// What is owed to clients has so long to be delivered after SIGTERM.
#define DRAIN_US (10 * US_IN_S)

// A second signal, or the end of patience, makes an end of it.
void daemon_drain(struct daemon *daemon)
{
	const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
	uint64_t until_us = clock_now_us() + DRAIN_US;

	log_info("daemon", "stopping: delivering what is owed to clients");
	sd_notify(0, "STOPPING=1");
	control_draining(daemon->control);
	crew_order(daemon, WORKER_DRAIN);
	while (!crew_drained(daemon) && clock_now_us() < until_us) {
		int signal = sigtimedwait(&daemon->signals, NULL, &tick);

		if (signal == SIGTERM || signal == SIGINT)
			break;
	}
	if (!crew_drained(daemon))
		log_warning("daemon", "some clients did not take what they are owed");
}

void daemon_stop(struct daemon *daemon)
{
	unsigned workers = daemon->workers == NULL ? 0 : daemon->config->workers;

	control_stop(daemon->control);
	door_close(daemon->door);
	watch_destroy(daemon->watch);
	if (daemon->running > 0)
		crew_stop(daemon);
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
