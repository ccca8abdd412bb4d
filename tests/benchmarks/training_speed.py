"""Samples per second of training, and where the time goes.

    python -m tests.benchmarks.training_speed DATA [RECIPE key=value ...]

DATA is a prepared folder or images, RECIPE a recipe of the package (jrsr_compact by default). The
first steps are left out; the figures are those of the log of the run.
"""

import sys
import tempfile
from pathlib import Path

import training
from training.config import load_recipe
from training.runs import fit

RECIPES = Path(training.__file__).parent / "recipes"
WARM_UP, STEPS = 2, 12
# `forward` holds rec and sr; what is left of it stands under its name.
PARTS = ("data", "rec", "sr", "forward", "losses", "backward", "optimizer")


def main():
    """Print samples per second and the share of every part."""
    data, *rest = sys.argv[1:]
    name = rest.pop(0) if rest and "=" not in rest[0] else "jrsr_compact"
    rows = []
    with tempfile.TemporaryDirectory() as out:
        keys = [f"steps={STEPS}", "log.every=1", "log.validate_every=0", "log.tensorboard=false"]
        keys += ["optimizer.warmup_steps=0", "phases.psnr=0", f"data={data}", f"out={out}", *rest]
        config = load_recipe(RECIPES / f"{name}.yaml", keys)
        fit(config, rows.append)
    rows = rows[WARM_UP:]
    seconds = {part: sum(r.get(f"s_{part}", 0.0) for r in rows) for part in PARTS}
    seconds["forward"] -= seconds["rec"] + seconds["sr"]
    total = sum(seconds.values())
    batch = config.optimizer.batch
    sys.stdout.write(f"{name} {config.preset}, batch {batch}, device {config.device}\n")
    sys.stdout.write(f"{batch * len(rows) / total:.2f} samples/s\n")
    for part, value in seconds.items():
        sys.stdout.write(f"{part:14s} {value / total:6.1%}\n")


if __name__ == "__main__":
    main()
