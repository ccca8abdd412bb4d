"""Time and peak memory of one brain-5x slice, split into its parts.

    python -m tests.benchmarks.slice_cost [SYSTEM ...] [--repeat 5] [--threads 2]
                                          [--precision 32]

Every row runs in a process of its own, so that peak memory is that of one model. Systems without
shipped weights run untrained: the work is the same but for the number of fixed-point iterations,
which is then set to that of `jrsr` compact.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys

UPSAMPLES = ("bicubic", "medsrgan", "bebygan")
OWN = ("jrsr", "jrsr-dc")
OTHERS = (
    *("sr", "recon", "recon-sr", "recon+sr", "recon+sr-sft", "t2net"),
    *(f"{r}+{s}" for r in ("cg-sense", "modl", "dl-espirit") for s in UPSAMPLES),
)
ROWS = (
    *((name, "compact") for name in OWN),
    *((name, "paper") for name in OWN),
    *((name, "compact") for name in OTHERS),
)
PARTS = ("calibration", "rec", "sr", "consistency", "total")


def measure(name, preset, options, queue):
    """Put the medians of one model on the queue."""
    import torch

    from jrsr_core.models.fixed_point import FixedPointSettings
    from jrsr_core.models.rec import RecModule
    from jrsr_core.models.registry import build_model
    from jrsr_core.reconstruction.load import load_model
    from jrsr_core.reconstruction.reconstructor import Reconstructor
    from jrsr_core.simulation.phantoms import brain_phantom
    from jrsr_core.simulation.protocols import simulate_protocol
    from jrsr_core.weights.card import CardError
    from training.data.testset import as_kspace_slice

    torch.set_num_threads(options.threads)
    slice_ = as_kspace_slice(simulate_protocol("brain-5x", brain_phantom(), n_coils=12))
    shipped = name if name in OWN else "jrsr"
    iterations = load_model(shipped)(slice_).report.iterations
    try:
        recon = load_model(name, preset=preset, precision=options.precision)
    except CardError:
        model = build_model(name, preset=preset).to(memory_format=torch.channels_last)
        for module in model.modules():
            if isinstance(module, RecModule):
                module.evaluation = FixedPointSettings(n_iter=iterations, tolerance=0.0)
        recon = Reconstructor(model, name=name, precision=options.precision)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recon(slice_)
    reports = [recon(slice_).report for _ in range(options.repeat)]
    seconds = {part: statistics.median(r.seconds.get(part, 0.0) for r in reports) for part in PARTS}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((seconds, reports[0].iterations, peak / 1024, (peak - baseline) / 1024))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = sorted({name for name, _ in ROWS})
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", choices=[*names, []])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    out = sys.stdout
    out.write(f"| model | preset | {' | '.join(PARTS)} [s] | iterations | peak memory [MiB] |\n")
    out.write("|---" * (len(PARTS) + 4) + "|\n")
    rows = [row for row in ROWS if not options.systems or row[0] in options.systems]
    for name, preset in rows:
        queue = context.Queue()
        process = context.Process(target=measure, args=(name, preset, options, queue))
        process.start()
        seconds, iterations, peak, _ = queue.get()
        process.join()
        cells = " | ".join(f"{seconds[part]:.2f}" for part in PARTS)
        out.write(f"| {name} | {preset} | {cells} | {iterations} | {peak:.0f} |\n")
        out.flush()


if __name__ == "__main__":
    main()
