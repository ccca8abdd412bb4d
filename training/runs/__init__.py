"""Training runs: `fit` runs a recipe with the loop that it names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.config import RunConfig
from training.errors import UsageError

from . import adversarial, supervised, tune
from .budget import Stopwatch

LOOPS: dict[str, Callable[..., object]] = {
    "supervised": supervised.fit,
    "adversarial": adversarial.fit,
    "tune": tune.fit,
}


def check_trains(config: RunConfig) -> None:
    """Refuse a recipe that trains no network where its weights are asked for.

    Raises
    ------
    UsageError
        Its loop is "tune".
    """
    if config.loop == "tune":
        raise UsageError(
            f"loop is tune, which makes no weights of {config.model}: `jrsr-train fit` without "
            f"--export writes its choice to {Path(config.out) / 'tuned.json'}"
        )


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
