// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Admin/Filters and Admin/ChangeFilters: what always passes to the broker, looked at
// and changed while the daemon runs.

#include "control/admin.h"

#include "base/log.h"
#include "control/config.h"
#include "control/filters.h"
#include "offramp/v1/admin.pb-c.h"

#include <stdlib.h>
#include <string.h>

// Which broker is meant; says so in `reply` when none is.
static bool broker_find(const struct config *config, const char *name, struct rpc_reply *reply,
	unsigned *ret_broker)
{
	for (unsigned b = 0; b < config->brokers_count; b++)
		if (strcmp(config->brokers[b].name, name) == 0 ||
			(*name == '\0' && config->brokers_count == 1)) {
			*ret_broker = b;
			return true;
		}
	if (*name == '\0')
		rpc_reply_fail(
			reply, GRPC_STATUS_INVALID_ARGUMENT, "there are several brokers: name one");
	else
		rpc_reply_fail(reply, GRPC_STATUS_NOT_FOUND, "no broker is named '%s'", name);
	return false;
}

static void refuse(struct rpc_reply *reply, enum filters_verdict verdict,
	const struct filters_failure *failure)
{
	switch (verdict) {
	case FILTERS_OK:
		break;
	case FILTERS_INVALID:
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT, "'%s' is not a topic filter",
			failure->what);
		break;
	case FILTERS_FULL:
		rpc_reply_fail(
			reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "more than %u filters", FILTERS_MAX);
		break;
	case FILTERS_NO_MEMORY:
		rpc_reply_fail(reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
		break;
	case FILTERS_NO_ANSWER:
		rpc_reply_fail(reply, GRPC_STATUS_UNAVAILABLE,
			"worker %u does not answer: the change may be in force in part, repeat it",
			failure->worker);
		break;
	}
}

void admin_change_filters_open(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Offramp__V1__ChangeFiltersRequest *request = (const void *)message;
	struct control *control = ctx;
	bool capture = request->capture == OFFRAMP__V1__SWITCH__SWITCH_ON;
	struct filters_change change = {
		.capture = request->capture == OFFRAMP__V1__SWITCH__SWITCH_UNSPECIFIED ? NULL
										       : &capture,
		.add = request->add,
		.add_count = request->n_add,
		.remove = request->remove,
		.remove_count = request->n_remove,
	};
	struct filters_failure failure = {0};
	enum filters_verdict verdict;
	unsigned broker;

	(void)state;
	if (request->capture > OFFRAMP__V1__SWITCH__SWITCH_OFF) {
		rpc_reply_fail(reply, GRPC_STATUS_INVALID_ARGUMENT, "capture is on or off");
		return;
	}
	if (!broker_find(control->source.config, request->broker, reply, &broker))
		return;
	verdict = filters_change(control->filters, broker, &change, &failure);
	refuse(reply, verdict, &failure);
	if (verdict == FILTERS_OK)
		log_info("control", "%s: filters changed: capture is %s, %u pass",
			control->source.config->brokers[broker].name,
			filters_of(control->filters, broker)->capture ? "on" : "off",
			filters_of(control->filters, broker)->pass_count);
}

void admin_filters_next(void *ctx, void *state, struct rpc_reply *reply)
{
	const struct control *control = ctx;
	unsigned count = control->source.config->brokers_count;
	Offramp__V1__FiltersResponse response = OFFRAMP__V1__FILTERS_RESPONSE__INIT;
	Offramp__V1__BrokerFilters *rows = calloc(count + 1, sizeof(*rows));

	(void)state;
	response.brokers = calloc(count + 1, sizeof(*response.brokers));
	if (!rows || !response.brokers) {
		rpc_reply_fail(reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
	} else {
		for (unsigned b = 0; b < count; b++) {
			const struct offload_filters *filters = filters_of(control->filters, b);

			offramp__v1__broker_filters__init(&rows[b]);
			rows[b].broker = (char *)control->source.config->brokers[b].name;
			rows[b].capture = filters->capture;
			rows[b].pass = (char **)filters->pass;
			rows[b].n_pass = filters->pass_count;
			response.brokers[response.n_brokers++] = &rows[b];
		}
		rpc_reply_message(reply, &response.base);
		rpc_reply_end(reply);
	}
	free(response.brokers);
	free(rows);
}
