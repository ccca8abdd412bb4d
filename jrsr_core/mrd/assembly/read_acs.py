"""The ACS of a slice, read from its calibration lines and brought to the grid of the image.

The ACS of an image is k-space of the object seen from the centre of the image. A reference whose
centre is at r = 0, and the image at d on its axes, has to be seen from d:

    a_d(k) = a(k) exp(2 pi i (k . d) / FOV);

the plane z = d_z of a 3-D reference is the sum of a_d over kz, divided by sqrt(n_z).

A reference with another field of view is resampled: its samples lie at k / FOV_ref, the ACS has to
lie at k / FOV_image.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from jrsr_core.acs import MAX_LINES, Block, find_acs
from jrsr_core.data import Vector
from jrsr_core.mrd.acs.lines import CalibrationLines, scaled_size
from jrsr_core.mrd.lines.grid import sample_counts
from jrsr_core.physics.fourier import fft
from jrsr_core.physics.resolution import crop_or_pad

from .accumulate import LineReader, SummedLines
from .averages import sum_averages
from .line_sums import LineSums


def read_block(reader: LineReader, chosen: CalibrationLines) -> Tensor:
    """Return the measured centre on the grid of its own scan.

    Returns
    -------
    Tensor
        complex64 ``(coil, ay, az, ax)``, of size 0 where the centre was not measured. Lines that
        are not finite, or zeros alone, have no part in it.
    """
    heads = reader.source.heads[chosen.lines]
    try:
        rows, columns = _find(chosen.counts(heads), chosen)
    except ValueError:
        return _nothing(reader, chosen)
    # Only the lines of the block are read: the grid shrinks about its centre.
    n_columns = columns.stop - columns.start if chosen.is_plane else chosen.grid.nz
    block = chosen.grid._replace(ny=rows.stop - rows.start, nz=n_columns)
    chosen = replace(chosen, grid=block)
    summed = _sum(reader, chosen)
    heads = heads[summed.measured]
    try:
        rows, columns = _find(chosen.counts(heads), chosen)
    except ValueError:
        return _nothing(reader, chosen)
    counts = torch.from_numpy(sample_counts(heads, block, chosen.layout))
    kspace = summed.total / counts.clamp_min(1)[:, None]
    kspace = kspace.unflatten(0, (block.ny, block.nz)).permute(2, 0, 1, 3)
    if not chosen.is_plane:
        return kspace[:, rows, :, columns]
    kspace = kspace[:, rows, columns]
    if chosen.image.is_3d:
        return kspace
    # The ACS of slices is fully sampled along the readout as well.
    measured = counts.unflatten(0, (block.ny, block.nz))[rows, columns].amin((0, 1))
    return kspace[..., find_acs(measured[None])[1]]


def _sum(reader: LineReader, chosen: CalibrationLines) -> SummedLines:
    """Add up calibration lines; those of one image as the image does."""
    if chosen.kind == "frames":
        return reader.sum(chosen.lines, chosen.grid, chosen.layout)
    return sum_averages(
        LineSums.of_samples(reader, chosen.lines, chosen.layout, chosen.grid)
    ).summed


def _find(counts: np.ndarray, chosen: CalibrationLines) -> Block:
    return find_acs(counts, (MAX_LINES, MAX_LINES if chosen.is_plane else counts.shape[1]))


def _nothing(reader: LineReader, chosen: CalibrationLines) -> Tensor:
    n_coils = reader.n_coils(chosen.lines[0])
    shape = (0, 0, chosen.image.readout_size) if chosen.image.is_3d else (0, 0)
    return torch.zeros((n_coils, *shape), dtype=torch.complex64)


def acs_of_block(block: Tensor, chosen: CalibrationLines) -> Tensor:
    """Return the ACS of a measured centre ``(coil, ay, az, ax)`` on the grid of the image.

    Returns
    -------
    Tensor
        complex64 ``(coil, ay, ax)``, for 3-D images ``(coil, ay, az, ax)``.
    """
    acs = (plane_of_volume if chosen.kind == "volume" else seen_from)(block, chosen.offset)
    if chosen.is_reference:
        acs = _to_image_grid(acs, chosen)
    return (acs if chosen.image.is_3d else acs.squeeze(2)).clone()


def seen_from(kspace: Tensor, offset: Vector) -> Tensor:
    """Return k-space ``(coil, ay, az, ax)`` as seen from `offset` ``(z, y, x)``, in FOVs."""
    for axis, d in zip((2, 1, 3), offset, strict=True):
        if d:
            ramp = _phase_ramp(kspace.shape[axis], d).to(kspace)
            kspace = kspace * ramp.reshape(-1, *[1] * (3 - axis))
    return kspace


def plane_of_volume(kspace: Tensor, offset: Vector) -> Tensor:
    """Return k-space ``(coil, ay, 1, ax)`` of the plane at `offset` of ``(coil, ay, az, ax)``."""
    _, ny, nz, nx = kspace.shape
    kspace = kspace * _phase_ramp(nz, offset[0])[:, None].to(kspace)
    plane = kspace.sum(2, keepdim=True) / math.sqrt(nz)
    shift = _phase_ramp(ny, offset[1])[:, None, None] * _phase_ramp(nx, offset[2])
    return plane * shift.to(kspace)


def _phase_ramp(n: int, offset: float) -> Tensor:
    """Return exp(2 pi i k d) for the centred k of n samples, complex128."""
    angle = 2 * math.pi * offset * (torch.arange(n, dtype=torch.float64) - n // 2)
    return torch.polar(torch.ones_like(angle), angle)


def _to_image_grid(acs: Tensor, chosen: CalibrationLines) -> Tensor:
    """Bring ``(coil, ay, az, ax)`` to the k-space spacing of the image, and within its matrix."""
    image = chosen.image
    ratio_z, ratio_y, ratio_x = chosen.fov_ratios
    for axis, ratio in ((1, ratio_y), (2, ratio_z), (3, ratio_x)):
        acs = resample_fov(acs, axis, ratio)
    nz, ny, _ = image.encoding_matrix
    _, n_y, n_z, n_x = acs.shape
    # Planes of a 3-D scan need every readout position, whatever the resolution of the reference.
    width = image.readout_size if image.is_3d else min(n_x, image.readout_size)
    return crop_or_pad(acs, (min(n_y, ny), min(n_z, nz), width))


def resample_fov(kspace: Tensor, axis: int, ratio: float) -> Tensor:
    """Change the field of view of one axis by `ratio`, at the same resolution.

    The image of the n samples, sum_k a_k exp(2 pi i k r / FOV), is evaluated where the pixels of
    the new field of view lie (zero outside the old one) and transformed back:
    n -> floor(n * ratio) samples. The factor `ratio` keeps the sample at k = 0, the sum over the
    object, as a scan with the new field of view would measure it.
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
    spectrum = fft(image, -1) * (ratio / math.sqrt(n_pixels))
    return crop_or_pad(spectrum, (n_new,)).movedim(-1, axis)
