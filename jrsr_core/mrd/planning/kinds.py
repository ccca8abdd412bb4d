"""Kinds of encoding spaces: declined by the header alone, or 2-D although it says 3-D."""

from dataclasses import replace

import numpy as np

from jrsr_core.mrd.encoding import Encoding
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header import ScanHeader


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
