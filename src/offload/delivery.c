// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Deliveries that wait hold references; this is where they are taken and put.

#include "offload/output.h"

struct delivery *delivery_take(struct offload *offload, enum delivery_kind kind)
{
	struct delivery *delivery = slab_take(offload->deliveries);

	if (delivery == NULL)
		return NULL;
	list_init(&delivery->link);
	delivery->kind = kind;
	delivery->since_us = offload->now_us;
	return delivery;
}

void delivery_drop(struct offload *offload, struct delivery *delivery)
{
	for (unsigned i = 0; i < delivery->count; i++)
		if (delivery->pieces[i].offset != TCP_PIECE_INLINE)
			payload_put(delivery->pieces[i].payload);
	piece_table_put(delivery->body);
	list_remove(&delivery->link);
	slab_give(offload->deliveries, delivery);
}
