"""The ranges that varied training scans are drawn from."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from jrsr_core.common.spelling import nearest
from jrsr_core.physics.resolution import Shape
from training.errors import UsageError

from .objects import IMAGE, OBJECTS


@dataclass(frozen=True)
class Variety:
    """Ranges that scans are drawn from, uniformly; a range of equal ends is a constant.

    `pixel_zoom` is the factor by which pixels grow, `margin` the field of view over the bounding
    box of the object, `hr_size` limits the HR matrix along either axis. `masks` are kinds with
    their probability. `protocol_share` of the scans have the matrix of the image and the mask of
    the protocol; in `tissue_phase` of the scans the phase jumps from tissue to tissue.

    Scans of one batch have one shape. With `shapes` the HR matrix is the smallest of these that
    covers the field of view that was drawn, the largest where none does; with `coil_counts` fewer
    coils than the largest of them become the largest count that is not above them. The object then
    has more or less air around it; nothing is padded after the acquisition.

    The rest is neutral unless it is given. `objects` are kinds of `objects.OBJECTS` with their
    share. `aspect` is the pixel along y over that along x. `tones` of the images get random
    contrast. `partial_fourier` of the masks lose lines at one end, `folded` of the scans have a
    field of view along y that is smaller than the object. The noise level that networks are given
    is wrong by the relative standard deviation `noise_error`. With `by_octaves` coils, pixels and
    matrices are drawn uniformly in their logarithm.
    """

    n_coils: tuple[int, int] = (4, 32)
    noise_db: tuple[float, float] = (18.0, 42.0)
    acceleration: tuple[float, float] = (1.2, 4.5)
    n_acs: tuple[int, int] = (16, 30)
    pixel_zoom: tuple[float, float] = (1.0, 1.3)
    margin: tuple[float, float] = (1.0, 1.6)
    hr_size: tuple[int, int] = (144, 320)
    masks: tuple[tuple[str, float], ...] = (
        ("gaussian", 0.40),
        ("regular", 0.35),
        ("random", 0.13),
        ("full", 0.12),
    )
    protocol_share: float = 0.25
    tissue_phase: float = 0.6
    shapes: tuple[Shape, ...] = ()
    coil_counts: tuple[int, ...] = ()
    objects: tuple[tuple[str, float], ...] = ()
    aspect: tuple[float, float] = (1.0, 1.0)
    tones: float = 0.0
    partial_fourier: float = 0.0
    folded: float = 0.0
    noise_error: float = 0.0
    by_octaves: bool = False


NEUTRAL = (
    *("tissue_phase", "shapes", "coil_counts", "objects", "aspect", "tones"),
    *("partial_fourier", "folded", "noise_error", "by_octaves"),
)
"""Fields that change nothing at their neutral value, and that older manifests do not have."""


def without_neutral(variety: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a variety without those that change nothing."""
    neutral = asdict(Variety()) | {"tissue_phase": 0.0}
    return {k: v for k, v in variety.items() if k not in NEUTRAL or v != neutral[k]}


SHAPES: tuple[Shape, ...] = ((160, 160), (208, 208), (232, 256), (256, 232), (304, 304))
COIL_COUNTS = (6, 12)
"""Ten shapes at most: two of the protocol's matrix, three square ones up to the largest field of
view; 12 virtual coils, and 6 for scans with fewer."""

BRAIN = Variety()

WIDE = Variety(
    n_coils=(1, 64),
    noise_db=(10.0, 45.0),
    acceleration=(1.0, 6.0),
    n_acs=(12, 48),
    pixel_zoom=(1.0, 2.5),
    hr_size=(80, 512),
    masks=(
        ("gaussian", 0.34),
        ("regular", 0.24),
        ("random", 0.10),
        ("full", 0.12),
        ("centre", 0.20),
    ),
    objects=(
        ("image", 0.50),
        ("bent", 0.18),
        ("leaves", 0.14),
        ("ellipses", 0.12),
        ("lines", 0.06),
    ),
    aspect=(0.7, 1.4),
    tones=0.25,
    partial_fourier=0.12,
    folded=0.05,
    noise_error=0.15,
    by_octaves=True,
)
"""Any Cartesian scan: from one coil to 64, knees and bodies, one end of k-space missing."""

VARIETIES = {"brain": BRAIN, "wide": WIDE}

WIDE_SHAPES: tuple[Shape, ...] = ((96, 96), *SHAPES, (448, 448))
"""Of scans that are made while training from the ranges `WIDE`."""


def parse_shares(texts: Iterable[str] | None) -> dict[str, float]:
    """Return shares by kind of object from texts ``KIND=SHARE``; `UsageError` for another text."""
    shares = {}
    for text in texts or ():
        kind, equals, share = text.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"objects: {text!r} is not KIND=SHARE, as in leaves=0.2")
    return shares


def asked_variety(vary: bool, name: str, objects: Iterable[str] | None) -> Variety | None:
    """Return the ranges that a command line asks for, None without `vary`.

    Raises
    ------
    UsageError
        A name or objects without `vary`, otherwise as `parse_shares` and `find_variety`.
    """
    shares = parse_shares(objects)
    if not vary and (name != "brain" or shares):
        raise UsageError("--variety and --objects need --vary")
    return find_variety(name, shares) if vary else None


def find_variety(name: str, shares: Mapping[str, float] | None = None) -> Variety:
    """Return the ranges of a name of `VARIETIES`.

    `shares` replace those of the made objects; the rest are images of the data. Their share may be
    given as well, as `IMAGE`.

    Raises
    ------
    UsageError
        Unknown name or kind, shares that are negative or above 1 in all, or one of images that is
        not the rest.
    """
    if name not in VARIETIES:
        raise UsageError(f"unknown variety {name!r}{nearest(name, VARIETIES)}")
    if not shares:
        return VARIETIES[name]
    made = {kind: share for kind, share in shares.items() if kind != IMAGE}
    for kind, share in made.items():
        if kind not in OBJECTS:
            raise UsageError(f"unknown object {kind!r}{nearest(kind, OBJECTS)}")
        if not 0 <= share <= 1:
            raise UsageError(f"share of {kind} is {share:g}, a share is from 0 to 1")
    rest = 1.0 - sum(made.values())
    if rest < -1e-9:
        raise UsageError(f"shares of made objects sum up to {1 - rest:g}, more than 1")
    if not math.isclose(shares.get(IMAGE, rest), rest, abs_tol=1e-9):
        raise UsageError(f"share of {IMAGE} is {shares[IMAGE]:g}, made objects leave {rest:g}")
    return replace(VARIETIES[name], objects=((IMAGE, max(rest, 0.0)), *made.items()))
