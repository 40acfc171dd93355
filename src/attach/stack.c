// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Listeners, events, timers.

#include <rte_malloc.h>

#include <assert.h>
#include <errno.h>

#include "attach/flow.h"
#include "base/assert.h"

static const char *const refusal_names[STACK_REFUSALS] = {
	[STACK_REFUSED_BROKER] = "broker_refused",
	[STACK_REFUSED_UNREACHABLE] = "broker_unreachable",
	[STACK_REFUSED_FULL] = "full",
	[STACK_REFUSED_PORTS] = "no_port",
	[STACK_REFUSED_DRAINING] = "draining",
};

static const char *const reset_names[STACK_RESETS] = {
	[STACK_RESET_CLIENT] = "client",
	[STACK_RESET_BROKER] = "broker",
	[STACK_RESET_OFFRAMP] = "offramp",
};

static const struct counter_family families[] = {
	{"connections_accepted_total", "clients connected to their broker", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"connections_refused_total", "clients refused, by the reason why", "reason", refusal_names,
		STACK_REFUSALS, COUNTER_MONOTONIC},
	{"connections_other_port_total",
		"peer connections from another port than the client's, which was taken", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"connections_reset_total", "connections that were reset, by who began", "by", reset_names,
		STACK_RESETS, COUNTER_MONOTONIC},
};

static_assert(
	sizeof(struct stack_counters) == sizeof(uint64_t) * (1 + STACK_REFUSALS + 1 + STACK_RESETS),
	"a family a field, in order");

static bool acks_end_to_end(const struct offload_config *config)
{
	for (unsigned i = 0; i < config->brokers_count; i++)
		if (config->brokers[i].ack == OFFLOAD_ACK_END_TO_END)
			return true;
	return false;
}

int stack_create(const struct offload_config *config, struct offload *offload,
	struct tcp_stack *tcp, bool listens, const struct stack_share *share, uint64_t now_us,
	struct stack **ret_stack)
{
	struct stack *stack = rte_zmalloc("stack", sizeof(*stack), 0);
	int rc = -ENOMEM;

	if (stack == NULL)
		return -ENOMEM;
	stack->config = config;
	stack->offload = offload;
	stack->tcp = tcp;
	stack->now_us = now_us;
	stack->connect = (struct tcp_connect_options){.hold_ack = true, .no_delay = true};
	if (share != NULL) {
		stack->connect.port_suits = share->is_ours;
		stack->connect.port_ctx = share->ctx;
	}
	wheel_init(&stack->timers, now_us);
	stack->listeners =
		rte_zmalloc("listeners", sizeof(stack->listeners[0]) * config->brokers_count, 0);
	if (stack->listeners == NULL)
		goto err;
	rc = slab_create("flows", config->clients_max, sizeof(struct flow), &stack->flows);
	if (rc == 0 && acks_end_to_end(config))
		rc = slab_create(
			"passages", config->clients_max, sizeof(struct passages), &stack->passages);
	if (rc < 0)
		goto err;
	for (unsigned i = 0; listens && i < config->brokers_count; i++) {
		rc = tcp_listen(tcp, &config->brokers[i].listen, NULL, &stack->listeners[i]);
		if (rc < 0)
			goto err;
	}
	*ret_stack = stack;
	return 0;
err:
	stack_destroy(stack);
	return rc;
}

void stack_destroy(struct stack *stack)
{
	if (stack == NULL)
		return;
	for (uint32_t i = 0; stack->flows != NULL && i < slab_count(stack->flows); i++) {
		struct flow *flow = slab_at(stack->flows, i);

		if (flow != NULL)
			flow_abort(flow);
	}
	for (unsigned i = 0; stack->listeners != NULL && i < stack->config->brokers_count; i++)
		if (stack->listeners[i] != NULL)
			tcp_close(stack->listeners[i]);
	slab_destroy(stack->flows);
	slab_destroy(stack->passages);
	rte_free(stack->listeners);
	rte_free(stack);
}

static unsigned listener_broker(const struct stack *stack, const struct tcp_pcb *listener)
{
	for (unsigned i = 0; i < stack->config->brokers_count; i++)
		if (stack->listeners[i] == listener)
			return i;
	ASSERT(!"a listener of ours");
	return 0;
}

static void stack_event(struct stack *stack, struct tcp_pcb *pcb, uint32_t events)
{
	struct leg *leg;

	if (events & (TCP_EVENT_SYN | TCP_EVENT_COOKIE)) {
		if (events & TCP_EVENTS_TERMINAL) // it has changed its mind already
			tcp_abort(pcb);
		else
			flow_open(stack, listener_broker(stack, tcp_pcb_listener(pcb)), pcb,
				(events & TCP_EVENT_COOKIE) != 0);
		return;
	}
	leg = tcp_pcb_user(pcb);
	flow_event(leg->flow, leg == &leg->flow->down, events);
}

static void stack_drain_flows(struct stack *stack)
{
	for (uint32_t i = 0; i < slab_count(stack->flows); i++) {
		struct flow *flow = slab_at(stack->flows, i);

		if (flow != NULL)
			flow_drain(flow);
	}
}

void stack_run(struct stack *stack, uint64_t now_us)
{
	struct wheel_timer *timer;
	struct tcp_pcb *pcb;
	uint32_t events;

	stack->now_us = now_us;
	while ((pcb = tcp_ready_next(stack->tcp, &events)) != NULL)
		stack_event(stack, pcb, events);
	wheel_advance(&stack->timers, now_us);
	while ((timer = wheel_pop(&stack->timers)) != NULL)
		flow_timeout(container_of(timer, struct flow, timer));
	if (stack->draining)
		stack_drain_flows(stack);
}

uint64_t stack_next_deadline(const struct stack *stack)
{
	return wheel_next_us(&stack->timers);
}

void stack_drain(struct stack *stack)
{
	stack->draining = true;
	offload_drain(stack->offload);
}

bool stack_drained(const struct stack *stack)
{
	return slab_used(stack->flows) == 0;
}

struct pool_usage stack_usage(const struct stack *stack)
{
	return slab_usage(stack->flows);
}

struct counter_set stack_counters(const struct stack *stack)
{
	static const struct stack_counters none;

	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = (const uint64_t *)(stack != NULL ? &stack->counters : &none),
	};
}
