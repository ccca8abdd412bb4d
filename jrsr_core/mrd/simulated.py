"""A simulated scan as a scanner would write it: header, lines, noise lines, flags.

Readout oversampling is the inverse of its removal: the readout of n samples is padded to 2n in the
image. The outer half of the field of view is empty but for noise, which is drawn from the noise
lines, so that the whole readout has one noise level.
"""

import numpy as np
import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..geometry import Vector
from ..physics.fourier import fft, ifft
from ..physics.resolution import crop_or_pad
from .lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    FIRST_IN_REPETITION,
    FIRST_IN_SLICE,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    LineList,
    flag_bits,
)
from .simulated_header import ScanLabels, ScanSize, header_xml

DWELL_US = 5.0
NOISE_LINE_SAMPLES = 256


def simulated_scan(
    kspace: Tensor,
    mask: Tensor,
    *,
    fov_mm: Vector,
    oversampling: bool = True,
    noise: Tensor | None = None,
    labels: ScanLabels | None = None,
) -> tuple[str, LineList]:
    """Return ISMRMRD header XML and lines of a 2-D Cartesian scan.

    Parameters
    ----------
    kspace
        complex64 ``([average,] slice, coil, ky, kx)``.
    mask
        0/1 ``(ky, kx)``, whole lines.
    fov_mm
        Slice thickness, field of view along y and x.
    oversampling
        Write readouts with twice the samples.
    noise
        Pure noise ``(coil, samples)``, written as noise lines first; None for no noise lines.

    Raises
    ------
    ValueError
        A mask that varies along the readout: no 2-D scan samples like that.
    """
    labels = labels or ScanLabels()
    kspace = kspace[None] if kspace.ndim == 4 else kspace
    if not torch.equal(mask, mask[:, :1].expand_as(mask)):
        raise ValueError("the mask varies along the readout, only a 3-D scan samples like that")
    n_averages, n_slices, n_coils, ny, nx = kspace.shape
    flags = line_flags(mask)
    lines = LineList(np.empty(0, HEAD_DTYPE), [])
    heads, data = _noise_lines(noise, labels) if noise is not None else ([], [])
    generator = torch.Generator().manual_seed(0)
    order = [*range(0, n_slices, 2), *range(1, n_slices, 2)]
    for average in range(n_averages):
        for number in order if labels.interleaved else range(n_slices):
            readouts = kspace[average, number][:, list(flags)]
            if oversampling:
                readouts = _oversample(readouts, noise, generator)
            heads.append(_slice_heads(flags, number, average, readouts, labels, fov_mm))
            data.extend(readouts.movedim(1, 0).numpy())
    lines = LineList(np.concatenate(heads), data)
    _finish(lines.heads)
    n_encoded = nx * (2 if oversampling else 1)
    size = ScanSize(n_encoded, nx, ny, n_coils, n_slices, n_averages)
    return header_xml(labels, size, fov_mm, flags), lines


def line_flags(mask: Tensor) -> dict[int, int]:
    """Return the sampled lines in order, with their calibration flags.

    Lines of a regular pattern that lie in the fully sampled centre carry `CALIBRATION_AND_IMAGING`,
    the lines that fill its gaps `CALIBRATION`; without a regular pattern all lines of the centre
    image as well. A fully sampled scan carries none.
    """
    rows = torch.nonzero(mask[:, 0] > 0).flatten().tolist()
    flags = dict.fromkeys(rows, 0)
    if len(rows) == mask.shape[0]:
        return flags
    try:
        center, _ = find_acs(mask)
    except ValueError:
        return flags
    grid = _regular_pattern(rows, center)
    for row in range(center.start, center.stop):
        extra = grid is not None and row % grid[0] != grid[1]
        flags[row] = flag_bits(CALIBRATION if extra else CALIBRATION_AND_IMAGING)
    return flags


def _regular_pattern(rows: list[int], center: slice) -> tuple[int, int] | None:
    """(R, remainder) of equally spaced lines outside the centre, None if they are not."""
    outside = np.array([r for r in rows if not center.start <= r < center.stop])
    steps = np.diff(outside)
    if len(steps) < 2 or steps.min() < 2:
        return None
    factor = int(steps.min())
    remainders = set((outside % factor).tolist())
    return (factor, remainders.pop()) if len(remainders) == 1 else None


def _oversample(readouts: Tensor, noise: Tensor | None, generator: torch.Generator) -> Tensor:
    """``(coil, line, n)`` -> ``(coil, line, 2n)``."""
    n = readouts.shape[-1]
    image = crop_or_pad(ifft(readouts, -1), (2 * n,))
    if noise is not None:
        shape = image.shape[1:]
        pick = torch.randint(noise.shape[1], (shape.numel(),), generator=generator)
        outer = noise[:, pick].reshape(image.shape)
        start = n - n // 2
        outer[..., start : start + n] = 0
        image = image + outer
    return fft(image, -1)


def _noise_lines(noise: Tensor, labels: ScanLabels) -> tuple[list, list]:
    parts = [p for p in noise.split(NOISE_LINE_SAMPLES, dim=1)]
    heads = np.zeros(len(parts), HEAD_DTYPE)
    _common(heads, labels, noise.shape[0])
    heads["number_of_samples"] = [p.shape[1] for p in parts]
    heads["flags"] = flag_bits(NOISE)
    return [heads], [p.numpy() for p in parts]


def _slice_heads(
    flags: dict[int, int],
    number: int,
    average: int,
    readouts: Tensor,
    labels: ScanLabels,
    fov_mm: Vector,
) -> np.ndarray:
    heads = np.zeros(len(flags), HEAD_DTYPE)
    n_coils, _, n_samples = readouts.shape
    _common(heads, labels, n_coils)
    heads["number_of_samples"] = n_samples
    heads["center_sample"] = n_samples // 2
    heads["flags"] = list(flags.values())
    heads["idx"]["kspace_encode_step_1"] = list(flags)
    heads["idx"]["slice"] = number
    heads["idx"]["average"] = average
    offset = number * (fov_mm[0] + labels.slice_gap_mm)
    heads["position"] = np.add(labels.position_mm, offset * np.array(labels.slice_dir))
    heads["flags"][0] |= np.uint64(flag_bits(FIRST_IN_SLICE))
    heads["flags"][-1] |= np.uint64(flag_bits(LAST_IN_SLICE))
    return heads


def _common(heads: np.ndarray, labels: ScanLabels, n_coils: int) -> None:
    heads["version"] = 1
    heads["measurement_uid"] = 1
    heads["available_channels"] = heads["active_channels"] = n_coils
    channels = np.arange(n_coils)
    for word in range(16):
        bits = channels[channels // 64 == word] % 64
        heads["channel_mask"][:, word] = sum(1 << int(b) for b in bits)
    heads["sample_time_us"] = DWELL_US
    heads["position"] = labels.position_mm
    for name in ("read_dir", "phase_dir", "slice_dir"):
        heads[name] = getattr(labels, name)


def _finish(heads: np.ndarray) -> None:
    """Counters and time stamps along the scan, flags of its first and last line."""
    heads["scan_counter"] = np.arange(1, len(heads) + 1)
    heads["acquisition_time_stamp"] = np.arange(len(heads))
    image = np.flatnonzero(heads["flags"] & np.uint64(flag_bits(NOISE)) == 0)
    heads["flags"][image[0]] |= np.uint64(flag_bits(FIRST_IN_REPETITION))
    heads["flags"][image[-1]] |= np.uint64(flag_bits(LAST_IN_REPETITION, LAST_IN_MEASUREMENT))
