"""Scans on one worker, on three Ray nodes, and on three of which one is killed in the middle.

    python -m tests.benchmarks.cluster [--scans 6] [--slices 4]

The nodes are processes of this machine with one core each; where it has fewer cores than nodes they
share them, and the speed-up says so.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ray
from ray.cluster_utils import Cluster

from gadget.offline.recon import ReconRequest, reconstruct_files
from gadget.settings import Settings
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation


def pixels(folder: Path) -> dict[str, bytes]:
    """Pixels of every scan by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with h5py.File(path) as file:
            found[path.name] = file["dataset/image_1/data"][()].tobytes()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=6)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--model", default="jrsr-dc")
    asked = parser.parse_args()
    say = sys.stdout.write
    settings = Settings(model=asked.model, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = [folder / f"scan{i}.h5" for i in range(asked.scans)]
        for i, path in enumerate(scans):
            write_simulation(ScanRequest(slices=asked.slices, matrix="128x128", seed=i), path, None)
        n = asked.scans * asked.slices
        say("| workers | scans | images | seconds | images identical to one worker |\n")
        say("|---|---|---|---|---|\n")
        results = {}
        for kind in ("1, no cluster", "3 nodes", "3 nodes, one killed"):
            out = folder / kind.replace(" ", "_").replace(",", "")
            out.mkdir()
            nodes = None
            if "nodes" in kind:
                nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
                others = [nodes.add_node(num_cpus=1) for _ in range(2)]
                nodes.wait_for_nodes()
            address = nodes.address if nodes else ""
            request = ReconRequest(scans, settings, out, ["mrd"], cluster=address)
            start = time.perf_counter()
            if "killed" in kind:

                def kill(nodes=nodes, victim=others[-1] if nodes else None, out=out) -> None:
                    while not any(p.suffix == ".h5" and p.name[0] != "." for p in out.iterdir()):
                        time.sleep(0.05)
                    nodes.remove_node(victim, allow_graceful=False)

                threading.Thread(target=kill, daemon=True).start()
            with contextlib.redirect_stdout(io.StringIO()):
                code = reconstruct_files(request)
            seconds = time.perf_counter() - start
            results[kind] = pixels(out)
            same = results[kind] == results["1, no cluster"]
            say(f"| {kind} | {len(results[kind])} of {asked.scans}, exit {int(code)} ")
            say(f"| {n} | {seconds:.1f} | {'yes' if same else 'NO'} |\n")
            sys.stdout.flush()
            if nodes:
                ray.shutdown()
                nodes.shutdown()


if __name__ == "__main__":
    main()
