"""Running `jrsr` inside the test, and small scans on disk."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gadget.cli import main as cli
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.lines.acquired import LineList

from .mrd_scans import small_scan

NO_WEIGHTS = ("--model", "cg-sense+sinc")
FAST = (*NO_WEIGHTS, "--set", "kernel_width=4")


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


def jrsr(capfd: pytest.CaptureFixture, *arguments: object) -> Outcome:
    """Run a command in this process."""
    capfd.readouterr()
    code = cli.run([str(a) for a in arguments])
    printed = capfd.readouterr()
    return Outcome(code, printed.out, printed.err)


def assert_one_line(outcome: Outcome, code: int, *words: str) -> None:
    """One line on stderr with these words, nothing on stdout, this exit code."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("jrsr: "), outcome.err
    for word in words:
        assert word in lines[0]


def write_small_scan(path: Path, change=None, **options) -> LineList:
    """Write a scan after `change(xml, lines) -> (xml, lines)`."""
    _, _, xml, lines = small_scan(**options)
    if change is not None:
        xml, lines = change(xml, lines)
    write_scan(path, xml, lines)
    return lines
