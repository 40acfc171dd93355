// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The EAL's command line, spelled out.

#include "port_tests.h"

#include "port/eal_arguments.h"

#include <string.h>

#define MEMORY "-m 256 "
#define TAIL   "--no-telemetry --log-level=*:error "

struct arguments_case {
	const char *title;
	const char *devices[3];
	unsigned worker_cores[2];
	unsigned workers;
	bool hugepages;
	enum port_filter filters[3];
	const char *programs[PORT_FILTERS];
	const char *expected;
};

static const struct arguments_case cases[] = {
	{
		.title = "one worker, virtual devices, normal pages",
		.devices = {"net_af_packet0,iface=a", "net_af_xdp1,iface=b"},
		.worker_cores = {1},
		.workers = 1,
		.expected =
			"offramp --lcores=0@0,1@1 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL
			"--vdev=net_af_packet0,iface=a --vdev=net_af_xdp1,iface=b --no-pci ",
	},
	{
		.title = "two workers, PCI devices, hugepages",
		.devices = {"0000:03:00.0", "03:00.1,mprq_en=1"},
		.worker_cores = {4, 6},
		.workers = 2,
		.hugepages = true,
		.expected =
			"offramp --lcores=0@0,1@4,2@6 --file-prefix=offramp-7 --in-memory " MEMORY
				TAIL "--allow=0000:03:00.0 --allow=03:00.1,mprq_en=1 ",
	},
	{
		.title = "one that sorts out what is for us, one that does not",
		.devices = {"net_af_xdp0,iface=a", "net_af_xdp1,iface=b"},
		.worker_cores = {1},
		.workers = 1,
		.filters = {PORT_FILTER_NONE, PORT_FILTER_OWN},
		.programs = {[PORT_FILTER_OWN] = "/f"},
		.expected =
			"offramp --lcores=0@0,1@1 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL
			"--vdev=net_af_xdp0,iface=a --vdev=net_af_xdp1,iface=b,xdp_prog=/f "
			"--no-pci ",
	},
	{
		.title = "two of a bridge, whose program the kernel takes",
		.devices = {"net_af_xdp0,iface=a", "net_af_xdp1,iface=b"},
		.worker_cores = {1},
		.workers = 1,
		.filters = {PORT_FILTER_BRIDGE, PORT_FILTER_BRIDGE},
		.programs = {[PORT_FILTER_BRIDGE] = "/b"},
		.expected =
			"offramp --lcores=0@0,1@1 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL "--vdev=net_af_xdp0,iface=a,xdp_prog=/b "
			"--vdev=net_af_xdp1,iface=b,xdp_prog=/b --no-pci ",
	},
	{
		.title = "two of a bridge, whose program the kernel refuses",
		.devices = {"net_af_xdp0,iface=a", "net_af_xdp1,iface=b"},
		.worker_cores = {1},
		.workers = 1,
		.filters = {PORT_FILTER_BRIDGE, PORT_FILTER_BRIDGE},
		.expected =
			"offramp --lcores=0@0,1@1 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL
			"--vdev=net_af_xdp0,iface=a --vdev=net_af_xdp1,iface=b --no-pci ",
	},
	{
		.title = "both kinds",
		.devices = {"net_tap0", "auxiliary:mlx5_core.sf.2"},
		.worker_cores = {0},
		.workers = 1,
		.expected =
			"offramp --lcores=0@0,1@0 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL "--vdev=net_tap0 --allow=auxiliary:mlx5_core.sf.2 ",
	},
	{
		.title = "a vdev whose argument is an address",
		.devices = {"net_failsafe0,dev(0000:03:00.0)"},
		.worker_cores = {1},
		.workers = 1,
		.expected =
			"offramp --lcores=0@0,1@1 --file-prefix=offramp-7 --no-huge --no-shconf " MEMORY
				TAIL "--vdev=net_failsafe0,dev(0000:03:00.0) --no-pci ",
	},
};

static void test_arguments_are_as_decided(void **state)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct arguments_case *c = &cases[i];
		struct port_eal_device devices[3];
		struct port_eal_config config = {
			.devices = devices,
			.memory_mb = 256,
			.worker_cores = c->worker_cores,
			.workers = c->workers,
		};
		struct eal_arguments arguments;
		char line[1024] = "";

		for (unsigned d = 0; d < 3 && c->devices[d] != NULL; d++)
			devices[config.devices_count++] =
				(struct port_eal_device){c->devices[d], c->filters[d]};
		assert_int_equal(
			eal_arguments_make(&config, c->hugepages, c->programs, 7, &arguments), 0);
		assert_null(arguments.values[arguments.count]);
		for (int a = 0; a < arguments.count; a++) {
			strcat(line, arguments.values[a]);
			strcat(line, " ");
		}
		if (strcmp(line, c->expected) != 0)
			fail_msg("%s:\n%s", c->title, line);
		eal_arguments_free(&arguments);
	}
}

int test_port_arguments(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments_are_as_decided),
	};

	return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
