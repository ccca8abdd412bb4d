"""Freed memory is kept: the same blocks again cost no page faults."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from gadget.compute.device import keep_freed_memory
print(keep_freed_memory())
for round_ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for mebibytes in (16, 3, 8, 30):
        bytearray(b'1') * (mebibytes << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
is_glibc = platform.libc_ver()[0] == "glibc"


def _kept_and_faults(**given):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | given
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True
    )
    kept, faults = run.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not is_glibc, reason="glibc alone has the switch")
def test_blocks_that_were_freed_are_used_again():
    kept, faults = _kept_and_faults()
    assert kept == "True"
    assert faults < 100


@pytest.mark.skipif(not is_glibc, reason="glibc alone has the switch")
def test_what_the_user_has_set_stays():
    kept, faults = _kept_and_faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert faults > 10_000
