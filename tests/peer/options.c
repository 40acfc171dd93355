// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The command line of tcp-peer.

#include "peer.h"

#include <rte_ether.h>

#include <argp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_IMPAIR = 256,
	KEY_IMPAIR_RX,
	KEY_IMPAIR_TX,
	KEY_CONNECTIONS,
	KEY_CONNECTIONS_MAX,
	KEY_GATEWAY,
	KEY_NEIGHBOUR,
	KEY_NO_COOKIES,
};

const char *const role_names[ROLES] = {"sink", "source", "echo"};

static const struct argp_option table[] = {
	{"device", 'd', "DEVICE", 0, "as DPDK names it: net_af_packet0,iface=eth0", 0},
	{"mtu", 'm', "N", 0, "of the port; what the device has", 0},
	{"address", 'a', "ADDRESS/PREFIX", 0, "of ours; several of either family", 0},
	{"gateway", KEY_GATEWAY, "ADDRESS", 0, "to whom everything else goes", 0},
	{"neighbour", KEY_NEIGHBOUR, "ADDRESS=MAC", 0, "known, and not asked for", 0},
	{"listen", 'l', "ROLE:PORT", 0, "sink, source or echo", 0},
	{"connect", 'c', "ROLE:ADDRESS:PORT", 0, "the same, connecting", 0},
	{"bytes", 'b', "N", 0, "that a source sends", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "end after so many", 0},
	{"connections-max", KEY_CONNECTIONS_MAX, "N", 0, "room for so many at once", 0},
	{"core", 'C', "CPU", 0, "to run on", 0},
	{"tcp", 't', "KEY=VALUE", 0, "a number of struct tcp_config", 0},
	{"no-syn-cookies", KEY_NO_COOKIES, NULL, 0, "past the backlog SYNs are dropped", 0},
	{"impair", KEY_IMPAIR, "LIST", 0,
		"both ways: loss=2%,duplicate=1%,reorder=5%,corrupt=0.5%,delay=1000,rate=1e8,seed=1 "
		"(us, bit/s)",
		0},
	{"impair-rx", KEY_IMPAIR_RX, "LIST", 0, "what is received", 0},
	{"impair-tx", KEY_IMPAIR_TX, "LIST", 0, "what is sent", 0},
	{0},
};

#define TCP_KEY(member)                                      \
	{                                                    \
#member, offsetof(struct tcp_config, member) \
	}
static const struct {
	const char *name;
	size_t offset; // of an uint32_t
} tcp_keys[] = {
	TCP_KEY(receive_buffer),
	TCP_KEY(backlog),
	TCP_KEY(rto_min_us),
	TCP_KEY(rto_max_us),
	TCP_KEY(rto_initial_us),
	TCP_KEY(syn_retries),
	TCP_KEY(retries),
	TCP_KEY(time_wait_us),
	TCP_KEY(fin_wait_us),
	TCP_KEY(delayed_ack_us),
};

static bool tcp_set(struct tcp_config *tcp, const char *text)
{
	size_t length = strcspn(text, "=");

	for (size_t i = 0; i < sizeof(tcp_keys) / sizeof(tcp_keys[0]); i++)
		if (strlen(tcp_keys[i].name) == length && text[length] == '=' &&
			strncmp(tcp_keys[i].name, text, length) == 0) {
			*(uint32_t *)(void *)((char *)tcp + tcp_keys[i].offset) =
				(uint32_t)strtoul(text + length + 1, NULL, 10);
			return true;
		}
	return false;
}

// A number; of one with '%' the parts of a million.
static bool impair_number(const char *text, double *ret_value)
{
	char *end;
	double value = strtod(text, &end);

	if (*end == '%' && end++ > text)
		value *= IMPAIR_MILLION / 100;
	*ret_value = value;
	return end > text && *end == '\0' && value >= 0;
}

static bool impair_set(struct impair_config *impair, char *list)
{
	for (char *pair; (pair = strsep(&list, ","));) {
		char *text = strchr(pair, '=');
		double value;

		if (text == NULL || !impair_number(text + 1, &value))
			return false;
		*text = '\0';
		if (strcmp(pair, "loss") == 0)
			impair->loss = (uint32_t)value;
		else if (strcmp(pair, "duplicate") == 0)
			impair->duplicate = (uint32_t)value;
		else if (strcmp(pair, "reorder") == 0)
			impair->reorder = (uint32_t)value;
		else if (strcmp(pair, "corrupt") == 0)
			impair->corrupt = (uint32_t)value;
		else if (strcmp(pair, "delay") == 0)
			impair->delay_us = (uint64_t)value;
		else if (strcmp(pair, "rate") == 0)
			impair->rate = (uint64_t)value;
		else if (strcmp(pair, "seed") == 0)
			impair->seed = (uint64_t)value;
		else
			return false;
	}
	return true;
}

// What stands behind "ROLE:", NULL when it is no role.
static const char *role_parse(const char *text, enum role *ret_role)
{
	size_t length = strcspn(text, ":");

	for (unsigned i = 0; i < ROLES; i++)
		if (text[length] == ':' && strlen(role_names[i]) == length &&
			strncmp(text, role_names[i], length) == 0) {
			*ret_role = i;
			return text + length + 1;
		}
	return NULL;
}

static bool listen_add(struct options *options, const char *text)
{
	struct listen_option *listen = &options->listens[options->listens_count];

	if (options->listens_count++ == ENDPOINTS_MAX)
		return false;
	text = role_parse(text, &listen->role);
	if (text == NULL)
		return false;
	listen->port = (uint16_t)strtoul(text, NULL, 10);
	return listen->port != 0;
}

static bool connect_add(struct options *options, const char *text)
{
	struct connect_option *connect = &options->connects[options->connects_count];

	if (options->connects_count++ == ENDPOINTS_MAX)
		return false;
	text = role_parse(text, &connect->role);
	return text != NULL && net_endpoint_parse(text, &connect->remote) == 0;
}

static bool address_add(struct options *options, const char *text)
{
	struct net_interface_address *address = &options->addresses[options->addresses_count];

	return options->addresses_count++ < ADDRESSES_MAX &&
	       net_prefix_parse(text, &address->address, &address->prefix) == 0;
}

static bool gateway_set(struct options *options, const char *text)
{
	struct net_route_config *route = &options->gateway;

	options->gateways = 1;
	return net_address_parse(text, &route->via) == 0 &&
	       net_prefix_parse(net_address_is_ipv4(&route->via) ? "0.0.0.0/0" : "::/0",
		       &route->prefix, &route->prefix_len) == 0;
}

static bool neighbour_set(struct options *options, char *text)
{
	struct net_neighbour_config *neighbour = &options->neighbour;
	char *mac = strchr(text, '=');

	if (mac == NULL)
		return false;
	*mac++ = '\0';
	options->neighbours = 1;
	return net_address_parse(text, &neighbour->address) == 0 &&
	       rte_ether_unformat_addr(mac, (struct rte_ether_addr *)neighbour->mac) == 0;
}

static bool impair_both(struct options *options, char *list)
{
	bool ok = impair_set(&options->impair_rx, list);

	options->impair_tx = options->impair_rx;
	return ok;
}

static bool option_set(struct options *options, int key, char *arg)
{
	switch (key) {
	case 'd':
		options->device = arg;
		return true;
	case 'm':
		options->mtu = (uint16_t)strtoul(arg, NULL, 10);
		return true;
	case 'a':
		return address_add(options, arg);
	case KEY_GATEWAY:
		return gateway_set(options, arg);
	case KEY_NEIGHBOUR:
		return neighbour_set(options, arg);
	case 'l':
		return listen_add(options, arg);
	case 'c':
		return connect_add(options, arg);
	case 'b':
		options->bytes = strtoull(arg, NULL, 10);
		return true;
	case KEY_NO_COOKIES:
		options->tcp.syn_cookies = false;
		return true;
	case KEY_CONNECTIONS:
		options->connections = (unsigned)strtoul(arg, NULL, 10);
		return true;
	case KEY_CONNECTIONS_MAX:
		options->connections_max = (unsigned)strtoul(arg, NULL, 10);
		return options->connections_max > 0;
	case 'C':
		options->core = (unsigned)strtoul(arg, NULL, 10);
		return true;
	case 't':
		return tcp_set(&options->tcp, arg);
	case KEY_IMPAIR:
		return impair_both(options, arg);
	case KEY_IMPAIR_RX:
		return impair_set(&options->impair_rx, arg);
	default:
		return impair_set(&options->impair_tx, arg);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	if (key == ARGP_KEY_END) {
		if (options->device == NULL || options->addresses_count == 0)
			argp_error(state, "--device and --address are needed");
		return 0;
	}
	if (key == ARGP_KEY_ARG || (arg == NULL && key != KEY_NO_COOKIES))
		return ARGP_ERR_UNKNOWN;
	if (!option_set(options, key, arg))
		argp_error(state, "'%s' cannot be used", arg != NULL ? arg : "");
	return 0;
}

static unsigned last_allowed_cpu(void)
{
	unsigned cpu = CPU_SETSIZE - 1;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 0;
	while (cpu > 0 && !CPU_ISSET(cpu, &set))
		cpu--;
	return cpu;
}

void options_parse(int argc, char **argv, struct options *options)
{
	static const struct argp argp = {
		.options = table, .parser = parse, .doc = "The TCP engine as a peer of a kernel."};

	*options = (struct options){
		.bytes = 1 << 20,
		.connections_max = 64,
		.core = last_allowed_cpu(),
	};
	tcp_config_init(&options->tcp);
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
