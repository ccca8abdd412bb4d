"""What every command has: -h, --version, --quiet, whole summaries, completion by the shell."""

import os
import shlex
import sys

import pytest

from gadget.cli.commands import COMMANDS
from gadget.console import print_line, quietly
from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.mrd_scans import copied
from tests.helpers.processes import run_process


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_shared_options(command, capfd):
    shown = jrsr(capfd, command, "-h")
    assert shown.code == 0 and shown.err == ""
    for option in ("-h, --help", "--version", "-q, --quiet"):
        assert option in shown.out
    assert jrsr(capfd, command, "--help").out == shown.out
    # Also without the arguments that the command needs.
    version = jrsr(capfd, command, "--version")
    assert version.code == 0 and version.out.startswith("jrsr ")


def test_summaries_are_whole(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = " ".join(jrsr(capfd, "--help").out.split())
    assert "..." not in shown.partition("Commands:")[2]
    assert "recon Reconstruct scans into high-resolution images. convert" in shown


def with_a_nan(xml, lines):
    lines = copied(lines)
    lines.data[9][0, 0] = float("nan")
    return xml, lines


def test_quiet_leaves_warnings_files_and_exit_code(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", with_a_nan)
    loud = jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST)
    quiet = jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST, "-q", "-o", tmp_path / "2.h5")
    assert loud.out and not quiet.out
    assert quiet.code == loud.code == 3 and quiet.err == loud.err and "NaN" in quiet.err
    assert (tmp_path / "2.h5").is_file()
    # Before the command as well.
    assert jrsr(capfd, "--quiet", "check", tmp_path / "scan.h5").out == ""
    assert jrsr(capfd, "check", tmp_path / "scan.h5").out != ""
    assert "no such file" in jrsr(capfd, "-q", "check", tmp_path / "none.h5").err


def test_quiet_ends_with_its_block(capfd):
    with pytest.raises(ValueError, match="x"), quietly():
        with quietly(False):
            print_line("not printed")
        raise ValueError("x")
    print_line("printed")
    assert capfd.readouterr().out == "printed\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jrsr rec", ["recon"]),
        ("jrsr recon --mod", ["--model"]),
        ("jrsr recon --model jrsr", ["jrsr", "jrsr-dc"]),
        ("jrsr recon --model jrsr@w", ["jrsr@wall-16x"]),
        ("jrsr recon --set crop", ["crop="]),
        ("jrsr recon --set on_failure=", ["on_failure=fallback", "on_failure=stop"]),
        ("jrsr recon --set model=t2net", ["model=t2net", "model=t2net@brain-5x"]),
    ],
)
def test_the_shell_completes(words, expected):
    variables = {
        "_JRSR_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": words,
    }
    done = run_process(
        [sys.executable, "-m", "gadget"],
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    for word in expected:
        assert f'"{word}"' in done.stdout
    assert "serve" not in done.stdout


def test_the_script_of_completion_is_that_of_the_shell():
    """The shell is the one that has started the process."""
    # Without the second command bash would be replaced by the process.
    words = shlex.join([sys.executable, "-m", "gadget", "--show-completion"])
    done = run_process(["bash", "-c", f"{words}; exit $?"])
    assert done.returncode == 0, done.stderr
    assert "_JRSR_COMPLETE=complete_bash" in done.stdout
