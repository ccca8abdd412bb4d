"""Line heads of a simulated scan: counters, flags, positions, noise and spare lines."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..geometry import Vector
from .lines import (
    FIRST_IN_REPETITION,
    FIRST_IN_SLICE,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    REJECTED,
    REVERSE,
    flag_bits,
)
from .simulated_frames import Frame
from .simulated_header import ScanLabels

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
