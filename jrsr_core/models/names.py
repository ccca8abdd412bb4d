"""Names of systems, parts and presets; imports no torch.

A system is a joint model, or a reconstruction and an upsampling in sequence, ``RECON+UPSAMPLE``;
``+dc`` behind either adds HR data consistency. The two parts of a sequence are built, trained and
stored on their own as well, under their own names.
"""

from jrsr_core.common.plugins import declared_models
from jrsr_core.common.spelling import UnknownName, nearest

PRESETS = ("paper", "compact", "tiny")
"""Sizes of the networks: as published, for a laptop CPU, for tests."""

CONSISTENT = "+dc"
NEEDS_CONSISTENCY = "jrsr-dc and systems with +dc have the data consistency that it changes"

JOINTS = ("jrsr", "jrsr-dc", "sr", "recon", "recon-sr", "recon+sr", "recon+sr-sft", "t2net")
RECONS = ("zero-filled", "cg-sense", "modl", "dl-espirit")
UPSAMPLES = ("sinc", "bicubic", "bicubic-naive", "medsrgan", "bebygan")
PARTS = RECONS + UPSAMPLES
UNTRAINED = ("zero-filled", "cg-sense", "sinc", "bicubic", "bicubic-naive")

MODEL_NAMES = (*JOINTS, *(f"{recon}+{upsample}" for recon in RECONS for upsample in UPSAMPLES))
"""All systems, without ``+dc``."""


OWN: dict[str, str] = {}
"""Networks registered in this process by name: "joint", "recon" or "upsample"; see
`register_model`."""


def own_networks() -> dict[str, str]:
    """Return networks of the user, name -> kind: registered, or declared by installed packages.

    A declared network with the name of a model of this package is left out.
    """
    known = (*MODEL_NAMES, *PARTS)
    return {n: kind for n, kind in declared_models().items() if n not in known} | OWN


def _own(kind: str) -> tuple[str, ...]:
    return tuple(name for name, found in own_networks().items() if found == kind)


def recons() -> tuple[str, ...]:
    """Return the names of all reconstructions, own ones included."""
    return RECONS + _own("recon")


def upsamples() -> tuple[str, ...]:
    """Return the names of all upsamplings, own ones included."""
    return UPSAMPLES + _own("upsample")


def parts() -> tuple[str, ...]:
    """Return the names of all parts, own ones included."""
    return recons() + upsamples()


def split_name(name: str) -> tuple[str, ...]:
    """Return the two parts of a sequence, or the one name of a joint model or a part.

    Raises
    ------
    UnknownName
        The message has the nearest known name, or all.
    """
    if name in JOINTS or name in PARTS or name in own_networks():
        return (name,)
    recon, _, upsample = name.partition("+")
    if recon in recons() and upsample in upsamples():
        return (recon, upsample)
    raise UnknownName(f"unknown model {name!r}{nearest_model(name)}")


def nearest_model(name: str) -> str:
    """Return the end of a message about an unknown model, own networks included; see `nearest`."""
    return nearest(name, (*MODEL_NAMES, *own_networks()))


def without_consistency(name: str) -> tuple[str, bool]:
    """Return the name without ``+dc``, and whether it had it."""
    base = name.removesuffix(CONSISTENT)
    if base != name and base == "jrsr-dc":
        raise ValueError("jrsr-dc has HR data consistency already, leave out +dc")
    return base, base != name


def has_weights(name: str) -> bool:
    """Return whether a system, or one of its parts, has weights to train."""
    base, _ = without_consistency(name)
    return any(part not in UNTRAINED for part in split_name(base))


TRAINABLE = tuple(name for name in MODEL_NAMES if has_weights(name))


def has_consistency(name: str) -> bool:
    """Return whether a system brings the HR image into agreement with all measured samples."""
    return name == "jrsr-dc" or name.endswith(CONSISTENT)
