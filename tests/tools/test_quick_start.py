#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
#
# Usage: test_quick_start.py OFFRAMPD OFFRAMP
"""The README's quick start, run word for word by a shell in namespaces of its own: its YAML is
written to offrampd.yaml, its commands are run in order. While its daemon runs, docs/counters.md is
compared with what that daemon reports."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COUNTER = re.compile(r"`([a-z0-9_]+)(?:\{([a-z]+)\})?`")
LIMIT_S = 60

PROGRAMS = {}  # name: path, from the command line

# Nothing of the host is seen or left: own network, own processes, own /run. A reader of the README
# types more slowly than this shell: it waits where a program must be up.
PROLOGUE = """
set -e -m
mount -t tmpfs tmpfs /run
ip link set lo up
await() { for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; "$@"; }
"""
AFTER_START = """
await build/offramp status
build/offramp counters > counters.txt
"""
EPILOGUE = """
wait
echo finished
"""


def section(text, heading):
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def script(blocks):
    parts = [PROLOGUE]
    for block in blocks:
        parts.append(block)
        if re.search(r"^build/offrampd .*&$", block, re.MULTILINE):
            parts.append(AFTER_START)
    return "\n".join([*parts, EPILOGUE])


def run_quick_start(folder):
    blocks = BLOCK.findall(section((ROOT / "README.md").read_text(), "Quick start"))
    (folder / "build").mkdir()
    for name, path in PROGRAMS.items():
        (folder / "build" / name).symlink_to(path)
    for kind, text in blocks:
        if kind == "yaml":
            (folder / "offrampd.yaml").write_text(text)
    (folder / "script").write_text(script([text for kind, text in blocks if kind == "sh"]))
    # The shell is the first process of its namespace: with it, all it has started ends.
    return subprocess.run(
        ["timeout", "--kill-after=1", str(LIMIT_S), "unshare", "--net", "--mount", "--pid",
         "--fork", "--kill-child", "--mount-proc", "bash", "script"],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False)


def reported(table):
    """{name: (label, {label values})} of `offramp counters`; '' where there is none."""
    found = {}
    for line in table.splitlines()[1:]:
        name, label, value = re.match(r'([a-z0-9_]+)(?:\{([a-z]+)="([^"]*)"\})? ', line).groups()
        found.setdefault(name, (label or "", set()))[1].add(value or "")
    return found


def documented(text):
    """The same of docs/counters.md: names from tables under "counter", values from the tables
    under a heading that names their counters."""
    found, heading, header = {}, [], ""
    for line in text.splitlines():
        if line.startswith("| ---"):
            continue
        if line.startswith("#"):
            heading = COUNTER.findall(line)
        first = re.match(r"\| *([^|]*?) *\|", line)
        if not first:
            header = ""
        elif not header:
            header = first[1]
        elif header == "counter":
            name, label = COUNTER.fullmatch(first[1]).groups()
            assert name not in found, f"{name} is there twice"
            found[name] = (label or "", set() if label else {""})
        elif first[1].startswith("`"):
            for name, label in heading:
                assert (label, found[name][0]) == (header, header), f"{name}: {header}"
                found[name][1].add(first[1].strip("`"))
    return found


class QuickStart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            cls.done = run_quick_start(folder)
            counters = folder / "counters.txt"
            cls.counters = counters.read_text() if counters.exists() else ""
            configuration = folder / "offrampd.yaml"
            cls.ports = set(re.findall(r"^  - name: (\w+)\n +device:", configuration.read_text(),
                                       re.MULTILINE))

    def test_every_command_works(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout)
        self.assertEqual(self.done.stdout.splitlines()[-1], "finished", self.done.stdout)

    def test_the_message_arrives_and_the_broker_had_no_part_in_it(self):
        output = self.done.stdout
        self.assertRegex(output, r"(?m)^world$")
        self.assertRegex(output, r'(?m)^publish_captured_total\{qos="0"\} +1$')
        self.assertRegex(output, r'(?m)^deliveries_total\{qos="0"\} +1$')

    def test_docs_counters_lists_what_the_daemon_reports(self):
        expected = reported(self.counters)
        self.assertTrue(expected, self.done.stdout)
        found = documented((ROOT / "docs" / "counters.md").read_text())
        for label, values in found.values():
            if label == "port":  # the document cannot know the names
                values |= self.ports
        self.maxDiff = None
        self.assertEqual(found, expected)

    def test_names_tell_counters_from_gauges(self):
        """docs/counters.md promises that exactly the names in _total only grow."""
        sources = [*(ROOT / "src").glob("*/*counters.c"), ROOT / "src/attach/stack.c",
                   ROOT / "src/attach/monitor.c", ROOT / "src/attach/sockets.c",
                   ROOT / "src/net/bridge.c",
                   ROOT / "src/daemon/gauges.c", ROOT / "src/daemon/steering.c"]
        text = "\n".join(path.read_text() for path in sources)
        entries = re.findall(r'\{(?:\.name = )?"([a-z0-9_]+)",\s(.*?)\}[,;]', text, re.DOTALL)
        families = {name: "COUNTER_GAUGE" in rest for name, rest in entries
                    if "COUNTER_" in rest or ".help" in rest}
        families.pop("packets_impaired_total")  # only the test build has it
        self.assertEqual(set(families), set(reported(self.counters)))
        for name, gauge in families.items():
            with self.subTest(name=name):
                self.assertNotEqual(gauge, name.endswith("_total"))


class Examples(unittest.TestCase):
    def test_every_yaml_example_is_accepted(self):
        for path in sorted((ROOT / "examples").glob("*.yaml")):
            with self.subTest(example=path.name):
                done = subprocess.run([PROGRAMS["offrampd"], "-c", path, "--test-config"],
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_example_of_the_man_page_is_accepted(self):
        page = (ROOT / "docs" / "man" / "offrampd.yaml.5").read_text()
        example = page.split(".Sh EXAMPLES\n.Bd -literal\n")[1].split("\n.Ed\n")[0]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(example + "\n")
            file.flush()
            done = subprocess.run([PROGRAMS["offrampd"], "-c", file.name, "--test-config"],
                                  capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    offrampd, offramp = sys.argv[1:3]
    PROGRAMS.update(offrampd=os.path.abspath(offrampd), offramp=os.path.abspath(offramp))
    unittest.main(argv=sys.argv[:1])
