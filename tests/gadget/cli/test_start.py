"""Starting: what needs no tensors imports no torch, an import changes nothing outside, and a signal
that comes while a command is imported ends it properly."""

import os
import signal
import sys

import pytest

from tests.helpers.commands import write_small_scan
from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process

ENTRIES = {"gadget": "gadget.cli.main", "training": "training.cli"}
"""Package -> module of its entry point."""


def printed_by(script, *arguments):
    """The last line that a script prints in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = run_process(command, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["settings"], ["check"], ["check", "--untrusted"]]
)
def test_commands_without_tensors_import_no_torch(arguments, tmp_path):
    if "check" in arguments:
        write_small_scan(tmp_path / "scan.h5")
        arguments = [*arguments, tmp_path / "scan.h5"]
    script = (
        "import sys; from gadget.cli.main import run; code = run(sys.argv[1:]); "
        "print(code, sorted({'torch', 'ismrmrd', 'pydicom'} & sys.modules.keys()))"
    )
    assert printed_by(script, *arguments) == "0 []"


def test_the_handler_imports_no_torch():
    assert printed_by("import sys, gadget.handler; print('torch' in sys.modules)") == "False"


def test_an_import_sets_no_environment_variable():
    script = (
        "import os; before = dict(os.environ); "
        "import gadget.cli.commands, gadget.handler, gadget.offline.recon; "
        "print(os.environ == before)"
    )
    assert printed_by(script) == "True"


@pytest.mark.parametrize(("package", "name"), [("gadget", "jrsr"), ("training", "jrsr-train")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_is_imported_is_one_line(package, name, number, tmp_path):
    # In place of the library that both import first.
    (tmp_path / "typer.py").write_text(f"import signal; signal.raise_signal({int(number)})\n")
    # A shell lets processes in the background ignore Ctrl-C.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    found = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    script = f"{heeded}{found}import {ENTRIES[package]} as entry; entry.main()"
    done = run_process([sys.executable, "-c", script, "--help"], cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{name}: interrupted\n")


@pytest.mark.parametrize(("package", "name"), [("gadget", "jrsr"), ("training", "jrsr-train")])
def test_ctrl_c_within_code_of_a_text_ends_a_module_with_the_exit_code(package, name, tmp_path):
    """As within the import of a data class, in place of which the library runs a text here."""
    raised = "import signal; signal.signal(2, signal.default_int_handler); signal.raise_signal(2)"
    (tmp_path / "typer.py").write_text(f"exec({raised!r})\n")
    done = run_process(
        [sys.executable, "-m", package, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{name}: interrupted\n")


@pytest.mark.parametrize("module", ENTRIES.values())
def test_an_entry_point_imports_nothing_that_takes_time(module):
    script = (
        "import sys; before = set(sys.modules); import importlib.util, typing, signal; "
        f"import {module}; print(sorted({{name.partition('.')[0] for name in sys.modules}} "
        "- {name.partition('.')[0] for name in before} - sys.stdlib_module_names))"
    )
    packages = sorted({"jrsr_core", module.partition(".")[0]})
    assert printed_by(script) == str(packages)
