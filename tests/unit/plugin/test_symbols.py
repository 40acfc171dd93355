#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What the shared object shows to mosquitto and what it wants. Usage: test_symbols.py PLUGIN"""

import subprocess
import sys
import unittest

PLUGIN = sys.argv.pop(1)
ENTRY_POINTS = {"mosquitto_plugin_version", "mosquitto_plugin_init", "mosquitto_plugin_cleanup"}
OF_MOSQUITTO = {"mosquitto_callback_register", "mosquitto_client_id", "mosquitto_client_username",
                "mosquitto_log_printf"}
RUNTIMES = ("__asan", "__ubsan", "__sanitizer", "__interceptor")


def names(option):
    lines = subprocess.run(["nm", "-D", "--format=posix", option, PLUGIN], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    return {line.split()[0].partition("@")[0] for line in lines if line.split()[1] not in "wv"}


class Symbols(unittest.TestCase):
    def test_only_the_entry_points_are_seen(self):
        # mosquitto loads plugins into the global scope.
        self.assertEqual({n for n in names("--defined-only") if not n.startswith(RUNTIMES)},
                         ENTRY_POINTS)

    def test_only_mosquittos_own_functions_are_missing(self):
        known = set()
        needed = subprocess.run(["ldd", PLUGIN], check=True, text=True,
                                capture_output=True).stdout
        for line in needed.splitlines():
            words = line.split()
            path = next((word for word in words if word.startswith("/")), None)
            if path:
                exported = subprocess.run(["nm", "-D", "--format=posix", "--defined-only", path],
                                          check=True, text=True, capture_output=True).stdout
                known |= {row.split()[0].partition("@")[0] for row in exported.splitlines()}
        missing = {n for n in names("--undefined-only") - known if not n.startswith(RUNTIMES)}
        self.assertEqual(missing, OF_MOSQUITTO)

    def test_no_dpdk_comes_along(self):
        needed = subprocess.run(["readelf", "-d", PLUGIN], check=True, text=True,
                                capture_output=True).stdout
        self.assertNotIn("librte", needed)


if __name__ == "__main__":
    unittest.main()
