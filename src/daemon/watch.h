// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The main thread's look at everything once a second: what a person should hear of
// becomes a log line, once a change. Workers never log.

#pragma once

struct config;
struct port;
struct watch;
struct worker;

int watch_create(const struct config *config, struct port *const *ports,
	struct worker *const *workers, struct watch **ret_watch);
void watch_destroy(struct watch *watch); // accepts NULL
void watch_look(struct watch *watch);
