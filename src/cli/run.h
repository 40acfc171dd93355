// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp run: becomes a program whose sockets live in the daemon (socket mode).

#pragma once

#define RUN_NAME    "run"
#define RUN_SUMMARY "start a broker whose sockets live in the daemon (mode: socket)"

// argv[0] is "run". Returns only when there is nothing to run: the exit status.
int run_main(int argc, char **argv);
