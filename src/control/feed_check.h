// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Does a message of a broker's stream make sense by itself? Pure. Private to control.

#pragma once

#include "offramp/v1/broker.pb-c.h"

// NULL: it does; otherwise what is wrong, one line with static storage.
const char *feed_check(const Offramp__V1__BrokerMessage *message);
