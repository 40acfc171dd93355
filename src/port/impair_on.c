// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Says that this is the test build. A file of its own: control asks, and has no need of ports.

#include "port/port.h"

bool port_impair_built_in(void)
{
	return true;
}
