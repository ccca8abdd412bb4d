"""From the folder of a run to published weights: float16 safetensors and a weights card."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_bytes
from torch import nn

from jrsr_core.common.atomic import check_target
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.card import WeightsCard, hash_of
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.save import SHARD_BYTES, save_weights, split_tensors
from jrsr_core.weights.sets import split_set
from training.data.listing import KSPACE
from training.data.loading.batches import acquired_settings
from training.data.made import made_sizes
from training.data.manifest import NAME, Manifest
from training.data.variety.ranges import without_neutral
from training.errors import UsageError
from training.runs.log import read_log
from training.runs.networks.initial_weights import SOURCES, averaged_model, mix_with_start
from training.runs.record import RUN_ID, read_record

from .commit import current_commit
from .rows import summarise
from .systems import SHORT_HASH

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


def describe_data(manifest: Manifest, folder: Path | None = None) -> tuple[str, dict[str, Any]]:
    """Return what a run was trained on, and the range of its scans, for the card.

    `folder` has the scans; figures that only they show are left out without it.
    """
    inputs = ", ".join(f"{s['name']} ({s['kind']})" for s in manifest.sources)
    scans = manifest.split("train")
    n_subjects = len({scan.subject for scan in scans})
    acquisition = asdict(manifest.acquisition)
    variety = without_neutral(acquisition.pop("variety") or {})
    acquisition.pop("seed")  # No range; `data_sha256` identifies the scans.
    figures = variety or protocol_ranges(manifest, folder)
    ranges = {k: v for k, v in (acquisition | figures).items() if v not in (0, "")}
    return f"{len(scans)} scans of {n_subjects} subjects from {inputs}", ranges


def protocol_ranges(manifest: Manifest, folder: Path | None) -> dict[str, list[float]]:
    """Return the figures of scans that all follow a protocol, under the names of `Variety`.

    Coils, counted after compression, and calibration lines are those of the scans in `folder`.
    Measured k-space has its own noise, so the noise level of the protocol is left out for it.
    """
    acquisition = manifest.acquisition
    protocol = PROTOCOLS[acquisition.protocol]
    figures: dict[str, list[float]] = {"acceleration": [protocol.acceleration] * 2}
    if all(source["kind"] not in KSPACE for source in manifest.sources):
        figures["noise_db"] = [protocol.noise_db] * 2
    if sizes := made_sizes(folder, manifest) if folder else set():
        coils = [size.n_coils for size in sizes]
        n_acs = [acquisition.fitted(size.lr_shape).n_acs for size in sizes]
        figures |= {"n_coils": [min(coils), max(coils)], "n_acs": [min(n_acs), max(n_acs)]}
    return figures


def metrics_of(rows: Path, weights_sha256: str) -> dict[str, Any]:
    """Return the figures of some weights in a CSV of `jrsr-train evaluate`, for their card.

    They are sorted by protocol and system; the name of the system is without its set.

    Raises
    ------
    ValueError
        No row of these weights.
    """
    wanted = weights_sha256[:SHORT_HASH]
    figures: dict[str, Any] = {}
    for entry in summarise(rows):
        if entry["weights_sha256"] != wanted:
            continue
        name = split_set(entry["model"])[0]
        found = {k: round(entry[k][0], n) for k, n in CARD_DIGITS.items() if entry[k] is not None}
        figures.setdefault(entry["protocol"], {})[name] = {"slices": entry["slices"]} | found
    if not figures:
        raise UsageError(f"{rows}: no row of weights {wanted}, which go with this card")
    return figures


def _sha256_of(model: nn.Module) -> str:
    """Return the hash that the weights of a model have once `save_weights` has written them."""
    state = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    return hash_of(save_bytes(group) for group in split_tensors(state, SHARD_BYTES))


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


def check_export(run: Path, folder: Path, model: str, preset: str, *, overwrite: bool) -> None:
    """Refuse, before a run begins, an export that would replace the weights of another run.

    `run` is the folder of the run, which may be new, `folder` that of the weights.

    Raises
    ------
    FileExistsError
        The folder has a card of this name, which is not of this run, and `overwrite` is False.
    """
    card = folder / f"{model}_{preset}.json"
    if not card.exists() or overwrite or _is_of_run(card, run):
        return
    raise FileExistsError(f"{card} exists and is not of the run in {run}, --overwrite replaces it")


def _is_of_run(card: Path, run: Path) -> bool:
    try:
        own, found = read_record(run).get(RUN_ID), WeightsCard.read(card).training.get(RUN_ID)
    except (ValueError, OSError):
        return False
    return own is not None and own == found


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
        CSV of `jrsr-train evaluate`, whose figures of these weights are added to those of the last
        validation.
    commit
        Commit of the code that trained; that of the current checkout where None.
    start_share
        Share of the weights that the run started from; see `mix_with_start`.
    overwrite
        Replace weights and card of the same name.

    Raises
    ------
    ValueError
        Not the folder of a run, no step in it, a share that is not possible, or no row of these
        weights.
    FileExistsError
        The folder has a card of the same name, and `overwrite` is False.
    """
    model, record, state = averaged_model(folder)
    if not state.step:
        raise ValueError(f"{folder}: no step was done, so there are no trained weights to export")
    if start_share:
        mix_with_start(model, record, start_share)
        record |= {"start_share": start_share}
    _check_card(out, record["model"], record["preset"], overwrite=overwrite)
    text, hidden = "", set(PRIVATE)
    ranges: dict[str, Any] = {}
    if manifest := read_manifest(record):
        # The range of the card states how the scans were made.
        text, ranges = describe_data(manifest, Path(record["data_folder"]))
        hidden |= acquired_settings(manifest.acquisition).keys()
    figures = {"validation": row} if (row := last_validation(folder)) else {}
    training = {k: v for k, v in record.items() if k not in hidden}
    training |= {"steps_done": state.step, "seconds": round(state.seconds)}
    # A run has one size of batch from its beginning to its end; see `runs.continuation`.
    training["samples_seen"] = state.step * record["optimizer.batch"]
    if rows:
        figures |= metrics_of(rows, _sha256_of(model))
    return save_weights(
        model,
        out,
        record["model"],
        record["preset"],
        training=training,
        data=data or text,
        data_sha256=record["data_sha256"],
        commit=current_commit() if commit is None else commit,
        metrics=figures,
        range=ranges,
    )
