#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The shim exports what its map names, the documents name what it exports, and nothing else shows.

Usage: test_shim_names.py libofframp-shim.so libofframp.so
"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAP = ROOT / "src" / "shim" / "offramp-shim.map"
MAN = ROOT / "docs" / "man" / "offramp-shim.7"
SHIM = ROOT / "docs" / "shim.md"
# Other forms of a call: with a buffer's size, with 64-bit offsets.
FORMS = re.compile(r"^__(\w+)_chk$|^(\w+)64$")


def exported(path=sys.argv[1]):
    lines = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", path],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[0].split("@")[0] for line in lines}


def calls(names):
    """The names without their other forms."""
    return {name for name in names if not FORMS.match(name)}


class Names(unittest.TestCase):
    def test_it_exports_what_the_map_names(self):
        named = MAP.read_text().split("global:")[1].split("local:")[0]
        self.assertEqual(exported(), set(re.findall(r"\w+", named)))

    def test_it_stands_in_front_of_the_c_library_only(self):
        libc = subprocess.run(["ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
        path = re.search(r"^\s*libc\.so\.6 .*x86-64.* => (\S+)$", libc, re.MULTILINE) or \
            re.search(r"^\s*libc\.so\.6 .* => (\S+)$", libc, re.MULTILINE)
        lines = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", path[1]],
                               check=True, capture_output=True, text=True).stdout.splitlines()
        self.assertLessEqual(exported(), {line.split()[0].split("@")[0] for line in lines})

    def test_every_form_has_its_call(self):
        for name in exported():
            form = FORMS.match(name)
            if form:
                with self.subTest(name=name):
                    self.assertIn(form[1] or form[2], exported())

    def test_the_man_page_names_every_call(self):
        section = MAN.read_text().split(".Ss Calls\n")[1].split("\n.Ss ")[0]
        named = re.findall(r"^\.Xr (\w+) [23]", section, re.MULTILINE)
        self.assertEqual(named, sorted(named))
        self.assertEqual(set(named), calls(exported()))

    def test_the_library_that_is_linked_exports_what_its_header_declares(self):
        header = (ROOT / "src" / "shim" / "offramp.h").read_text()
        declared = set(re.findall(r"^\w[\w ]* \*?(offramp_\w+)\(", header, re.MULTILINE))
        self.assertEqual(exported(sys.argv[2]), declared)

    def test_the_document_names_every_call(self):
        section = SHIM.read_text().split("## What it stands in front of\n")[1].split("\n\n")[0]
        named = {name for group in re.findall(r"`([^`]+)`", section) for name in group.split()}
        self.assertEqual(named - {"fork"}, calls(exported()))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
