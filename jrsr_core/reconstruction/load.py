"""Loading a `Reconstructor`: by the name of a system, by its card, or around an own network."""

import copy
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.interfaces import (
    JointModel,
    ReconModel,
    TwoStage,
    UpsampleModel,
    check_returned,
)
from jrsr_core.models.interpolation import BicubicUpsample
from jrsr_core.weights.load import LoadedSystem, load_system

from .reconstructor import Reconstructor


def load_model(
    model: str | Path | nn.Module = "jrsr-dc",
    *,
    maps: bool = False,
    preset: str = "auto",
    weights: str | Path | None = None,
    device: str = "auto",
    calibration: CalibrationSettings | None = None,
    precision: str = "auto",
    on_failure: str = "stop",
    accept_contradictions: bool = False,
    denoise: float = 0.0,
) -> Reconstructor:
    """Return the `Reconstructor` of a system, loaded with its weights.

    Parameters
    ----------
    model
        NAME, NAME@SET, weights card (``*.json``), or two parts joined by "+" (see `weights.find`);
        or an own network: a `JointModel`, a `ReconModel` (bicubic interpolation follows) or an
        `UpsampleModel` (CG-SENSE precedes). Any other module is used as an `UpsampleModel` is: it
        takes the complex image ``(batch, y, x)`` and returns the HR image ``(batch, 2 y, 2 x)``.
        An own network is used as it is, with its weights at the time of a call, and in evaluation
        mode during a call alone: it may be trained further.
    maps
        Whether images come with the maps of `quality`.
    preset
        Size of the networks of a named system; "auto" is the smallest shipped one on a CPU and the
        largest on a GPU, "largest" the largest on both.
    weights
        Card, or two joined by "+", that replace the shipped weights of a named system.
    device
        "auto", "cpu", "cuda" or "cuda:n". For an own network "auto" is the device that it is on; on
        another device a copy is used, which does not follow its weights.
    calibration
        Coil compression and ESPIRiT; the defaults where None.
    precision
        Of the networks, see `models.precision`.
    on_failure
        "stop" raises the error of an image that the model cannot make, "fallback" returns a marked
        conventional reconstruction.
    accept_contradictions
        Whether images that contradict their measurement are returned instead of raising an error.
    denoise
        From 0, the measured noise is kept, to 1, it is removed as far as its level and the error of
        the networks allow; for `jrsr-dc` and systems with ``+dc``, see `models.consistency`.

    Raises
    ------
    ValueError
        Unknown model, preset, device or precision; no weights; a card that does not match; an own
        network together with `weights` or a `preset`, which it has itself; a `preset` for a system
        without weights; `denoise` for a system without data consistency.
    """
    if isinstance(model, nn.Module):
        name = type(model).__name__
        if weights:
            raise ValueError(f"weights is {weights}, but {name} has its own")
        if preset != "auto":
            raise ValueError(f"preset is {preset!r}, but {name} has a size of its own")
        network, where = placed(model, device)
        system = LoadedSystem(as_joint_model(network), name, ())
    else:
        where = pick_device(device)
        if preset == "auto" and where.type == "cuda":
            preset = "largest"
        system = load_system(str(model), preset=preset, weights=str(weights or ""))
    return Reconstructor(
        system.model,
        name=system.name,
        cards=system.cards,
        maps=maps,
        device=where,
        calibration=calibration,
        precision=precision,
        on_failure=on_failure,
        accept_contradictions=accept_contradictions,
        denoise=denoise,
    )


def placed(module: nn.Module, device: str) -> tuple[nn.Module, torch.device]:
    """Return an own network and the device to compute on: itself where it is, a copy elsewhere.

    Raises
    ------
    ValueError
        As `pick_device`.
    """
    first = next(chain(module.parameters(), module.buffers()), None)
    if first is None:
        return module, pick_device(device)
    own = first.device
    where = pick_device(str(own) if device == "auto" else device)
    if where.type == own.type and where.index in (None, own.index):
        return module, own
    return copy.deepcopy(module), where


def as_joint_model(module: nn.Module) -> JointModel:
    """Return a network as a joint model, completed as `load_model` says."""
    if isinstance(module, JointModel):
        return module
    if isinstance(module, ReconModel):
        return TwoStage(module, BicubicUpsample())
    upsample = module if isinstance(module, UpsampleModel) else OwnUpsample(module)
    return TwoStage(CgSense(), upsample)


class OwnUpsample(UpsampleModel):
    """A module of another project as an `UpsampleModel`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, 2 y, 2 x)`` for an image ``(batch, y, x)``.

        Raises
        ------
        ValueError
            The module returned something of another shape; the message has both.
        """
        found = self.module(image)
        batch, ny, nx = image.shape
        check_returned(self.module, found, image.shape, (batch, 2 * ny, 2 * nx))
        return found


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
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ValueError(f"device {name!r} asked for, this machine has {count} CUDA devices")
    return device
