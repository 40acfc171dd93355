#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Who has put more in flight than a client's Receive Maximum: told for the broker and for Offramp."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from window import LONG, Window  # noqa: E402

OURS = 0x8000


class Maximum(unittest.TestCase):
    def window(self, maximum=2, longest=100):
        self.seen = Window(maximum, longest)

    def come(self, *pids, again=False):
        """What is said of each."""
        return [self.seen.came(pid, again) for pid in pids]

    def assert_right(self, *pids, again=False):
        self.assertEqual(self.come(*pids, again=again), [None] * len(pids))

    def assert_wrong(self, pid, text):
        self.assertIn(text, self.come(pid)[0] or "nothing")

    def test_both_may_fill_it(self):
        self.window()
        self.assert_right(1, OURS)
        self.seen.ended(1)
        self.assert_right(OURS + 1)
        self.seen.ended(OURS)
        self.assert_right(2)

    def test_one_of_ours_too_many_behind_ours(self):
        self.window()
        self.assert_right(OURS, OURS + 1)
        self.assert_wrong(OURS + 2, "Offramp sent more")

    def test_one_of_ours_too_many_behind_the_brokers(self):
        self.window()
        self.assert_right(1, 2)
        self.assert_wrong(OURS, "Offramp sent more")

    def test_one_of_the_brokers_too_many_behind_ours(self):
        self.window()
        self.assert_right(1, OURS, 2)
        self.assertIn("was let pass", self.seen.goes_on())

    def test_one_of_the_brokers_too_many_at_the_end(self):
        self.window()
        self.assert_right(1, OURS, 2)  # and nothing comes any more

    def test_what_is_not_too_many_goes_on(self):
        self.window()
        self.assert_right(1, OURS)
        self.assertIsNone(self.seen.goes_on())

    def test_an_acknowledged_one_of_ours_counts_no_more(self):
        self.window()
        self.assert_right(OURS, OURS + 1)
        self.seen.ended(OURS)
        self.assert_right(OURS + 2)

    def test_one_of_ours_may_go_where_a_long_packet_waits(self):
        self.window(longest=LONG)
        self.assert_right(1, 2, OURS)
        self.assert_wrong(OURS + 1, "Offramp sent more")

    def test_the_broker_may_fill_its_window_again_for_each_acknowledgement(self):
        self.window()
        self.assert_right(1, 2)
        self.seen.ended(1)
        self.assert_right(3, 4)
        self.seen.ended(3)  # 2 is before it
        self.assert_right(5)
        self.assert_wrong(6, "told of room")

    def test_with_a_window_of_one_mosquitto_is_right_and_must_be(self):
        self.window(1)
        self.assert_right(1)
        self.assert_wrong(2, "told of room")

    def test_what_an_earlier_connection_left_is_sent_again_whatever_the_window(self):
        self.window(1)
        self.assert_right(1, 2, 3, again=True)
        self.assert_right(4)
        self.assert_wrong(5, "told of room")

    def test_what_an_earlier_connection_left_half_done_makes_room(self):
        self.window()
        self.assert_right(2, 3)
        self.seen.ended(1)  # its PUBREL came
        self.assert_right(4, 5)

    def test_an_identifier_is_one_messages(self):
        self.window()
        self.assert_right(1)
        self.assert_right(1, again=True)
        self.assert_wrong(1, "in use")


if __name__ == "__main__":
    unittest.main()
