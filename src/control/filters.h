// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the operator turns at run time: for each broker whether anything is captured,
// and which filters always pass. Begins as the configuration says, ends with the
// process. A change makes a new set, which every worker takes up before the old one is
// freed. On the gRPC server's thread; private to control.

#pragma once

#include "control/control.h"
#include "offload/offload.h"

#define FILTERS_MAX 256 // a broker's

struct filters;

// `source` must outlive it.
int filters_create(const struct control_source *source, struct filters **ret_filters);
// When no worker runs any more. Accepts NULL.
void filters_destroy(struct filters *filters);

const struct offload_filters *filters_of(const struct filters *filters, unsigned broker);

struct filters_change {
	const bool *capture;		  // NULL: as it is
	char *const *add, *const *remove; // what is there already, or is not there, is no error
	size_t add_count, remove_count;
};

enum filters_verdict {
	FILTERS_OK,
	FILTERS_INVALID, // *ret_what is not a topic filter
	FILTERS_FULL,	 // more than FILTERS_MAX
	FILTERS_NO_MEMORY,
	FILTERS_NO_ANSWER, // *ret_worker has not taken it; those before it have
};

struct filters_failure {
	const char *what;
	unsigned worker;
};

enum filters_verdict filters_change(struct filters *filters, unsigned broker,
	const struct filters_change *change, struct filters_failure *ret_failure);
