"""Training from Python: a recipe and data in, a run that can be exported out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .config import load_recipe
from .evaluation.export import export
from .runs import check_trains
from .runs import fit as run_recipe
from .runs.log import read_log
from .runs.networks.initial_weights import averaged_model


def fit(
    recipe: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> "FinishedRun":
    """Train by a recipe, or continue the run in its folder, and return the finished run.

    Parameters
    ----------
    recipe
        YAML file with the settings of a run; those of the package are in `training/recipes`.
    data
        Images or k-space, or a folder of `jrsr-train prepare`; that of the recipe where None.
    out
        Folder of the run; that of the recipe, else ``runs/<name of the recipe>``, where None.
    changes
        Further settings that replace those of the recipe, for instance ``{"loss.pix": 1.0}``.
    on_row
        Called with every row of the log, a dictionary with ``step``, ``loss`` and others.

    Raises
    ------
    ValueError
        The recipe, the data or a checkpoint are wrong; the message is one line. So is a recipe
        that trains no network (loop: tune).
    TrainingDiverged
        Gradients stayed without a finite value; the last good state is kept.
    Stopped
        A signal came; the run is saved, and another call continues it.
    """
    places = {"data": data, "out": out}
    values = dict(changes or {}) | {k: str(v) for k, v in places.items() if v is not None}
    config = load_recipe(Path(recipe), values)
    check_trains(config)
    run_recipe(config, on_row)
    return FinishedRun(Path(config.out))


class FinishedRun:
    """A run in its folder.

    Parameters
    ----------
    folder
        Folder of the run.

    Raises
    ------
    ValueError
        Not the folder of a run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._model, self.record, self._state = averaged_model(self.folder)

    @property
    def model(self) -> nn.Module:
        """The trained network: its averaged weights, in evaluation mode."""
        return self._model

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._state.step

    @property
    def log(self) -> list[dict[str, Any]]:
        """Rows of the log: losses and validation figures by step."""
        return read_log(self.folder)

    def export(self, folder: str | Path, **options: Any) -> Path:
        """Write float16 weights and their card; return the path of the card.

        `options` and errors are those of `training.evaluation.export.export`.
        """
        return export(self.folder, Path(folder), **options)

    def __repr__(self) -> str:
        return f"FinishedRun({self.record['model']}, {self.steps} steps, {self.folder})"
