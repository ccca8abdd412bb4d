"""Progress, details, log files, and help: what the user sees while it works."""

import io
import re

import pytest

from gadget import console
from gadget.settings import Settings
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.find import find_card
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan


class Terminal(io.StringIO):
    """Claims to be a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that every look at the clock adds."""
    now = [0.0]

    def monotonic():
        now[0] += 6.0
        return now[0]

    monkeypatch.setattr(console.time, "monotonic", monotonic)
    monkeypatch.setattr(console, "PLAIN_SECONDS", 10.0)


def test_lines_now_and_then_where_there_is_no_terminal(clock, capfd):
    with console.progress(5, "scan") as tick:
        for _ in range(5):
            tick()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "jrsr: scan: 2 of 5, 18 s left, 0.17/s",
        "jrsr: scan: 4 of 5, 6 s left, 0.17/s",
    ]


def test_a_bar_with_speed_and_messages_above_it(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with console.progress(3, "scan") as tick:
        tick()
        console.print_warning("slice 1 is [odd]")
        tick()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "jrsr: slice 1 is [odd]" in shown and "2/3" in shown and "/s" in shown
    terminal.truncate(0)
    console.print_warning("slice 2 is odd")
    assert terminal.getvalue().endswith("jrsr: slice 2 is odd\n")


def test_details_and_a_log_file(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    log = tmp_path / "run.log"
    command = ("recon", tmp_path / "scan.h5", *FAST, "--overwrite", "--log", log)
    quiet = jrsr(capfd, *command)
    assert quiet.code == 0 and quiet.err == ""
    loud = jrsr(capfd, *command, "-v")
    assert [line[:20] for line in loud.err.splitlines()] == ["jrsr: scan.h5: image"] * 2
    lines = log.read_text().splitlines()
    assert len(lines) == 2 * 3 and all(re.match(r"\d{4}-\d\d-\d\d \d\d:", line) for line in lines)
    assert "2 images 96 x 128" in lines[2] and "k-space residual" in lines[0]
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST, "--overwrite").err == ""
    assert len(log.read_text().splitlines()) == 6


def test_a_log_file_that_cannot_be(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    command = ("recon", tmp_path / "scan.h5", *FAST, "--log", tmp_path / "none" / "run.log")
    assert_one_line(jrsr(capfd, *command), 2, "run.log")


def test_a_scan_unlike_the_training_is_warned_of_before_and_after(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", shape=(36, 64), n_slices=2)
    checked = jrsr(capfd, "check", tmp_path / "scan.h5")
    assert "unlike training HR matrix size 72" in re.sub(r" +", " ", checked.out)
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5")
    assert outcome.code == 0
    warnings = [line for line in outcome.err.splitlines() if "HR matrix size" in line]
    low, high = WeightsCard.read(find_card("jrsr-dc")).range["hr_size"]
    assert warnings == [
        f"jrsr: scan.h5: warning: HR matrix size 72 outside {low} to {high} of the training"
    ]
    plain = jrsr(capfd, "check", tmp_path / "scan.h5", *FAST)
    assert "has no weights" in plain.out


def test_help_teaches(capfd):
    text = jrsr(capfd, "recon", "--help").out
    for words in ("jrsr recon scan.h5 --report", "Exit code: 0 done", "jrsr settings"):
        assert words in text
    text = jrsr(capfd, "settings").out
    assert "maps=" in text and "Extra series" in text


def test_every_setting_is_explained(capfd):
    lines = jrsr(capfd, "settings").out.splitlines()
    names = [line.partition("=")[0] for line in lines if not line.startswith(" ")]
    assert names == list(Settings.model_fields)
    texts = [field.description for field in Settings.model_fields.values()]
    assert all(len(text) > 10 and text.endswith(".") for text in texts)
