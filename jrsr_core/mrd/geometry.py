"""Header of one line -> place of its image, and the fields that the image header copies."""

import math

import numpy as np

from jrsr_core.data import AcquisitionStamp, SliceGeometry, Vector
from jrsr_core.data.geometry import (
    AXIAL,
    DIRECTIONS,
    MAX_COSINE,
    MIN_AXIAL_COSINE,
    NEEDS_TWO,
    filled_axes,
    from_others,
)

from .encoding import Encoding
from .errors import BadScan

LARGEST_MM = 1e6

MAX_ANGLE_DEG = 10.0
"""Rotation that motion correction may apply to the lines and images of one slice."""

MIN_COSINE = math.cos(math.radians(MAX_ANGLE_DEG))


HALF_DAY = 17_280_000
"""Half a day in the ticks of 2.5 ms of Siemens; no image takes as long in those of others."""


def slice_geometry(head: np.void, encoding: Encoding) -> SliceGeometry:
    """Return where the acquired image lies: readout oversampling removed, phase oversampling not.

    A direction that is empty follows from the other two; of two or more, the axes of the patient
    are taken (`direction_note`).
    """
    read_dir, phase_dir, slice_dir = filled_axes([head[name] for name in DIRECTIONS])
    z, y, x = encoding.acquired_fov_mm
    return SliceGeometry(
        position_mm=_vector(head["position"]),
        read_dir=read_dir,
        phase_dir=phase_dir,
        slice_dir=slice_dir,
        fov_mm=(z if encoding.is_3d else encoding.recon_fov_mm[0], y, x),
        patient_table_position_mm=_vector(head["patient_table_position"]),
    )


def check_places(heads: np.ndarray) -> None:
    """Raise `BadScan` unless images of these lines lie somewhere: DICOM and NIfTI need a place.

    Position and directions have to be numbers, readout and phase encode perpendicular. A direction
    that is given alone has to be that of an axial image, which is assumed then.
    """
    for name in ("position", *DIRECTIONS):
        wrong = ~(np.abs(heads[name]) < LARGEST_MM).all(-1)
        if wrong.any():
            value = heads[name][int(wrong.argmax())].tolist()
            raise BadScan(f"{int(wrong.sum())} lines have no usable {name}: {value}")
    read, phase = (heads[name].astype(np.float64) for name in ("read_dir", "phase_dir"))
    lengths = np.linalg.norm(read, axis=-1) * np.linalg.norm(phase, axis=-1)
    cosine = np.abs((read * phase).sum(-1)) / np.where(lengths > 0, lengths, 1.0)
    if (cosine > MAX_COSINE).any():
        text = f"read_dir and phase_dir are not perpendicular, their cosine is {cosine.max():.3f}"
        raise BadScan(f"{int((cosine > MAX_COSINE).sum())} lines: {text}")
    _check_lone_directions(heads)


def _check_lone_directions(heads: np.ndarray) -> None:
    alone = _assumes_axes(heads)
    for name, axis in zip(DIRECTIONS, np.array(AXIAL), strict=True):
        given = heads[name][alone & heads[name].any(-1)].astype(np.float64)
        along = given @ axis / np.maximum(np.linalg.norm(given, axis=-1), 1e-30)
        if (wrong := along < MIN_AXIAL_COSINE).any():
            value = given[int(wrong.argmax())].tolist()
            raise BadScan(
                f"{int(wrong.sum())} lines have {name} {value} and no other direction: {NEEDS_TWO}"
            )


def direction_note(heads: np.ndarray, what: str = "lines") -> str:
    """Return that axial images are assumed, if headers have no directions; empty if all have some.

    `what` names what the headers are of.
    """
    n = int(_assumes_axes(heads).sum())
    return f"{n} {what} have no orientation: axial images are assumed" if n else ""


def reference_direction_note(heads: np.ndarray) -> str:
    """Return how reference lines without directions are used; empty if all have some."""
    n = int(_assumes_axes(heads).sum())
    text = "reference lines have no orientation: that of the images, and their centre, is assumed"
    return f"{n} {text}" if n else ""


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


def first_time_stamp(heads: np.ndarray) -> int:
    """Return the smallest time stamp of lines, 0 if none has one.

    Stamps may count from midnight: of lines on both sides of it, the first are those before.
    """
    stamps = heads["acquisition_time_stamp"]
    stamps = stamps[stamps > 0].astype(np.int64)
    if not len(stamps):
        return 0
    before_midnight = stamps[stamps - stamps.min() > HALF_DAY]
    return int((before_midnight if len(before_midnight) else stamps).min())


def acquisition_stamp(head: np.void, first_time_stamp: int = 0) -> AcquisitionStamp:
    """Return the fields of a line that the header of its image copies."""
    first, second, third = (int(v) for v in head["physiology_time_stamp"])
    return AcquisitionStamp(
        measurement_uid=int(head["measurement_uid"]),
        scan_counter=int(head["scan_counter"]),
        acquisition_time_stamp=int(head["acquisition_time_stamp"]),
        physiology_time_stamp=(first, second, third),
        user_int=tuple(int(v) for v in head["user_int"]),
        user_float=tuple(float(v) for v in head["user_float"]),
        first_time_stamp=first_time_stamp,
    )


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(v) for v in values)
    return (x, y, z)
