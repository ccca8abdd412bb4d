"""From the folder of a run to published weights: float16 safetensors and a weights card."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jrsr_core.atomic import check_target
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.save import save_weights
from jrsr_core.weights.sets import split_set
from training.data.batches import acquired_settings
from training.data.manifest import NAME, Acquisition, Manifest
from training.data.ranges import without_neutral
from training.runs.initial_weights import SOURCES, averaged_model, mix_with_start
from training.runs.log import read_log

from .evaluate import SHORT_HASH, current_commit
from .rows import summarise

CARD_DIGITS = {"psnr": 3, "ssim": 4, "lpips": 4, "seconds_total": 2}
"""Figures on a card, and how many digits of each."""

PRIVATE = (
    *("data", "out", "device", "data_folder", "data_sha256", "loss.perceptual.file"),
    *(f"start.{key}" for key in SOURCES),
)
"""Settings that name places of one machine, or stand elsewhere on the card."""


def read_manifest(record: dict[str, Any]) -> Manifest | None:
    """Return the manifest of the scans of a run; None where they are gone."""
    folder = Path(record["data_folder"])
    return Manifest.read(folder) if (folder / NAME).exists() else None


def describe_data(manifest: Manifest) -> tuple[str, dict[str, Any]]:
    """Return what a run was trained on, and the range of its scans, for the card."""
    inputs = ", ".join(f"{s['name']} ({s['kind']})" for s in manifest.sources)
    scans = manifest.split("train")
    n_subjects = len({scan.subject for scan in scans})
    acquisition = asdict(manifest.acquisition)
    variety = without_neutral(acquisition.pop("variety") or {})
    acquisition.pop("seed")  # No range; `data_sha256` identifies the scans.
    figures = variety or protocol_ranges(manifest.acquisition)
    ranges = {k: v for k, v in (acquisition | figures).items() if v not in (0, "")}
    return f"{len(scans)} scans of {n_subjects} subjects from {inputs}", ranges


def protocol_ranges(acquisition: Acquisition) -> dict[str, list[float]]:
    """Return the figures of scans that all follow a protocol, under the names of `Variety`.

    Coils are those after compression.
    """
    protocol = PROTOCOLS[acquisition.protocol]
    n_virtual = CalibrationSettings().n_virtual_coils
    figures = {
        "n_coils": min(acquisition.n_coils or protocol.n_coils, n_virtual),
        "noise_db": protocol.noise_db,
        "acceleration": protocol.acceleration,
        "n_acs": protocol.n_acs,
    }
    return {name: [value, value] for name, value in figures.items()}


def metrics_of(rows: Path, weights_sha256: str = "") -> dict[str, Any]:
    """Return the figures of a CSV of `jrsr-train evaluate` per protocol and model, for the card.

    With `weights_sha256` only those of the system with these weights, under its name without set.

    Raises
    ------
    ValueError
        No row of these weights.
    """
    wanted = weights_sha256[:SHORT_HASH]
    figures: dict[str, Any] = {}
    for entry in summarise(rows):
        name = entry["model"]
        if wanted:
            if entry["weights_sha256"] != wanted:
                continue
            name = split_set(name)[0]
        found = {k: round(entry[k][0], n) for k, n in CARD_DIGITS.items() if entry[k] is not None}
        figures.setdefault(entry["protocol"], {})[name] = {"slices": entry["slices"]} | found
    if not figures:
        raise ValueError(f"{rows}: no row of weights {wanted or 'at all'}")
    return figures


def add_figures(
    card: Path, out: Path, rows: Path, *, data: str = "", overwrite: bool = False
) -> Path:
    """Write published weights again with the figures of a CSV on their card; return its path.

    The tensors stay as they are, bit for bit. `data` replaces the description of the data.

    Raises
    ------
    ValueError
        A card that does not match its weights, or no row of these weights.
    FileExistsError
        The folder has a card of the same name, and `overwrite` is False.
    """
    model, found = load_weights(card)
    _check_card(out, found.model, found.preset, overwrite=overwrite)
    fields = found.model_dump(mode="json", exclude={"model", "preset", "file", "architecture"})
    for protocol, figures in metrics_of(rows, fields.pop("sha256")).items():
        fields["metrics"][protocol] = fields["metrics"].get(protocol, {}) | figures
    fields["data"] = data or fields["data"]
    return save_weights(model, out, found.model, found.preset, **fields)


def _check_card(folder: Path, model: str, preset: str, *, overwrite: bool) -> None:
    if folder.is_dir():
        check_target(folder / f"{model}_{preset}.json", overwrite=overwrite)


def last_validation(folder: Path) -> dict[str, Any]:
    """Return the figures of the last validation of a run; empty where there was none."""
    rows = [r for r in read_log(folder) if "val_psnr" in r]
    return {k: round(v, 4) for k, v in rows[-1].items()} if rows else {}


def export(
    folder: Path,
    out: Path,
    *,
    data: str = "",
    rows: Path | None = None,
    commit: str | None = None,
    start_share: float = 0.0,
    overwrite: bool = False,
) -> Path:
    """Write weights and card of a run to the folder `out`; return the card's path.

    Parameters
    ----------
    data
        Replaces the description of the data.
    rows
        CSV of `jrsr-train evaluate`, whose figures are added to those of the last validation.
    commit
        Commit of the code that trained; that of the current checkout where None.
    start_share
        Share of the weights that the run started from; see `mix_with_start`.
    overwrite
        Replace weights and card of the same name.

    Raises
    ------
    ValueError
        Not the folder of a run, or a share that is not possible.
    FileExistsError
        The folder has a card of the same name, and `overwrite` is False.
    """
    model, record, state = averaged_model(folder)
    if start_share:
        mix_with_start(model, record, start_share)
        record |= {"start_share": start_share}
    _check_card(out, record["model"], record["preset"], overwrite=overwrite)
    text, hidden = "", set(PRIVATE)
    ranges: dict[str, Any] = {}
    if manifest := read_manifest(record):
        # The range of the card states how the scans were made.
        text, ranges = describe_data(manifest)
        hidden |= acquired_settings(manifest.acquisition).keys()
    figures = {"validation": row} if (row := last_validation(folder)) else {}
    training = {k: v for k, v in record.items() if k not in hidden}
    training |= {"steps_done": state.step, "seconds": round(state.seconds)}
    training["samples_seen"] = state.step * record["optimizer.batch"]
    return save_weights(
        model,
        out,
        record["model"],
        record["preset"],
        training=training,
        data=data or text,
        data_sha256=record["data_sha256"],
        commit=current_commit() if commit is None else commit,
        metrics=figures | (metrics_of(rows) if rows else {}),
        range=ranges,
    )
