"""Training runs: `fit` runs a recipe with the loop that it names."""

from collections.abc import Callable
from typing import Any

from training.config import RunConfig

from . import adversarial, supervised, tune

LOOPS: dict[str, Callable[..., object]] = {
    "supervised": supervised.fit,
    "adversarial": adversarial.fit,
    "tune": tune.fit,
}


def fit(config: RunConfig, on_row: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Run a recipe to its last step; `on_row` is called with every row of the log.

    Raises
    ------
    ValueError
        The recipe, the data or a checkpoint are wrong; the message is one line.
    TrainingDiverged
        Gradients stayed without a finite value.
    """
    LOOPS[config.loop](config, on_row)
