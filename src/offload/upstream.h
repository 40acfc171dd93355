// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From the client to the broker: packets are looked at, PUBLISHes perhaps captured,
// the rest passed.

#pragma once

#include "offload/dispatch.h"

// Deals with what the client has sent, as far as it may now.
void upstream_run(struct client *client);

// Handlers of the table in dispatch.c.
dispatch_handler upstream_connect;
dispatch_handler upstream_publish;
dispatch_handler upstream_puback;
dispatch_handler upstream_pubrel;
dispatch_handler upstream_subscribe;
dispatch_handler upstream_unsubscribe;
dispatch_handler upstream_pingreq;
dispatch_handler upstream_disconnect;
dispatch_handler upstream_auth;
dispatch_handler upstream_pass;
dispatch_handler upstream_malformed;

// A PUBLISH too long to gather begins (struct reader_ops).
bool upstream_publish_begin(struct client *client, const struct mqtt_header *header,
	const struct mqtt_publish *publish);

// The client's acknowledgements have room for one more that waits. False: not now.
bool upstream_acks_ready(struct client *client);
// Nothing waits there after all.
void upstream_acks_release(struct client *client);
