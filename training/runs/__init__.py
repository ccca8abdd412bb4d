"""Training runs: `fit` runs a recipe with the loop that it names."""

from collections.abc import Callable
from typing import Any

from training.config import RunConfig

from . import adversarial, supervised, tune
from .budget import Stopwatch

LOOPS: dict[str, Callable[..., object]] = {
    "supervised": supervised.fit,
    "adversarial": adversarial.fit,
    "tune": tune.fit,
}


def fit(
    config: RunConfig,
    on_row: Callable[[dict[str, Any]], None] | None = None,
    watch: Stopwatch | None = None,
) -> None:
    """Run a recipe to its last step or its deadline.

    Parameters
    ----------
    on_row
        Called with every row of the log.
    watch
        The clock of `minutes`; a new one, which starts now, where None.

    Raises
    ------
    ValueError
        The recipe, the data or a checkpoint are wrong; the message is one line.
    TrainingDiverged
        Gradients stayed without a finite value.
    Stopped
        A signal came; the run is saved.
    """
    LOOPS[config.loop](config, on_row, watch)
