"""`jrsr-train prepare --workers` ends at a signal; what is finished is there for the next run."""

import os
import signal
import sys
import threading

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process, wait_until
from tests.training.conftest import write_images
from training.data.prepare import MissingScans

SCRIPT = """
import signal
from tests.training.data.test_interrupted_preparation import item
from training.cli import main
from training.data.prepare import MissingScans

# Also in the workers, which run this script up to here.
MissingScans.__getitem__ = lambda scans, index: item(scans, index, {number})

if __name__ == "__main__":
    # A shell lets processes in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
"""

make = MissingScans.__getitem__


def item(scans, index, number):
    """Make the first scan; in place of the second send a signal as a terminal or scheduler does."""
    if index == 0:
        return make(scans, index)
    wait_until(lambda: list(scans.folder.glob("*.safetensors")))
    if index == 1 and number == signal.SIGINT:
        os.killpg(0, number)
    elif index == 1:
        os.kill(os.getppid(), number)
    return threading.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_workers_and_keeps_what_is_finished(number, tmp_path):
    images, scans = write_images(tmp_path / "images.h5"), tmp_path / "scans"
    (tmp_path / "script.py").write_text(SCRIPT.format(number=int(number)))
    command = [sys.executable, tmp_path / "script.py", "prepare", images, "-o", scans]
    options = {
        "cwd": ROOT,
        "env": os.environ | {"PYTHONPATH": str(ROOT)},
        "start_new_session": True,
    }
    done = run_process([*command, "--workers", "2"], **options)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "jrsr-train: interrupted\n")
    assert len(list(scans.glob("*.safetensors"))) == 1
