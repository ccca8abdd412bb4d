"""Seconds from the first bucket in to the first image out: a process per scan, or resident.

    python -m tests.benchmarks.live_latency [--model jrsr-dc] [--repeat 3] [--threads 2]

A brain-5x slice of 12 coils in one bucket. `at once`: the bucket comes right after the process was
started, as in a replay. `ready`: it comes when the process has had time to load the model, as in a
scan of some seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from jrsr_core.mrd.files.scan import ScanFile
from tests.helpers import layouts
from tests.helpers.peer import Child, Peer, wait_until

IMAGE = 1022


def bucket_of(path):
    """Header and all lines of a scan as one bucket."""
    with ScanFile(path) as scan:
        lines = []
        for rows in scan.blocks():
            for row in rows:
                n_coils = int(row["head"]["active_channels"])
                data = row["data"].view("<c8").reshape(n_coils, -1)
                lines.append((row["head"], data))
        return scan.header.xml, layouts.bucket(lines)


def until_image(peer, bucket):
    """Send a bucket; return the seconds until an image has come."""
    start = time.perf_counter()
    peer.send_meanwhile(bucket, layouts.close())
    peer.wait_for(IMAGE)
    return time.perf_counter() - start


def with_a_process(folder, config, xml, bucket, wait):
    """Latency of `<execute>`."""
    start = time.perf_counter()
    with Child(folder, config, xml) as child:
        if wait:
            wait_until(lambda: "model loaded" in child.log.read_text(), "model loaded")
        started = time.perf_counter() - start
        seconds = until_image(child.peer, bucket)
        child.finish()
    return seconds if wait else seconds + started


@contextmanager
def resident(folder, model):
    """`jrsr serve` as a process; gives its port."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "gadget", "serve", "--port", "0", "--model", model]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_until(lambda: "listening on" in log.read_text(), "listening")
        (line,) = [x for x in log.read_text().splitlines() if "listening on" in x]
        yield int(line.rpartition(" ")[2])
    finally:
        process.terminate()
        process.wait()


def with_the_server(port, config, xml, bucket):
    """Latency of `<connect>`."""
    peer = Peer.to(port)
    peer.send(layouts.config(config), layouts.header(xml))
    seconds = until_image(peer, bucket)
    peer.finish()
    return seconds


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="jrsr-dc")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    config = layouts.properties(model=options.model, trigger="bucket")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = [sys.executable, "-m", "gadget", "simulate", "-o", str(folder / "scan.h5")]
        command = [*scan, "--coils", "12", "--no-noise-scan"]
        subprocess.run(command, check=True, capture_output=True)
        xml, bucket = bucket_of(folder / "scan.h5")
        times = {
            f"execute, {label}": [
                with_a_process(folder, config, xml, bucket, wait) for _ in range(options.repeat)
            ]
            for label, wait in (("at once", False), ("ready", True))
        }
        with resident(folder, options.model) as port:
            times["resident, first scan"] = [with_the_server(port, config, xml, bucket)]
            times["resident"] = [
                with_the_server(port, config, xml, bucket) for _ in range(options.repeat)
            ]
    sys.stdout.write(
        "| first bucket in -> first image out | best [s] | worst [s] |\n|---|---|---|\n"
    )
    for label, seconds in times.items():
        sys.stdout.write(f"| {label} | {min(seconds):.2f} | {max(seconds):.2f} |\n")


if __name__ == "__main__":
    main()
