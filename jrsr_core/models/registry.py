"""Every system by name and preset: an explicit table, configurations as values."""

import difflib
from dataclasses import asdict, replace

from torch import nn

from .cg_sense import CgSense, ZeroFilled
from .interfaces import JointModel, TwoStage
from .interpolation import BicubicUpsample, SincUpsample
from .jrsr import Jrsr, JrsrConfig, JrsrDc
from .rec import RecConfig
from .sr import SrConfig

PRESETS = ("paper", "compact", "tiny")

_PUBLISHED = {
    "paper": JrsrConfig(),
    "compact": JrsrConfig(RecConfig(32, 16), SrConfig(32, 16, 4)),
    "tiny": JrsrConfig(RecConfig(8, 4), SrConfig(8, 4, 1)),
}

_DC_RECS = {
    "paper": RecConfig(64, 32, n_conditions=2),
    "compact": RecConfig(64, 32, unshuffle=2, n_conditions=2),
    "tiny": RecConfig(8, 4, unshuffle=2, n_conditions=2),
}


def _with_consistency(preset: str) -> JrsrConfig:
    """Zero-filled and x_rec (2 + 2 channels) and two condition maps in, complex detail out."""
    sr = replace(_PUBLISHED[preset].sr, n_in=6, n_out=2, residual_output=True)
    return JrsrConfig(_DC_RECS[preset], sr)


def _jrsr(preset: str) -> JointModel:
    return Jrsr(_PUBLISHED[preset])


def _jrsr_dc(preset: str) -> JointModel:
    return JrsrDc(_with_consistency(preset))


_BUILDERS = {
    "jrsr": _jrsr,
    "jrsr-dc": _jrsr_dc,
    "zero-filled+sinc": lambda preset: TwoStage(ZeroFilled(), SincUpsample()),
    "cg-sense+bicubic": lambda preset: TwoStage(CgSense(), BicubicUpsample()),
    "cg-sense+sinc": lambda preset: TwoStage(CgSense(), SincUpsample()),
}

MODEL_NAMES = tuple(_BUILDERS)
TRAINABLE = ("jrsr", "jrsr-dc")
HAS_CONSISTENCY = ("jrsr-dc",)
"""Systems that bring the HR image into agreement with all that was measured."""


_CONFIGS = {"jrsr": _PUBLISHED.__getitem__, "jrsr-dc": _with_consistency}


def architecture(name: str, preset: str) -> dict:
    """Every size of a trainable system as a plain dictionary, for the weights card."""
    if name not in _CONFIGS:
        raise ValueError(f"model {name!r} has no weights, trainable: {', '.join(TRAINABLE)}")
    return asdict(_CONFIGS[name](preset))


def build_model(name: str, *, preset: str = "compact") -> JointModel:
    """Build the system `name` of `MODEL_NAMES` in a preset of `PRESETS`, untrained.

    Raises
    ------
    ValueError
        Unknown name (the nearest one is named) or preset.
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, MODEL_NAMES, 1, 0.0)
        hint = f", nearest: {near[0]}" if near else ""
        raise ValueError(f"unknown model {name!r}{hint} (known: {', '.join(MODEL_NAMES)})")
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}, known: {', '.join(PRESETS)}")
    return _BUILDERS[name](preset)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
