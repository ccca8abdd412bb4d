"""Starting: help at once."""

import subprocess
import sys

SCRIPT = """
import sys
import gadget.cli, gadget.handler
print("torch" in sys.modules)
"""


def test_torch_is_not_there_yet():
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["False"]
