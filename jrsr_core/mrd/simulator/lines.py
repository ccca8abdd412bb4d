"""A simulated scan as a scanner would write it: header, lines, noise lines, flags.

Readout oversampling is the inverse of its removal: the readout of n samples is padded to 2n in the
image. The outer half of the field of view is empty but for noise, which is drawn from the noise
lines, so that the whole readout has one noise level.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jrsr_core.data import Counters, Vector
from jrsr_core.mrd.lines import (
    FIRST_IN_REPETITION,
    FIRST_IN_SLICE,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    REJECTED,
    REVERSE,
    LineList,
    flag_bits,
)
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad

from .frames import Frame, ScanStyle, make_frame, partial_fourier
from .header import ScanLabels, encoding_texts, first_counters, header_xml


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


# FOLDED jrsr_core/mrd/simulated_heads.py: Line heads of a simulated scan: counters, flags, positions, noise and spare lines.
DWELL_US = 5.0
NOISE_LINE_SAMPLES = 256
ORDERS = ("sequential", "interleaved", "reversed", "by-line")


@dataclass(frozen=True)
class FrameHeads:
    """Writes the heads of one frame with readouts of `shape` ``(coil, line, sample)``."""

    labels: ScanLabels
    fov_mm: Vector
    shape: tuple[int, ...]
    center_sample: int
    segments: int

    def write(self, frame: Frame, partitions: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the heads of lines with these counters, in the order of the mask."""
        n_coils, n_lines, n_samples = self.shape
        heads = np.zeros(n_lines, HEAD_DTYPE)
        common_fields(heads, self.labels, n_coils)
        heads["number_of_samples"] = n_samples
        heads["center_sample"] = self.center_sample
        heads["encoding_space_ref"] = frame.space
        heads["flags"] = frame.flags[frame.mask > 0].numpy()
        idx = heads["idx"]
        idx["kspace_encode_step_1"], idx["kspace_encode_step_2"] = rows, partitions
        idx["segment"] = np.arange(n_lines) % self.segments
        for name in ("slice", "average", "contrast", "phase", "repetition", "set"):
            idx[name] = getattr(frame.counters, name)
        place = frame.counters.slice if frame.place is None else frame.place
        offset = place * (self.fov_mm[0] + self.labels.slice_gap_mm)
        heads["position"] = np.add(
            self.labels.position_mm, offset * np.array(self.labels.slice_dir)
        )
        heads["flags"][0] |= np.uint64(flag_bits(FIRST_IN_SLICE))
        heads["flags"][-1] |= np.uint64(flag_bits(LAST_IN_SLICE))
        return heads

    def reverse(self, heads: np.ndarray) -> None:
        """Mark readouts that were turned round."""
        heads["flags"] |= np.uint64(flag_bits(REVERSE))
        heads["center_sample"] = self.shape[-1] - 1 - self.center_sample


def common_fields(heads: np.ndarray, labels: ScanLabels, n_coils: int) -> None:
    """Fill in what all lines of a scan share."""
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


def noise_heads(
    noise: Tensor | None, labels: ScanLabels, n_scans: int, dwell: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return heads and samples of the noise lines: E|n|^2 goes with 1 / dwell time."""
    if noise is None:
        return [], []
    parts = [p / dwell**0.5 for p in noise.split(NOISE_LINE_SAMPLES, dim=1)] * n_scans
    heads = np.zeros(len(parts), HEAD_DTYPE)
    common_fields(heads, labels, noise.shape[0])
    heads["number_of_samples"] = [p.shape[1] for p in parts]
    heads["flags"] = flag_bits(NOISE)
    heads["sample_time_us"] = DWELL_US * dwell
    return [heads], [p.numpy() for p in parts]


def spare_heads(head: np.void) -> np.ndarray:
    """Return one head of every kind that makes no image, like `head` otherwise."""
    kinds = [flag for flag in REJECTED if flag != NOISE]
    heads = np.array([head] * len(kinds), HEAD_DTYPE)
    heads["flags"] = [flag_bits(flag) for flag in kinds]
    return heads


def order_lines(frames: list[Frame], order: str) -> list[list[Frame]]:
    """Return groups of frames in the order of time; the lines of one group take turns."""
    groups: dict[tuple, list[Frame]] = {}
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


def finish_heads(heads: np.ndarray) -> None:
    """Counters and time stamps along the scan, flags of its first and last line."""
    heads["scan_counter"] = np.arange(1, len(heads) + 1)
    heads["acquisition_time_stamp"] = np.arange(len(heads))
    spare = flag_bits(*REJECTED)
    image = np.flatnonzero(heads["flags"] & np.uint64(spare) == 0)
    heads["flags"][image[0]] |= np.uint64(flag_bits(FIRST_IN_REPETITION))
    heads["flags"][image[-1]] |= np.uint64(flag_bits(LAST_IN_REPETITION, LAST_IN_MEASUREMENT))
