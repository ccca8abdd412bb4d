"""What a scan contains and whether it is reconstructed, decided from header and line heads alone.

One image per (repetition, set, phase, contrast, slice), in this nesting, slices fastest; in 3-D one
volume per slab. The segment counter is ignored and repeated lines count as averages: in a Cartesian
scan both only say when a line was measured.
"""

from dataclasses import dataclass, field

import numpy as np

from ..geometry import Counters, Encoding
from .calibration_lines import SEPARATE, CalibrationLines, choose_calibration_lines
from .errors import BadScan, UnsupportedScan
from .header import ScanHeader
from .lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    PHASE_CORRECTION,
    REVERSE,
    has_flag,
    sort_lines,
)

NESTING = ("repetition", "set", "phase", "contrast", "slice")


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """The images of a scan: which lines make each of them.

    `groups` maps the counters of an image to the indices of its lines, `calibration` a slice
    number to the lines of the ACS that its images share (none: each uses its own), `noise` are the
    noise lines, `rejected` counts lines set aside, by reason.
    """

    header: ScanHeader
    encoding: Encoding
    groups: dict[Counters, np.ndarray]
    noise: np.ndarray
    n_coils: int
    rejected: dict[str, int] = field(default_factory=dict)
    calibration: dict[int, CalibrationLines] = field(default_factory=dict)


def plan_scan(header: ScanHeader, heads: np.ndarray) -> ScanPlan:
    """Find the images of a scan.

    Raises
    ------
    UnsupportedScan
        No image lines, or a kind of scan that is declined.
    BadScan
        Counters that contradict the header.
    """
    lines, noise, rejected = sort_lines(heads)
    if not len(lines):
        counts = ", ".join(f"{n} {name}" for name, n in rejected.items())
        raise UnsupportedScan(
            f"no image lines among {len(heads)} acquisitions ({len(noise)} noise lines"
            + (f", {counts})" if counts else ")")
        )
    encoding, is_reference = _split_reference(header, heads[lines])
    image, reference = lines[~is_reference], lines[is_reference]
    n_coils = _n_coils(heads, lines)
    same = heads["active_channels"][noise] == n_coils
    if not same.all():
        rejected["noise of other coils"] = int((~same).sum())
    _check_kind(encoding, heads, image)
    groups = _group(heads, image)
    calibration = choose_calibration_lines(heads, encoding, groups, reference, header.encodings)
    return ScanPlan(header, encoding, groups, noise[same], n_coils, rejected, calibration)


def _split_reference(header: ScanHeader, heads: np.ndarray) -> tuple[Encoding, np.ndarray]:
    """Return the encoding of the images, and which lines only calibrate them."""
    only = has_flag(heads, CALIBRATION) & ~has_flag(heads, CALIBRATION_AND_IMAGING)
    only = np.zeros_like(only) if only.all() else only
    spaces = np.unique(heads["encoding_space_ref"])
    if spaces[-1] >= len(header.encodings):
        missing = int(spaces[-1])
        raise BadScan(f"lines refer to encoding {missing}, the header has {len(header.encodings)}")
    of_images = np.unique(heads["encoding_space_ref"][~only]).tolist()
    if len(of_images) > 1:
        raise UnsupportedScan(f"image lines of several encoding spaces: {of_images}")
    encoding = header.encodings[of_images[0]]
    if encoding.calibration_mode not in SEPARATE:
        only &= heads["encoding_space_ref"] != of_images[0]
    return encoding, only


def _n_coils(heads: np.ndarray, lines: np.ndarray) -> int:
    counts = np.unique(heads["active_channels"][lines]).tolist()
    if len(counts) > 1:
        raise UnsupportedScan(f"mixed coil counts: {', '.join(map(str, counts))} channels")
    if counts[0] == 0:
        raise BadScan("lines without coils: active_channels is 0")
    return counts[0]


def _check_kind(encoding: Encoding, heads: np.ndarray, image: np.ndarray) -> None:
    """Decline what needs another way to an image."""
    if encoding.trajectory == "epi":
        raise UnsupportedScan("trajectory is epi: echo-planar scans are not reconstructed")
    if encoding.trajectory != "cartesian":
        raise UnsupportedScan(f"trajectory is {encoding.trajectory}, expected cartesian")
    if has_flag(heads, PHASE_CORRECTION).any() and has_flag(heads[image], REVERSE).any():
        raise UnsupportedScan("reversed lines with phase correction: this is an echo-planar scan")
    partitions = np.unique(heads["idx"]["kspace_encode_step_2"][image])
    if len(partitions) > 1 and not encoding.is_3d:
        raise UnsupportedScan(
            f"lines of {len(partitions)} partitions, the encoded matrix has 1 along z"
        )


def _group(heads: np.ndarray, image: np.ndarray) -> dict[Counters, np.ndarray]:
    keys = np.stack([heads["idx"][name][image] for name in NESTING], axis=-1)
    distinct, member = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(member.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(member.reshape(-1), minlength=len(distinct)))
    lines = np.split(image[order], ends[:-1])
    counters = (Counters(**dict(zip(NESTING, map(int, key), strict=True))) for key in distinct)
    return dict(zip(counters, lines, strict=True))
