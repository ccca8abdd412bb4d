"""Upsampling without weights: sinc (zero-padded k-space) and bicubic.

Both honour the grids of `physics.resolution`: with the origin at n//2 on both grids, LR pixel j
lies at HR pixel 2j + N//2 - 2 (M//2), not at 2j + 1/2 as image libraries assume.
"""

import torch
from torch import Tensor

from jrsr_core.physics.resolution import sinc_interpolate

from .interfaces import UpsampleModel

KEYS_A = -0.5  # third-order accurate (Keys, IEEE TASSP 1981)


class SincUpsample(UpsampleModel):
    """Zero-padding of k-space by a factor of two, complex or real."""

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(batch, 2y, 2x)``."""
        ny, nx = image.shape[-2:]
        return sinc_interpolate(image, (2 * ny, 2 * nx))


def _keys(t: Tensor) -> Tensor:
    """Keys' cubic convolution kernel at distance t >= 0."""
    near = (KEYS_A + 2) * t**3 - (KEYS_A + 3) * t**2 + 1
    far = KEYS_A * (t**3 - 5 * t**2 + 8 * t - 4)
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))


def bicubic_matrix(lr_size: int, *, aligned: bool = True) -> Tensor:
    """Return the interpolation matrix ``(2 n, n)`` of one axis, edges replicated.

    `aligned` samples at the true positions of the HR pixels; otherwise at (h + 1/2)/2 - 1/2, the
    half-pixel convention of image libraries, which shifts an MR image by 1/4 LR pixel.
    """
    hr = torch.arange(2 * lr_size, dtype=torch.float64)
    origin = lr_size % 2  # HR pixel of LR pixel 0
    position = (hr - origin) / 2 if aligned else (hr + 0.5) / 2 - 0.5
    taps = torch.floor(position)[:, None] + torch.arange(-1, 3, dtype=torch.float64)
    weights = _keys((position[:, None] - taps).abs())
    columns = taps.clamp(0, lr_size - 1).to(torch.int64)
    matrix = torch.zeros(2 * lr_size, lr_size, dtype=torch.float64)
    return matrix.scatter_add_(1, columns, weights).to(torch.float32)


class BicubicUpsample(UpsampleModel):
    """Keys' bicubic interpolation of the magnitude, as the paper's combinations use it."""

    def __init__(self, *, aligned: bool = True) -> None:
        super().__init__()
        self.aligned = aligned

    def forward(self, image: Tensor) -> Tensor:
        """Return the magnitude ``(batch, 2y, 2x)``."""
        magnitude = image.abs() if image.is_complex() else image
        ny, nx = magnitude.shape[-2:]
        rows = bicubic_matrix(ny, aligned=self.aligned).to(magnitude)
        columns = bicubic_matrix(nx, aligned=self.aligned).to(magnitude)
        # Half precision would leave 256 grey levels.
        with torch.autocast(magnitude.device.type, enabled=False):
            return (rows @ magnitude @ columns.T).clamp_min(0.0)
