"""Starting: help at once, and threads that soon sleep while they wait."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
    os.environ.pop(name, None)
os.environ.update({given!r})
import gadget.cli, gadget.handler
print(os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


def _started(**given):
    command = [sys.executable, "-c", SCRIPT.format(given=given)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_threads_sleep_soon_before_torch_is_there():
    assert _started() == ["PASSIVE", "1000", "False"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None"]),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ["PASSIVE", "None"]),
        ({"GOMP_SPINCOUNT": "7"}, ["PASSIVE", "7"]),
    ],
)
def test_what_the_user_has_set_stays(given, expected):
    assert _started(**given) == [*expected, "False"]
