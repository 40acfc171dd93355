// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reason codes of MQTT 5.0 (2.4). Internal to the floor.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// May a packet of this type carry this reason code?
bool mqtt_reason_valid(uint8_t type, uint8_t reason);
