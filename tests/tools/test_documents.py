#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What the documents say about the tree is so: floors, links, files, functions, decisions."""

import importlib.machinery
import importlib.util
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DECISIONS = ROOT / "docs" / "decisions"

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:src|tests|tools|docs|examples|proto)/[\w./-]+)`")
FUNCTION = re.compile(r"`([a-z][a-z0-9_]+)\(\)`")


def load_check_layers():
    path = str(ROOT / "tools" / "check-layers")
    loader = importlib.machinery.SourceFileLoader("check_layers", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def documents():
    folders = (ROOT, ROOT / "tests", ROOT / "examples", ROOT / "docs", DECISIONS)
    return [path for folder in folders for path in sorted(folder.glob("*.md"))]


def anchor(heading):
    """As GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(path):
    return {anchor(line.lstrip("#")) for line in path.read_text().splitlines()
            if line.startswith("#")}


class Documents(unittest.TestCase):
    def test_the_floor_table_is_that_of_check_layers(self):
        section = ARCHITECTURE.read_text().split("\n## Floors\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| .* \|([^|]*)\|$", section, re.MULTILINE)
        table = [(floor, sorted(re.findall(r"`(\w+)`", used))) for floor, used in rows]
        floors = load_check_layers().FLOORS
        self.assertEqual(table, [(floor, sorted(used)) for floor, used in floors.items()])

    def test_floors_marked_as_later_have_no_folder_and_the_others_have_one(self):
        section = ARCHITECTURE.read_text().split("\n## Floors\n")[1].split("\n## ")[0]
        for floor, text in re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE):
            with self.subTest(floor=floor):
                later = text.startswith("later: ")
                self.assertNotEqual(later, (ROOT / "src" / floor).is_dir())

    def test_links_lead_somewhere(self):
        for document in documents():
            for link in LINK.findall(document.read_text()):
                target, _, fragment = link.partition("#")
                if ":" in target:
                    continue
                with self.subTest(document=document.name, link=link):
                    path = (document.parent / target).resolve() if target else document
                    self.assertTrue(path.exists())
                    if fragment:
                        self.assertIn(fragment, anchors(path))

    def test_paths_named_exist(self):
        for document in documents():
            for name in PATH.findall(document.read_text()):
                with self.subTest(document=document.name, path=name):
                    self.assertTrue((ROOT / name).exists())

    def test_functions_named_exist(self):
        source = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.[ch]")))
        for document in [ARCHITECTURE, *sorted(DECISIONS.glob("*.md"))]:
            for name in set(FUNCTION.findall(document.read_text())):
                with self.subTest(document=document.name, function=name):
                    self.assertTrue(re.search(rf"\b{name}\(", source))

    def test_every_manual_page_is_installed(self):
        installed = re.findall(r"'man/(\S+)'", (ROOT / "docs" / "meson.build").read_text())
        self.assertCountEqual(installed, [path.name for path in (ROOT / "docs" / "man").iterdir()])

    def test_every_decision_is_listed_with_its_three_parts(self):
        listed = ARCHITECTURE.read_text()
        for path in sorted(DECISIONS.glob("*.md")):
            with self.subTest(decision=path.name):
                text = path.read_text()
                self.assertRegex(path.name, r"^\d{4}-[a-z0-9-]+\.md$")
                self.assertTrue(text.startswith(f"# {path.name[:4]}: "))
                headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
                self.assertEqual(headings, ["Context", "Choice", "Cost"])
                self.assertIn(f"(decisions/{path.name})", listed)


if __name__ == "__main__":
    unittest.main()
