"""Trains for a limited time and keeps the weights only if they are better.

Every slot has a folder of its own, `FOLDER/slot-001` and so on, so that nothing is overwritten. A
slot starts from the best weights so far with a new optimizer and a short warm-up; the first one as
its recipe says, which is grown from smaller weights in `jrsr-dc_paper.yaml`. The new weights and
those to beat (the best so far; at first the weights that the recipe grows from) are judged on the
same validation slices of both protocols; as they decide which weights are kept, they are no test
slices any more. `FOLDER/best.txt` names the card of the best weights, and changes only where the
new ones have the higher mean PSNR in every protocol.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from jrsr_core.common.atomic import write_bytes
from jrsr_core.simulation.protocols import PROTOCOLS
from training.config import RunConfig, load_recipe
from training.evaluation.evaluate import Evaluation
from training.evaluation.export import export
from training.evaluation.rows import summarise
from training.runs import check_trains, fit
from training.runs.budget import Stopwatch
from training.runs.process import Stopped

BEST = "best.txt"
NEW, BEFORE = "new", "before"
"""Labels of the weights in the CSV of a slot."""


@dataclass(frozen=True)
class Comparison:
    """Mean PSNR of the new weights and of those before, by protocol."""

    new: dict[str, float]
    before: dict[str, float]

    @property
    def is_better(self) -> bool:
        """Whether the new weights are better in every protocol; true where none were before."""
        return all(self.new[p] > value for p, value in self.before.items())


def best_card(folder: Path) -> Path | None:
    """Return the card of the best weights of earlier slots."""
    path = folder / BEST
    return folder / path.read_text().strip() if path.exists() else None


def next_slot(folder: Path) -> Path:
    """Return the folder of a new slot."""
    taken = [int(p.name.removeprefix("slot-")) for p in folder.glob("slot-*")]
    return folder / f"slot-{max(taken, default=0) + 1:03d}"


def slot_config(recipe: Path, slot: Path, best: Path | None, changes: list[str]) -> RunConfig:
    """Return the run of a slot, from the best weights where there are some."""
    start = [f"start.init={best}", "start.grow_from="] if best else []
    return load_recipe(recipe, [*changes, *start, f"out={slot / 'run'}"])


def compare(new: Path, before: str, val: Path, out: Path, n_slices: int) -> Comparison:
    """Judge weights on validation slices of both protocols; the rows are in `out`."""
    models = [f"{NEW}={new}"] + ([f"{BEFORE}={before}"] if before else [])
    for protocol in PROTOCOLS:
        for _ in Evaluation(models, protocol, val, out, n_slices):
            pass
    means: dict[str, dict[str, float]] = {NEW: {}, BEFORE: {}}
    for entry in summarise(out):
        means[entry["model"]][entry["protocol"]] = entry["psnr"][0]
    return Comparison(means[NEW], means[BEFORE])


def run_slot(
    recipe: Path,
    folder: Path,
    val: Path,
    changes: list[str],
    n_slices: int = 40,
    watch: Stopwatch | None = None,
) -> tuple[Path, Comparison]:
    """Train, export, compare; return the card of the new weights and the figures.

    A signal ends the training; its weights are compared all the same, if there was a step.
    """
    slot, best = next_slot(folder), best_card(folder)
    config = slot_config(recipe, slot, best, changes)
    check_trains(config)
    try:
        fit(config, None, watch)
    except Stopped as stopped:
        if not stopped.steps:
            raise
        sys.stderr.write("jrsr-train: training stopped by a signal, its weights are compared\n")
    card = export(Path(config.out), slot / "weights")
    before = str(best or config.start.grow_from or config.start.init)
    found = compare(card, before, val, slot / "rows.csv", n_slices)
    if found.is_better:
        name = card.relative_to(folder).as_posix()
        write_bytes(folder / BEST, name.encode(), overwrite=True)
    return card, found
