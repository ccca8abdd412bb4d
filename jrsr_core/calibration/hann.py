"""The window under which an ACS becomes an image without ringing."""

import torch
from torch import Tensor


def hann(n: int) -> Tensor:
    """Return a Hann window of n samples, largest at ``n//2`` or beside it, nowhere zero."""
    return torch.hann_window(n + 2, periodic=False)[1:-1]
