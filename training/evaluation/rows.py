"""The CSV of `evaluate`: its columns, its rows, and the figures of every system over slices."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.errors import UsageError

METRICS = (
    *("psnr", "ssim", "nmse", "resolution", "resolution_mm", "squeezenet_distance", "lpips"),
    *("kspace_residual", "contradicted_detail"),
)
COLUMNS = (
    *("model", "scan", "protocol", "file", "subject", "slice", "slice_sha256"),
    *METRICS,
    *("fixed_point_residual", "iterations", "seconds_calibration", "seconds_rec", "seconds_sr"),
    *("seconds_consistency", "seconds_total", "weights_sha256", "commit"),
)
UPPER_REFERENCE = "fully-sampled-lr+sinc"
UNDERSAMPLED, FULLY_SAMPLED = "undersampled", "fully sampled"
"""Which scan a system was given; only the upper reference gets the one without undersampling."""

Place = tuple[str, str]
"""File and slice."""


def read_rows(path: Path) -> list[dict]:
    """Return the rows of a CSV of `evaluate`; columns that an older one lacks are empty.

    Raises
    ------
    UsageError
        Not such a CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for column in ("model", "protocol", "slice", "psnr"):
                if column not in (reader.fieldnames or ()):
                    raise UsageError(f"{path}: no column {column!r}, this is no CSV of evaluate")
            return [dict.fromkeys(COLUMNS, "") | row for row in reader]
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"{path}: not a text file, this is no CSV of evaluate") from None


def is_reference(row: dict) -> bool:
    """Return whether a row is the upper reference; older CSV files mark it by its name only."""
    return row["scan"] == FULLY_SAMPLED or (not row["scan"] and row["model"] == UPPER_REFERENCE)


def place_of(row: dict) -> Place:
    """Return the slice that a row judges."""
    return row["file"], row["slice"]


def subject_of(row: dict) -> str:
    """Return the subject of a row.

    An older CSV has no subject for a file without names; such a file is one subject.
    """
    return row["subject"] or row["file"]


def summarise(path: Path, *, by_subject: bool = False) -> list[dict]:
    """Return mean and standard deviation (n - 1) over slices of every model and protocol.

    With `by_subject` each subject counts once, by the mean over its slices, however many it has.

    A metric that is missing in a row is None for the whole system. For the seconds the median
    replaces the mean: a single slice delayed by a busy machine would dominate it.
    """
    rows = read_rows(path)
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["protocol"]), []).append(row)
    table = []
    for (model, protocol), mine in groups.items():
        entry = {"model": model, "protocol": protocol, "slices": len(mine)}
        entry |= {"reference": any(map(is_reference, mine)), "places": {place_of(r) for r in mine}}
        entry["weights_sha256"] = mine[0]["weights_sha256"]
        subjects = [subject_of(r) for r in mine]
        entry["subjects"] = len(set(subjects))
        units = subjects if by_subject else None
        entry |= {c: _centre_and_sd([r[c] for r in mine], np.mean, units) for c in METRICS}
        entry["seconds_total"] = _centre_and_sd([r["seconds_total"] for r in mine], np.median)
        table.append(entry)
    return table


def _centre_and_sd(
    texts: list[str], centre: Callable, subjects: list[str] | None = None
) -> tuple[float, float] | None:
    """Return both over the values, or over the means of the values of each subject."""
    if not all(texts):
        return None
    values = np.array([float(t) for t in texts])
    if subjects is not None:
        of_subject = np.array(subjects)
        values = np.array([values[of_subject == s].mean() for s in dict.fromkeys(subjects)])
    return float(centre(values)), float(values.std(ddof=1)) if len(values) > 1 else 0.0
