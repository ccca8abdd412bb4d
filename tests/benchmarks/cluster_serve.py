"""Scans at a resident server: without a cluster, on three Ray nodes, and with one of them killed.

    python -m tests.benchmarks.cluster_serve [--scans 3] [--slices 8] | grep '^|'

The nodes are processes of this machine with one core each; where it has fewer cores than nodes they
share them. Scans come at the same time; seconds from the first byte sent to the last image. Ray's
words on the node that is killed go to stdout as well.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.cluster_utils import Cluster

from gadget.compute.model import make_engine
from gadget.compute.ray.engine import ClusterEngine
from gadget.compute.ray.pool import Pool
from gadget.server.serve import warm_up
from gadget.settings import Settings
from tests.helpers import layouts
from tests.helpers.peer import Peer, resident, wait_until
from tests.helpers.served_scans import Served, serve


def measure(settings: Settings, make: Callable, scans: list[Served], within: Callable) -> tuple:
    """Serve all scans at once; `within` is called when the first image is there."""
    with resident(settings, make) as server:
        warm_up(server.engines.get(settings))
        start = time.perf_counter()
        peers = [Peer.to(server.port) for _ in scans]
        for peer, scan in zip(peers, scans, strict=True):
            opening = layouts.config(layouts.properties()) + layouts.header(scan.header.xml)
            peer.send_meanwhile(opening, *scan.lines_alone)
        peers[0].wait_for(layouts.IMAGE)
        within()
        answers = [peer.finish() for peer in peers]
        seconds = time.perf_counter() - start
        line = server.health_line()
    pixels = [[image.pixels.tobytes() for image in answer.images] for answer in answers]
    return seconds, pixels, sum(len(answer.fallbacks) for answer in answers), line


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--model", default="jrsr-dc")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    say = sys.stdout.write
    settings = Settings(model=asked.model, device="cpu")
    say("| workers | seconds | images | fallback images | identical | health |\n")
    say("|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as name:
        scans = []
        for i in range(asked.scans):
            folder = Path(name) / str(i)
            folder.mkdir()
            options = {"matrix": "128x128", "n_coils": 12, "acs": 24, "seed": i}
            scans.append(serve(folder, slices=asked.slices, **options))
        wanted = None
        for kind in ("1, no cluster", "3 nodes", "3 nodes, one killed after the first image"):
            if "nodes" not in kind:
                seconds, pixels, n_fallback, line = measure(
                    settings, make_engine, scans, lambda: None
                )
            else:
                nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
                others = [nodes.add_node(num_cpus=1) for _ in range(2)]
                nodes.wait_for_nodes()

                def within(kind=kind, nodes=nodes, others=others) -> None:
                    if "killed" in kind:
                        nodes.remove_node(others[-1], allow_graceful=False)

                with Pool(nodes.address, device="cpu") as pool:
                    wait_until(lambda pool=pool: pool.workers.n_ready == 3)
                    make = partial(ClusterEngine, pool=pool, is_resident=True)
                    seconds, pixels, n_fallback, line = measure(settings, make, scans, within)
                ray.shutdown()
                nodes.shutdown()
            wanted = wanted or pixels
            n = sum(map(len, pixels))
            same = "yes" if pixels == wanted else "NO"
            health = line.partition("fallback images")[2].lstrip(", ")
            say(f"| {kind} | {seconds:.1f} | {n} of {asked.scans * asked.slices} | {n_fallback} ")
            say(f"| {same} | {health} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
