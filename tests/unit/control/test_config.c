// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Configuration files, good and bad. Each mistake is made by one replacement in a
// good file, and told with its place, its key and what would have been right.

#include "tests.h"

#include "base/payload.h"
#include "control/config.h"
#include "control/config_number.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char good[] =
	"mode: stack\n"									      // 1
	"ports:\n"									      // 2
	"  - name: clients\n"								      // 3
	"    device: net_af_packet0,iface=veth0\n"					      // 4
	"    mtu: 1400\n"								      // 5
	"    addresses: [198.18.0.1/16, 198.18.0.3/32]\n"				      // 6
	"  - name: inside\n"								      // 7
	"    device: 0000:03:00.1\n"							      // 8
	"    addresses: [198.19.0.1/24]\n"						      // 9
	"routes: [{to: 0.0.0.0/0, via: 198.19.0.254}]\n"				      // 10
	"neighbours: [{address: 198.18.0.9, mac: 02:00:00:00:00:9f}]\n"			      // 11
	"brokers:\n"									      // 12
	"  - name: mosquitto\n"								      // 13
	"    listen: 198.18.0.1:1883\n"							      // 14
	"    address: 10.0.0.2:1884\n"							      // 15
	"    knowledge: wire\n"								      // 16
	"    fence: none\n"								      // 17
	"    connect_timeout: 3s\n"							      // 18
	"    capture: {max_size: 64KiB, hold: 0, pass: ['bridge/#']}\n"			      // 19
	"    client: {inflight: 20}\n"							      // 20
	"workers: {cores: [3], control_core: 2, idle: busy}\n"				      // 21
	"memory: {hugepages: off, payloads: 64MiB, connections: 100}\n"			      // 22
	"tcp: {rto_min: 100ms, time_wait: 1m, congestion: newreno, keep_alive: {idle: 2h}}\n" // 23
	"bridge: none\n"								      // 24
	"secret_file: /var/lib/offramp/secret\n"					      // 25
	"control: {socket: /run/x.sock}\n"						      // 26
	"log: {level: debug}\n";							      // 27

// Loads a text; *ret_errors is what was said, to be freed.
static int load(const char *text, struct config **ret_config, char **ret_errors)
{
	char file[] = "/tmp/offramp-config-XXXXXX";
	int fd = mkstemp(file), err;
	size_t size, length = strlen(text);
	FILE *errors = open_memstream(ret_errors, &size);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
	err = config_load(file, ret_config, errors);
	fclose(errors);
	unlink(file);
	// Lines begin with the file's name: leave it out.
	for (char *p; (p = strstr(*ret_errors, file));)
		memmove(p, p + strlen(file) + 1, strlen(p + strlen(file) + 1) + 1);
	return err;
}

static char *replaced(const char *from, const char *to)
{
	const char *at = strstr(good, from);
	char *text;

	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from)) > 0);
	return text;
}

// --- good files ----------------------------------------------------------------------------------

static void a_good_file_is_resolved(void **state)
{
	struct config *config;
	char *errors, text[NET_ENDPOINT_STRLEN];

	(void)state;
	assert_int_equal(load(good, &config, &errors), 0);
	assert_string_equal(errors, "");
	assert_int_equal(config->ports_count, 2);
	assert_string_equal(config->ports[0].port.device, "net_af_packet0,iface=veth0");
	assert_int_equal(config->ports[0].port.mtu, 1400);
	assert_int_equal(config->ports[0].addresses_count, 2);
	assert_int_equal(config->ports[0].addresses[1].prefix, 32);
	assert_int_equal(config->ports[1].port.mtu, 0);
	assert_string_equal(net_address_format(&config->routes[0].via, text), "198.19.0.254");
	assert_int_equal(config->routes[0].prefix_len, 0);
	assert_int_equal(config->neighbours[0].mac[5], 0x9f);

	const struct offload_broker_config *broker = &config->brokers[0];

	assert_string_equal(net_endpoint_format(&broker->listen, text), "198.18.0.1:1883");
	assert_string_equal(net_endpoint_format(&broker->address, text), "10.0.0.2:1884");
	assert_int_equal(broker->sources_count, 1); // the gateway is on the second port
	assert_string_equal(net_address_format(&broker->sources[0], text), "198.19.0.1");
	assert_int_equal(broker->knowledge, OFFLOAD_KNOWLEDGE_WIRE);
	assert_int_equal(broker->authorization, OFFLOAD_AUTHORIZATION_BROKER);
	assert_int_equal(broker->fence, OFFLOAD_FENCE_NONE);
	assert_int_equal(broker->connect_timeout_us, 3000000);
	assert_true(broker->capture.enabled);
	assert_int_equal(broker->capture.max_size, 65536);
	assert_int_equal(broker->capture.hold_us, 0);
	assert_string_equal(broker->capture.pass[0], "bridge/#");
	assert_int_equal(broker->client.inflight, 20);
	assert_int_equal(broker->client.queue_bytes, 16 << 20);
	assert_int_equal(config->worker_cores[0], 3);
	assert_int_equal(config->control_core, 2);
	assert_int_equal(config->idle, CONFIG_IDLE_BUSY);
	assert_int_equal(config->memory.hugepages, CONFIG_HUGEPAGES_OFF);
	assert_int_equal(config->tcp.rto_min_us, 100000);
	assert_int_equal(config->tcp.time_wait_us, 60000000);
	assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(config->control_socket, "/run/x.sock");
	config_free(config);
	free(errors);
}

static void floors_get_their_structures(void **state)
{
	struct net_if netifs[2] = {0}, *pointers[2] = {&netifs[0], &netifs[1]};
	struct net_interface_config interfaces[2];
	struct payload_pool_config payloads;
	struct offload_config offload = {0};
	struct port_eal_config eal;
	struct tcp_config tcp = {.secret = {42}};
	struct net_config net = {.fragments_max = 9};
	struct port_eal_device devices[2];
	struct config *config;
	unsigned usual_mb;
	char *errors;

	(void)state;
	assert_int_equal(load(good, &config, &errors), 0);
	config_to_eal(config, devices, &eal);
	assert_string_equal(eal.devices[1].name, "0000:03:00.1");
	assert_int_equal(eal.devices[1].filter, PORT_FILTER_NONE);
	assert_int_equal(eal.workers, 1);
	assert_int_equal(eal.control_core, 2);
	assert_false(eal.hugepages);
	assert_in_range(eal.memory_mb, 128, 1024);
	usual_mb = eal.memory_mb;
	config->ports[0].port.mtu = 9000; // every frame pool is larger then
	config_to_eal(config, devices, &eal);
	assert_true(eal.memory_mb >= usual_mb + config->memory.frames * 6800ull / (1 << 20));
	config->ports[0].port.mtu = 0;
	config_to_net(config, pointers, interfaces, &net);
	assert_ptr_equal(net.interfaces[1].netif, &netifs[1]);
	assert_int_equal(net.interfaces[0].addresses[0].prefix, 16);
	assert_int_equal(net.fragments_max, 9);
	config_to_tcp(config, &tcp);
	assert_int_equal(tcp.connections_max, 300);
	assert_int_equal(tcp.rto_max_us, 60000000);
	assert_int_equal(tcp.congestion, TCP_CONGESTION_NEWRENO);
	assert_int_equal(tcp.keep_alive.idle_s, 7200);
	assert_int_equal(tcp.keep_alive.interval_s, 75);
	assert_int_equal(tcp.keep_alive.probes, 9);
	assert_int_equal(tcp.secret[0], 42);
	config_to_offload(config, &offload);
	assert_ptr_equal(offload.brokers, config->brokers);
	assert_int_equal(offload.clients_max, 100);
	config_to_payloads(config, &payloads);
	assert_in_range(payloads.count[3] * (uint64_t)PAYLOAD_LARGEST, 20 << 20, 64 << 20);
	config_free(config);
	free(errors);
}

static void the_families_stand_side_by_side(void **state)
{
	static const char mixed[] =
		"mode: stack\n"
		"ports:\n"
		"  - {name: a, device: b, addresses: [198.18.0.1/16, '2001:db8:18::1/64',"
		" 'fe80::1/64']}\n"
		"  - {name: c, device: d, addresses: [198.19.0.1/16, '2001:db8:19::1/64',"
		" 'fe80::1/64']}\n"
		"routes: [{to: '::/0', via: '2001:db8:19::fe'}]\n"
		"neighbours: [{address: '2001:db8:18::9', mac: '02:00:00:00:00:09'}]\n"
		"brokers:\n"
		"  - {name: in6, listen: '[2001:db8:18::1]:1883', address: '198.19.0.2:1883'}\n"
		"  - {name: out6, listen: '198.18.0.1:1883', address: '[2001:db8:99::2]:1883'%s}\n";
	char text[sizeof(mixed) + 64], address[NET_ADDRESS_STRLEN], *errors;
	struct config *config;

	(void)state;
	snprintf(text, sizeof(text), mixed, "");
	assert_int_equal(load(text, &config, &errors), 0);
	assert_int_equal(config->ports[0].addresses_count, 3);
	assert_string_equal(
		net_address_format(&config->brokers[0].sources[0], address), "198.19.0.1");
	assert_string_equal(
		net_address_format(&config->brokers[1].sources[0], address), "2001:db8:19::1");
	config_free(config);
	free(errors);

	snprintf(text, sizeof(text), mixed, ", sources: ['2001:db8:19::1', 198.19.0.1]");
	assert_int_equal(load(text, &config, &errors), -EINVAL);
	assert_non_null(strstr(errors,
		"brokers[1].sources[1]: 198.19.0.1 cannot speak to [2001:db8:99::2]:1883: one is "
		"IPv4, the other IPv6\n"));
	free(errors);
}

static void defaults_are_safe(void **state)
{
	static const char least[] =
		"mode: stack\n"
		"ports: [{name: a, device: b, addresses: [198.18.0.1/16]}]\n"
		"brokers: [{name: c, listen: '198.18.0.1:1883', address: '198.18.0.2:1883'}]\n";
	struct config *config;
	char *errors;

	(void)state;
	assert_int_equal(load(least, &config, &errors), 0);
	assert_int_equal(config->brokers[0].knowledge, OFFLOAD_KNOWLEDGE_BROKER);
	assert_int_equal(config->brokers[0].authorization, OFFLOAD_AUTHORIZATION_BROKER);
	assert_int_equal(config->brokers[0].proof.ttl_us, 30000000);
	assert_int_equal(config->brokers[0].proof.lease_us, 500000);
	assert_int_equal(config->brokers[0].fence, OFFLOAD_FENCE_PING);
	assert_int_equal(config->brokers[0].topics, OFFLOAD_TOPICS_MQTT);
	assert_int_equal(config->idle, CONFIG_IDLE_ADAPTIVE);
	assert_int_equal(config->workers, 1);
	assert_int_equal(config->worker_cores[0], 1);
	assert_int_equal(config->log_level, LOG_LEVEL_INFO);
	assert_null(config->secret_file);
	assert_string_equal(config->control_socket, "/run/offramp/offramp.sock");
	config_free(config);
	config_free(NULL);
	free(errors);
}

static void a_broker_with_topics_of_its_own(void **state)
{
	char *text = replaced("fence: none", "topics: amqp"), *errors;
	struct config *config;

	(void)state;
	assert_int_equal(load(text, &config, &errors), 0);
	assert_int_equal(config->brokers[0].topics, OFFLOAD_TOPICS_AMQP);
	config_free(config);
	free(errors);
	free(text);
}

static const char *source_root;

// --- monitor mode --------------------------------------------------------------------------------

static const char monitor[] = "mode: monitor\n"							// 1
			      "ports:\n"							// 2
			      "  - {name: left, device: net_af_packet0}\n"			// 3
			      "  - {name: right, device: net_af_packet1}\n"			// 4
			      "brokers: [{name: mosquitto, address: 198.18.0.1:1883}]\n"	// 5
			      "stations: [{mac: '02:00:00:00:00:09', port: right, vlan: 7}]\n"; // 6

static void a_bump_in_the_wire_needs_little(void **state)
{
	struct bridge_config bridge;
	struct config *config;
	char *errors;

	(void)state;
	assert_int_equal(load(monitor, &config, &errors), 0);
	assert_string_equal(errors, "");
	assert_int_equal(config->mode, CONFIG_MODE_MONITOR);
	assert_true(config->ports[1].port.promiscuous);
	assert_int_equal(config->brokers[0].listen.port, 1883);
	config_to_bridge(config, NULL, &bridge);
	assert_int_equal(bridge.mode, BRIDGE_LEARNING);
	assert_int_equal(bridge.netifs_count, 2);
	assert_int_equal(bridge.stations_count, 1);
	assert_int_equal(bridge.stations[0].port, 1);
	assert_int_equal(bridge.stations[0].vlan, 7);
	assert_int_equal(bridge.stations[0].mac[5], 9);
	assert_int_equal(config->brokers[0].ack, OFFLOAD_ACK_EARLY);
	config_free(config);
	free(errors);
}

static void a_bump_in_the_wire_can_leave_acknowledging_to_the_ends(void **state)
{
	const char *key = ", ack: end-to-end", *at = strstr(monitor, "}]\n");
	struct config *config;
	char *errors, *text;

	(void)state;
	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - monitor), monitor, key, at) > 0);
	assert_int_equal(load(text, &config, &errors), 0);
	assert_int_equal(config->brokers[0].ack, OFFLOAD_ACK_END_TO_END);
	config_free(config);
	free(errors);
	free(text);
}

static void a_host_of_its_own_may_bridge_too(void **state)
{
	struct bridge_config bridge;
	struct config *config;
	char *text = replaced("bridge: none", "bridge: hub"), *errors;

	(void)state;
	assert_int_equal(load(text, &config, &errors), 0);
	assert_true(config->ports[0].port.promiscuous);
	config_to_bridge(config, NULL, &bridge);
	assert_int_equal(bridge.mode, BRIDGE_HUB);
	config_free(config);
	free(errors);
	free(text);
}

static void what_a_host_bridges_must_come_to_it(void **state)
{
	static const struct {
		const char *port, *says;
	} cases[] = {
		{"", "bridge: there are 2 to 32 ports to a bridge; valid choices: none"},
		{"  - {name: b, device: net_af_xdp1, addresses: [198.19.0.1/16], filter: auto}\n",
			"ports[1].filter: what stays with the host is not bridged"},
	};
	char text[1024], *errors;
	struct config *config;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text),
			"mode: stack\nbridge: learning\nports:\n"
			"  - {name: a, device: net_af_xdp0, addresses: [198.18.0.1/16]}\n%s"
			"brokers: [{name: m, listen: 198.18.0.1:1883, address: 198.18.0.9:1883}]\n",
			cases[i].port);
		assert_int_equal(load(text, &config, &errors), -EINVAL);
		assert_non_null(strstr(errors, cases[i].says));
		free(errors);
	}
}

static void a_bump_in_the_wire_has_no_use_for_the_rest(void **state)
{
	static const struct {
		const char *more, *says;
	} cases[] = {
		{"bridge: none\n", "bridge: with 'mode: monitor' everything goes through"},
		{"routes: [{to: 0.0.0.0/0, via: 198.18.0.9}]\n", "routes: with 'mode: monitor'"},
		{"neighbours: [{address: 198.18.0.9, mac: '02:00:00:00:00:09'}]\n",
			"neighbours: with 'mode: monitor'"},
	};
	char text[1024], *errors;
	struct config *config;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", monitor, cases[i].more);
		assert_int_equal(load(text, &config, &errors), -EINVAL);
		assert_non_null(strstr(errors, cases[i].says));
		free(errors);
	}
}

static void what_a_bump_in_the_wire_is_told_must_fit(void **state)
{
	static const struct {
		const char *from, *to, *says;
	} cases[] = {
		{"device: net_af_packet1", "device: net_af_packet1, addresses: [198.18.0.3/16]",
			"4:54: ports[1].addresses: with 'mode: monitor' Offramp has no addresses"},
		{"  - {name: right, device: net_af_packet1}\n", "",
			"ports: 1 given; valid choices: 2 to 32 ports"},
		{"address: 198.18.0.1:1883", "address: 198.18.0.1:1883, listen: 198.18.0.2:1883",
			"brokers[0].listen: with 'mode: monitor' clients connect to"},
		{"address: 198.18.0.1:1883", "address: 198.18.0.1:1883, sources: [198.18.0.2]",
			"brokers[0].sources: with 'mode: monitor' the broker sees"},
		{"address: 198.18.0.1:1883}]",
			"address: 198.18.0.1:1883}, {name: b, address: 198.18.0.1:1883}]",
			"brokers[1].address: 198.18.0.1:1883 is where broker 'mosquitto'"},
		{"port: right", "port: middle", "'middle' is not the name of a port"},
		{"'02:00:00:00:00:09'", "'03:00:00:00:00:09'", "the Ethernet address of one host"},
		{"vlan: 7}]", "vlan: 7}, {mac: '02:00:00:00:00:09', port: left, vlan: 7}]",
			"stations[1].mac: '02:00:00:00:00:09' is stations[0] already"},
		{"stations: [{mac: '02:00:00:00:00:09', port: right, vlan: 7}]", "bridge: static",
			"stations: with 'bridge: static' only these are known"},
	};
	char text[1024], *errors;
	struct config *config;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *at = strstr(monitor, cases[i].from);

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - monitor), monitor, cases[i].to,
			at + strlen(cases[i].from));
		assert_int_equal(load(text, &config, &errors), -EINVAL);
		if (!strstr(errors, cases[i].says))
			fail_msg("'%s' says: %s", cases[i].to, errors);
		free(errors);
	}
}

static void the_example_loads(void **state)
{
	struct config *config;
	char *file;

	(void)state;
	assert_true(asprintf(&file, "%s/examples/offrampd.yaml", source_root) > 0);
	assert_int_equal(config_load(file, &config, stderr), 0);
	assert_int_equal(config->brokers[0].knowledge, OFFLOAD_KNOWLEDGE_WIRE);
	assert_string_equal(config->file, file);
	config_free(config);
	free(file);
}

// --- mistakes ------------------------------------------------------------------------------------

struct mistake {
	const char *from, *to; // in the good file
	const char *says;
};

static const struct mistake mistakes[] = {
	// YAML and the schema.
	{"mode: stack", "mode: [stack",
		"2:6: not YAML: did not find expected ',' or ']', "
		"while parsing a flow sequence\n"},
	{"mode: stack", "mode: monitors",
		"1:7: mode: 'monitors' is not known; valid choices: stack, monitor, socket\n"},
	{"mode: stack\n", "", "1:1: mode: missing; it has no default\n"},
	{"bridge: none", "bridge: none\nstations: [{mac: '02:00:00:00:00:09', port: inside}]",
		"25:11: stations: nothing is bridged; valid choices: none\n"},
	{"    listen: 198.18.0.1:1883\n", "",
		"13:5: brokers[0].listen: missing; it has no default with 'mode: stack'\n"},
	{"fence: none", "fence: pong",
		"17:12: brokers[0].fence: 'pong' is not known; valid choices: ping, none\n"},
	{"fence: none", "ack: late",
		"17:10: brokers[0].ack: 'late' is not known; valid choices: early, end-to-end\n"},
	{"fence: none", "ack: end-to-end",
		"17:10: brokers[0].ack: with 'mode: stack' clients speak to Offramp, which answers "
		"for itself; valid choices: early\n"},
	{"fence: none", "topics: kafka",
		"17:13: brokers[0].topics: 'kafka' is not known; valid choices: mqtt, amqp\n"},
	{"mtu: 1400", "mttu: 1400",
		"5:5: ports[0].mttu: no such key; valid choices: name, device, mtu, filter, "
		"rx_ring, tx_ring, addresses, impair\n"},
	{"log: {level: debug}", "log: {level: debug, level: info}",
		"27:21: log.level: given twice; the first stands on line 27\n"},
	{"log: {level: debug}", "log: debug", "27:6: log: must hold keys; valid choices: level\n"},
	{"log: {level: debug}", "log: {level: [debug]}",
		"27:14: log.level: must be a single value\n"},
	{"addresses: [198.19.0.1/24]", "addresses: 198.19.0.1/24",
		"9:16: ports[1].addresses: must be a list: [first, second]\n"},
	{"cores: [3]", "cores: []", "21:18: workers.cores: must have at least one entry\n"},
	{"cores: [3]", "cores: [three]",
		"21:19: workers.cores[0]: 'three' is not a whole number\n"},
	{"mtu: 1400", "mtu:", "5:9: ports[0].mtu: has no value\n"},
	{"max_size: 64KiB", "enabled: on",
		"19:24: brokers[0].capture.enabled: 'on' is not known; valid choices: true, "
		"false\n"},
	// Numbers.
	{"mtu: 1400", "mtu: 150000",
		"5:10: ports[0].mtu: 150000 is out of range; valid choices: 576 to 9216\n"},
	{"hold: 0", "hold: 5",
		"19:38: brokers[0].capture.hold: '5' is not of the right form; valid choices: a "
		"whole number with us, ms, s, m or h, from 0 to 1h\n"},
	{"payloads: 64MiB", "payloads: 64MB",
		"22:36: memory.payloads: '64MB' is not of the right form; valid choices: a whole "
		"number of bytes, or one with KiB, MiB or GiB, from 8MiB to 64GiB\n"},
	{"rto_min: 100ms", "rto_min: 3s",
		"23:6: tcp.rto_initial: must lie between tcp.rto_min and tcp.rto_max\n"},
	// Ports.
	{"name: inside", "name: clients",
		"7:11: ports[1].name: 'clients' is the name of ports[0] already\n"},
	{"name: inside", "name: in side",
		"7:11: ports[1].name: 'in side' is not a name; valid choices: up to 31 letters, "
		"digits, '_', '-' and '.'\n"},
	{"198.18.0.3/32", "198.18.0.3",
		"6:32: ports[0].addresses[1]: '198.18.0.3' cannot be used; valid choices: an "
		"address with the length of its network, such as 198.18.0.1/16 or "
		"2001:db8::1/64\n"},
	{"198.18.0.3/32", "198.18.255.255/16",
		"6:32: ports[0].addresses[1]: '198.18.255.255/16' is not an address of a host\n"},
	{"198.18.0.3/32", "198.18.0.1/32",
		"6:32: ports[0].addresses[1]: '198.18.0.1/32' is an address of port 'clients' "
		"already\n"},
	{"198.18.0.3/32", "'2001:db8::1'",
		"6:32: ports[0].addresses[1]: '2001:db8::1' cannot be used; valid choices: an "
		"address with the length of its network, such as 198.18.0.1/16 or "
		"2001:db8::1/64\n"},
	{"198.18.0.3/32", "'2001:db8::/64'",
		"6:32: ports[0].addresses[1]: '2001:db8::/64' is not an address of a host\n"},
	{"198.18.0.3/32", "'ff02::1/64'",
		"6:32: ports[0].addresses[1]: 'ff02::1/64' is not an address of a host\n"},
	{"mtu: 1400\n    addresses: [198.18.0.1/16, 198.18.0.3/32]",
		"mtu: 1200\n    addresses: [198.18.0.1/16, '2001:db8::1/64']",
		"5:10: ports[0].mtu: 1200 is too small for an IPv6 address; valid choices: 1280 to "
		"9216\n"},
	{"addresses: [198.19.0.1/24]", "addresses: [198.19.0.1/24, 198.18.0.4/16]",
		"9:32: ports[1].addresses[1]: '198.18.0.4/16' is in the network of port "
		"'clients'; each port needs a network of its own\n"},
	{"    addresses: [198.19.0.1/24]\nroutes: [{to: 0.0.0.0/0, via: 198.19.0.254}]\n",
		"routes: [{to: 0.0.0.0/0, via: 198.18.0.254}]\n",
		"7:5: ports[1].addresses: must have at least one address with 'mode: stack', such "
		"as 198.18.0.1/16\n"},
	// Routes and neighbours.
	{"198.19.0.254}]", "198.19.0.254}, {to: 10.0.0.1/8, via: 198.19.0.254}]",
		"10:51: routes[1].to: '10.0.0.1/8' cannot be used; valid choices: a "
		"network, such as 198.19.0.0/16 or 2001:db8:1::/48, or 0.0.0.0/0 or ::/0\n"},
	{"198.19.0.254}]", "198.19.0.254}, {to: '2001:db8::1/64', via: 198.19.0.254}]",
		"10:51: routes[1].to: '2001:db8::1/64' cannot be used; valid choices: a network, "
		"such as 198.19.0.0/16 or 2001:db8:1::/48, or 0.0.0.0/0 or ::/0\n"},
	{"198.19.0.254}]", "198.19.0.254}, {to: '::/0', via: 198.19.0.254}]",
		"10:64: routes[1].via: 198.19.0.254 cannot lead to ::/0: one is IPv4, the other "
		"IPv6\n"},
	{"198.19.0.254}]", "198.19.0.254}, {to: '::/0', via: 'fe80::1'}]",
		"10:64: routes[1].via: 'fe80::1' is link-local, which does not say the port; valid "
		"choices: another address of that host\n"},
	{"198.19.0.254}]", "198.19.0.254}, {to: '::/0', via: 'ff02::2'}]",
		"10:64: routes[1].via: 'ff02::2' cannot be used; valid choices: the address of a "
		"host, such as 198.18.0.1 or 2001:db8::1\n"},
	{"via: 198.19.0.254", "via: 198.19.0.1",
		"10:31: routes[0].via: 198.19.0.1 is an address of ours\n"},
	{"02:00:00:00:00:9f", "01:00:00:00:00:9f",
		"11:41: neighbours[0].mac: '01:00:00:00:00:9f' cannot be used; valid choices: the "
		"Ethernet address of one host, such as \"02:00:00:00:00:09\"\n"},
	{"address: 198.18.0.9", "address: 9.9.9.9",
		"11:24: neighbours[0].address: 9.9.9.9 is in no network of ports[].addresses\n"},
	// Brokers.
	{"listen: 198.18.0.1:1883", "listen: 198.18.0.2:1883",
		"14:13: brokers[0].listen: 198.18.0.2:1883 is not an address of ours; valid "
		"choices: 198.18.0.1, 198.18.0.3, 198.19.0.1\n"},
	{"listen: 198.18.0.1:1883", "listen: 198.18.0.1",
		"14:13: brokers[0].listen: '198.18.0.1' cannot be used; valid choices: an "
		"address and a TCP port, such as 198.18.0.1:1883 or [2001:db8::1]:1883\n"},
	{"listen: 198.18.0.1:1883", "listen: '2001:db8::1:1883'",
		"14:13: brokers[0].listen: '2001:db8::1:1883' cannot be used; valid choices: an "
		"address and a TCP port, such as 198.18.0.1:1883 or [2001:db8::1]:1883\n"},
	{"listen: 198.18.0.1:1883", "listen: '[2001:db8::1]:1883'",
		"14:13: brokers[0].listen: [2001:db8::1]:1883 is not an address of ours; valid "
		"choices: 198.18.0.1, 198.18.0.3, 198.19.0.1\n"},
	{"address: 10.0.0.2:1884", "address: 198.18.0.3:1884",
		"15:14: brokers[0].address: 198.18.0.3:1884 is an address of ours; the broker "
		"needs one of its own\n"},
	{"to: 0.0.0.0/0", "to: 11.0.0.0/8",
		"15:14: brokers[0].address: 10.0.0.2:1884 cannot be reached: it is in no network "
		"of ports[].addresses, and no route leads there\n"},
	{"knowledge: wire", "sources: [198.19.0.1, 198.19.0.7]",
		"16:27: brokers[0].sources[1]: 198.19.0.7 is not an address of ours; valid "
		"choices: 198.18.0.1, 198.18.0.3, 198.19.0.1\n"},
	{"'bridge/#'", "'bridge#'",
		"19:48: brokers[0].capture.pass[0]: 'bridge#' is not a topic filter\n"},
	{"'bridge/#'", "'$share/a/b'",
		"19:48: brokers[0].capture.pass[0]: '$share/a/b' is a shared subscription; write "
		"the filter alone\n"},
	{"workers:",
		"  - {name: mosquitto, listen: '198.18.0.3:1883', address: '10.0.0.3:1'}\nworkers:",
		"21:12: brokers[1].name: 'mosquitto' is the name of brokers[0] already\n"},
	{"workers:",
		"  - {name: other, listen: '198.18.0.1:1883', address: '10.0.0.3:1'}\nworkers:",
		"21:27: brokers[1].listen: 198.18.0.1:1883 is where broker 'mosquitto' listens "
		"already\n"},
	// The rest.
	{"cores: [3]", "cores: [3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]",
		"21:18: workers.cores: 17 cores given; valid choices: 1 to 16 cores\n"},
	{"control_core: 2", "control_core: 3",
		"21:19: workers.cores[0]: core 3 is workers.control_core too, and a busy worker "
		"leaves it no time; valid choices: another core, or 'idle: adaptive'\n"},
	{"secret_file: /var", "secret_file: var",
		"25:14: secret_file: 'var/lib/offramp/secret' cannot be used; valid choices: an "
		"absolute path\n"},
	{"socket: /run", "socket: run",
		"26:19: control.socket: 'run/x.sock' cannot be used; valid choices: an absolute "
		"path of at most 107 bytes\n"},
};

#define SOCKET_MODE                                                   \
	"mode: socket\n"                                              \
	"ports: [{name: a, device: x, addresses: [198.18.0.1/16]}]\n" \
	"brokers: [{name: m, listen: 198.18.0.1:1883}]\n"

// %s: a file that holds a secret.
static const struct {
	const char *socket, *says;
} doors[] = {
	{"{listen: [{address: unix:/run/lanes.sock}], silence: 5s}", ""},
	{"{listen: [{address: 127.0.0.1:1890, secret_file: %s}]}", ""},
	{"{listen: [{address: 192.0.2.1:1890, secret_file: %s, allow: [192.0.2.2, "
	 "2001:db8::/64]}]}",
		""},
	{"{listen: [{address: 127.0.0.1:1890}]}",
		"socket.listen[0].address: whoever reaches 127.0.0.1:1890 could take the "
		"broker's place; valid choices: a unix socket, or secret_file\n"},
	{"{listen: [{address: 192.0.2.1:1890, secret_file: %s}]}",
		"socket.listen[0].address: 192.0.2.1:1890 can be reached from other "
		"machines; valid choices: a loopback address, a unix socket, or allow\n"},
	{"{listen: [{address: 'unix:/run/a.sock', allow: [192.0.2.1]}]}",
		"socket.listen[0].allow: a unix socket needs none: its mode says who may use "
		"it\n"},
	{"{listen: [{address: 'unix:/run/offramp/channel.sock'}]}",
		"socket.listen[0].address: unix:/run/offramp/channel.sock is used already\n"},
	{"{listen: [{address: '127.0.0.1:9', secret_file: /etc/hostname}]}",
		"socket.listen[0].secret_file: /etc/hostname is open to everybody; chmod 640 "
		"it\n"},
	{"{listen: [{address: '127.0.0.1:9', secret_file: %s, allow: [x]}]}",
		"socket.listen[0].allow[0]: 'x' cannot be used; valid choices: an address, or a "
		"prefix such as 192.168.100.0/30\n"},
	{"{silence: 100ms}", "socket.silence: 100ms is out of range; valid choices: 1s to 1h\n"},
};

static void a_door_is_open_to_those_who_are_named(void **state)
{
	char name[] = "/tmp/offramp-secret-XXXXXX";
	int fd = mkstemp(name);

	(void)state;
	assert_int_equal(write(fd, "0123456789abcdef\n", 17), 17);
	close(fd);
	for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
		struct config *config;
		char *text, *socket, *errors;
		int rc;

		assert_true(asprintf(&socket, doors[i].socket, name) > 0);
		assert_true(asprintf(&text, SOCKET_MODE "socket: %s\n", socket) > 0);
		rc = load(text, &config, &errors);
		assert_int_equal(rc, *doors[i].says ? -EINVAL : 0);
		if (!strstr(errors, doors[i].says))
			fail_msg("%s", errors);
		if (rc == 0) {
			const struct config_door *door = &config->socket.doors[0];

			assert_int_equal(config->socket.doors_count, 1);
			assert_int_equal(config->socket.silence_us, i == 0 ? 5000000 : 30000000);
			assert_int_equal(door->secret_length, i == 0 ? 0 : 16);
			assert_int_equal(door->allow_count, i == 2 ? 2 : 0);
			config_free(config);
		}
		free(errors);
		free(socket);
		free(text);
	}
	unlink(name);
}

static const struct {
	const char *socket, *says;
} places[] = {
	{"{connect: [192.0.2.0/24, '2001:db8::/32', 203.0.113.7], udp: [198.18.0.1, "
	 "'198.18.0.1:53']}",
		""},
	{"{connect: [0.0.0.0/0]}", ""},
	{"{connect: [192.0.2.1/24]}", "socket.connect[0]: '192.0.2.1/24' cannot be used; valid "},
	{"{connect: [192.0.2.1, 127.0.0.0/8]}", "socket.connect[1]: '127.0.0.0/8' cannot be used"},
	{"{connect: [224.0.0.1]}", "socket.connect[0]: '224.0.0.1' cannot be used; valid choices"},
	{"{connect: ['fe80::/10']}", "socket.connect[0]: 'fe80::/10' cannot be used; valid choic"},
	{"{connect: [broker]}", "socket.connect[0]: 'broker' cannot be used; valid choices: an "},
	{"{udp: ['198.18.0.1:0']}", "socket.udp[0]: '198.18.0.1:0' cannot be used; valid choices"},
	{"{udp: [198.18.0.1, 198.18.0.2]}", "socket.udp[1]: "},
	{"{udp: [5683]}", "socket.udp[0]: '5683' cannot be used; valid choices: an address of "},
};

static void where_programs_may_go_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct config *config;
		char *text, *errors;
		int rc;

		assert_true(asprintf(&text, SOCKET_MODE "socket: %s\n", places[i].socket) > 0);
		rc = load(text, &config, &errors);
		if (rc != (*places[i].says ? -EINVAL : 0) || !strstr(errors, places[i].says))
			fail_msg("%s: %s", places[i].socket, errors);
		if (i == 0) {
			assert_int_equal(config->socket.connects_count, 3);
			assert_int_equal(config->socket.connects[0].prefix, 24);
			assert_int_equal(config->socket.udp_count, 2);
			assert_int_equal(config->socket.udp[0].port, 0);
			assert_int_equal(config->socket.udp[1].port, 53);
		}
		if (rc == 0)
			config_free(config);
		free(errors);
		free(text);
	}
}

static void a_mistake_is_told_with_its_place(void **state)
{
	struct config *config;

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		char *text, *errors;

		text = replaced(mistakes[i].from, mistakes[i].to);
		assert_int_equal(load(text, &config, &errors), -EINVAL);
		assert_string_equal(errors, mistakes[i].says);
		free(errors);
		free(text);
	}
}

static void all_mistakes_are_told_at_once_within_bounds(void **state)
{
	struct config *config;
	char *text, *errors;
	unsigned lines = 0;

	(void)state;
	text = replaced("log: {level: debug}\n",
		"a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni: 1\nj: 1\nk: 1\nl: 1\nm: 1\n"
		"n: 1\no: 1\np: 1\nq: 1\nr: 1\ns: 1\nt: 1\nu: 1\nv: 1\n");
	assert_int_equal(load(text, &config, &errors), -EINVAL);
	for (char *p = errors; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 20);
	free(errors);
	free(text);
}

// Either build is tested: one refuses, the other resolves.
static void impairment_is_for_test_builds(void **state)
{
	static const char impaired[] =
		"mtu: 1400\n    impair: {loss: 2.5%, delay: 1ms, rate: 100Mbit, direction: tx}";
	struct config *config;
	char *text, *errors;

	(void)state;
	text = replaced("mtu: 1400", impaired);
	if (port_impair_built_in()) {
		assert_int_equal(load(text, &config, &errors), 0);
		assert_false(impair_wanted(&config->ports[0].port.impair_rx));
		assert_int_equal(config->ports[0].port.impair_tx.loss, 25000);
		assert_int_equal(config->ports[0].port.impair_tx.delay_us, 1000);
		assert_int_equal(config->ports[0].port.impair_tx.rate, 100000000);
		assert_int_equal(config->ports[0].port.impair_tx.seed, 1);
		config_free(config);
	} else {
		assert_int_equal(load(text, &config, &errors), -EINVAL);
		assert_string_equal(errors,
			"6:13: ports[0].impair: built without impairment; it is for tests (meson "
			"-Dimpair=true)\n");
	}
	free(errors);
	free(text);
}

static void what_cannot_be_read_is_told(void **state)
{
	struct config *config;
	char *errors;

	(void)state;
	assert_int_equal(load("", &config, &errors), -EINVAL);
	assert_string_equal(errors, "1:1: the file is empty; offrampd.yaml(5) has an example\n");
	free(errors);
	assert_int_equal(load("just a word\n", &config, &errors), -EINVAL);
	free(errors);
	assert_int_equal(load("\xff\xfe\x01", &config, &errors), -EINVAL);
	free(errors);
	assert_int_equal(config_load("/nonexistent/x.yaml", &config, stdout), -ENOENT);
}

// --- numbers -------------------------------------------------------------------------------------

static const struct {
	enum config_unit unit;
	const char *text;
	bool ok;
	uint64_t value;
	const char *shortest; // NULL: as text
} numbers[] = {
	{CONFIG_UNIT_COUNT, "0", true, 0, NULL},
	{CONFIG_UNIT_COUNT, "16384", true, 16384, NULL},
	{CONFIG_UNIT_COUNT, "16K", false, 0, NULL},
	{CONFIG_UNIT_COUNT, "-1", false, 0, NULL},
	{CONFIG_UNIT_COUNT, "+1", false, 0, NULL},
	{CONFIG_UNIT_COUNT, "0x10", false, 0, NULL},
	{CONFIG_UNIT_COUNT, "18446744073709551615", true, UINT64_MAX, NULL},
	{CONFIG_UNIT_COUNT, "18446744073709551616", false, 0, NULL},
	{CONFIG_UNIT_SIZE, "100", true, 100, NULL},
	{CONFIG_UNIT_SIZE, "100B", true, 100, "100"},
	{CONFIG_UNIT_SIZE, "256KiB", true, 262144, NULL},
	{CONFIG_UNIT_SIZE, "256 KiB", true, 262144, "256KiB"},
	{CONFIG_UNIT_SIZE, "1024KiB", true, 1048576, "1MiB"},
	{CONFIG_UNIT_SIZE, "1.5MiB", false, 0, NULL},
	{CONFIG_UNIT_SIZE, "1KB", false, 0, NULL},
	{CONFIG_UNIT_SIZE, "17179869184GiB", false, 0, NULL},
	{CONFIG_UNIT_DURATION, "0", true, 0, NULL},
	{CONFIG_UNIT_DURATION, "5", false, 0, NULL},
	{CONFIG_UNIT_DURATION, "5us", true, 5, NULL},
	{CONFIG_UNIT_DURATION, "200ms", true, 200000, NULL},
	{CONFIG_UNIT_DURATION, "60s", true, 60000000, "1m"},
	{CONFIG_UNIT_DURATION, "90m", true, 5400000000, NULL},
	{CONFIG_UNIT_DURATION, "2h", true, 7200000000, NULL},
	{CONFIG_UNIT_DURATION, "2 weeks", false, 0, NULL},
	{CONFIG_UNIT_DURATION, "", false, 0, NULL},
	{CONFIG_UNIT_SHARE, "0", true, 0, "0%"},
	{CONFIG_UNIT_SHARE, "2%", true, 20000, NULL},
	{CONFIG_UNIT_SHARE, "0.5%", true, 5000, NULL},
	{CONFIG_UNIT_SHARE, "12.3456%", true, 123456, "12.3456%"},
	{CONFIG_UNIT_SHARE, "0.00001%", false, 0, NULL},
	{CONFIG_UNIT_SHARE, "2", false, 0, NULL},
	{CONFIG_UNIT_SHARE, "2.%", false, 0, NULL},
	{CONFIG_UNIT_SHARE, ".5%", false, 0, NULL},
	{CONFIG_UNIT_SHARE, "%", false, 0, NULL},
	{CONFIG_UNIT_SHARE, "99999999999999999999%", false, 0, NULL},
	{CONFIG_UNIT_RATE, "100Mbit", true, 100000000, NULL},
	{CONFIG_UNIT_RATE, "1500kbit", true, 1500000, NULL},
	{CONFIG_UNIT_RATE, "100", false, 0, NULL},
};

static void numbers_have_their_units(void **state)
{
	char text[CONFIG_NUMBER_STRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint64_t value = 0;

		assert_int_equal(config_number_parse(numbers[i].unit, numbers[i].text, &value),
			numbers[i].ok);
		if (!numbers[i].ok)
			continue;
		assert_true(value == numbers[i].value);
		assert_string_equal(config_number_format(numbers[i].unit, value, text),
			numbers[i].shortest ? numbers[i].shortest : numbers[i].text);
	}
}

int test_config(const char *root)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_file_is_resolved),
		cmocka_unit_test(floors_get_their_structures),
		cmocka_unit_test(defaults_are_safe),
		cmocka_unit_test(a_broker_with_topics_of_its_own),
		cmocka_unit_test(the_families_stand_side_by_side),
		cmocka_unit_test(a_bump_in_the_wire_needs_little),
		cmocka_unit_test(a_bump_in_the_wire_can_leave_acknowledging_to_the_ends),
		cmocka_unit_test(a_host_of_its_own_may_bridge_too),
		cmocka_unit_test(what_a_host_bridges_must_come_to_it),
		cmocka_unit_test(a_bump_in_the_wire_has_no_use_for_the_rest),
		cmocka_unit_test(what_a_bump_in_the_wire_is_told_must_fit),
		cmocka_unit_test(the_example_loads),
		cmocka_unit_test(a_mistake_is_told_with_its_place),
		cmocka_unit_test(a_door_is_open_to_those_who_are_named),
		cmocka_unit_test(where_programs_may_go_is_named),
		cmocka_unit_test(all_mistakes_are_told_at_once_within_bounds),
		cmocka_unit_test(impairment_is_for_test_builds),
		cmocka_unit_test(what_cannot_be_read_is_told),
		cmocka_unit_test(numbers_have_their_units),
	};

	source_root = root;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
