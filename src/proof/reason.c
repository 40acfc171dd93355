// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Names of the reasons: part of the counters' interface.

#include "proof/reason.h"

const char *const proof_reason_names[PROOF_REASONS] = {
	[PROOF_CAPTURE] = "captured",
	[PROOF_DISABLED] = "disabled",
	[PROOF_NOT_ACCEPTED] = "not_accepted",
	[PROOF_MALFORMED] = "malformed",
	[PROOF_RETAIN] = "retain",
	[PROOF_QOS2] = "qos2",
	[PROOF_QOS2_FULL] = "qos2_full",
	[PROOF_DUPLICATE] = "duplicate",
	[PROOF_DOLLAR_TOPIC] = "dollar_topic",
	[PROOF_TOPIC_ALIAS] = "topic_alias",
	[PROOF_TOO_LARGE] = "too_large",
	[PROOF_STREAM] = "stream",
	[PROOF_WORKERS] = "workers",
	[PROOF_MAP_UNKNOWN] = "map_unknown",
	[PROOF_MAP_INCOMPLETE] = "map_incomplete",
	[PROOF_UNAUTHORIZED] = "unauthorized",
	[PROOF_UNPROVEN] = "unproven",
	[PROOF_REFRESH] = "refresh",
	[PROOF_UNKNOWN_READER] = "unknown_reader",
	[PROOF_UNWRITTEN] = "unwritten",
	[PROOF_UNREAD] = "unread",
	[PROOF_UNJOINED] = "unjoined",
	[PROOF_OPERATOR] = "operator",
	[PROOF_BRIDGE] = "bridge",
	[PROOF_SHARE] = "share",
	[PROOF_AMQP] = "amqp_topic",
	[PROOF_PERSISTENT] = "persistent_session",
	[PROOF_OFFLINE] = "offline_session",
	[PROOF_UNSUBSCRIBING] = "unsubscribing",
	[PROOF_UNCERTAIN] = "uncertain",
	[PROOF_OVERLAP] = "overlap",
	[PROOF_LEVELS] = "topic_levels",
	[PROOF_PENDING_FULL] = "pending_full",
	[PROOF_FENCE] = "fence",
	[PROOF_NO_MEMORY] = "no_memory",
};
