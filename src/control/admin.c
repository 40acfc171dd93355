// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp.v1.Admin: the table of its methods.

#include "control/admin.h"

#include "control/services.h"
#include "offramp/v1/admin.pb-c.h"

#define UNARY_AGE_MAX_S	 10
#define STREAM_AGE_MAX_S 60

#define UNARY(method, message, function)                                     \
	{                                                                    \
		.path = "/offramp.v1.Admin/" #method, .request = &(message), \
		.age_max_s = UNARY_AGE_MAX_S, .next = (function),            \
	}
#define STREAM(method, message, size, function)                                                    \
	{                                                                                          \
		.path = "/offramp.v1.Admin/" #method, .request = &(message), .state_size = (size), \
		.age_max_s = STREAM_AGE_MAX_S, .next = (function),                                 \
	}

const struct rpc_method admin_methods[] = {
	UNARY(Status, offramp__v1__status_request__descriptor, admin_status_next),
	UNARY(Counters, offramp__v1__counters_request__descriptor, admin_counters_next),
	UNARY(Filters, offramp__v1__filters_request__descriptor, admin_filters_next),
	{
		.path = "/offramp.v1.Admin/ChangeFilters",
		.request = &offramp__v1__change_filters_request__descriptor,
		.age_max_s = UNARY_AGE_MAX_S,
		.open = admin_change_filters_open,
		.next = admin_filters_next,
	},
	UNARY(Drain, offramp__v1__drain_request__descriptor, admin_drain_next),
	STREAM(Connections, offramp__v1__connections_request__descriptor,
		ADMIN_CONNECTIONS_STATE_SIZE, admin_connections_next),
	STREAM(Subscriptions, offramp__v1__subscriptions_request__descriptor,
		ADMIN_SUBSCRIPTIONS_STATE_SIZE, admin_subscriptions_next),
	STREAM(Topics, offramp__v1__topics_request__descriptor, ADMIN_TOPICS_STATE_SIZE,
		admin_topics_next),
	{
		.path = "/offramp.v1.Admin/Trace",
		.request = &offramp__v1__trace_request__descriptor,
		.state_size = ADMIN_TRACE_STATE_SIZE,
		.open = admin_trace_open,
		.receive = admin_trace_receive,
		.next = admin_trace_next,
		.close = admin_trace_close,
	},
	{.path = NULL},
};
