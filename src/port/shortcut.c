// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The maps of the two programs are filled, then the switch is thrown: until then all comes to
// Offramp, in order. What stations have been learned stands in one map that both use.
//
// Not every interface takes redirected frames, and of some it changes with time (a veth when its
// other end has NAPI): the program is given the peer when it does, and loses it when it does not.

#include "port/shortcut.h"

#include "base/log.h"
#include "port/eal_arguments.h"
#include "port/filter.h"
#include "port/flow_rules.h"
#include "port/kernel_interface.h"
#include "port/port_state.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPONENT "port"

enum peer { // the other port's interface
	PEER_ASKED_NEVER,
	PEER_UNKNOWN, // the kernel does not tell
	PEER_REFUSES,
	PEER_TAKES,
};

struct shortcut {
	uint32_t program;
	bool generic; // attached without the driver's help
	bool lost;    // somebody has taken the program away
	int peer_map, counted_map;
	unsigned peer_index;
	const char *peer_name; // of the other port
	enum peer peer;
	unsigned cpus;
	uint64_t values[]; // one a CPU
};

static struct shortcut *shortcut_create(const struct port *port, const struct port *peer)
{
	int cpus = libbpf_num_possible_cpus();
	struct shortcut *shortcut;

	if (cpus < 0)
		return NULL;
	shortcut = calloc(1, sizeof(*shortcut) + (unsigned)cpus * sizeof(shortcut->values[0]));
	if (shortcut == NULL)
		return NULL;
	shortcut->cpus = (unsigned)cpus;
	shortcut->peer_map = -1;
	shortcut->counted_map = -1;
	shortcut->peer_index = peer->if_index;
	shortcut->peer_name = peer->name;
	if (!filter_program_find(
		    port->if_index, PORT_FILTER_BRIDGE, &shortcut->program, &shortcut->generic)) {
		free(shortcut);
		return NULL;
	}
	return shortcut;
}

void shortcut_destroy(struct shortcut *shortcut)
{
	if (shortcut == NULL)
		return;
	if (shortcut->peer_map >= 0)
		close(shortcut->peer_map);
	if (shortcut->counted_map >= 0)
		close(shortcut->counted_map);
	free(shortcut);
}

// --- the peer ------------------------------------------------------------------------------------

// A program that the driver does not run sends in the ordinary way, which all interfaces know.
static enum peer peer_ask(const struct shortcut *shortcut)
{
	bool takes;

	if (shortcut->generic)
		return PEER_TAKES;
	if (!kernel_interface_takes_redirects(shortcut->peer_index, &takes))
		return PEER_UNKNOWN;
	return takes ? PEER_TAKES : PEER_REFUSES;
}

static void peer_log(const struct shortcut *shortcut, const char *name)
{
	switch (shortcut->peer) {
	case PEER_REFUSES:
		log_warning(COMPONENT,
			"%s: the interface of %s takes no redirected frames: everything comes to "
			"Offramp (a veth takes them while GRO or a program is on at its other end)",
			name, shortcut->peer_name);
		break;
	case PEER_UNKNOWN:
		log_warning(COMPONENT,
			"%s: this kernel does not tell whether the interface of %s takes "
			"redirected frames: if other traffic stops, leave the filter off",
			name, shortcut->peer_name);
		break;
	default:
		log_info(COMPONENT, "%s: what is not for Offramp goes to %s in the kernel (XDP%s)",
			name, shortcut->peer_name, shortcut->generic ? ", generic" : "");
	}
}

// Tells the program when it has changed.
static int peer_update(struct shortcut *shortcut, const char *name)
{
	enum peer peer = peer_ask(shortcut);
	uint32_t zero = 0, index = shortcut->peer_index;
	int r = 0;

	if (peer == shortcut->peer)
		return 0;
	if (peer == PEER_REFUSES)
		bpf_map_delete_elem(shortcut->peer_map, &zero);
	else
		r = bpf_map_update_elem(shortcut->peer_map, &zero, &index, BPF_ANY);
	if (r < 0)
		return r;
	shortcut->peer = peer;
	peer_log(shortcut, name);
	return 0;
}

void port_shortcut_look(struct port *port)
{
	struct shortcut *shortcut = port->shortcut;
	uint32_t program = 0;
	bool generic, lost;
	int r;

	if (shortcut == NULL)
		return;
	lost = !filter_program_find(port->if_index, PORT_FILTER_BRIDGE, &program, &generic) ||
	       program != shortcut->program;
	if (lost && !shortcut->lost)
		log_error(COMPONENT,
			"%s: somebody has removed our XDP program from the interface: nothing "
			"comes to Offramp: restart it",
			port->name);
	shortcut->lost = lost;
	r = peer_update(shortcut, port->name);
	if (r < 0)
		log_error(COMPONENT, "%s: the XDP program cannot be told where to send: %s",
			port->name, strerror(-r));
}

// --- filling -------------------------------------------------------------------------------------

static int put(
	const struct shortcut *shortcut, const char *name, const void *key, const void *value)
{
	int map = filter_map_open(shortcut->program, name), r;

	if (map < 0)
		return map;
	r = bpf_map_update_elem(map, key, value, BPF_ANY);
	close(map);
	return r;
}

static struct filter_address address_of(const struct port_address *address)
{
	struct filter_address result;

	memcpy(result.bytes, address->bytes, sizeof(result.bytes));
	return result;
}

// With its port, and by itself: a fragment may have none.
static int brokers_put(
	const struct shortcut *shortcut, const struct port_endpoint *brokers, unsigned count)
{
	const uint8_t nothing = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		struct shortcut_endpoint key = {.address = address_of(&brokers[i].address)};

		r = put(shortcut, SHORTCUT_BROKERS, &key, &nothing);
		key.port = htons(brokers[i].port);
		if (r == 0)
			r = put(shortcut, SHORTCUT_BROKERS, &key, &nothing);
	}
	return r;
}

static int stations_put(
	const struct shortcut *shortcut, const struct port_station *stations, unsigned count)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		struct shortcut_station key = {.vlan = stations[i].vlan};
		uint32_t port = stations[i].port;

		memcpy(key.mac, stations[i].mac, sizeof(key.mac));
		r = put(shortcut, SHORTCUT_STATIONS, &key, &port);
	}
	return r;
}

static int settings_put(const struct shortcut *shortcut, unsigned self, uint16_t mtu,
	const struct port_shortcut_config *config)
{
	static const enum shortcut_mode modes[] = {
		[PORT_BRIDGE_LEARNING] = SHORTCUT_LEARNING,
		[PORT_BRIDGE_STATIC] = SHORTCUT_STATIC,
		[PORT_BRIDGE_HUB] = SHORTCUT_HUB,
	};
	const struct shortcut_settings settings = {
		.age_ns = config->age_us * 1000,
		.mode = modes[config->mode],
		.self = self,
		.mtu = mtu,
		.fixed = config->stations_count,
	};
	uint32_t zero = 0;

	return put(shortcut, SHORTCUT_SETTINGS, &zero, &settings);
}

static int shortcut_fill(struct port *const ports[2], unsigned self, int learned,
	const struct port_shortcut_config *config)
{
	struct shortcut *shortcut = ports[self]->shortcut;
	uint32_t zero = 0;
	int r;

	shortcut->peer_map = filter_map_open(shortcut->program, SHORTCUT_PEER);
	shortcut->counted_map = filter_map_open(shortcut->program, SHORTCUT_COUNTED);
	if (shortcut->peer_map < 0 || shortcut->counted_map < 0)
		return -ENOENT;
	r = put(shortcut, SHORTCUT_LEARNED, &zero, &learned);
	if (r == 0)
		r = brokers_put(shortcut, config->brokers, config->brokers_count);
	if (r == 0)
		r = stations_put(shortcut, config->stations, config->stations_count);
	if (r == 0)
		r = peer_update(shortcut, ports[self]->name);
	return r < 0 ? r : settings_put(shortcut, self, port_mtu(ports[1 - self]), config);
}

static int both_fill(struct port *const ports[2], const struct port_shortcut_config *config)
{
	int learned = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, SHORTCUT_LEARNED,
		sizeof(struct shortcut_station), sizeof(struct shortcut_seen),
		SHORTCUT_STATIONS_MAX, NULL);
	int r = learned < 0 ? learned : 0;

	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = shortcut_fill(ports, i, learned, config);
	if (learned >= 0)
		close(learned); // the programs have it
	if (r < 0)
		log_error(COMPONENT, "%s, %s: the XDP programs cannot be told what to do: %s",
			ports[0]->name, ports[1]->name, strerror(-r));
	return r;
}

bool port_shortcut_is_possible(const char *device, const char *other)
{
	return (port_is_af_xdp(device) && port_is_af_xdp(other)) ||
	       (eal_device_is_physical(device) && eal_device_is_physical(other));
}

int port_shortcut_open(struct port *const ports[2], const struct port_shortcut_config *config)
{
	if (ports[0]->physical && ports[1]->physical)
		return flow_rules_open(&flow_driver_ethdev, ports, config);
	ports[0]->shortcut = shortcut_create(ports[0], ports[1]);
	ports[1]->shortcut = shortcut_create(ports[1], ports[0]);
	if (ports[0]->shortcut != NULL && ports[1]->shortcut != NULL)
		return both_fill(ports, config);
	for (unsigned i = 0; i < 2; i++) {
		shortcut_destroy(ports[i]->shortcut);
		ports[i]->shortcut = NULL;
	}
	return 0;
}

bool port_has_shortcut(const struct port *port)
{
	return port->shortcut != NULL || port->flows != NULL;
}

// --- counters ------------------------------------------------------------------------------------

void shortcut_counters_read(struct shortcut *shortcut, uint64_t ret_counted[SHORTCUT_COUNTERS])
{
	for (uint32_t i = 0; i < SHORTCUT_COUNTERS; i++) {
		ret_counted[i] = 0;
		if (bpf_map_lookup_elem(shortcut->counted_map, &i, shortcut->values) < 0)
			continue;
		for (unsigned cpu = 0; cpu < shortcut->cpus; cpu++)
			ret_counted[i] += shortcut->values[cpu];
	}
}
