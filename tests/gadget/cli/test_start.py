"""Starting: help at once, and threads that soon sleep while they wait."""

import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SCRIPT = """
import os, sys
for name in {names}:
    os.environ.pop(name, None)
os.environ.update({given!r})
import gadget.cli, gadget.handler
print(*(os.environ.get(name) for name in {names}), "torch" in sys.modules)
"""


def _started(**given):
    script = SCRIPT.format(names=NAMES, given=given)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_threads_sleep_soon_and_torch_is_not_there_yet():
    assert _started() == ["ACTIVE", "1000", "1", "False"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None", "None"]),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ["PASSIVE", "None", "None"]),
        ({"GOMP_SPINCOUNT": "7"}, ["ACTIVE", "7", "1"]),
    ],
)
def test_what_the_user_has_set_stays(given, expected):
    assert _started(**given) == [*expected, "False"]
