// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a broker does when several subscriptions of one client match a message: the
// specification leaves it to the broker (3.3.4), so it is a key of the configuration.

#pragma once

enum proof_overlap {
	// v3: one copy, at the QoS of the first that it finds (docs/decisions/0012); v5: one a
	// subscription
	PROOF_OVERLAP_MOSQUITTO,
	PROOF_OVERLAP_ONE,  // always one, at the highest QoS; what needs several identifiers in one
			    // copy passes
	PROOF_OVERLAP_EACH, // always one a subscription
	// the broker's own way, whatever it is: such a message passes
	PROOF_OVERLAP_PASS,
};
