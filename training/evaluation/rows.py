"""The CSV of `evaluate`: its columns, its rows, and every system's figures over slices."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

COLUMNS = (
    "model",
    "scan",
    "protocol",
    "file",
    "subject",
    "slice",
    "slice_sha256",
    "psnr",
    "ssim",
    "nmse",
    "feature_distance",
    "lpips",
    "kspace_residual",
    "fixed_point_residual",
    "iterations",
    "seconds_calibration",
    "seconds_rec",
    "seconds_sr",
    "seconds_consistency",
    "seconds_total",
    "weights_sha256",
    "commit",
)
SUMMARISED = ("psnr", "ssim", "nmse", "feature_distance", "lpips", "kspace_residual")
BOUND = "fully-sampled-lr+sinc"
UNDERSAMPLED, FULLY_SAMPLED = "undersampled", "fully sampled"
"""What a system was given; the bound alone gets the scan without undersampling."""

Place = tuple[str, str]
"""File and slice."""


def read_rows(path: Path) -> list[dict]:
    """Return the rows of a CSV of `evaluate`; columns that came later are empty in an older one.

    Raises
    ------
    ValueError
        Not such a CSV.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        for column in ("model", "protocol", "slice", "psnr"):
            if column not in (reader.fieldnames or ()):
                raise ValueError(f"{path}: no column {column!r}, this is no CSV of evaluate")
        return [dict.fromkeys(COLUMNS, "") | row for row in reader]


def is_bound(row: dict) -> bool:
    """Whether a row is of the scan without undersampling; an older CSV tells by the name alone."""
    return row["scan"] == FULLY_SAMPLED or (not row["scan"] and row["model"] == BOUND)


def place_of(row: dict) -> Place:
    """Return which slice a row is of."""
    return row["file"], row["slice"]


def summarise(path: Path) -> list[dict]:
    """Mean and standard deviation (n - 1) over slices of every model and protocol of a CSV.

    A metric that is missing in a row is None for the whole system. Of the seconds it is the
    median: one slice that waited for the machine would rule a mean.
    """
    rows = read_rows(path)
    keys = list(dict.fromkeys((r["model"], r["protocol"]) for r in rows))
    table = []
    for model, protocol in keys:
        mine = [r for r in rows if (r["model"], r["protocol"]) == (model, protocol)]
        entry = {"model": model, "protocol": protocol, "slices": len(mine)}
        entry |= {"bound": any(map(is_bound, mine)), "places": {place_of(r) for r in mine}}
        entry |= {c: _centre_and_sd([r[c] for r in mine], np.mean) for c in SUMMARISED}
        entry["seconds_total"] = _centre_and_sd([r["seconds_total"] for r in mine], np.median)
        table.append(entry)
    return table


def _centre_and_sd(texts: list[str], centre: Callable) -> tuple[float, float] | None:
    if not all(texts):
        return None
    values = np.array([float(t) for t in texts])
    return float(centre(values)), float(values.std(ddof=1)) if len(values) > 1 else 0.0
