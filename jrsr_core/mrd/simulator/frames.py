"""Frames of a simulated scan: the k-space of one image, and which of its lines are measured.

Reference scans for calibration are frames of their own. A 2-D slice is a frame with kz = 1.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from jrsr_core.acs import find_acs
from jrsr_core.data import Counters
from jrsr_core.mrd.lines.acquired import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
from jrsr_core.physics.fourier import fft
from jrsr_core.physics.resolution import crop_or_pad, grid_scale


@dataclass(frozen=True, eq=False)
class Frame:
    """One pass over k-space.

    `kspace` is complex64 ``(coil, kz, ky, kx)``; `mask` 0/1 and the calibration `flags` int64 are
    ``(kz, ky)``. A `reference` frame only calibrates, and the counters of its lines begin at 0.
    `space` is the encoding space. The centre of a 3-D reference of 2-D slices lies `place` slices
    beyond the first one.
    """

    counters: Counters
    kspace: Tensor
    mask: Tensor
    flags: Tensor
    reference: bool = False
    space: int = 0
    place: int | None = None

    @property
    def is_slab_of_slices(self) -> bool:
        """Whether this is a 3-D reference of 2-D slices."""
        return self.place is not None


def make_frame(counters: Counters, kspace: Tensor, mask: Tensor, *, flagged: bool = True) -> Frame:
    """Return a frame whose lines carry embedded calibration flags if `flagged`."""
    flags = line_flags(mask) if flagged else torch.zeros(mask.shape, dtype=torch.long)
    return Frame(counters, kspace, mask, flags)


def line_flags(mask: Tensor) -> Tensor:
    """Return the calibration flags of a mask ``(kz, ky)``, int64.

    Lines of a regular pattern that lie in the fully sampled centre carry `CALIBRATION_AND_IMAGING`,
    the lines that fill its gaps `CALIBRATION`; without a regular pattern all lines of the centre
    image as well. A fully sampled scan carries none.
    """
    flags = torch.zeros(mask.shape, dtype=torch.long)
    if bool(mask.all()):
        return flags
    try:
        partitions, center = find_acs(mask)
    except ValueError:
        return flags
    flags[partitions, center] = flag_bits(CALIBRATION_AND_IMAGING)
    grid = _regular_pattern(mask[0], center) if mask.shape[0] == 1 else None
    if grid is not None:
        rows = torch.arange(center.start, center.stop)
        flags[0, rows[rows % grid[0] != grid[1]]] = flag_bits(CALIBRATION)
    return flags


def _regular_pattern(lines: Tensor, center: slice) -> tuple[int, int] | None:
    """(R, remainder) of equally spaced lines outside the centre, None if they are not."""
    rows = torch.nonzero(lines > 0).flatten().tolist()
    outside = np.array([r for r in rows if not center.start <= r < center.stop])
    steps = np.diff(outside)
    if len(steps) < 2 or steps.min() < 2:
        return None
    factor = int(steps.min())
    remainders = set((outside % factor).tolist())
    return (factor, remainders.pop()) if len(remainders) == 1 else None


def reference_frame(frame: Frame, n_acs: int, mode: str) -> Frame:
    """Return the reference scan of a frame: its `n_acs` central lines along each phase encode.

    With `mode` "external" it has an encoding space of its own and half the resolution along the
    readout.
    """
    _, nz, ny, nx = frame.kspace.shape
    is_external = mode == "external"
    shape = (min(nz, n_acs), min(ny, n_acs), nx // 2 if is_external else nx)
    kspace = crop_or_pad(frame.kspace, shape)
    mask = torch.ones(shape[:2])
    flags = torch.full(mask.shape, flag_bits(CALIBRATION))
    return Frame(frame.counters, kspace, mask, flags, reference=True, space=int(is_external))


def reference_volume(frames: list[Frame], n_acs: int) -> Frame:
    """Return a 3-D reference of n adjacent slices, with an encoding space of its own.

    Slice s lies at partition s of the volume, whose centre is partition n//2.
    """
    n, (_, _, ny, nx) = len(frames), frames[0].kspace.shape
    volume = fft(torch.cat([f.kspace for f in frames], 1), 1)
    kspace = crop_or_pad(volume, (min(ny, n_acs), nx // 2))
    mask = torch.ones(kspace.shape[1:3])
    flags = torch.full(mask.shape, flag_bits(CALIBRATION))
    return Frame(Counters(), kspace, mask, flags, reference=True, space=1, place=n // 2)


def second_encoding(frame: Frame, space: int) -> Frame:
    """Return the frame acquired on 3/4 of its matrix along y and x, in encoding space `space`."""
    _, nz, ny, nx = frame.kspace.shape
    shape = (3 * ny // 4, 3 * nx // 4)
    kspace = grid_scale(shape, (ny, nx)) * crop_or_pad(frame.kspace, shape)
    mask, flags = (crop_or_pad(x, (nz, shape[0])) for x in (frame.mask, frame.flags))
    return replace(frame, kspace=kspace, mask=mask, flags=flags, space=space)


def interleave(frame: Frame, number: int, acceleration: int) -> Frame:
    """Return the frame with every `acceleration`-th line, beginning at `number`; all calibrate."""
    rows = torch.arange(frame.mask.shape[1])
    mask = (rows % acceleration == number % acceleration).to(torch.float32)
    flags = torch.full(frame.mask.shape, flag_bits(CALIBRATION_AND_IMAGING))
    return replace(frame, mask=mask.expand(frame.mask.shape), flags=flags)


def partial_fourier(frame: Frame, fractions: tuple[float, float]) -> Frame:
    """Return the frame without its first lines, as `first_measured` counts them."""
    mask = frame.mask.clone()
    skip_z, skip_y = first_measured(frame, fractions)
    mask[:skip_z] = 0
    mask[:, :skip_y] = 0
    return replace(frame, mask=mask)


def first_measured(frame: Frame, fractions: tuple[float, float]) -> tuple[int, int]:
    """Return the first rows (z, y) of k-space that partial Fourier measures; a reference's are 0.

    `fractions` are the measured ones along the second and the first phase encode.
    """
    if frame.reference:
        return (0, 0)
    nz, ny = frame.mask.shape
    return (nz - round(fractions[0] * nz), ny - round(fractions[1] * ny))
