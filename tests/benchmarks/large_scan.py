"""A large scan: how fast it is read, and the memory of its reconstruction.

    python -m tests.benchmarks.large_scan FOLDER [--slices 64] [--model jrsr-dc]

Writes 4 contrasts, 2 averages and 32 channels of one slice as so many slices, reads all samples in
bulk and by `ismrmrd.Dataset.read_acquisition` one after another, and runs `jrsr recon` as a process
of its own; prints times, the size of the file, and the peak resident memory of that process.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import ismrmrd
import numpy as np

from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.lines.acquired import NOISE, LineList, has_flag
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation

BLOCK = 128
ONE_BY_ONE = 1500
"""Acquisitions read one at a time; the rest takes as long each."""


def write_large_scan(path: Path, n_slices: int) -> None:
    """Simulate one slice and write its lines as those of many."""
    seed = path.with_suffix(".one.h5")
    write_simulation(ScanRequest(contrasts=4, averages=2, n_coils=32), seed, overwrite=True)
    with ScanFile(seed) as scan:
        data = [scan.samples(np.array([i]))[0] for i in range(len(scan.heads))]
        noise, image = (np.flatnonzero(has_flag(scan.heads, NOISE) == x) for x in (True, False))
        heads, order = [scan.heads[noise]], [*noise]
        for number in range(n_slices):
            part = scan.heads[image].copy()
            part["idx"]["slice"] = number
            part["position"][:, 2] += 5.0 * number
            heads.append(part)
            order += [*image]
        lines = LineList(np.concatenate(heads), [data[i] for i in order])
        write_scan(path, scan.header.xml, lines)
    seed.unlink()


def bulk_seconds(path: Path) -> float:
    """Seconds per acquisition, blocks of `BLOCK` as the assembler reads them."""
    start = time.perf_counter()
    with ScanFile(path) as scan:
        sizes = scan.heads["number_of_samples"]
        wanted = np.flatnonzero(sizes == np.bincount(sizes).argmax())
        for first in range(0, len(wanted), BLOCK):
            scan.samples(wanted[first : first + BLOCK])
        return (time.perf_counter() - start) / len(scan.heads)


def single_seconds(path: Path) -> float:
    """Seconds per acquisition by the ISMRMRD library."""
    start = time.perf_counter()
    with ismrmrd.Dataset(str(path), "dataset", False) as dataset:
        n = min(dataset.number_of_acquisitions(), ONE_BY_ONE)
        for i in range(n):
            _ = dataset.read_acquisition(i).data
    return (time.perf_counter() - start) / n


def main() -> None:
    """Write, read, reconstruct, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--model", default="jrsr-dc")
    asked = parser.parse_args()
    scan = asked.folder / "large.h5"
    write_large_scan(scan, asked.slices)
    bulk, single = bulk_seconds(scan), single_seconds(scan)
    size = scan.stat().st_size / 2**20
    out = sys.stdout.write
    out(f"file {size:.0f} MiB; bulk {1e6 * bulk:.0f} us, one at a time {1e6 * single:.0f} us")
    out(f" per acquisition: {single / bulk:.0f} times faster\n")
    command = [sys.executable, "-m", "gadget", "recon", scan, "--model", asked.model]
    start = time.perf_counter()
    done = subprocess.run([*command, "-o", asked.folder / "images.h5", "--overwrite"], check=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    out(f"exit code {done.returncode}, {seconds:.0f} s, peak memory {peak:.0f} MiB, ")
    out(f"file + {peak - size:.0f} MiB\n")


if __name__ == "__main__":
    main()
