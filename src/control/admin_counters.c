// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Admin/Counters: the sets of all workers, ports and brokers' streams, read where they
// stand.

#include "control/admin.h"

#include "control/counters_merge.h"
#include "offramp/v1/admin.pb-c.h"
#include "port/port.h"

#include <stdlib.h>

void admin_counters_next(void *ctx, void *state, struct rpc_reply *reply)
{
	const struct control *control = ctx;
	const struct control_source *source = &control->source;
	struct counter_set feeds = feeds_counters(&control->feeds);
	Offramp__V1__CountersResponse *response = counters_merge_create();
	int err = 0;

	(void)state;
	for (unsigned w = 0; !err && w < source->workers_count; w++)
		for (unsigned i = 0; !err && i < source->workers[w].sets_count; i++)
			err = counters_merge_add(response, &source->workers[w].sets[i]);
	for (unsigned i = 0; !err && i < source->ports_count; i++) {
		struct counter_set set = port_counters(source->ports[i]);

		port_counters_update(source->ports[i]);
		err = counters_merge_add(response, &set);
	}
	if (!err)
		err = counters_merge_add(response, &feeds);
	if (err)
		rpc_reply_fail(reply, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
	else
		rpc_reply_message(reply, &response->base);
	rpc_reply_end(reply);
	counters_merge_destroy(response);
}
