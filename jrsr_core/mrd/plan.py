"""What a scan contains and whether it is reconstructed, decided from header and line heads alone.

One image per (repetition, set, phase, contrast, slice), in this nesting, slices fastest. The
segment counter is ignored and repeated lines count as averages: in a Cartesian scan both only say
when a line was measured.
"""

from dataclasses import dataclass, field

import numpy as np

from ..geometry import Counters, Encoding
from .errors import BadScan, UnsupportedScan
from .header import ScanHeader
from .lines import CALIBRATION, PHASE_CORRECTION, REVERSE, has_flag, sort_lines

NESTING = ("repetition", "set", "phase", "contrast", "slice")


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """The images of a scan: which lines make each of them.

    `groups` maps the counters of an image to the indices of its lines, `noise` are the noise
    lines, `rejected` counts lines set aside, by reason.
    """

    header: ScanHeader
    encoding: Encoding
    groups: dict[Counters, np.ndarray]
    noise: np.ndarray
    n_coils: int
    rejected: dict[str, int] = field(default_factory=dict)


def plan_scan(header: ScanHeader, heads: np.ndarray) -> ScanPlan:
    """Find the images of a scan.

    Raises
    ------
    UnsupportedScan
        No image lines, or a kind of scan that is declined.
    BadScan
        Counters that contradict the header.
    """
    image, noise, rejected = sort_lines(heads)
    if not len(image):
        counts = ", ".join(f"{n} {name}" for name, n in rejected.items())
        raise UnsupportedScan(
            f"no image lines among {len(heads)} acquisitions ({len(noise)} noise lines"
            + (f", {counts})" if counts else ")")
        )
    encoding = _encoding(header, heads[image])
    n_coils = _n_coils(heads, image, noise)
    _check_kind(encoding, heads, image)
    return ScanPlan(header, encoding, _group(heads, image), noise, n_coils, rejected)


def _encoding(header: ScanHeader, heads: np.ndarray) -> Encoding:
    spaces = np.unique(heads["encoding_space_ref"]).tolist()
    if len(spaces) > 1:
        raise UnsupportedScan(f"lines of several encoding spaces: {spaces}")
    if spaces[0] >= len(header.encodings):
        raise BadScan(
            f"lines refer to encoding {spaces[0]}, the header has {len(header.encodings)}"
        )
    return header.encodings[spaces[0]]


def _n_coils(heads: np.ndarray, image: np.ndarray, noise: np.ndarray) -> int:
    counts = np.unique(heads["active_channels"][np.concatenate((image, noise))]).tolist()
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
    if encoding.is_3d or len(partitions) > 1:
        n = max(encoding.encoding_matrix[0], len(partitions))
        raise UnsupportedScan(f"3-D scan with {n} partitions, expected 2-D slices")
    if encoding.calibration_mode in ("separate", "external") and (
        has_flag(heads[image], CALIBRATION).any()
    ):
        raise UnsupportedScan(f"calibration lines of a {encoding.calibration_mode} reference scan")


def _group(heads: np.ndarray, image: np.ndarray) -> dict[Counters, np.ndarray]:
    keys = np.stack([heads["idx"][name][image] for name in NESTING], axis=-1)
    distinct, member = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(member.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(member.reshape(-1), minlength=len(distinct)))
    lines = np.split(image[order], ends[:-1])
    counters = (Counters(**dict(zip(NESTING, map(int, key), strict=True))) for key in distinct)
    return dict(zip(counters, lines, strict=True))
