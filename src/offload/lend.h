// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker is asked for a session whose client has connected to another one
// (offload/move.h). It answers when nothing can be added to the session any more:
//
//   asked ─▶ its client loses it ─▶ the others know that nobody is there ─▶ what they sent
//            before that has come in, and is owed ─▶ lent: who asks reads it ─▶ gone, or kept
//
// So nothing is lost that a worker has captured for it, and who asks can copy what it is owed
// straight from here.

#pragma once

#include "offload/state.h"

// Answers what can be answered now.
void lends_poll(struct offload *offload);
