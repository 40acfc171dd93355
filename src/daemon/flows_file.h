// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The connections that monitor mode has adopted, in an mmapped file beside the control
// socket: workers write them with plain stores, each its own places, and after a crash the next
// run finds them there and resets both ends of each. Without it they would hang: neither end can
// go on with the other where Offramp has stood between them. Main thread.

#pragma once

#include <stdint.h>

struct config;
struct flows_file;
struct monitor_record;

// Opens or makes the file; what another configuration's ports have left in it is of no use.
// Negative errno after a logged line. With another mode: NULL, and 0.
int flows_file_open(const struct config *config, struct flows_file **ret_file);
void flows_file_close(struct flows_file *file); // accepts NULL

// What an earlier run left, in a copy that lives as long as `file`. Returns how many.
uint32_t flows_file_left(const struct flows_file *file, const struct monitor_record **ret_left);

// That is forgotten, and the file is this run's: once nothing can fail any more.
void flows_file_begin(struct flows_file *file);
// A worker's places in it: config_flows_max() of them. NULL of no file.
struct monitor_record *flows_file_records(struct flows_file *file, unsigned worker);
