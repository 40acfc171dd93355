#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""docs/tcp-conformance.md, docs/conformance.md: nothing is left out, the tests named are run."""

import collections
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Each document, and where the tests lie that it names without a folder.
TCP = ROOT / "docs" / "tcp-conformance.md"
MQTT = ROOT / "docs" / "conformance.md"
FOLDERS = {
    TCP: ("tests/unit/tcp",),
    MQTT: ("tests/unit/mqtt", "tests/unit/session", "tests/unit/offload", "tests/system"),
}

RFCS = (9293, 6298, 7323, 2018, 6675, 5681, 6582, 9438, 8985, 3042, 6528, 5961, 6691, 4987, 1122,
        3168, 6191, 1191, 8201, 5927)
# How many statements each section of a specification numbers.
STATEMENTS = {
    "3.1.1": {
        "1.5.3": 3, "2.2.2": 2, "2.3.1": 7, "3.1.0": 2, "3.1.2": 24, "3.1.3": 11, "3.1.4": 5,
        "3.2.0": 1, "3.2.2": 6, "3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1,
        "3.8.1": 1, "3.8.3": 4, "3.8.4": 6, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6,
        "3.12.4": 1, "3.14.1": 1, "3.14.4": 3, "4.1.0": 2, "4.3.1": 1, "4.3.2": 2, "4.3.3": 2,
        "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3, "4.7.2": 1, "4.7.3": 4, "4.8.0": 2,
    },
    "5.0": {
        "1.5.4": 3, "1.5.5": 1, "1.5.7": 1, "2.1.3": 1, "2.2.1": 6, "2.2.2": 1, "3.1.0": 2,
        "3.1.2": 30, "3.1.3": 12, "3.1.4": 6, "3.2.0": 2, "3.2.2": 22, "3.3.1": 13, "3.3.2": 20,
        "3.3.4": 10, "3.4.2": 3, "3.5.2": 3, "3.6.1": 1, "3.6.2": 3, "3.7.2": 3, "3.8.1": 1,
        "3.8.3": 5, "3.8.4": 8, "3.9.2": 2, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6,
        "3.11.2": 2, "3.11.3": 2, "3.12.4": 1, "3.14.0": 1, "3.14.1": 1, "3.14.2": 4, "3.14.4": 3,
        "3.15.1": 1, "3.15.2": 3, "4.1.0": 2, "4.2.0": 1, "4.3.1": 1, "4.3.2": 5, "4.3.3": 13,
        "4.4.0": 2, "4.5.0": 2, "4.6.0": 6, "4.7.0": 1, "4.7.1": 2, "4.7.2": 1, "4.7.3": 4,
        "4.8.2": 6, "4.9.0": 3, "4.12.0": 7, "4.12.1": 2, "4.13.1": 1, "4.13.2": 1,
    },
}
NO_STATEMENTS = {("5.0", "2.2.1-1")}  # numbers that were skipped

NAMED = re.compile(r"`([\w/.]+\.(?:c|py)):(\w+)`")
RUN = (r"(?:[A-Z]+_TEST|net6?_test|cmocka_unit_test(?:_setup)?(?:_teardown)?)"
       r"\(\s*{0}\b")
DEFINED = r"^(?:static |struct |bool |void |uint8_t |def )[\w ,*]*\b{0}\("
MARK = re.compile(r"\(([A-Z])\)")
SECTION = re.compile(r"(\d+\.\d+\.\d+)-(\d+)$")
# In the source: [MQTT-3.3.1-1] is of 5.0, "3.1.1: [MQTT-…]" and "[MQTT-…] of 3.1.1" are not.
CITED = re.compile(r"(3\.1\.1: )?\[MQTT-([^\]]*)\]( of 3\.1\.1)?")


def specified(version):
    return {f"{section}-{number}" for section, count in STATEMENTS[version].items()
            for number in range(1, count + 1)} - {
                number for skipped, number in NO_STATEMENTS if skipped == version}


def numbers(cell):
    """"3.1.2-9, -11, 3.1.3-1": the first of a section names it, the others need not."""
    section, found = None, []
    for item in cell.split(", "):
        whole = SECTION.match(item)
        if whole:
            section = whole[1]
        elif section is None or not re.match(r"-\d+$", item):
            raise ValueError(f"no numbers of statements: {cell}")
        found.append(f"{section}-{item.rpartition('-')[2]}")
    return found


def rows(version):
    """First and last cells of the tables of a version."""
    part = MQTT.read_text().split(f"\n## MQTT {version}\n")[1].split("\n## ")[0]
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] != "statement" and not cells[0].startswith("---"):
            yield cells[0], cells[-1]


class Tests(unittest.TestCase):
    def test_every_named_test_exists_and_is_run(self):
        for document, folders in FOLDERS.items():
            named = set(NAMED.findall(document.read_text()))
            self.assertGreater(len(named), 50)
            for file, name in sorted(named):
                with self.subTest(document=document.name, test=f"{file}:{name}"):
                    paths = [ROOT / file] if "/" in file else [
                        path for path in (ROOT / folder / file for folder in folders)
                        if path.exists()]
                    self.assertEqual(len(paths), 1)
                    is_unit = str(paths[0]).startswith(str(ROOT / "tests" / "unit"))
                    pattern = (RUN if is_unit else DEFINED).format(name)
                    self.assertTrue(re.search(pattern, paths[0].read_text(), re.MULTILINE))

    def test_every_deviation_that_is_marked_is_explained(self):
        for document in FOLDERS:
            with self.subTest(document=document.name):
                text, deviations = document.read_text().split("\n## Deviations\n")
                explained = re.findall(r"^- \*\*([A-Z])\*\*", deviations, re.MULTILINE)
                self.assertEqual(set(MARK.findall(text)), set(explained))
                self.assertEqual(len(explained), len(set(explained)))


class Tcp(unittest.TestCase):
    def test_every_rfc_has_a_heading(self):
        headings = "\n".join(line for line in TCP.read_text().splitlines()
                             if line.startswith("## "))
        for rfc in RFCS:
            with self.subTest(rfc=rfc):
                self.assertRegex(headings, rf"\b{rfc}\b")


class Mqtt(unittest.TestCase):
    def test_every_statement_stands_there_once(self):
        for version in STATEMENTS:
            listed = collections.Counter(
                number for cell, _ in rows(version) for number in numbers(cell))
            with self.subTest(version=version):
                self.assertEqual({number for number, count in listed.items() if count > 1}, set())
                self.assertEqual(set(listed) - specified(version), set(), "there are no such")
                self.assertEqual(specified(version) - set(listed), set(), "left out")

    def test_every_row_names_a_test(self):
        for version in STATEMENTS:
            for cell, tests in rows(version):
                with self.subTest(version=version, statement=cell):
                    self.assertRegex(tests, NAMED)

    def test_statements_that_the_source_names_stand_there(self):
        cited = 0
        for path in sorted((ROOT / "src").rglob("*.[ch]")):
            for before, number, behind in CITED.findall(path.read_text()):
                version = "3.1.1" if before or behind else "5.0"
                cited += 1
                with self.subTest(file=path.name, statement=number, version=version):
                    self.assertRegex(number, SECTION)
                    self.assertIn(number, specified(version))
        self.assertGreater(cited, 50)


if __name__ == "__main__":
    unittest.main()
