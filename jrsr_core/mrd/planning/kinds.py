"""Kinds of encoding spaces: declined with the reason, or 2-D although the header says 3-D."""

from dataclasses import replace

import numpy as np

from jrsr_core.mrd.acs.lines import MIN_LINES
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.header.stated_fov import check_crop
from jrsr_core.mrd.lines.acquired import ENCODE_STEPS, NESTING, PHASE_CORRECTION, REVERSE, has_flag
from jrsr_core.mrd.lines.distinct import distinct_rows


def check_encoding(encoding: Encoding) -> None:
    """Decline kinds of scans that need another reconstruction.

    Raises
    ------
    UnsupportedScan
        A trajectory that is not Cartesian, or simultaneous slices.
    """
    if encoding.trajectory == "epi":
        raise UnsupportedScan("trajectory is epi: echo-planar scans are not reconstructed")
    if encoding.trajectory != "cartesian":
        raise UnsupportedScan(f"trajectory is {encoding.trajectory}, expected cartesian")
    if encoding.multiband_factor > 1:
        factor = encoding.multiband_factor
        raise UnsupportedScan(f"multiband factor is {factor}: simultaneous slices are not parted")


def check_header(header: ScanHeader) -> None:
    """Decline a scan of which no encoding space can be reconstructed, before any line has come.

    Raises
    ------
    UnsupportedScan
        As `check_encoding`, for the first encoding space.
    """
    declined = []
    for encoding in header.encodings:
        try:
            check_encoding(encoding)
        except UnsupportedScan as error:
            declined.append(error)
    if len(declined) == len(header.encodings):
        raise declined[0]


def flatten_encodings(
    header: ScanHeader, heads: np.ndarray, lines: np.ndarray
) -> tuple[ScanHeader, dict[int, str]]:
    """Make 2-D the encoding spaces with several partitions whose lines are all of one.

    The image has to have one partition as well: Pulseq and others round the slice thickness up to
    an even number of encoded partitions.

    Returns
    -------
    ScanHeader
        The header with the encodings as they are used.
    dict
        One sentence by encoding space that was changed.
    """
    encodings, notes = list(header.encodings), {}
    spaces = heads["encoding_space_ref"][lines]
    for number in np.unique(spaces).tolist():
        encoding = encodings[number]
        partitions = np.unique(heads["idx"]["kspace_encode_step_2"][lines[spaces == number]])
        if encoding.is_3d and encoding.recon_matrix[0] == 1 and len(partitions) == 1:
            encodings[number] = replace(
                encoding,
                encoding_matrix=(1, *encoding.encoding_matrix[1:]),
                center_partition=int(partitions[0]),
            )
            notes[number] = (
                f"the encoded matrix has {encoding.encoding_matrix[0]} along z, all lines are of "
                "one partition: the scan is taken as 2-D"
            )
    return (replace(header, encodings=tuple(encodings)) if notes else header), notes


def reconstructible(
    header: ScanHeader, heads: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the lines of the encoding spaces that make images, and the number of others by reason.

    At least one encoding space has to make an image.
    """
    spaces = heads["encoding_space_ref"][image]
    numbers = np.unique(spaces).tolist()
    if len(numbers) == 1:
        _check_kind(header.encodings[numbers[0]], heads, image)
        return image, {}
    good = np.zeros(len(image), dtype=bool)
    rejected = {}
    for number in numbers:
        members = spaces == number
        try:
            _check_kind(header.encodings[number], heads, image[members])
            _check_number(heads, image[members])
        except UnsupportedScan as error:
            rejected[f"of encoding {number} ({error})"] = int(members.sum())
        else:
            good |= members
    if not good.any():
        raise UnsupportedScan(f"no lines that make an image: {'; '.join(rejected)}")
    return image[good], rejected


def _check_kind(encoding: Encoding, heads: np.ndarray, image: np.ndarray) -> None:
    """Decline kinds of scans that need another reconstruction."""
    check_encoding(encoding)
    check_crop(encoding)
    if has_flag(heads, PHASE_CORRECTION).any() and _mixes_directions(heads[image]):
        raise UnsupportedScan(
            "reversed lines with phase correction, and others in the same image: "
            "this is an echo-planar scan"
        )
    partitions = np.unique(heads["idx"]["kspace_encode_step_2"][image])
    if len(partitions) > 1 and not encoding.is_3d:
        raise UnsupportedScan(
            f"lines of {len(partitions)} partitions, the encoded matrix has 1 along z"
        )


def _mixes_directions(heads: np.ndarray) -> bool:
    """Return whether an image has readouts of both directions.

    The echoes of a bipolar multi-echo scan alternate their direction, each is an image of its own.
    """
    image = distinct_rows([heads["idx"][name] for name in NESTING]).member
    return len(distinct_rows([image, has_flag(heads, REVERSE)]).rows) > image.max() + 1


def _check_number(heads: np.ndarray, image: np.ndarray) -> None:
    """Decline a handful of stray lines beside the images of another space."""
    n = len(distinct_rows([heads["idx"][name][image] for name in ENCODE_STEPS]).rows)
    if n < MIN_LINES:
        raise UnsupportedScan(f"{n} phase-encode lines make no image")
