// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The plugin without a mosquitto.

#include "plugin_tests.h"

int main(void)
{
	return test_plugin_queue() + test_plugin_secret() + test_plugin_clients() +
		       test_plugin_options() + test_plugin_witness() +
		       test_plugin_witness_random() + test_plugin_plugin() !=
	       0;
}
