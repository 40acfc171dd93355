#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""tools/check-layers finds what it is there to find, on small trees made for it."""

import pathlib
import subprocess
import tempfile
import unittest

CHECK = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check-layers"


class CheckLayers(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.scratch.name)
        (self.root / "src").mkdir()

    def tearDown(self):
        self.scratch.cleanup()

    def floor(self, name, code):
        """A floor of one file, and its library built from it without its includes."""
        folder = self.root / "src" / name
        build = self.root / "build" / "src" / name
        folder.mkdir()
        build.mkdir(parents=True)
        (folder / "code.c").write_text(code)
        body = "\n".join(line for line in code.splitlines() if not line.startswith("#"))
        subprocess.run(["cc", "-x", "c", "-c", "-", "-o", build / "code.o"],
                       input=body, text=True, check=True)
        subprocess.run(["ar", "crT", build / f"lib{name}.a", build / "code.o"],
                       check=True, stderr=subprocess.DEVNULL)

    def check(self):
        done = subprocess.run([CHECK, self.root / "build", "--source", self.root],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_downward_use_passes(self):
        self.floor("base", "int base_f(void) { return 1; }\n")
        self.floor("net", '#include "base/base.h"\nint base_f(void);\n'
                          "int net_f(void) { return base_f(); }\n")
        self.assertEqual(self.check(), (0, ""))

    def test_an_upward_include_is_found(self):
        self.floor("base", '// first\n#include "net/net.h"\n')
        code, output = self.check()
        self.assertEqual(code, 1)
        self.assertIn("src/base/code.c:2: base may not include net/", output)

    def test_an_upward_call_is_found(self):
        self.floor("base", "int net_f(void);\nint base_f(void) { return net_f(); }\n")
        self.floor("net", "int net_f(void) { return 1; }\n")
        code, output = self.check()
        self.assertEqual(code, 1)
        self.assertIn("lib base may not use net_f of net", output)

    def test_a_sideways_call_is_found(self):
        self.floor("mqtt", "int net_f(void);\nint mqtt_f(void) { return net_f(); }\n")
        self.floor("net", "int net_f(void) { return 1; }\n")
        self.assertEqual(self.check()[0], 1)

    def test_an_unknown_folder_is_found(self):
        (self.root / "src" / "attic").mkdir()
        code, output = self.check()
        self.assertEqual(code, 1)
        self.assertIn("src/attic", output)


if __name__ == "__main__":
    unittest.main()
