// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every reason not to capture a PUBLISH: a value here, a label of
// publish_passed_total{reason}, a line in offramp(1). Capture needs proof that
// Offramp would deliver exactly as the broker would; without it the message passes.

#pragma once

#include <stdbool.h>

enum proof_reason {
	PROOF_CAPTURE = 0, // none: it may be captured

	PROOF_DISABLED,	      // capture.enabled is false
	PROOF_NOT_ACCEPTED,   // no CONNACK with success seen on this connection
	PROOF_MALFORMED,      // the broker rejects it, not Offramp
	PROOF_RETAIN,	      // the broker keeps retained messages
	PROOF_QOS2,	      // above capture.qos
	PROOF_QOS2_FULL,      // its publisher has as many unreleased ones as are kept
	PROOF_DUPLICATE,      // QoS 2, sent again, and the broker may know the first one
	PROOF_DOLLAR_TOPIC,   // $SYS and its like
	PROOF_TOPIC_ALIAS,    // v5: the broker must learn the alias
	PROOF_TOO_LARGE,      // above capture.max_size, or above what the broker said it takes
	PROOF_STREAM,	      // the broker is to tell, and does not, or its lease has ended
	PROOF_WORKERS,	      // what it needs serves the subscribers of one worker only
	PROOF_MAP_UNKNOWN,    // knowledge is not declared
	PROOF_MAP_INCOMPLETE, // the broker serves clients that Offramp has not followed
	PROOF_UNAUTHORIZED,   // authorization is not declared
	PROOF_UNPROVEN,	      // the broker is being asked by this message, or was by an earlier one
	PROOF_REFRESH,	      // what was proven ends soon: this message renews it
	PROOF_UNKNOWN_READER, // the broker has other readers of the topic than the map
	PROOF_UNWRITTEN,      // the broker did not let its publisher write to the topic
	PROOF_UNREAD,	      // whether a subscriber may read the topic has not come out
	PROOF_UNJOINED,	      // the broker has not said yet which of its clients a subscriber is
	PROOF_OPERATOR,	      // capture.pass
	PROOF_BRIDGE,	      // from or to a bridge
	PROOF_SHARE,	      // a shared subscription matches
	PROOF_AMQP,	      // the topic, or a filter that matches, is written in AMQP's way
	PROOF_PERSISTENT,     // a persistent session gets it at QoS 2, or waits for a SUBACK
	PROOF_OFFLINE,	      // an offline session gets it above QoS 0, or one whose backlog the
		       // broker has not sent yet
	PROOF_UNSUBSCRIBING, // its publisher awaits an UNSUBACK for a filter that matches
	PROOF_UNCERTAIN,     // a subscription was being made or ended when its connection died
	PROOF_OVERLAP,	     // several subscriptions of one client match, and the broker joins them
	PROOF_LEVELS,	     // more topic levels than the map follows
	PROOF_PENDING_FULL,  // too many messages wait for a SUBACK
	PROOF_FENCE,	     // an earlier message may still be on its way through the broker
	PROOF_NO_MEMORY,     // pools are used up
	PROOF_REASONS,
};

// It passes for a moment: until something has been asked and answered.
static inline bool proof_reason_is_brief(enum proof_reason reason)
{
	return reason == PROOF_STREAM || (reason >= PROOF_UNPROVEN && reason <= PROOF_UNJOINED);
}

// "retain"; values[] of the counter family, PROOF_CAPTURE included as "captured".
extern const char *const proof_reason_names[PROOF_REASONS];
