"""From a training folder to weights that the package ships: safetensors and a card."""

import hashlib
import json
from pathlib import Path

from torch import nn

from jrsr_core.models import build_model
from jrsr_core.weights import save_weights

from .evaluate import current_commit, summarise
from .supervised import RunState, read_checkpoint


def averaged_model(folder: Path) -> tuple[nn.Module, dict, RunState]:
    """Return the averaged network of a run, its configuration and its state."""
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder}: no config.json, this is not a training folder")
    config = json.loads(path.read_text())
    tensors, state = read_checkpoint(folder)
    model = build_model(config["model"], preset=config["preset"])
    prefix = "average."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    )
    return model.eval(), config, state


def data_hash(scans: Path) -> str:
    """sha256 over names and sizes of the prepared scans; empty where the folder is gone."""
    files = sorted(scans.glob("scan_*.safetensors"))
    listing = "\n".join(f"{p.name} {p.stat().st_size}" for p in files)
    return hashlib.sha256(listing.encode()).hexdigest() if files else ""


def variety_of(scans: Path) -> dict:
    """Return what the prepared scans were drawn from; empty where the folder is gone."""
    path = scans / "variety.json"
    return json.loads(path.read_text()) if path.exists() else {}


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
    folder: Path, out: Path, *, data: str, rows: Path | None = None, commit: str | None = None
) -> Path:
    """Write weights and card of a run to the folder `out`; return the card's path.

    `rows` adds the figures of an evaluation, `commit` names the code that trained (the current
    checkout where None).
    """
    model, config, state = averaged_model(folder)
    public = {k: v for k, v in config.items() if k not in ("scans", "out")}
    return save_weights(
        model,
        out,
        config["model"],
        config["preset"],
        training=public
        | {"steps_done": state.step, "samples_seen": state.step, "seconds": round(state.seconds)},
        data=data,
        data_sha256=data_hash(Path(config["scans"])),
        commit=current_commit() if commit is None else commit,
        metrics=metrics_of(rows) if rows else {},
        range=variety_of(Path(config["scans"])),
    )
