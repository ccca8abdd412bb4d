"""`tests/README.md` names files that exist, and every benchmark."""

import re

from tests.helpers.paths import ROOT

TESTS = ROOT / "tests"
PAGE = (TESTS / "README.md").read_text(encoding="utf-8")


def test_the_files_of_promises_exist():
    table = PAGE.partition("## Promises")[2].partition("## Benchmarks")[0]
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert named
    assert [n for n in named if not (TESTS / n).is_file()] == []


def test_every_benchmark_is_listed():
    listed = re.findall(r"^\| [`(](\w+)[`)] \|", PAGE.partition("## Benchmarks")[2], re.MULTILINE)
    there = {p.stem for p in (TESTS / "benchmarks").glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(there)


def test_the_readme_links_to_the_promises():
    assert "tests/README.md#promises" in (ROOT / "README.md").read_text(encoding="utf-8")
