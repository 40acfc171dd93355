// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where processes attach (socket mode): a unix socket of sequenced packets. Who says hello is
// given a memory with one lane a worker and a descriptor that wakes it, and is watched
// until it ends: by the socket's hang-up and by a pidfd, for a child may have inherited the socket.
// Beside it stream sockets, for those that share no memory: who says hello there makes a connection
// for each lane.
// A thread of its own, off the workers' cores.

#pragma once

struct config;
struct door;
struct worker;

// Logs what is wrong. `workers` run already.
int door_open(const struct config *config, struct worker *const *workers, struct door **ret_door);
// Whoever is attached learns that the daemon is gone. The workers run no more. Accepts NULL.
void door_close(struct door *door);
