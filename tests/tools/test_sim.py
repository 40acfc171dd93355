#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
#
# test_sim.py SIM: the simulation notices what is wrong and says what it takes: faults are put in
# on purpose (tests/sim/fault.c), each of which shows itself only where runs have one dimension.
"""The simulation, with faults on purpose."""

import re
import subprocess
import sys
import unittest

FAULTS = {"octet": "stalls", "window": "slow-readers", "clock": "reordering", "leak": "narrowings"}


def sim(*arguments):
    return subprocess.run([SIM, *arguments], capture_output=True, text=True, check=False)


class Faults(unittest.TestCase):
    def fault_is_found(self, fault):
        dimension = FAULTS[fault]
        done = sim("--seeds", "100", "--fault", fault)
        self.assertEqual(done.returncode, 1, done.stderr)
        takes = re.search(r"^sim: seed (\d+) takes only: (.*)$", done.stderr, re.MULTILINE)
        self.assertIsNotNone(takes, done.stderr)
        # The first run that fails may owe it to more than that, but not to much.
        self.assertIn(dimension, takes[2].split(","))
        self.assertLessEqual(len(takes[2].split(",")), 3)
        shown = re.search(r"to see it: (.*)$", done.stderr, re.MULTILINE)[1].split()
        again = sim(*shown)
        self.assertEqual(again.returncode, 1)
        self.assertIn(f"seed {takes[1]} failed", again.stderr)
        spared = sim("--first", takes[1], "--seeds", "1", "--fault", fault, "--without", dimension)
        self.assertEqual(spared.returncode, 0, spared.stderr)

    def test_a_wrong_octet_is_found(self):
        self.fault_is_found("octet")

    def test_a_right_edge_that_goes_back_is_found(self):
        self.fault_is_found("window")

    def test_a_clock_that_goes_back_is_found(self):
        self.fault_is_found("clock")

    def test_a_lost_buffer_is_found(self):
        self.fault_is_found("leak")

    def test_an_unknown_dimension_is_refused(self):
        done = sim("--without", "gravity")
        self.assertEqual(done.returncode, 2)
        self.assertIn("stalls", done.stderr)


if __name__ == "__main__":
    SIM = sys.argv.pop(1)
    unittest.main()
