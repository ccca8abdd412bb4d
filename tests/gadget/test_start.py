"""Starting: help at once, and threads that sleep while they wait."""

import subprocess
import sys

SCRIPT = """
import os, sys
os.environ.pop("OMP_WAIT_POLICY", None)
if {given!r}:
    os.environ["OMP_WAIT_POLICY"] = {given!r}
import gadget.cli, gadget.handler
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


def _started(given=""):
    command = [sys.executable, "-c", SCRIPT.format(given=given)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_threads_are_passive_before_torch_is_there():
    assert _started() == ["PASSIVE", "False"]


def test_the_wait_policy_of_the_user_stays():
    assert _started("ACTIVE") == ["ACTIVE", "False"]
