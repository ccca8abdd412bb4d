"""Our speed beside that of the peers, in one run on one machine.

    python -m tests.benchmarks.speed [--threads 2] [--repeat 3] [--only espirit,cg,...]
                                     [--scaling]

Best of `repeat` runs; the peers' ESPIRiT, which takes many seconds, runs once. BART
is timed as a command, its files in memory, start-up included (the start alone is printed below the
table); sigpy and ourselves as calls. Data: smooth random coil profiles, an analytic phantom, noise
at 50 dB.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import bart, files, scaling
from tests.helpers.synthetic import line_mask, scan

ESPIRIT = (
    (12, (128, 116), 0.15),
    (12, (256, 232), 0.4),
    (18, (336, 280), 1.0),
    (32, (256, 232), 1.5),
)
SIGPY_LIMIT = 20
"""Coils above which sigpy's ESPIRiT is left out: it takes minutes."""


def best(function, repeat):
    """Best wall-clock time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def to_bart(x):
    """``(coil, y, x)`` -> (x, y, 1, coil), readout first."""
    return np.ascontiguousarray(x.numpy().transpose(2, 1, 0)[:, :, None, :])


def central(kspace, n=24):
    """Return the central block."""
    _, ny, nx = kspace.shape
    y, x = ny // 2 - n // 2, nx // 2 - n // 2
    return kspace[:, y : y + n, x : x + n].contiguous()


def espirit(folder, repeat):
    """Yield rows for ESPIRiT, with the agreement of the maps with sigpy."""
    from jrsr_core import espirit_maps

    for n_coils, shape, reach in ESPIRIT:
        kspace = scan(n_coils, shape)[0]
        acs = central(kspace)
        ours = best(lambda acs=acs, shape=shape: espirit_maps(acs, shape), repeat)
        other = note = None
        if n_coils <= SIGPY_LIMIT:
            from sigpy.mri.app import EspiritCalib

            start = time.perf_counter()
            maps = EspiritCalib(kspace.numpy(), calib_width=24, crop=0.9, show_pbar=False).run()
            other = time.perf_counter() - start
            note = agreement(espirit_maps(acs, shape)[0], torch.from_numpy(maps))
        peer = None
        if bart.is_there():
            bart.write(folder / "k", to_bart(kspace))
            peer = bart.seconds("ecalib -m1 -r24 -k6 -t0.0004 -c0.9 k maps", folder, 1)
        name = f"ESPIRiT, {n_coils} coils, {shape[0]}x{shape[1]}"
        yield name, ours, other, peer, reach, note


def agreement(a, b):
    """Mean |<a, b>| of unit maps inside both supports."""
    inside = (a.abs().sum(0) > 0) & (b.abs().sum(0) > 0)
    similarity = (a.conj() * b).sum(0).abs()[inside].mean()
    return f"maps agree with sigpy {float(similarity):.4f}"


def compression(folder, repeat):
    """Yield the row for GCC: matrices from the ACS, applied to one slice."""
    from jrsr_core.calibration.compression import CoilCompressor

    kspace = scan(32, (232, 256))[0]
    acs = kspace[:, 104:128]

    def ours():
        return CoilCompressor.gcc(acs, 12, 256)(kspace)

    peer = None
    if bart.is_there():
        bart.write(folder / "k32", to_bart(kspace))
        peer = bart.seconds("cc -G -p12 -r24 k32 k12", folder, repeat)
    yield "GCC 32 -> 12, 256x232", best(ours, repeat), None, peer, peer, None


def cg_sense(folder, repeat):
    """Yield the row for 30 iterations of CG-SENSE with given maps."""
    from jrsr_core import espirit_maps
    from jrsr_core.physics.sense import SenseOperator
    from jrsr_core.physics.solvers import conjugate_gradient

    shape = (256, 232)
    kspace, mask = scan(12, shape)[0], line_mask(shape, 2.5)
    maps, _ = espirit_maps(central(kspace), shape)
    measured = kspace * mask

    def ours():
        # The operator anew each time: what it prepares belongs to the work.
        sense = SenseOperator(maps[None], mask)
        with torch.inference_mode():
            conjugate_gradient(
                lambda x: sense.gram(x) + 3e-3 * x,
                sense.adjoint(measured[None]),
                n_iter=30,
                tolerance=0.0,
            )

    from sigpy.mri.app import SenseRecon

    def other():
        arguments = (measured.numpy(), maps.numpy())
        SenseRecon(*arguments, lamda=3e-3, max_iter=30, tol=0, show_pbar=False).run()

    peer = None
    if bart.is_there():
        bart.write(folder / "u", to_bart(measured))
        bart.write(folder / "s", to_bart(maps))
        peer = bart.seconds("pics -S -l2 -r0.003 -i30 u s image", folder, repeat)
    yield (
        "CG-SENSE, 30 iterations, 12 x 256x232",
        best(ours, repeat),
        best(other, 1),
        peer,
        0.25,
        None,
    )


def networks(folder, repeat):
    """Yield the rows for the SR trunk and for a whole slice."""
    from jrsr_core.models.registry import build_model
    from jrsr_core.reconstruction.load import load_model
    from jrsr_core.simulation.phantoms import brain_phantom
    from jrsr_core.simulation.protocols import simulate_protocol
    from training.data.testset import as_kspace_slice

    sr = build_model("jrsr", preset="paper").sr.eval().to(memory_format=torch.channels_last)
    image, condition = torch.rand(1, 1, 128, 116), torch.rand(1, 2, 128, 116)

    def module():
        with torch.inference_mode():
            sr(image, condition)

    yield "SR module, paper, 128x116", best(module, repeat), None, None, 2.6, None
    slice_ = as_kspace_slice(simulate_protocol("brain-5x", brain_phantom(), n_coils=12))
    for name, precision in (("jrsr", "32"), ("jrsr-dc", "32"), ("jrsr-dc", "bf16")):
        recon = load_model(name, preset="compact", device="cpu", precision=precision)
        seconds = best(lambda recon=recon: recon(slice_), repeat)
        note = f"{recon(slice_).report.iterations} iterations"
        yield f"whole slice, {name} compact, {precision}", seconds, None, None, 0.5, note


PARTS = {
    "espirit": espirit,
    "gcc": compression,
    "cg": cg_sense,
    "networks": networks,
    "reading": lambda folder, repeat: [files.reading(folder, best, repeat)],
    "help": lambda _, repeat: [files.start_up(best, repeat)],
}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--scaling", action="store_true", help="curves instead of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = sys.stdout
    if options.scaling:
        for curve in scaling.tables(best, central, options.repeat):
            out.write("\n".join(scaling.lines(*curve)) + "\n")
        return
    out.write(
        "| work | ours [s] | sigpy / ismrmrd [s] | BART [s] | best peer / ours | reach [s] | |\n"
    )
    out.write("|---|---|---|---|---|---|---|\n")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        for part in options.only.split(","):
            for row in PARTS[part](Path(folder), options.repeat):
                out.write(line(*row) + "\n")
                out.flush()
        if bart.is_there():
            out.write(f"\nstarting BART: {bart.no_work(folder, options.repeat):.3f} s\n")


def line(name, ours, other, peer, reach, note):
    """One row of the table."""
    peers = [t for t in (other, peer) if t is not None]
    ratio = f"{min(peers) / ours:.1f}" if peers else ""
    cells = [f"{t:.2f}" if t is not None else "" for t in (other, peer)]
    return " | ".join(
        (f"| {name}", f"{ours:.3f}", *cells, ratio, f"{reach:.2f}", f"{note or ''} |")
    )


if __name__ == "__main__":
    main()
