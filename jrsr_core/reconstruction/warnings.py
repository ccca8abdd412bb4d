"""What makes a scan or its image suspect: unlike the training data, not converged, contradictory.

Ranges are those of the weights card, which the training wrote down; systems without weights have
none. The signal-to-noise ratio of a scan, as the training counted it, is

    snr_db = 10 log10( mean |x_LR|^2 / sigma^2 )

with x_LR the LR reconstruction over maps of unit norm (by Parseval the mean power of one k-space
sample over all coils) and sigma the noise of one sample of one coil.
"""

import math
import re
from collections.abc import Iterable

from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.data import KSpaceSlice
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.weights import WeightsCard

from .quality import expected_residual, kspace_residual, relative_size

CONVERGED = 0.05
"""Relative residual of the fixed point above which the equilibrium was not reached."""

EXCESS = 0.1
"""Part of the measurement, beyond its noise, that an image may contradict."""

SLACK = {"acceleration": 0.05, "noise_db": 0.03}
"""Relative width by which a figure may miss its range: it is rounded, or estimated."""

FIGURES = {
    "n_coils": ("coils", "lower"),
    "acceleration": ("acceleration", "both"),
    "n_acs": ("calibration lines", "lower"),
    "hr_size": ("HR matrix size", "both"),
    "noise_db": ("signal-to-noise ratio in dB", "both"),
}
"""Figures of a scan: what they are called, and which end of their range matters."""


def signal_to_noise_db(low_resolution: Tensor, noise_std: float) -> float:
    """Return `snr_db` of an LR image in the units of `noise_std`; infinite without noise."""
    power = float(low_resolution.abs().square().mean())
    if not noise_std > 0 or not power > 0:
        return math.inf if power > 0 else -math.inf
    return 10 * math.log10(power / noise_std**2)


def unlike_training(card: WeightsCard | None, **figures: float) -> list[str]:
    """Name the figures of a scan that lie outside the range of the card.

    Figures by the names of the card: `n_coils`, `acceleration`, `n_acs`, `noise_db`, and `hr_size`
    as a tuple. Of coils and calibration lines more than in the training do no harm.
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


def unlike_any(cards: Iterable[WeightsCard], **figures: float) -> list[str]:
    """Return what `unlike_training` says of each of the cards of a system, once."""
    found = (text for card in cards for text in unlike_training(card, **figures))
    return list(dict.fromkeys(found))


def training_ranges(card: WeightsCard | None) -> dict[str, tuple[float, float]]:
    """Return (low, high) by the names of the card; a fully sampled scan counts as acceleration 1.

    Empty for systems without weights, or where the card is silent.
    """
    raw = card.range if card else {}
    known = {
        name: (float(raw[name][0]), float(raw[name][1]))
        for name in FIGURES
        if isinstance(raw.get(name), list | tuple) and len(raw[name]) == 2
    }
    masks = [m[0] for m in raw.get("masks", []) if isinstance(m, list | tuple) and m]
    if "acceleration" in known and "full" in masks:
        known["acceleration"] = (1.0, known["acceleration"][1])
    return known


def not_converged(residual: float) -> list[str]:
    """Warn of a fixed point that was not reached."""
    if residual > CONVERGED:
        return [f"fixed point residual {residual:.3f} is above {CONVERGED}"]
    return []


def folded_over(size: float) -> list[str]:
    """Warn of an object larger than the field of view; `size` is that of its folded part."""
    if size > 0:
        return [f"object exceeds the field of view: {size:.1%} of the image is folded over"]
    return []


def contradicts(residual: float, expected: float) -> list[str]:
    """Warn of an image that contradicts the measurement by more than its noise."""
    excess = math.sqrt(max(residual**2 - expected**2, 0.0))
    if excess > EXCESS:
        return [f"k-space residual {residual:.3f}, noise explains {expected:.3f}"]
    return []


def image_warnings(
    cards: Iterable[WeightsCard],
    *,
    folded: float,
    fixed_point_residual: float,
    residuals: tuple[float, float],
    **figures: float,
) -> tuple[str, ...]:
    """Return all that makes an image suspect.

    `residuals` are those of k-space, found and expected; `figures` as in `unlike_training`.
    """
    return (
        *folded_over(folded),
        *unlike_any(cards, **figures),
        *not_converged(fixed_point_residual),
        *contradicts(*residuals),
    )


def group_warnings(images: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Return the first warning of each kind and how many images have one like it.

    Of one kind are warnings that differ in their numbers only.
    """
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for warnings in images:
        for kind, text in {re.sub(r"[\d.]+|inf", "#", w): w for w in warnings}.items():
            text = first.setdefault(kind, text)
            counts[text] = counts.get(text, 0) + 1
    return counts


# FOLDED jrsr_core/slice_figures.py: Figures of the report of one slice: of its scan, and of its image.
def scan_figures(slice_: KSpaceSlice, calibrated: CalibratedSlice) -> dict:
    """Return what was measured, by the names of `ReconReport`."""
    return {
        "noise_std": float(calibrated.noise_std) * calibrated.scale,
        "acceleration": slice_.acceleration,
        "acs_shape": calibrated.acs_shape,
        "n_readout": slice_.kspace.shape[-1],
        "n_virtual_coils": calibrated.kspace.shape[1],
    }


def image_figures(
    cards: tuple[WeightsCard, ...],
    slice_: KSpaceSlice,
    calibrated: CalibratedSlice,
    output: ModelOutput,
    whole: ModelOutput,
) -> dict:
    """Return what came out and what makes it suspect, by the names of `ReconReport`.

    `whole` is the output with what was folded onto it.
    """
    residual = math.nan if output.residual is None else float(output.residual.max())
    snr_db = signal_to_noise_db(output.low_resolution, float(calibrated.noise_std))
    folded = calibrated.folded
    size = 0.0 if folded is None else relative_size(folded, whole.image)
    residuals = kspace_residual(output, calibrated), expected_residual(calibrated)
    warnings = image_warnings(
        cards,
        folded=size,
        fixed_point_residual=residual,
        residuals=residuals,
        n_coils=calibrated.kspace.shape[1],
        acceleration=slice_.acceleration,
        n_acs=min(calibrated.acs_shape),
        hr_size=calibrated.sense.image_shape,
        noise_db=snr_db,
    )
    return {
        "iterations": output.iterations,
        "fixed_point_residual": residual,
        "kspace_residual": residuals[0],
        "expected_residual": residuals[1],
        "snr_db": snr_db,
        "folded": size,
        "warnings": warnings,
    }
