"""`config.json`, what a folder tells of its run: settings, data, the weights it started from.

A run that goes on has to be the run that was begun, on the same data, and keeps what was written
about its start.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.config import CONFIG, SOURCES, RunConfig
from training.data.batches import ACQUIRED
from training.data.manifest import Manifest

from .checkpoint import NAME as CHECKPOINT
from .checkpoint import CheckpointError

FIXED = ("model", "preset", "loop", "discriminator", "discriminator_norm")
"""Settings that cannot change between the beginning of a run and its continuation."""

STARTS = (*SOURCES, *(f"{key}_sha256" for key in SOURCES))
"""The weights that a run started from, and their hashes."""


def read_facts(out: Path) -> dict[str, Any]:
    """Return what is written of the run that goes on; empty where there is no checkpoint."""
    path = out / CONFIG
    if not (path.exists() and (out / CHECKPOINT).exists()):
        return {}
    return json.loads(path.read_text())


def write_facts(config: RunConfig, facts: dict[str, Any], folder: Path, manifest: Manifest) -> None:
    """Write settings as given, scans as they are (`folder` has them), and `facts`."""
    acquired = {key: getattr(manifest.acquisition, key) for key in ACQUIRED}
    data = {"data_sha256": manifest.sha256, "data_folder": str(folder)}
    told = asdict(config) | acquired | data | facts | {"torch": torch.__version__}
    (Path(config.out) / CONFIG).write_text(json.dumps(told, indent=1))


def told_data_step(facts: dict[str, Any]) -> str | None:
    """Return the data step of a run, None for the preset's; "gradient" before there was a choice.

    Runs begun before it was written as resolved may leave it to the preset.
    """
    return facts.get("data_step", "gradient") or None


def started_from(facts: dict[str, Any]) -> dict[str, str]:
    """Return the weights that a run started from, and their hashes."""
    return {key: facts[key] for key in STARTS if key in facts}


def _refuse(out: Path, key: str, before: Any, now: Any) -> None:
    raise CheckpointError(f"{out}: holds a run with {key} {before}, the recipe says {now}")


def check_settings(out: Path, before: dict[str, Any], config: RunConfig) -> None:
    """Refuse to go on with a run of another kind.

    Raises
    ------
    CheckpointError
        A setting of `FIXED` differs.
    """
    for key in FIXED:
        if before and before.get(key) != getattr(config, key):
            _refuse(out, key, before.get(key), getattr(config, key))


def check_run(
    out: Path, before: dict[str, Any], data_step: str, folder: Path, data_sha256: str
) -> None:
    """Refuse to go on with another iteration, or on other data: kept fixed points are of scans.

    Raises
    ------
    CheckpointError
        One of both differs.
    """
    # Empty: left to the preset by an older version, or there is no Rec.
    step = told_data_step(before) if before and data_step else None
    if step and step != data_step:
        _refuse(out, "data_step", step, data_step)
    known = before.get("data_sha256", data_sha256)
    if known != data_sha256:
        was = f"{before.get('data_folder')} ({known[:12]})"
        _refuse(out, "data", was, f"{folder} ({data_sha256[:12]})")
