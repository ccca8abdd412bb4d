"""From a recipe to the loop that it names."""

from collections.abc import Callable

from training.config import RunConfig


def fit(config: RunConfig, tell: Callable[[dict], None] | None = None) -> None:
    """Run a recipe to its last step; `tell` hears every row of the log.

    Raises
    ------
    ValueError
        As the loop, in one line.
    """
    if config.loop == "tune":
        from training.evaluation.tune import fit as run
    elif config.loop == "adversarial":
        from .adversarial import fit as run
    else:
        from .supervised import fit as run
    run(config, tell)
