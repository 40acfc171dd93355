#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
#
# test_sim_monitor.py SIM: the simulation of monitor mode notices what is wrong: faults are put in on
# purpose (tests/sim/monitor/bystander.c), each of which must be found in a few runs.
"""The simulation of monitor mode, with faults on purpose."""

import subprocess
import sys
import unittest

# What it is noticed by.
FAULTS = {
    "octet": "",  # whoever comes across it first
    "ack": "end->sent",
    "clock": "self->ts",
    "window": "half->edge",
    "lost": "a bystander's frame",
}


class Faults(unittest.TestCase):
    def test_each_is_found(self):
        for fault, witness in FAULTS.items():
            with self.subTest(fault):
                # Verbose runs are not shrunk.
                done = subprocess.run(
                    [SIM, "--seeds", "40", "--verbose", "--fault", fault],
                    capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"(?m)^sim-monitor: seed \d+ failed$")
                self.assertIn(witness, done.stderr)


if __name__ == "__main__":
    SIM = sys.argv.pop(1)
    unittest.main()
