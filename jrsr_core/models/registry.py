"""Every system by name and preset.

A system is a joint model, or a reconstruction and an upsampling in sequence, ``RECON+UPSAMPLE``;
``+dc`` behind either adds HR data consistency. The two parts of a sequence are built, trained and
stored on their own as well, under their own names.
"""

from dataclasses import asdict
from functools import partial

from torch import nn

from jrsr_core.spelling import nearest

from .ablations import Ablation
from .bebygan import BebyGan
from .cg_sense import CgSense, ZeroFilled
from .consistent import Consistent
from .dl_espirit import DlEspirit
from .interfaces import TwoStage
from .interpolation import BicubicUpsample, SincUpsample
from .jrsr import Jrsr, JrsrDc
from .medsrgan import MedSrgan
from .modl import Modl
from .presets import CONFIGS, PRESETS, with_data_step
from .t2net import T2Net

CONSISTENT = "+dc"

JOINTS = {
    "jrsr": Jrsr,
    "jrsr-dc": JrsrDc,
    "sr": Ablation,
    "recon": Ablation,
    "recon-sr": Ablation,
    "recon+sr": Ablation,
    "recon+sr-sft": Ablation,
    "t2net": T2Net,
}
RECONS = {"zero-filled": ZeroFilled, "cg-sense": CgSense, "modl": Modl, "dl-espirit": DlEspirit}
UPSAMPLES = {
    "sinc": SincUpsample,
    "bicubic": BicubicUpsample,
    "bicubic-naive": partial(BicubicUpsample, aligned=False),
    "medsrgan": MedSrgan,
    "bebygan": BebyGan,
}
PARTS = RECONS | UPSAMPLES

MODEL_NAMES = (*JOINTS, *(f"{recon}+{upsample}" for recon in RECONS for upsample in UPSAMPLES))


def split_name(name: str) -> tuple[str, ...]:
    """Return the parts of a sequence, or the one name of a joint model or a part.

    Raises
    ------
    ValueError
        Unknown name; the nearest one is named.
    """
    if name in JOINTS or name in PARTS:
        return (name,)
    recon, _, upsample = name.partition("+")
    if recon in RECONS and upsample in UPSAMPLES:
        return (recon, upsample)
    raise ValueError(f"unknown model {name!r}{nearest(name, MODEL_NAMES)}")


def without_consistency(name: str) -> tuple[str, bool]:
    """Return the name without ``+dc``, and whether it had it."""
    base = name.removesuffix(CONSISTENT)
    if base != name and base == "jrsr-dc":
        raise ValueError("jrsr-dc has HR data consistency already, leave out +dc")
    return base, base != name


def has_weights(name: str) -> bool:
    """Whether the system, or one of its parts, is trained."""
    base, _ = without_consistency(name)
    return any(part in CONFIGS for part in split_name(base))


TRAINABLE = tuple(name for name in MODEL_NAMES if has_weights(name))


def has_consistency(name: str) -> bool:
    """Whether the system brings the HR image into agreement with all that was measured."""
    return name == "jrsr-dc" or name.endswith(CONSISTENT)


def architecture(name: str, preset: str, data_step: str | None = None) -> dict:
    """Every size of a trainable system or part as a plain dictionary, for the weights card."""
    if not has_weights(name):
        raise ValueError(f"model {name!r} has no weights, trainable: {', '.join(TRAINABLE)}")
    base, consistent = without_consistency(name)
    parts = split_name(base)
    sizes = [_sizes(p, preset, data_step) for p in parts]
    found = sizes[0] if len(parts) == 1 else {p: s for p, s in zip(parts, sizes, strict=True)}
    return {"model": found, "consistency": {}} if consistent else found


def _sizes(part: str, preset: str, data_step: str | None) -> dict:
    return asdict(with_data_step(CONFIGS[part][preset], data_step)) if part in CONFIGS else {}


def build_model(name: str, *, preset: str = "compact", data_step: str | None = None) -> nn.Module:
    """Build a system of `MODEL_NAMES`, with or without ``+dc``, or a part, untrained.

    Systems are `JointModel`, parts `ReconModel` or `UpsampleModel`. `data_step` is that of Rec,
    "gradient" or "implicit"; that of the preset where None.

    Raises
    ------
    ValueError
        Unknown name (the nearest one is named) or preset.
    """
    base, consistent = without_consistency(name)
    parts = split_name(base)
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}, known: {', '.join(PRESETS)}")
    built = [_build_one(part, preset, data_step) for part in parts]
    model = built[0] if len(built) == 1 else TwoStage(*built)
    if not consistent:
        return model
    if base in PARTS:
        raise ValueError(f"{base} is a part, +dc goes behind a whole system")
    return Consistent(model)


def _build_one(name: str, preset: str, data_step: str | None) -> nn.Module:
    make = (JOINTS | PARTS)[name]
    return make(with_data_step(CONFIGS[name][preset], data_step)) if name in CONFIGS else make()


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
