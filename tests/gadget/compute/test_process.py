"""Settings of the process: made by the entry points alone, and the user's own have priority."""

import os
import platform
import sys

import pytest

from tests.helpers.processes import run_process

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
is_glibc = platform.libc_ver()[0] == "glibc"


def _output(script, **given):
    """Return what a script prints, run with no such variables but those given."""
    environment = {
        k: v for k, v in os.environ.items() if not (k.startswith("MALLOC_") or k in NAMES)
    }
    command = [sys.executable, "-c", script]
    run = run_process(command, env=environment | given, check=True)
    return run.stdout.split()


WAITING = f"""
import os, sys
from gadget.compute.process import prepare_process
prepare_process()
print(*(os.environ.get(name) for name in {NAMES}), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["ACTIVE", "1000", "1"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None", "None"]),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ["PASSIVE", "None", "None"]),
        ({"GOMP_SPINCOUNT": "7"}, ["ACTIVE", "7", "1"]),
    ],
)
def test_threads_sleep_soon_unless_the_user_has_set_something_else(given, expected):
    assert _output(WAITING, **given) == [*expected, "False"]


@pytest.mark.parametrize("module", ["gadget", "gadget.settings", "gadget.handler", "jrsr_core"])
def test_importing_a_package_leaves_the_environment_as_it_is(module):
    script = f"import os; before = dict(os.environ); import {module}; print(before == os.environ)"
    assert _output(script) == ["True"]


SPAWNING = """
import multiprocessing
from {module} import {function} as prepare
if __name__ == "__main__":
    prepare()
    process = multiprocessing.get_context("spawn").Process(target=print, args=("done",))
    process.start()
    process.join()
"""


@pytest.mark.parametrize(
    "entry",
    [
        ("gadget.compute.process", "prepare_process"),
        ("jrsr_core.common.isolation", "isolate_subprocesses"),
    ],
    ids=lambda entry: entry[0],
)
def test_worker_processes_execute_nothing_of_the_current_folder(entry, tmp_path, monkeypatch):
    script = tmp_path / "script" / "main.py"
    script.parent.mkdir()
    script.write_text(SPAWNING.format(module=entry[0], function=entry[1]))
    (tmp_path / "multiprocessing.py").write_text("print('executed')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    done = run_process([sys.executable, script], cwd=tmp_path)
    assert done.stdout.split() == ["done"], done


BLOCKS = """
import ctypes
import resource
from gadget.compute.process import keep_freed_memory
PR_SET_THP_DISABLE = 41  # every page is a fault of its own, wherever the block happens to lie
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
print(keep_freed_memory())
for round_ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for mebibytes in (16, 3, 8, 30):
        bytearray(b'1') * (mebibytes << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not is_glibc, reason="glibc alone has the switch")
def test_blocks_that_were_freed_are_used_again():
    kept, faults = _output(BLOCKS)
    assert kept == "True"
    assert int(faults) < 100


@pytest.mark.skipif(not is_glibc, reason="glibc alone has the switch")
def test_what_the_user_has_set_stays():
    kept, faults = _output(BLOCKS, MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert int(faults) > 10_000
