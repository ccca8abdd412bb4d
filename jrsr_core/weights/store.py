"""Finding, checking, loading and writing weights."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save
from torch import nn

from jrsr_core.atomic import write_bytes
from jrsr_core.models.rec import data_step_of
from jrsr_core.models.registry import architecture, build_model

from .card import CardError, WeightsCard

MAX_WEIGHTS_BYTES = 1 << 30


def shipped_folder() -> Path:
    """Return the folder of the weights inside the package."""
    return Path(__file__).parent


def _normal(value: Any) -> Any:
    """Architecture as JSON sees it (tuples become lists)."""
    return json.loads(json.dumps(asdict(value) if is_dataclass(value) else value))


def _checked_bytes(card: WeightsCard, folder: Path) -> bytes:
    path = folder / card.file
    if not path.is_file():
        raise CardError(f"{card.file}: weights of {card.model} {card.preset} are not there")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise CardError(f"{card.file}: {path.stat().st_size} bytes, limit {MAX_WEIGHTS_BYTES}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise CardError(
            f"{card.file}: sha256 is {digest[:12]}..., the card says {card.sha256[:12]}..."
        )
    return content


PREFERRED = {"auto": ("compact", "paper", "tiny"), "largest": ("paper", "compact", "tiny")}
"""Presets that are tried one after the other; "auto" is made for a CPU."""


def find_card(model: str, preset: str = "auto", folder: Path | None = None) -> Path:
    """Return the card of a shipped model in a preset, or the first there is of `PREFERRED`."""
    folder = folder or shipped_folder()
    for name in PREFERRED.get(preset, (preset,)):
        path = folder / f"{model}_{name}.json"
        if path.exists():
            return path
    have = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
    raise CardError(
        f"no weights for {model} in preset {preset}; there are: {have} (or name a card, *.json)"
    )


def load_weights(path: str | Path) -> tuple[nn.Module, WeightsCard]:
    """Return the model of a card, in evaluation mode, with its weights as float32.

    Raises
    ------
    CardError
        Card unreadable, weights missing, hash or architecture not as the card says, tensors that
        do not fit the model or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise CardError(f"{path}: no such weights card")
    card = WeightsCard.read(path)
    told, data_step = _with_data_step(card.architecture)
    try:
        model = build_model(card.model, preset=card.preset, data_step=data_step)
        built = _normal(architecture(card.model, card.preset, data_step))
    except ValueError as error:
        raise CardError(f"{path.name}: {error}") from error
    if built != told:
        key = next(k for k in sorted(set(built) | set(told)) if built.get(k) != told.get(k))
        raise CardError(
            f"{path.name}: architecture differs in {key!r}: "
            f"card {told.get(key)}, model {built.get(key)}"
        )
    try:
        tensors = load_bytes(_checked_bytes(card, path.parent))
    except SafetensorError as error:
        raise CardError(f"{card.file}: no safetensors file ({error})") from error
    _check_tensors(card, model, tensors)
    model.load_state_dict({k: v.to(torch.float32) for k, v in tensors.items()})
    return model.eval().to(memory_format=torch.channels_last), card


def _with_data_step(told: dict) -> tuple[dict, str | None]:
    """Return the architecture of a card and the data step of its Rec, "gradient" before it had any.

    Both are served: the choice is a constant of the network, as its weights are.
    """
    inner = told.get("model", told)
    rec = inner.get("rec") if isinstance(inner, dict) else None
    if not isinstance(rec, dict):
        return told, None
    rec = {**rec, "data_step": rec.get("data_step", "gradient")}
    inner = {**inner, "rec": rec}
    return ({**told, "model": inner} if "model" in told else inner), rec["data_step"]


def _check_tensors(card: WeightsCard, model: nn.Module, tensors: dict) -> None:
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in tensors.items()}
    if expected != found:
        keys = sorted(set(expected) | set(found))
        key = next(k for k in keys if expected.get(k) != found.get(k))
        raise CardError(
            f"{card.file}: tensor {key!r} is {found.get(key)}, the model has {expected.get(key)}"
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CardError(f"{card.file}: tensor {name!r} is not finite")


def list_weights(folder: Path | None = None) -> list[WeightsCard]:
    """Return the cards of a folder, the shipped one by default; each hash is verified."""
    folder = folder or shipped_folder()
    cards = []
    for path in sorted(folder.glob("*.json")):
        card = WeightsCard.read(path)
        _checked_bytes(card, folder)
        cards.append(card)
    return cards


def save_weights(model: nn.Module, folder: Path, name: str, preset: str, **facts: Any) -> Path:
    """Write ``<name>_<preset>.safetensors`` (float16) and its card; return the card's path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{name}_{preset}.safetensors"
    tensors = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    content = save(tensors)
    write_bytes(folder / file, content, overwrite=True)
    card = WeightsCard(
        model=name,
        preset=preset,
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        architecture=_normal(architecture(name, preset, data_step_of(model))),
        **facts,
    )
    path = folder / f"{name}_{preset}.json"
    card.write(path)
    return path
