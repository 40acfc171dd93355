// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames from a host on the same machine may come with sums that a device was to complete
// (virtio: RTE_MBUF_F_RX_L4_CKSUM_NONE). Whoever sends such a frame on completes them. Worker's
// thread.

#pragma once

struct rte_mbuf;

// Completes the TCP or UDP sum of a frame that says it has none yet; others are left as they are.
void net_sums_complete(struct rte_mbuf *m);
