"""Scans without end on one server: images expected and received, memory, file descriptors.

    python -m tests.benchmarks.soak [--seconds 300]

Every seventh client is gone in the middle, every eleventh sends nonsense; the others want every
image, byte for byte the first one's.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import layouts
from tests.helpers.peer import Peer, line_messages, resident, wait_until
from tests.helpers.served_scans import serve


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print a row every tenth of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    asked = parser.parse_args()
    say = sys.stdout.write
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, resident() as server:
        scan = serve(Path(folder), slices=3)
        opening = layouts.config(layouts.properties()), layouts.header(scan.header.xml)
        lines, wanted = line_messages(scan.lines), None
        expected = received = wrong = gone = nonsense = n = 0
        say("| seconds | scans | gone | nonsense | images expected | received | of them different ")
        say("| memory [MiB] | file descriptors |\n|---|---|---|---|---|---|---|---|---|\n")
        start = shown = time.monotonic()
        while (now := time.monotonic()) < start + asked.seconds:
            n += 1
            peer = Peer.to(server.port).send(*opening)
            if n % 7 == 0:
                peer.send(*lines[: n % len(lines)]).drop(reset=bool(n % 2))
                gone += 1
            elif n % 11 == 0:
                peer.send_meanwhile(*lines[:3], b"\xff" * 5000)
                nonsense += len(peer.finish().errors) == 1
            else:
                images = peer.send(*lines, layouts.close()).finish().images
                pixels = [image.pixels.tobytes() for image in images]
                wanted = wanted or pixels
                expected, received = expected + 3, received + len(pixels)
                wrong += sum(a != b for a, b in zip(pixels, wanted, strict=False))
            if n == 30 or now - shown > asked.seconds / 10:
                shown = now
                wait_until(lambda: server.health.n_open == 0)
                n_files = len(list(Path("/proc/self/fd").iterdir()))
                say(f"| {now - start:.0f} | {n} | {gone} | {nonsense} | {expected} | {received} ")
                say(f"| {wrong} | {resident_mib():.1f} | {n_files} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
