// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Everything at random: clients, subscriptions, rights and the stream come and go. Whatever
// happens, nobody writes or gets what he may not, and everybody gets the rest, once.

#pragma once

#include "twin.h"

// A fresh twin; returns how many messages were published.
uint32_t play(struct twin *twin, uint64_t seed, unsigned steps);
