"""Loading a `Reconstructor` by the name of its system, and choosing the device it computes on."""

from pathlib import Path

import torch

from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.weights.load import load_system

from .reconstructor import Reconstructor


def load_reconstructor(
    model: str = "jrsr-dc",
    *,
    preset: str = "auto",
    weights: str | Path | None = None,
    device: str = "auto",
    calibration: CalibrationSettings | None = None,
    with_maps: bool = False,
    precision: str = "auto",
    accept_contradictions: bool = False,
) -> Reconstructor:
    """Return the `Reconstructor` of a system, loaded with its weights.

    Parameters
    ----------
    model
        Name, weights card (``*.json``), or two parts joined by "+"; see `weights.find`.
    preset
        Size of the networks; "auto" is the smallest shipped one on a CPU and the largest on a GPU,
        "largest" the largest on both.
    weights
        Card, or two joined by "+", that replace the shipped weights of a named system.
    device
        "auto", "cpu", "cuda" or "cuda:n".
    calibration
        Coil compression and ESPIRiT; the defaults where None.
    with_maps
        Whether images come with the maps of `quality`.
    precision
        Of the networks, see `models.precision`.
    accept_contradictions
        Whether images that contradict their measurement are returned instead of raising an error.

    Raises
    ------
    ValueError
        Unknown model, preset, device or precision; no weights; a card that does not match.
    """
    where = pick_device(device)
    if preset == "auto" and where.type == "cuda":
        preset = "largest"
    system = load_system(model, preset=preset, weights=str(weights or ""))
    return Reconstructor(
        system.model,
        name=system.name,
        cards=system.cards,
        settings=calibration,
        device=where,
        with_maps=with_maps,
        precision=precision,
        accept_contradictions=accept_contradictions,
    )


def pick_device(name: str) -> torch.device:
    """Return the device of "auto", "cpu", "cuda" or "cuda:n".

    Raises
    ------
    ValueError
        Unknown name, or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ValueError(f"device {name!r} asked for, this machine has {count} CUDA devices")
    return device
