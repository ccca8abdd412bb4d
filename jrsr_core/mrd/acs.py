"""The ACS of a slice, read from its calibration lines and brought to the grid of the image.

A reference with another field of view is resampled: its samples lie at k / FOV_ref, the ACS has to
lie at k / FOV_image.
"""

import math

import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..geometry import Encoding
from ..physics.fourier import fft
from ..physics.resolution import crop_or_pad
from .calibration_lines import CalibrationLines, calibration_counts, fov_ratios, scaled_size
from .placement import sample_counts
from .reader import LineReader
from .readout import readout_size

MAX_LINES = 40
"""Central lines kept of a shared ACS; calibration uses no more."""


def read_acs(reader: LineReader, chosen: CalibrationLines, image: Encoding) -> Tensor:
    """Return the ACS ``(coil, ay, ax)``, in 3-D ``(coil, ay, az, nx)`` with the whole readout.

    Of size 0 where the centre was not measured; lines that are not finite do not take part.
    """
    grid, encoding = chosen.grid, chosen.encoding
    total, finite = reader.sum(chosen.lines, grid, encoding)
    heads = reader.source.heads[chosen.lines[finite]]
    counts = calibration_counts(heads, chosen, image)
    per_sample = sample_counts(heads, grid, encoding).clamp_min(1)
    kspace = (total / per_sample[:, None]).unflatten(0, (grid.ny, grid.nz)).permute(2, 0, 1, 3)
    try:
        limits = (MAX_LINES, MAX_LINES if image.is_3d else counts.shape[1])
        rows, columns = find_acs(counts, limits)
    except ValueError:
        return kspace[:, :0, :0] if image.is_3d else kspace[:, :0, 0, :0]
    acs = kspace[:, rows, columns] if image.is_3d else kspace[:, rows, :, columns]
    if chosen.kind == "reference":
        acs = _to_image_grid(acs, encoding, image)
    return (acs if image.is_3d else acs.squeeze(2)).clone()


def _to_image_grid(acs: Tensor, encoding: Encoding, image: Encoding) -> Tensor:
    """Bring ``(coil, ay, az, ax)`` to the k-space spacing of the image, and within its matrix."""
    ratio_z, ratio_y, ratio_x = fov_ratios(encoding, image)
    for axis, ratio in ((1, ratio_y), (2, ratio_z), (3, ratio_x)):
        acs = resample_fov(acs, axis, ratio)
    nz, ny, _ = image.encoding_matrix
    shape = [min(n, m) for n, m in zip(acs.shape[1:], (ny, nz, readout_size(image)), strict=True)]
    return crop_or_pad(acs, tuple(shape))


def resample_fov(kspace: Tensor, axis: int, ratio: float) -> Tensor:
    """Change the field of view of one axis by `ratio`, at the same resolution.

    The image of the n samples, sum_k a_k exp(2 pi i k r / FOV), is evaluated where the pixels of
    the new field of view lie (zero outside the old one) and transformed back:
    n -> floor(n * ratio) samples.
    """
    if ratio == 1:
        return kspace
    n, n_new = kspace.shape[axis], max(1, scaled_size(kspace.shape[axis], ratio))
    n_pixels = 4 * max(n, n_new)
    # Positions in units of the old field of view.
    position = (torch.arange(n_pixels, dtype=torch.float64) - n_pixels // 2) / n_pixels * ratio
    k = torch.arange(n, dtype=torch.float64) - n // 2
    angle = 2 * math.pi * position[:, None] * k
    to_image = torch.polar((position.abs() <= 0.5).double()[:, None].expand_as(angle), angle)
    image = kspace.movedim(axis, -1) @ to_image.mT.to(kspace)
    spectrum = fft(image, -1) / math.sqrt(n_pixels)
    return crop_or_pad(spectrum, (n_new,)).movedim(-1, axis)
