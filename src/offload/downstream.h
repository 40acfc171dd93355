// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From the broker to the client: packets are merged into the client's output, and
// what they say of sessions and subscriptions is learned.

#pragma once

#include "offload/dispatch.h"

// Deals with what the broker has sent, as far as it may now.
void downstream_run(struct client *client);

// Handlers of the table in dispatch.c.
dispatch_handler downstream_connack;
dispatch_handler downstream_publish;
dispatch_handler downstream_ack;
dispatch_handler downstream_suback;
dispatch_handler downstream_unsuback;
dispatch_handler downstream_pingresp;
dispatch_handler downstream_disconnect;
dispatch_handler downstream_auth;
dispatch_handler downstream_pass;
dispatch_handler downstream_malformed;

// Sends acknowledgements whose turn has come. The client has acks; they may be gone then.
void downstream_acks_flush(struct client *client);
