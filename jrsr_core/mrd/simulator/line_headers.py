"""Headers of the lines of a simulated scan: counters, flags, positions, time stamps."""

import numpy as np

from jrsr_core.mrd.header.scan_header import LIMITED_COUNTERS
from jrsr_core.mrd.lines.acquired import (
    FIRST_IN_REPETITION,
    FIRST_IN_SLICE,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    REJECTED,
    REVERSE,
    channel_mask,
    flag_bits,
)

from .frames import Frame
from .header import ScanMetadata

DWELL_US = 5.0


def frame_headers(frame: Frame, metadata: ScanMetadata, slice_step_mm: float) -> np.ndarray:
    """Return headers ``(line,)`` of the measured lines: flags, image counters and position.

    `slice_step_mm` is the distance of adjacent slices.
    """
    measured = frame.mask > 0
    heads = _common_headers(int(measured.sum()), metadata, frame.kspace.shape[0])
    heads["encoding_space_ref"] = frame.space
    heads["flags"] = frame.flags[measured].numpy()
    for name in LIMITED_COUNTERS:
        heads["idx"][name] = getattr(frame.counters, name)
    place = frame.counters.slice if frame.place is None else frame.place
    offset = place * slice_step_mm * np.array(metadata.slice_dir)
    heads["position"] = np.add(metadata.position_mm, offset)
    heads["flags"][0] |= np.uint64(flag_bits(FIRST_IN_SLICE))
    heads["flags"][-1] |= np.uint64(flag_bits(LAST_IN_SLICE))
    return heads


def mark_reversed(heads: np.ndarray) -> None:
    """Change the headers of readouts that are acquired backwards."""
    heads["flags"] |= np.uint64(flag_bits(REVERSE))
    heads["center_sample"] = heads["number_of_samples"] - 1 - heads["center_sample"]


def noise_headers(data: list[np.ndarray], metadata: ScanMetadata, dwell: float) -> np.ndarray:
    """Return the headers of noise lines ``(coil, sample)`` with `dwell` times the dwell time."""
    heads = _common_headers(len(data), metadata, data[0].shape[0])
    heads["number_of_samples"] = [line.shape[1] for line in data]
    heads["flags"] = flag_bits(NOISE)
    heads["sample_time_us"] = DWELL_US * dwell
    return heads


def spare_headers(head: np.void) -> np.ndarray:
    """Return one header of every kind of line that is not image data, otherwise like `head`."""
    kinds = [flag for flag in REJECTED if flag != NOISE]
    heads = np.array([head] * len(kinds), HEAD_DTYPE)
    heads["flags"] = [flag_bits(flag) for flag in kinds]
    return heads


def finish_headers(heads: np.ndarray) -> None:
    """Set number and time stamp of every line, and flag the first and the last image line."""
    heads["scan_counter"] = np.arange(1, len(heads) + 1)
    heads["acquisition_time_stamp"] = np.arange(len(heads))
    image = np.flatnonzero(heads["flags"] & np.uint64(flag_bits(*REJECTED)) == 0)
    heads["flags"][image[0]] |= np.uint64(flag_bits(FIRST_IN_REPETITION))
    heads["flags"][image[-1]] |= np.uint64(flag_bits(LAST_IN_REPETITION, LAST_IN_MEASUREMENT))


def _common_headers(n_lines: int, metadata: ScanMetadata, n_coils: int) -> np.ndarray:
    """Headers with the fields that all lines of a scan share."""
    heads = np.zeros(n_lines, HEAD_DTYPE)
    heads["version"] = 1
    heads["measurement_uid"] = 1
    heads["available_channels"] = heads["active_channels"] = n_coils
    heads["channel_mask"] = channel_mask(n_coils)
    heads["sample_time_us"] = DWELL_US
    heads["position"] = metadata.position_mm
    for name in ("read_dir", "phase_dir", "slice_dir"):
        heads[name] = getattr(metadata, name)
    return heads
