#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""docs/tcp-conformance.md: every RFC has its part, every test it names exists and is run."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "tcp-conformance.md"
UNIT = "tests/unit/tcp/"

RFCS = (9293, 6298, 7323, 2018, 6675, 5681, 6582, 9438, 8985, 3042, 6528, 5961, 6691, 4987, 1122,
        3168, 6191, 1191, 8201, 5927)
NAMED = re.compile(r"`([\w/.]+\.(?:c|py)):(\w+)`")
RUN = r"(?:FIXTURE_TEST|net6?_test|cmocka_unit_test(?:_setup_teardown)?)\(\s*{0}\b"
DEFINED = r"^(?:static |struct |bool |void |uint8_t |def )[\w ,*]*\b{0}\("


class Conformance(unittest.TestCase):
    def test_every_rfc_has_a_heading(self):
        headings = "\n".join(line for line in DOCUMENT.read_text().splitlines()
                             if line.startswith("## "))
        for rfc in RFCS:
            with self.subTest(rfc=rfc):
                self.assertRegex(headings, rf"\b{rfc}\b")

    def test_every_named_test_exists_and_is_run(self):
        named = set(NAMED.findall(DOCUMENT.read_text()))
        self.assertGreater(len(named), 50)
        for file, name in sorted(named):
            with self.subTest(test=f"{file}:{name}"):
                path = ROOT / (file if "/" in file else UNIT + file)
                text = path.read_text()
                is_unit = str(path).startswith(str(ROOT / "tests" / "unit"))
                pattern = (RUN if is_unit else DEFINED).format(name)
                self.assertRegex(text, re.compile(pattern, re.MULTILINE))

    def test_every_deviation_that_is_marked_is_explained(self):
        text, deviations = DOCUMENT.read_text().split("\n## Deviations\n")
        marked = set(re.findall(r"\(([A-Z])\)", text))
        self.assertEqual(marked, set(re.findall(r"^- \*\*([A-Z])\*\*", deviations, re.MULTILINE)))


if __name__ == "__main__":
    unittest.main()
