// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts the EAL as the daemon does, with devices that need neither hardware nor privileges, then
// runs the groups.

#include "port_tests.h"

#include "port/port.h"

#include <rte_lcore.h>

#include <sched.h>
#include <stdio.h>

static unsigned first_allowed_cpu(void)
{
	cpu_set_t set;
	unsigned cpu = 0;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &set))
			cpu++;
	return cpu;
}

int main(void)
{
	const struct port_eal_device devices[] = {{"net_ring0"}, {"net_ring1"}, {"net_ring2"},
		{"net_ring3"}, {"net_ring4"}, {"net_ring5"}, {"net_ring6"}, {"net_ring7"},
		{"net_ring8"}, {"net_ring9"}, {"net_ring10"}, {"net_ring11"}, {"net_ring12"},
		{"net_ring13"}, {"net_null0"}};
	const unsigned cpu = first_allowed_cpu(), workers[] = {cpu, cpu};
	const struct port_eal_config config = {
		.devices = devices,
		.devices_count = sizeof(devices) / sizeof(*devices),
		.memory_mb = 64,
		.control_core = cpu,
		.worker_cores = workers,
		.workers = 2,
		.hugepages = false,
	};
	int failed;

	if (port_eal_init(&config) < 0)
		return 1;
	failed = test_port_arguments() + test_port_caps() + test_port_flow_rules() +
		 test_port_open() + test_port_burst() + test_port_impair() + test_port_tap();
	failed += !rte_lcore_is_enabled(port_eal_worker_lcore(1));
	port_eal_cleanup();
	return failed != 0;
}
