// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a process says in messages (proto/channel.capnp), and what it is answered.

#include <string.h>

#include "attach/socket_flow.h"

static void set_option(struct socket_flow *flow, const struct channel_message *message)
{
	static const struct tcp_keep_alive off = {.interval_s = 75, .probes = 9};
	int value = message->option.value;

	switch (message->option.option) {
	case CHANNEL_NO_DELAY:
		// What is delivered is gathered by turns; holding it back longer helps nobody.
		return;
	case CHANNEL_LINGER:
		tcp_set_linger(flow->pcb, value);
		return;
	case CHANNEL_KEEP_ALIVE:
		flow->keeps_alive = value != 0;
		break;
	case CHANNEL_KEEP_IDLE:
		flow->keep_alive.idle_s = (uint32_t)value;
		break;
	case CHANNEL_KEEP_INTERVAL:
		flow->keep_alive.interval_s = (uint32_t)value;
		break;
	case CHANNEL_KEEP_COUNT:
		flow->keep_alive.probes = (uint32_t)value;
		break;
	case CHANNEL_OPTIONS:
		return;
	}
	tcp_set_keep_alive(flow->pcb, flow->keeps_alive ? &flow->keep_alive : &off);
}

// NULL: the connection is no more, or never was.
static struct socket_flow *flow_at(const struct socket_process *process, uint32_t slot)
{
	if (slot >= process->lane->slots || process->flows[slot] == SOCKET_SLOT_LEFT)
		return NULL;
	return process->flows[slot];
}

// As Linux numbers states in struct tcp_info.
static uint8_t state_number(enum tcp_state state)
{
	static const uint8_t numbers[] = {
		[TCP_CLOSED] = 7,
		[TCP_LISTEN] = 10,
		[TCP_SYN_DEFERRED] = 3,
		[TCP_SYN_SENT] = 2,
		[TCP_SYN_RECEIVED] = 3,
		[TCP_ESTABLISHED] = 1,
		[TCP_FIN_WAIT_1] = 4,
		[TCP_FIN_WAIT_2] = 5,
		[TCP_CLOSE_WAIT] = 8,
		[TCP_CLOSING] = 11,
		[TCP_LAST_ACK] = 9,
		[TCP_TIME_WAIT] = 6,
	};

	return numbers[state];
}

static void tell_info(struct socket_process *process, const struct channel_message *message)
{
	struct channel_message answer = {.call = message->call, .kind = CHANNEL_INFO_IS};
	const struct socket_flow *flow = flow_at(process, message->info.slot);
	struct tcp_info info;

	answer.info_is.state = state_number(TCP_CLOSED);
	if (flow != NULL && flow->pcb != NULL) {
		tcp_pcb_info(flow->pcb, &info);
		answer.info_is.state = state_number(info.state);
		answer.info_is.mss = info.mss;
		answer.info_is.cwnd = info.cwnd;
		answer.info_is.rtt_us = info.srtt_us;
		answer.info_is.rtt_var_us = info.rttvar_us;
		answer.info_is.retransmits = info.retransmits;
		answer.info_is.unacked = info.queued;
	}
	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

void socket_done(struct socket_process *process, uint32_t call, int error)
{
	const struct channel_message answer = {
		.call = call,
		.kind = CHANNEL_DONE,
		.done.error = (uint16_t)error,
	};

	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

struct net_endpoint socket_endpoint_from(const struct channel_endpoint *from)
{
	return (struct net_endpoint){
		.address = socket_address(from->address, from->ipv6),
		.port = from->port,
	};
}

static void tell_route(struct socket_process *process, const struct channel_message *message)
{
	struct channel_message answer = {.call = message->call, .kind = CHANNEL_ROUTE_IS};
	const struct net_endpoint remote = socket_endpoint_from(&message->route.remote);
	struct net_way way;
	int rc = net_way_find(process->sockets->net, &remote.address, &way);

	if (rc == 0) {
		answer.route_is.own = way.own;
		answer.route_is.general = way.general;
		answer.route_is.mtu = way.mtu;
		answer.route_is.longest =
			way.echo_max < CHANNEL_DATAGRAM_MAX ? way.echo_max : CHANNEL_DATAGRAM_MAX;
		answer.route_is.local =
			socket_endpoint_to(&(struct net_endpoint){.address = way.local});
	}
	answer.route_is.error = (uint16_t)-rc;
	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

void socket_message_take(struct socket_process *process, const struct channel_message *message)
{
	struct socket_flow *flow;

	switch (message->kind) {
	case CHANNEL_LISTEN:
		socket_done(process, message->call, socket_listen(process, message));
		break;
	case CHANNEL_UNLISTEN:
		socket_unlisten(process, message->unlisten.listener);
		break;
	case CHANNEL_OPTION:
		flow = flow_at(process, message->option.slot);
		if (flow != NULL && flow->pcb != NULL)
			set_option(flow, message);
		break;
	case CHANNEL_INFO:
		tell_info(process, message);
		break;
	case CHANNEL_ROUTE:
		tell_route(process, message);
		break;
	case CHANNEL_CONNECT:
		socket_done(process, message->call, socket_outgoing_open(process, message));
		break;
	case CHANNEL_UDP:
		socket_done(process, message->call, socket_udp_open(process, message));
		break;
	default: // a daemon's own
		process->broken = true;
		break;
	}
}
