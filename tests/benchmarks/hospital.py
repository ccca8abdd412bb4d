"""How many scanners one server serves, and what 100 000 scans take: simulation from measured times.

    python -m tests.benchmarks.hospital [--model jrsr-dc] [--service 0.7,0.71,...] [--price 1.0]

Service times are those of slices on one worker of this machine, measured first (or given in
seconds); the queue is that of the engine: first come, first served, slices of all scanners in one
line. A scanner sends the slices of a scan one after the other while it measures, scans follow each
other after an exponential pause. Latency counts from the last line of a slice to its image. What is
not in it: the network, and reading files (`s / scan outside the model` is measured for that).
"""

import argparse
import heapq
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gadget.compute.model import make_engine
from gadget.offline.recon import ReconRequest, reconstruct_files
from gadget.scan.stages import file_tasks, make_assembler
from gadget.settings import Settings
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation

SLICES, SECONDS_PER_SLICE, PAUSE = 30, 6.0, 300.0
"""Of a scan: slices, seconds between their ends, mean pause between scans of one scanner."""

HOURS = 24.0


def measured(model: str, n: int) -> tuple[np.ndarray, float]:
    """Return service times of slices at clinical size, and seconds of a slice outside the model."""
    settings = Settings(model=model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        write_simulation(ScanRequest(slices=n), path, None)
        engine = make_engine(settings)
        with ScanFile(path) as scan:
            slices = [
                task.assemble()
                for task in file_tasks(
                    make_assembler(scan, plan_scan(scan.header, scan.heads), settings)
                )
            ]
        engine.run(slices[:1])
        times = []
        for slice_ in slices:
            start = time.perf_counter()
            engine.run([slice_])
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
        reconstruct_files(ReconRequest([path], settings, Path(folder) / "o.h5", ["mrd"]))
        whole = time.perf_counter() - start
    return np.array(times), max(whole - sum(times), 0.0) / n


def latencies(
    service: np.ndarray, n_scanners: int, n_workers: int, hours: float, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Return the latency of every slice, and the share of time that workers are busy."""
    random = np.random.default_rng(seed)
    arrivals = []
    for _ in range(n_scanners):
        now = random.exponential(PAUSE)
        while now < hours * 3600:
            arrivals += [now + SECONDS_PER_SLICE * (i + 1) for i in range(SLICES)]
            now += SLICES * SECONDS_PER_SLICE + random.exponential(PAUSE)
    arrivals.sort()
    free = [0.0] * n_workers
    waited, busy = [], 0.0
    for at, seconds in zip(arrivals, random.choice(service, len(arrivals)), strict=True):
        end = max(at, heapq.heappop(free)) + seconds
        heapq.heappush(free, end)
        waited.append(end - at)
        busy += seconds
    return np.array(waited), busy / (n_workers * max(arrivals[-1], max(free)))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="jrsr-dc")
    parser.add_argument("--slices", type=int, default=12, help="measured")
    parser.add_argument("--service", default="", help="seconds per slice, instead of measuring")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--price", type=float, default=1.0, help="of a worker and hour")
    asked = parser.parse_args()
    say = sys.stdout.write
    if asked.service:
        service, outside = np.array([float(x) for x in asked.service.split(",")]), 0.0
    else:
        service, outside = measured(asked.model, asked.slices)
    say(f"service {service.mean():.3f} +- {service.std():.3f} s a slice, ")
    say(f"maximum {service.max():.3f} s; outside the model {outside:.3f} s a slice\n\n")
    say("| scanners | load | latency, median [s] | 95 % [s] | 99 % [s] | maximum [s] |\n")
    say("|---|---|---|---|---|---|\n")
    for n in (1, 2, 4, 8, 12, 16, 24, 32):
        waited, load = latencies(service, n, asked.workers, HOURS)
        figures = [*np.percentile(waited, [50, 95, 99]), waited.max()]
        say(f"| {n} | {load:.2f} | {' | '.join(f'{x:.2f}' for x in figures)} |\n")
        if load > 0.98:
            break
    hours = asked.scans * SLICES * (service.mean() + outside) / 3600 / asked.workers
    cost = hours * asked.workers * asked.price
    bottleneck = "model" if service.mean() > outside else "reading, assembling and writing"
    say(f"\n{asked.scans} scans of {SLICES} slices: {hours:.0f} h on {asked.workers} workers, ")
    say(f"cost {cost:.0f} at {asked.price:g} a worker and hour; bottleneck: {bottleneck}\n")


if __name__ == "__main__":
    main()
