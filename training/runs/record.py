"""The record of a run, `config.json` in its folder: its settings, its data and its start.

What was recorded about the weights that a run started from is kept when it continues.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import torch

from jrsr_core.common.atomic import write_bytes
from training.config import RunConfig, flat_settings
from training.config.former_keys import with_current_keys
from training.data.loading.batches import acquired_settings
from training.data.manifest import Manifest
from training.errors import UsageError

NAME = "config.json"
DATA_STEP = "fixed_point.data_step"
RUN_ID = "run"
"""Key of the random name of a run, by which a weights card is recognised as one of this run."""


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
    config: RunConfig,
    facts: dict[str, Any],
    folder: Path,
    manifest: Manifest,
    before: dict[str, Any],
    *,
    is_finished: bool,
) -> None:
    """Write the settings, how the scans in `folder` were made, and `facts`.

    `before` is the earlier record of the same run. A finished run keeps the settings in it, because
    no step follows the new ones.
    """
    record = flat_settings(config) | acquired_settings(manifest.acquisition) | facts
    if before and is_finished:
        record = dict(before)
    record |= {"data_sha256": manifest.sha256, "data_folder": str(folder)}
    record |= {RUN_ID: before.get(RUN_ID) or secrets.token_hex(8), "torch": torch.__version__}
    text = json.dumps(record, indent=1)
    write_bytes(Path(config.out) / NAME, text.encode(), overwrite=True)


def recorded_data_step(record: dict[str, Any]) -> str | None:
    """Return the data step of a recorded run, None where it was left to the preset.

    Runs from before there was a choice did gradient steps.
    """
    return record.get(DATA_STEP, "gradient") or None
