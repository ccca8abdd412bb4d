"""The record of a run, `config.json` in its folder: its settings, its data and its start.

A run that continues has to be the run that was begun, on the same data; what was recorded about
the weights it started from is kept.
"""

import json
from pathlib import Path
from typing import Any

import torch

from jrsr_core.atomic import write_bytes
from training.config import RunConfig, flat_settings
from training.config.former_keys import with_current_keys
from training.data.batches import acquired_settings
from training.data.manifest import Manifest
from training.errors import UsageError

from .checkpoint import CheckpointError

NAME = "config.json"
DATA_STEP = "fixed_point.data_step"
FIXED = (
    *("model", "preset", "loop"),
    *("loss.discriminator.network", "loss.discriminator.norm"),
)
"""Settings that cannot change between the beginning of a run and its continuation."""


def read_record(folder: Path) -> dict[str, Any]:
    """Return settings by dotted key and facts of the run in a folder, also of an older version.

    Raises
    ------
    ValueError
        Not the folder of a run.
    """
    path = folder / NAME
    if not path.exists():
        raise UsageError(f"{folder}: no {NAME}, this is not a training folder")
    return with_current_keys(json.loads(path.read_text()))


def write_record(
    config: RunConfig, facts: dict[str, Any], folder: Path, manifest: Manifest
) -> None:
    """Write the settings, how the scans in `folder` were made, and `facts`."""
    record = flat_settings(config) | acquired_settings(manifest.acquisition)
    record |= {"data_sha256": manifest.sha256, "data_folder": str(folder)}
    record |= facts | {"torch": torch.__version__}
    text = json.dumps(record, indent=1)
    write_bytes(Path(config.out) / NAME, text.encode(), overwrite=True)


def recorded_data_step(record: dict[str, Any]) -> str | None:
    """Return the data step of a recorded run, None where it was left to the preset.

    Runs from before there was a choice did gradient steps.
    """
    return record.get(DATA_STEP, "gradient") or None


def _refuse(out: Path, key: str, before: object, now: object) -> None:
    raise CheckpointError(f"{out}: holds a run with {key} {before}, the recipe says {now}")


def check_settings(out: Path, record: dict[str, Any], config: RunConfig) -> None:
    """Refuse to continue a run of another kind.

    Raises
    ------
    CheckpointError
        A setting of `FIXED` differs.
    """
    settings = flat_settings(config)
    for key in FIXED:
        if record.get(key) != settings[key]:
            _refuse(out, key, record.get(key), settings[key])


def check_run(
    out: Path, record: dict[str, Any], data_step: str, folder: Path, data_sha256: str
) -> None:
    """Refuse to continue with another iteration, or on other data: fixed points belong to scans.

    Raises
    ------
    CheckpointError
        One of both differs.
    """
    # None: left to the preset by an older version. An empty `data_step`: the model has no Rec.
    recorded = recorded_data_step(record) if data_step else None
    if recorded and recorded != data_step:
        _refuse(out, DATA_STEP, recorded, data_step)
    known = record.get("data_sha256", data_sha256)
    if known != data_sha256:
        was = f"{record.get('data_folder')} ({known[:12]})"
        _refuse(out, "data", was, f"{folder} ({data_sha256[:12]})")
