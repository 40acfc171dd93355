// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The functions of mosquitto's that the plugin uses, and what it has registered there.

#pragma once

#include <mosquitto_broker.h>

struct mosquitto { // mosquitto's own is nobody's business
	const char *id, *username;
};

#define MOCK_EVENTS 32

struct mosquitto_mock {
	MOSQ_FUNC_generic_callback callbacks[MOCK_EVENTS];
	void *userdata[MOCK_EVENTS];
	const char *control_topic;
	unsigned lines; // in the log
	char line[512]; // the last of them
	int refuse;	// the event that cannot be registered; 0: none
};

// Of this test program, which has one mosquitto at a time.
extern struct mosquitto_mock mosquitto_mock;

int mosquitto_mock_call(int event, void *data);
