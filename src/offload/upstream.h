// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From the client to the broker: packets are looked at, PUBLISHes perhaps captured,
// the rest passed.

#pragma once

#include "offload/state.h"

// Deals with what the client has sent, as far as it may now.
void upstream_run(struct client *client);
