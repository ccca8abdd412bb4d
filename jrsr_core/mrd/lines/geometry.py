"""Header of one line -> place of its image, and the fields that the image header copies."""

import math

import numpy as np

from jrsr_core.common.spelling import counted
from jrsr_core.data import AcquisitionStamp, SliceGeometry
from jrsr_core.data.geometry import (
    DIRECTIONS,
    faults_of_axes,
    filled_axes,
    from_others,
    three_numbers,
)
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.encoding import LARGEST_MM, Encoding

MAX_ANGLE_DEG = 10.0
"""Rotation that motion correction may apply to the lines and images of one slice."""

MIN_COSINE = math.cos(math.radians(MAX_ANGLE_DEG))


def slice_geometry(head: np.void, encoding: Encoding) -> SliceGeometry:
    """Return where the acquired image lies: readout oversampling removed, phase oversampling not.

    A direction that is empty follows from the other two; of two or more, the axes of the patient
    are taken (`direction_note`).
    """
    read_dir, phase_dir, slice_dir = filled_axes([head[name] for name in DIRECTIONS])
    z, y, x = encoding.acquired_fov_mm
    return SliceGeometry(
        position_mm=three_numbers("position", head["position"]),
        read_dir=read_dir,
        phase_dir=phase_dir,
        slice_dir=slice_dir,
        fov_mm=(z if encoding.is_3d else encoding.recon_fov_mm[0], y, x),
        patient_table_position_mm=three_numbers(
            "patient_table_position", head["patient_table_position"]
        ),
    )


def check_places(heads: np.ndarray) -> None:
    """Raise `BadScan` unless images of these lines lie somewhere: DICOM and NIfTI need a place.

    Position and directions have to be numbers, the directions without `faults_of_axes`.
    """
    for name in ("position", *DIRECTIONS):
        wrong = ~(np.abs(heads[name]) < LARGEST_MM).all(-1)
        if wrong.any():
            value = heads[name][int(wrong.argmax())].tolist()
            raise BadScan(f"{int(wrong.sum())} lines have no usable {name}: {value}")
    for wrong, fault in faults_of_axes([heads[name].astype(np.float64) for name in DIRECTIONS]):
        raise BadScan(f"{counted(int(wrong.sum()), 'line')}: {fault}")


def direction_note(heads: np.ndarray, what: str = "line") -> str:
    """Return that axial images are assumed, if headers have no directions; empty if all have some.

    `what` names what a header is of.
    """
    return _note(heads, what, "have no orientation: axial images are assumed")


def reference_direction_note(heads: np.ndarray) -> str:
    """Return how reference lines without directions are used; empty if all have some."""
    text = "have no orientation: that of the images, and their centre, is assumed"
    return _note(heads, "reference line", text)


def _note(heads: np.ndarray, what: str, text: str) -> str:
    """Return a text about all headers without directions, which begins with "have"."""
    n = int(_assumes_axes(heads).sum())
    text = text.replace("have", "has", 1) if n == 1 else text
    return f"{counted(n, what)} {text}" if n else ""


def with_directions(heads: np.ndarray) -> np.ndarray:
    """Return the headers with every single missing direction filled in: it follows from two others.

    Headers that lack none, or two, are returned as they are.
    """
    given = np.stack([heads[name].any(-1) for name in DIRECTIONS])
    if not (is_alone := given.sum(0) == 2).any():
        return heads
    heads = heads.copy()
    for i, name in enumerate(DIRECTIONS):
        lines = is_alone & ~given[i]
        heads[name][lines] = from_others([heads[other][lines] for other in DIRECTIONS], i)
    return heads


def _assumes_axes(heads: np.ndarray) -> np.ndarray:
    """Return which lines have fewer than two directions."""
    return np.sum([heads[name].any(-1) for name in DIRECTIONS], axis=0) < 2


def acquisition_stamp(head: np.void, first_stamp: int) -> AcquisitionStamp:
    """Return the fields of a line that the header of its image copies, and the first time stamp."""
    first, second, third = (int(v) for v in head["physiology_time_stamp"])
    return AcquisitionStamp(
        measurement_uid=int(head["measurement_uid"]),
        scan_counter=int(head["scan_counter"]),
        acquisition_time_stamp=int(head["acquisition_time_stamp"]),
        physiology_time_stamp=(first, second, third),
        user_int=tuple(int(v) for v in head["user_int"]),
        user_float=tuple(float(v) for v in head["user_float"]),
        first_time_stamp=first_stamp,
    )
