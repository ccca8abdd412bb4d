"""A simulated scan as a scanner would write it: header, lines, noise lines, flags.

Readout oversampling is the inverse of its removal: the readout of n samples is padded to 2n in the
image. The outer half of the field of view is empty but for noise, which is drawn from the noise
lines, so that the whole readout has one noise level.
"""

import numpy as np
import torch
from torch import Tensor

from ..geometry import Counters, Vector
from ..physics.fourier import fft, ifft
from ..physics.resolution import crop_or_pad
from .lines import LineList
from .simulated_encodings import encoding_texts, first_counters
from .simulated_frames import Frame, make_frame, partial_fourier
from .simulated_header import ScanLabels, header_xml
from .simulated_heads import FrameHeads, finish_heads, noise_heads, order_lines, spare_heads
from .simulated_style import ScanStyle


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
    lines = whole_lines(mask)
    frames = [
        make_frame(Counters(slice=number, average=average), kspace[average, number][:, None], lines)
        for average in range(kspace.shape[0])
        for number in range(kspace.shape[1])
    ]
    order = "interleaved" if labels.interleaved else "sequential"
    style = ScanStyle(oversampling=oversampling, order=order)
    return scan_of_frames(frames, fov_mm=fov_mm, noise=noise, labels=labels, style=style)


def whole_lines(mask: Tensor) -> Tensor:
    """Return the lines ``(1, ky)`` of a mask ``(ky, kx)``; ValueError if they are not whole."""
    if not torch.equal(mask, mask[:, :1].expand_as(mask)):
        raise ValueError("the mask varies along the readout, only a 3-D scan samples like that")
    return mask[:, 0][None]


def scan_of_frames(
    frames: list[Frame],
    *,
    fov_mm: Vector,
    recon_fov_mm: Vector | None = None,
    noise: Tensor | None = None,
    labels: ScanLabels | None = None,
    style: ScanStyle | None = None,
) -> tuple[str, LineList]:
    """Return header and lines of a scan, 2-D or 3-D.

    Parameters
    ----------
    frames
        All of one size but for reference frames, which come first; one coil count.
    fov_mm
        Acquired field of view ``(z, y, x)``, readout oversampling aside; in 3-D z is the slab.
    recon_fov_mm
        Field of view wanted; as acquired if None.
    """
    labels, style = labels or ScanLabels(), style or ScanStyle()
    frames = [f if f.reference else partial_fourier(f, style.partial_fourier) for f in frames]
    image = next(f for f in frames if not f.reference)
    heads, data = noise_heads(noise, labels, style.noise_scans, style.noise_dwell)
    generator = torch.Generator().manual_seed(0)
    for group in order_lines(frames, style.order):
        parts = [_frame_lines(frame, style, labels, fov_mm, noise, generator) for frame in group]
        # One line of every frame in turn, where they take turns.
        rank = np.concatenate([np.arange(len(h)) for h, _ in parts])
        order = np.argsort(rank, kind="stable")
        samples = [line for _, lines in parts for line in lines]
        heads.append(np.concatenate([h for h, _ in parts])[order])
        data.extend(samples[i] for i in order)
    if style.spare_lines:
        heads.append(spare_heads(heads[-1][-1]))
        data.extend([data[-1]] * len(heads[-1]))
    lines = LineList(np.concatenate(heads), data)
    finish_heads(lines.heads)
    encodings = encoding_texts(frames, style, fov_mm, recon_fov_mm or fov_mm)
    return header_xml(labels, image.kspace.shape[0], encodings), lines


def _frame_lines(
    frame: Frame,
    style: ScanStyle,
    labels: ScanLabels,
    fov_mm: Vector,
    noise: Tensor | None,
    generator: torch.Generator,
) -> tuple[np.ndarray, list[np.ndarray]]:
    z, y = torch.nonzero(frame.mask > 0, as_tuple=True)
    readouts = frame.kspace[:, z, y]
    if style.oversampling:
        readouts = _oversample(readouts, noise, generator)
    n_full = readouts.shape[-1]
    missing = 0 if frame.reference else n_full - round(style.partial_echo * n_full)
    readouts = readouts[..., missing:]
    skip = (0, 0) if frame.reference else first_counters(frame, style)
    writer = FrameHeads(labels, fov_mm, readouts.shape, n_full // 2 - missing, style.segments)
    heads = writer.write(frame, z.numpy() - skip[0], y.numpy() - skip[1])
    lines = list(readouts.movedim(1, 0).numpy())
    if style.alternate and not frame.reference:
        lines[1::2] = [line[:, ::-1] for line in lines[1::2]]
        writer.reverse(heads[1::2])
    return heads, lines


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
