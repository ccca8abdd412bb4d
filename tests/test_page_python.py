"""Every Python block of the pages runs, in the order of its page, or is listed with the reason.

A page is run in a folder with the inputs that it names, smaller than those it speaks of. A block
that begins with ``# NAME.py`` or ``# NAME.yaml`` is a file of this name; commands with
``--network`` and ``--images``, which need such files, run in their place on the page.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import jrsr_core
from tests.helpers.commands import jrsr, write_small_scan
from tests.helpers.pages import FENCE, blocks, pages, text_of
from tests.test_page_commands import images
from training.application import run_command
from training.commands import app

NOT_RUN = {"image.show()\n": "opens a picture viewer; tests/jrsr_core/test_api.py"}
"""Block, and why it is not run."""

SMALLER = ((r"steps: \d+", "steps: 2"), (r"^(jrsr-train fit .*)$", r"\1 device=cpu"))
RECIPE = "model: jrsr\npreset: tiny\nsteps: 2\noptimizer: {batch: 2}\nlog: {every: 1}\n"
FILE = re.compile(r"# (\w+\.(?:py|yaml))\n")
OWN_FILES = ("--network", "--images")

with_python = pytest.mark.parametrize("page", [p for p in pages() if blocks(p, "python")], ids=str)


@pytest.fixture
def folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    made = jrsr(capfd, "simulate", "-o", "scan.h5", "--truth", "truth.h5", "--matrix", "144x144")
    assert made.code == 0, made.err
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for name in ("train", "test"):
        images(tmp_path / f"brain_{name}.h5", 4)
    return tmp_path


def smaller(text):
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


@with_python
def test_python_of_a_page(page, folder, plugins, own_networks, capfd):
    names = {"__name__": "page"}
    for kind, code in FENCE.findall(text_of(page)):
        text = smaller(code)
        if file := FILE.match(text):
            (folder / file[1]).write_text(text)
        if kind == "python" and code not in NOT_RUN:
            exec(compile(text, f"{page}: {text.splitlines()[0]}", "exec"), names)
        elif kind == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                if any(option in line for option in OWN_FILES):
                    capfd.readouterr()
                    code = run_command(app, shlex.split(line)[1:])
                    assert code == 0, f"{line}: {capfd.readouterr().err}"


def test_the_loop_of_the_page_goes_on_after_a_slice_that_cannot_be_read(tmp_path, capfd):
    def spoil(xml, lines):
        lines.data[50][:] = np.nan
        return xml, lines

    write_small_scan(tmp_path / "scan.h5", spoil, n_slices=3)
    every = blocks(Path("jrsr_core/docs/python.md"), "python")
    (loop,) = (code for code in every if "jrsr.PartialImage" in code)
    with jrsr_core.read_scan(tmp_path / "scan.h5") as scan:
        names = {"jrsr": jrsr_core, "scan": scan}
        exec(loop, names)
    assert names["image"].counters.slice == 2
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith("Counters(slice=1,") and "NaN or infinite samples in 1 of 48" in line
    assert "KSpaceSlice(" in line


def test_every_reason_is_needed():
    every = [code for page in pages() for code in blocks(page, "python")]
    assert [code for code in NOT_RUN if code not in every] == []
