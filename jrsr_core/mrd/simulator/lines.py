"""The lines of a simulated scan as a scanner writes them: noise, reference and image lines.

Readout oversampling inverts its removal: the readout of n samples is padded to 2n in the image.
The outer half of that field of view is empty but for noise, which is drawn from the noise lines,
so that the whole readout has one noise level.
"""

import numpy as np
import torch
from torch import Generator, Tensor

from jrsr_core.data import Vector
from jrsr_core.mrd.lines.acquired import LineList
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad

from .frames import Frame, first_measured, partial_fourier
from .header import ScanMetadata, header_xml
from .line_headers import (
    finish_headers,
    frame_headers,
    mark_reversed,
    noise_headers,
    spare_headers,
)
from .request import ScanRequest

NOISE_LINE_SAMPLES = 256


def scan_of_frames(
    frames: list[Frame],
    *,
    fov_mm: Vector,
    recon_fov_mm: Vector | None = None,
    noise: Tensor | None = None,
    metadata: ScanMetadata | None = None,
    request: ScanRequest | None = None,
) -> tuple[str, LineList]:
    """Return XML header and lines of a scan, 2-D or 3-D.

    Parameters
    ----------
    frames
        All of one size except reference frames, which come first; one number of coils.
    fov_mm
        Acquired field of view ``(z, y, x)`` without readout oversampling; z is the slice
        thickness, in 3-D the slab.
    recon_fov_mm
        Reconstructed field of view; as acquired if None.
    noise
        Pure noise ``(coil, sample)``, written as noise lines before the others; None for none.
    request
        How the lines are measured and ordered.
    """
    metadata, request = metadata or ScanMetadata(), request or ScanRequest()
    frames = [partial_fourier(f, request.fourier_fractions) for f in frames]
    heads, data = [], []
    if noise is not None:
        parts = noise.split(NOISE_LINE_SAMPLES, dim=1) * request.noise_scans
        # E|n|^2 is inversely proportional to the dwell time.
        data += [p.numpy() for p in (part / request.noise_dwell**0.5 for part in parts)]
        heads.append(noise_headers(data, metadata, request.noise_dwell))
    generator = torch.Generator().manual_seed(0)
    for group in order_frames(frames, request.order):
        written = [_frame_lines(f, request, metadata, fov_mm, noise, generator) for f in group]
        # One line of every frame of a group in turn.
        rank = np.concatenate([np.arange(len(h)) for h, _ in written])
        order = np.argsort(rank, kind="stable")
        samples = [line for _, lines in written for line in lines]
        heads.append(np.concatenate([h for h, _ in written])[order])
        data.extend(samples[i] for i in order)
    if request.spare_lines:
        heads.append(spare_headers(heads[-1][-1]))
        data.extend([data[-1]] * len(heads[-1]))
    lines = LineList(np.concatenate(heads), data)
    finish_headers(lines.heads)
    return header_xml(metadata, frames, request, fov_mm, recon_fov_mm or fov_mm), lines


def order_frames(frames: list[Frame], order: str) -> list[list[Frame]]:
    """Return groups of frames in the order of time, reference frames first.

    `order` is a `request.Order`. The lines of a group are acquired in turn: "by-line" groups
    all slices, every other order has one frame in a group.
    """
    groups: dict[tuple[bool | int, ...], list[Frame]] = {}
    for frame in frames:
        c = frame.counters
        key = (not frame.reference, c.repetition, c.set, c.phase, c.contrast, c.average)
        groups.setdefault(key, []).append(frame)
    if order == "by-line":
        return list(groups.values())
    result = []
    for group in groups.values():
        if order == "interleaved":
            group = group[::2] + group[1::2]
        result += [[frame] for frame in (group[::-1] if order == "reversed" else group)]
    return result


def _frame_lines(
    frame: Frame,
    request: ScanRequest,
    metadata: ScanMetadata,
    fov_mm: Vector,
    noise: Tensor | None,
    generator: Generator,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Headers ``(line,)`` and samples ``(coil, sample)`` of the measured lines of a frame."""
    z, y = torch.nonzero(frame.mask > 0, as_tuple=True)
    readouts = frame.kspace[:, z, y]
    if request.oversampling:
        readouts = _oversample(readouts, noise, generator)
    n_full = readouts.shape[-1]
    n_missing = 0 if frame.reference else n_full - round(request.partial_echo * n_full)
    readouts = readouts[..., n_missing:]
    skip_z, skip_y = first_measured(frame, request.fourier_fractions)
    heads = frame_headers(frame, metadata, fov_mm[0] + metadata.slice_gap_mm)
    heads["number_of_samples"] = readouts.shape[-1]
    heads["center_sample"] = n_full // 2 - n_missing
    heads["idx"]["kspace_encode_step_1"] = y.numpy() - skip_y
    heads["idx"]["kspace_encode_step_2"] = z.numpy() - skip_z
    heads["idx"]["segment"] = np.arange(len(heads)) % request.segments
    lines = list(readouts.movedim(1, 0).numpy())
    if request.alternate and not frame.reference:
        lines[1::2] = [line[:, ::-1] for line in lines[1::2]]
        mark_reversed(heads[1::2])
    return heads, lines


def _oversample(readouts: Tensor, noise: Tensor | None, generator: Generator) -> Tensor:
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
