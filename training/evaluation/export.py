"""From a training folder to weights that the package ships: safetensors and a card."""

from dataclasses import asdict
from pathlib import Path

from jrsr_core.weights import save_weights
from training.config import SOURCES
from training.data.batches import ACQUIRED
from training.data.manifest import NAME, Manifest
from training.fit.initial_weights import averaged_model, keep_start
from training.fit.log import read_log

from .evaluate import current_commit
from .rows import summarise

PRIVATE = ("data", "out", "device", "data_folder", "data_sha256", "trunk", *SOURCES)
"""Keys of a configuration that name places of one machine, or stand elsewhere on the card."""


def data_facts(config: dict) -> tuple[str, dict]:
    """Return what a run was trained on, and the range of its scans, for the card."""
    folder = Path(config["data_folder"])
    if not (folder / NAME).exists():
        return "", {}
    manifest = Manifest.read(folder)
    inputs = ", ".join(f"{s['name']} ({s['kind']})" for s in manifest.sources)
    n_scans, subjects = manifest.split("train"), {s.subject for s in manifest.split("train")}
    text = f"{len(n_scans)} scans of {len(subjects)} subjects from {inputs}"
    acquisition = asdict(manifest.acquisition)
    variety = acquisition.pop("variety") or {}
    acquisition.pop("seed")  # No range; `data_sha256` tells which scans these were.
    return text, {k: v for k, v in (acquisition | variety).items() if v not in (0, "")}


def metrics_of(rows: Path) -> dict:
    """Figures of a CSV of `jrsr-train evaluate`, per protocol and model, for the card."""
    figures: dict = {}
    for entry in summarise(rows):
        figures.setdefault(entry["protocol"], {})[entry["model"]] = {
            "slices": entry["slices"],
            "psnr": round(entry["psnr"][0], 3),
            "ssim": round(entry["ssim"][0], 4),
        }
    return figures


def export(
    folder: Path,
    out: Path,
    *,
    data: str = "",
    rows: Path | None = None,
    commit: str | None = None,
    start_share: float = 0.0,
) -> Path:
    """Write weights and card of a run to the folder `out`; return the card's path.

    `data` replaces the description of the data, `rows` adds the figures of an evaluation to those
    of the run's last validation, `commit` names the code that trained (the current checkout where
    None), `start_share` is what `keep_start` mixes in of the weights it started from.
    """
    model, config, state = averaged_model(folder)
    if start_share:
        keep_start(model, config, start_share)
        config |= {"start_share": start_share}
    text, scanned = data_facts(config)
    figures = {"validation": row} if (row := last_validation(folder)) else {}
    # The manifest says how the scans were made, where it is still there.
    hidden = (*PRIVATE, *ACQUIRED) if scanned else PRIVATE
    public = {k: v for k, v in config.items() if k not in hidden}
    seen = state.step * config["batch"]
    return save_weights(
        model,
        out,
        config["model"],
        config["preset"],
        training=public
        | {"steps_done": state.step, "samples_seen": seen, "seconds": round(state.seconds)},
        data=data or text,
        data_sha256=config["data_sha256"],
        commit=current_commit() if commit is None else commit,
        metrics=figures | (metrics_of(rows) if rows else {}),
        range=scanned,
    )


def last_validation(folder: Path) -> dict:
    """Return the figures of the last validation of a run; empty where there was none."""
    rows = [r for r in read_log(folder) if "val_psnr" in r]
    return {k: round(v, 4) for k, v in rows[-1].items()} if rows else {}
