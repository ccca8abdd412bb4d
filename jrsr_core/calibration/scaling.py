"""The intensity scale of a slice: one number per sample, known at the scanner.

    scale = max_r |x_zf(r)|,   x_zf the zero-filled LR image A^H y

K-space divided by it gives images in about [0, 1]; finished images are multiplied by it again and
so return in the scanner's own scale. Ours.
"""

import torch
from torch import Tensor


def intensity_scale(zero_filled: Tensor) -> Tensor:
    """Return max |image| per sample, float ``(*batch,)``, of an image ``(*batch, y, x)``.

    Raises
    ------
    ValueError
        If a maximum is zero (nothing was measured) or not finite.
    """
    scale = zero_filled.abs().amax((-2, -1))
    if not bool(torch.isfinite(scale).all()):
        raise ValueError("zero-filled image has samples that are not finite")
    if not bool((scale > 0).all()):
        raise ValueError("zero-filled image is zero everywhere")
    return scale
