"""Building every system of `names` in every preset."""

import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from jrsr_core.common.plugins import MODELS, find_plugin

from .ablations import Ablation
from .bebygan import BebyGan
from .cg_sense import CgSense, ZeroFilled
from .consistent import Consistent
from .dl_espirit import DlEspirit
from .interfaces import JointModel, ReconModel, TwoStage, UpsampleModel
from .interpolation import BicubicUpsample, SincUpsample
from .jrsr import Jrsr, JrsrDc
from .medsrgan import MedSrgan
from .modl import Modl
from .names import (
    MODEL_NAMES,
    OWN,
    PARTS,
    PRESETS,
    TRAINABLE,
    has_weights,
    own_networks,
    split_name,
    without_consistency,
)
from .presets import CONFIGS
from .t2net import T2Net
from .variants import PRESET, Variant

Model = TypeVar("Model", JointModel, ReconModel, UpsampleModel)

JOINTS: dict[str, Callable[..., JointModel]] = {
    "jrsr": Jrsr,
    "jrsr-dc": JrsrDc,
    "sr": Ablation,
    "recon": Ablation,
    "recon-sr": Ablation,
    "recon+sr": Ablation,
    "recon+sr-sft": Ablation,
    "t2net": T2Net,
}
RECONS: dict[str, Callable[..., ReconModel]] = {
    "zero-filled": ZeroFilled,
    "cg-sense": CgSense,
    "modl": Modl,
    "dl-espirit": DlEspirit,
}
UPSAMPLES: dict[str, Callable[..., UpsampleModel]] = {
    "sinc": SincUpsample,
    "bicubic": BicubicUpsample,
    "bicubic-naive": partial(BicubicUpsample, aligned=False),
    "medsrgan": MedSrgan,
    "bebygan": BebyGan,
}


OWN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def register_model(name: str, build: Callable[[], JointModel | ReconModel | UpsampleModel]) -> None:
    """Register an own network, which is then built, trained, loaded and judged by its name.

    It lasts as long as the process; the same name may be registered again. Networks that an
    installed package declares as entry points need no registration, see `jrsr_core.common.plugins`.

    Parameters
    ----------
    name
        Lower-case letters, digits, "-" and "_"; the files of its weights are called by it.
    build
        Class or function that returns a new network: a `JointModel` is a system; a `ReconModel` or
        an `UpsampleModel` is a part, for ``name+bicubic`` or ``cg-sense+name``.

    Raises
    ------
    ValueError
        A name that is not possible, or that of a system or part of this package.
    TypeError
        `build` returns another kind of object.
    """
    if not OWN_NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}, expected lower-case letters, digits, '-' and '_'")
    if name in MODEL_NAMES or name in PARTS:
        raise ValueError(f"name is {name!r}, which is a model of this package: choose another one")
    built = build()
    for kind, base, known in _KINDS:
        if isinstance(built, base):
            _forget(name)
            known[name], OWN[name] = build, kind
            return
    expected = ", ".join(base.__name__ for _, base, _ in _KINDS)
    raise TypeError(f"{name} is built as a {type(built).__name__}, expected one of {expected}")


_KINDS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("joint", JointModel, JOINTS),
    ("recon", ReconModel, RECONS),
    ("upsample", UpsampleModel, UPSAMPLES),
)


def _forget(name: str) -> None:
    OWN.pop(name, None)
    for *_, known in _KINDS:
        known.pop(name, None)


def _register_declared(name: str) -> None:
    """Register a network that an installed package declares, once it is asked for.

    Raises
    ------
    ValueError
        It cannot be imported or built, or is of another kind than declared.
    """
    kind = own_networks().get(name)
    if kind is None or name in OWN:
        return
    group = MODELS[kind]
    try:
        register_model(name, find_plugin(group, name))
    except Exception as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{name} of {group}: {type(error).__name__}: {text}") from error
    built = OWN[name]
    if built != kind:
        _forget(name)
        raise ValueError(f"{name} of {group} is of the kind {built!r}: use {MODELS[built]}")


def build_model(
    name: str,
    *,
    preset: str = "compact",
    data_step: str | None = None,
    refinement: bool = False,
    refinement_blocks: int = 0,
) -> JointModel | ReconModel | UpsampleModel:
    """Return a system of `MODEL_NAMES`, with or without ``+dc``, or a part, untrained.

    Parameters
    ----------
    name
        Systems are `JointModel`, parts `ReconModel` or `UpsampleModel`.
    preset
        One of `PRESETS`.
    data_step
        Data step of Rec, "gradient" or "implicit"; that of the preset where None.
    refinement
        Whether `jrsr-dc` does both tasks a second time, see `models.refinement`.
    refinement_blocks
        Number of RRDBs in SR of that second pass; as in the first one where 0.

    Raises
    ------
    ValueError
        Unknown name (the message has the nearest known one) or preset; ``+dc`` behind a part; a
        refinement of another system, or its blocks without it; a network of an installed package
        that cannot be imported.
    """
    variant = Variant(data_step, refinement, refinement_blocks)
    base, consistent = without_consistency(name)
    parts = split_name(base)
    for part in parts:
        _register_declared(part)
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}, known: {', '.join(PRESETS)}")
    if refinement and base != "jrsr-dc":
        raise ValueError(f"refinement is for jrsr-dc, not for {name}")
    if refinement_blocks and not refinement:
        raise ValueError(f"refinement_blocks is {refinement_blocks}, but refinement is false")
    if base in RECONS or base in UPSAMPLES:
        if consistent:
            raise ValueError(f"{base} is a part, +dc goes behind a whole system")
        if base in RECONS:
            return _build(RECONS, base, preset, variant)
        return _build(UPSAMPLES, base, preset, variant)
    if len(parts) == 1:
        model = _build(JOINTS, base, preset, variant)
    else:
        recon = _build(RECONS, parts[0], preset, variant)
        model = TwoStage(recon, _build(UPSAMPLES, parts[1], preset, variant))
    return Consistent(model) if consistent else model


def _build(
    kind: dict[str, Callable[..., Model]], name: str, preset: str, variant: Variant
) -> Model:
    if name not in CONFIGS:
        return kind[name]()
    return kind[name](variant.of(CONFIGS[name][preset]))


def architecture(name: str, preset: str, variant: Variant = PRESET) -> dict[str, Any]:
    """Return every size of a trainable system or part as plain values, for the weights card."""
    if not has_weights(name):
        raise ValueError(f"model {name!r} has no weights, trainable: {', '.join(TRAINABLE)}")
    base, consistent = without_consistency(name)
    parts = split_name(base)
    sizes = {part: _sizes(part, preset, variant) for part in parts}
    found = sizes[base] if len(parts) == 1 else sizes
    return {"model": found, "consistency": {}} if consistent else found


def _sizes(part: str, preset: str, variant: Variant) -> dict[str, Any]:
    return asdict(variant.of(CONFIGS[part][preset])) if part in CONFIGS else {}
