// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From the broker to the client: packets are merged into the client's output, and
// what they say of sessions and subscriptions is learned.

#pragma once

#include "offload/state.h"

// Deals with what the broker has sent, as far as it may now.
void downstream_run(struct client *client);
