// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// At the daemon's door: hello and welcome. Needs no lock, and says nothing to the rest of the shim;
// it may take seconds when the daemon is on another machine and that does not answer.

#pragma once

#include <stdbool.h>

#include "channel/message.h"

struct door_gifts {
	int socket; // hangs up when the daemon is gone
	struct channel_message welcome;
	int memory, wake; // -1: there is a connection for each lane
	int *connections; // welcome.lanes of them; NULL: there is memory
};

// `where`: the path of a unix socket (shared memory); or "unix:" and a path, or an address and a
// port (a stream). `secret_file` may be NULL. False: nobody lets us in.
bool door_knock(const char *where, const char *secret_file, struct door_gifts *ret_gifts);
