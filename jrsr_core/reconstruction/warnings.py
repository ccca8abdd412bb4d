"""Warnings of an image: aliased, unlike the training data, folded over, not converged.

Ranges are those of the weights card, as the training recorded them; systems without weights have
none. The signal-to-noise ratio of a scan, as the training counted it, is

    snr_db = 10 log10( mean |x_LR|^2 / sigma^2 )

with x_LR the LR reconstruction over maps of unit norm (by Parseval the mean power of one k-space
sample over all coils) and sigma the noise of one sample of one coil.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jrsr_core.common.spelling import counted
from jrsr_core.weights.card import WeightsCard

from .contradiction import Residual

CONVERGED = 0.05
"""Relative residual of the fixed point above which the equilibrium was not reached."""

UNFOLDED = 1.35
"""Acceleration of the sampled part of k-space up to which nothing need be folded: an ellipse in
place of a rectangle is 4 / pi, a few lost lines come on top."""

NOTICEABLE = 0.1
"""Part of the measurement, beyond its noise, that an image may contradict without a warning. From
`contradiction.EXCESS` on it is not delivered as a normal image."""

SLACK = {"acceleration": 0.05, "noise_db": 0.03}
"""Relative width by which a figure may miss its range: it is rounded, or estimated."""

FIGURES = {
    "n_coils": ("coils", "lower"),
    "acceleration": ("acceleration", "both"),
    "n_acs": ("calibration lines", "lower"),
    "hr_size": ("HR matrix size", "both"),
    "noise_db": ("signal-to-noise ratio in dB", "both"),
}
"""Figures of a scan: their label, and the end of their range that matters."""

Figure = float | tuple[int, ...]


def signal_to_noise_db(power: float, noise_std: float) -> float:
    """Return `snr_db` for the mean power of an LR image; infinite without noise."""
    if not noise_std > 0 or not power > 0:
        return math.inf if power > 0 else -math.inf
    return 10 * math.log10(power / noise_std**2)


def unlike_training(card: WeightsCard | None, **figures: Figure) -> list[str]:
    """Return one text per figure of a scan that lies outside the range of the card.

    Figures have the names of the card: `n_coils`, `acceleration`, `n_acs`, `noise_db`, and
    `hr_size` as a tuple. More coils and calibration lines than in the training do no harm. The
    acceleration is that of the sampled part of k-space: the training counts it before it leaves out
    what partial Fourier does.
    """
    known = training_ranges(card)
    found = []
    for name, value in figures.items():
        if name not in known:
            continue
        values = value if isinstance(value, tuple) else (value,)
        low, high = known[name]
        slack = SLACK.get(name, 0.0)
        label, side = FIGURES[name]
        for v in (min(values), max(values)):
            if v < low * (1 - slack) or (side == "both" and v > high * (1 + slack)):
                found.append(f"{label} {v:.3g} outside {low:g} to {high:g} of the training")
                break
    return found


def unlike_any(cards: Iterable[WeightsCard], **figures: Figure) -> list[str]:
    """Return the texts of `unlike_training` for all cards of a system, each once."""
    found = (text for card in cards for text in unlike_training(card, **figures))
    return list(dict.fromkeys(found))


def training_ranges(card: WeightsCard | None) -> dict[str, tuple[float, float]]:
    """Return (low, high) of every figure on the card; empty without a card or such figures.

    A fully sampled scan counts as acceleration 1.
    """
    raw: Mapping[str, Any] = card.range if card else {}
    known = {name: (float(raw[name][0]), float(raw[name][1])) for name in FIGURES if name in raw}
    masks = [kind for kind, _ in raw.get("masks", [])]
    if "acceleration" in known and "full" in masks:
        known["acceleration"] = (1.0, known["acceleration"][1])
    return known


def not_converged(residual: float) -> list[str]:
    """Return a warning if the fixed point was not reached, else nothing."""
    if residual > CONVERGED:
        return [f"fixed point residual {residual:.3f} is above {CONVERGED}"]
    return []


def folded_over(size: float) -> list[str]:
    """Return a warning if the object exceeds the field of view; `size` is its folded part."""
    if size > 0:
        return [f"object exceeds the field of view: {size:.1%} of the image is folded over"]
    return []


def beyond_the_coils(n_coils: int, acceleration: float) -> list[str]:
    """Return a warning if more is missing than the coils can tell apart, else nothing.

    `acceleration` is that of the sampled part of k-space, as only gaps between samples fold.

    Up to `n_coils` pixels that are folded onto each other have independent equations (SENSE,
    Pruessmann et al., 1999). What goes beyond that rests on the prior of the network alone.
    """
    if acceleration <= UNFOLDED * n_coils:
        return []
    what = f"acceleration {acceleration:.3g} with {counted(n_coils, 'coil')}"
    return [f"{what}: the aliasing cannot be separated, artefacts may remain"]


def residual_warning(residual: Residual) -> list[str]:
    """Return a warning if the image contradicts more than `NOTICEABLE` of the measurement."""
    return [str(residual)] if residual.excess > NOTICEABLE else []


def image_warnings(
    cards: Iterable[WeightsCard],
    *,
    folded: float,
    fixed_point_residual: float,
    residual: Residual,
    n_coils: int,
    acceleration: float,
    **figures: Figure,
) -> tuple[str, ...]:
    """Return all warnings of an image.

    `residual` is that of k-space; `figures` as in `unlike_training`.
    """
    return (
        *folded_over(folded),
        *beyond_the_coils(n_coils, acceleration),
        *unlike_any(cards, n_coils=n_coils, acceleration=acceleration, **figures),
        *not_converged(fixed_point_residual),
        *residual_warning(residual),
    )


def group_warnings(images: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Return the first warning of each kind and the number of images that have one of that kind.

    Warnings that differ in their numbers only are of one kind.
    """
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for warnings in images:
        for kind, text in {re.sub(r"[\d.]+|inf", "#", w): w for w in warnings}.items():
            text = first.setdefault(kind, text)
            counts[text] = counts.get(text, 0) + 1
    return counts
