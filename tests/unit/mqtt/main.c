// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs the groups of the mqtt floor. Payloads come from payload_double.c.

#include "mqtt_tests.h"

int main(void)
{
	int failed = 0;

	failed += test_mqtt_header();
	failed += test_mqtt_utf8();
	failed += test_mqtt_topic();
	failed += test_mqtt_connect();
	failed += test_mqtt_publish();
	failed += test_mqtt_packets();
	failed += test_mqtt_properties();
	failed += test_mqtt_roundtrip();
	failed += test_mqtt_trie();
	failed += test_mqtt_framer();
	return failed != 0;
}
