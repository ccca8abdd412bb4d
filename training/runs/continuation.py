"""Compares a recipe with the run that its folder holds already.

The record and the weights card of a run state one set of settings. So settings that make the
weights cannot change between the beginning of a run and its end, and a finished run is not taken
for a run with other settings.
"""

from pathlib import Path
from typing import Any, NoReturn

from training.config import RunConfig, flat_settings
from training.config.keys import DEFAULTS
from training.errors import UsageError

from .checkpoint import NAME as CHECKPOINT
from .networks.initial_weights import SOURCES, weights_sha256
from .record import DATA_STEP, recorded_data_step
from .record import NAME as RECORD

FREE = (
    *("data", "out", "device", "steps", "minutes", "machine.", "log."),
    "fixed_point.residual_alarm",
)
"""Settings, and groups with a dot at their end, that may change: where a run is, when it ends."""

CHECKED_OTHERWISE = (
    *("protocol", "scans.truth_maps", "scans.hr_limit", "scans.n_coils"),
    *("start.", DATA_STEP, "loss.perceptual.file", "loss.perceptual.sha256"),
    "loss.perceptual.fallback",
)
"""Those that the data, the start, the preset or a file decide: their effects are compared, in
`open_data` and below, because a file may have moved."""


def refuse(out: Path, key: str, before: object, now: object) -> NoReturn:
    """Raise `UsageError`: a run in `out` has one value of a setting, the recipe another."""
    raise UsageError(
        f"{out}: holds a run with {key} {_shown(before)}, the recipe says {_shown(now)}; "
        f"use another folder (out=...) or the same {key}"
    )


def _shown(value: object) -> str:
    return "none" if value in ("", {}, None) else str(value)


def _is_one_of(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def holds_run(out: Path) -> bool:
    """Return whether a folder holds a run to continue.

    Raises
    ------
    UsageError
        A checkpoint without the record of its settings.
    """
    if not (out / CHECKPOINT).exists():
        return False
    if not (out / RECORD).exists():
        raise UsageError(
            f"{out}: holds {CHECKPOINT} without {RECORD}, so its settings are unknown; "
            "use another folder (out=...)"
        )
    return True


def check_settings(out: Path, record: dict[str, Any], config: RunConfig) -> None:
    """Refuse other settings than those of the record; one that it lacks had its default.

    Raises
    ------
    UsageError
        A setting that makes the weights differs.
    """
    for key, now in flat_settings(config).items():
        if _is_one_of(key, FREE + CHECKED_OTHERWISE):
            continue
        before = record.get(key, DEFAULTS[key])
        if before != now:
            refuse(out, key, before, now)
    for name in SOURCES:
        _check_start(out, record, name, getattr(config.start, name))


def _check_start(out: Path, record: dict[str, Any], name: str, now: str) -> None:
    """Refuse other weights to start from; the same ones may have moved, or be gone by now."""
    before = record.get(f"start.{name}", "")
    if before == now:
        return
    try:
        is_same = bool(now) and weights_sha256(now) == record.get(f"{name}_sha256")
    except (ValueError, OSError):
        is_same = False
    if not is_same:
        refuse(out, f"start.{name}", before, now)


def check_perceptual(out: Path, record: dict[str, Any], used: dict[str, Any] | None) -> None:
    """Refuse the features of another network, or of other weights of it; `used` as in the record.

    Raises
    ------
    UsageError
        The recorded network differs.
    """
    before, now = (_network(facts) for facts in (record.get("perceptual_used", used), used))
    if before != now:
        refuse(out, "loss.perceptual.file", before, now)


def _network(facts: dict[str, Any] | None) -> str:
    """Return the name of a network, with the first digits of the hash of its weights."""
    if not facts:
        return ""
    digest = facts.get("sha256")
    return f"{facts['used']} ({digest[:12]})" if digest else str(facts["used"])


def check_run(
    out: Path, record: dict[str, Any], data_step: str, folder: Path, data_sha256: str
) -> None:
    """Refuse to continue with another iteration, or on other data: fixed points belong to scans.

    Raises
    ------
    UsageError
        One of both differs.
    """
    # None: left to the preset by an older version. An empty `data_step`: the model has no Rec.
    recorded = recorded_data_step(record) if data_step else None
    if recorded and recorded != data_step:
        refuse(out, DATA_STEP, recorded, data_step)
    known = record.get("data_sha256", data_sha256)
    if known != data_sha256:
        was = f"{record.get('data_folder')} ({known[:12]})"
        refuse(out, "data", was, f"{folder} ({data_sha256[:12]})")
