// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The worker's side of a port: the device itself.

#include "port/port.h"

#include "port/burst.h"

unsigned port_rx(struct port *port, unsigned queue, struct rte_mbuf **frames, unsigned max)
{
	return burst_rx(port, queue, frames, max);
}

void port_tx(struct port *port, unsigned queue, struct rte_mbuf *m)
{
	burst_tx(port, queue, m);
}

void port_flush(struct port *port, unsigned queue)
{
	burst_flush(port, queue);
}
