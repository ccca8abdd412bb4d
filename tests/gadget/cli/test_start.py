"""Starting: what needs no tensors imports no torch, and an import changes nothing outside."""

import sys

import pytest

from tests.helpers.commands import write_small_scan
from tests.helpers.processes import run_process


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
        "import gadget.cli.main, gadget.handler, gadget.offline.recon; print(os.environ == before)"
    )
    assert printed_by(script) == "True"
