"""Samples that can be computed with."""

import torch
from torch import Tensor

from jrsr_core.tensors import is_finite

SMALLEST = 1e-37
"""Smallest peak of k-space: below it, single precision loses digits one by one."""


def check_samples(kspace: Tensor) -> None:
    """Raise `ValueError` unless k-space is finite, not zero, and in the range of a float32."""
    if not is_finite(kspace):
        raise ValueError("kspace has samples that are not finite or too large to compute with")
    peak = float(torch.view_as_real(kspace).abs().max()) if kspace.numel() else 0.0
    if peak == 0:
        raise ValueError(
            "every sample of kspace is zero: nothing was measured, "
            "check the scan and its conversion"
        )
    if peak < SMALLEST:
        raise ValueError(f"largest sample of kspace is {peak:.3g}, too small to compute with")
