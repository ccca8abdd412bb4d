"""What every reader returns, and what the user states where a file does not say it."""

from dataclasses import dataclass, fields

from gadget.errors import UsageError
from jrsr_core.data import Vector
from jrsr_core.mrd.lines.acquired import LineList

Directions = tuple[Vector, Vector]

ORIENTATIONS: dict[str, Directions] = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}
"""Directions of readout and phase encode in patient coordinates (L, P, S)."""

MAX_COSINE = 1e-3
"""Largest cosine of readout and phase encode direction that counts as rounding."""


@dataclass(frozen=True)
class ImportedScan:
    """A scan as it will be written: ISMRMRD header and lines.

    `notes` are sentences for the user: what was taken that the file does not say, and what was
    left out.
    """

    header_xml: str
    lines: LineList
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stated:
    """Statements of the user about a file, by the name of their option; None: not stated.

    Attributes
    ----------
    axes
        Names of the axes of an array, in its order.
    fov
        Field of view ``(x, y, z)`` of the image in mm: readout, phase encode, thickness of a slice
        or of a 3-D slab.
    oversampling
        Acquired over delivered field of view along the readout.
    orientation
        Directions of readout and phase encode (L, P, S).
    position
        Centre (L, P, S) of all slices, or of the slab, in mm.
    spacing
        Distance of the centres of adjacent slices in mm.
    field
        Magnetic field in T.
    variable
        Name of the array in a MATLAB file.
    measurement
        Number of the measurement in a Siemens file, from 1.
    """

    axes: tuple[str, ...] | None = None
    fov: Vector | None = None
    oversampling: float | None = None
    orientation: Directions | None = None
    position: Vector | None = None
    spacing: float | None = None
    field: float | None = None
    variable: str | None = None
    measurement: int | None = None

    def check_used(self, kind: str, used: set[str]) -> None:
        """Raise `UsageError` where something is stated that a kind of file does not take."""
        stated = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        if unused := sorted(stated - used):
            options = ", ".join(f"--{name}" for name in unused)
            raise UsageError(f"{options}: not for {kind}, which needs no such statement")

    def require(self, kind: str, wanted: tuple[str, ...]) -> None:
        """Raise `UsageError` that names every option of `wanted` that is missing."""
        if missing := [name for name in wanted if getattr(self, name) is None]:
            options = ", ".join(f"--{name}" for name in missing)
            raise UsageError(f"{kind} does not say it: add {options} (see jrsr import --help)")


def parse_numbers(option: str, text: str, n: int) -> tuple[float, ...]:
    """Return `n` numbers separated by commas.

    Raises
    ------
    UsageError
        Another number of them, or no finite numbers.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != n or not all(abs(v) < 1e6 for v in values):
        raise UsageError(f"--{option} is {text!r}, expected {n} numbers separated by commas")
    return values


def parse_fov(text: str) -> Vector:
    """Return a field of view ``(x, y, z)``; raises `UsageError` unless all are above 0."""
    x, y, z = parse_numbers("fov", text, 3)
    if min(x, y, z) <= 0:
        raise UsageError(f"--fov is {text!r}, expected lengths above 0 mm")
    return x, y, z


def parse_position(text: str) -> Vector:
    """Return a position (L, P, S) in mm; raises `UsageError`."""
    left, posterior, superior = parse_numbers("position", text, 3)
    return left, posterior, superior


def parse_orientation(text: str) -> Directions:
    """Return the directions of readout and phase encode.

    Raises
    ------
    UsageError
        Neither one of `ORIENTATIONS` nor six numbers of two perpendicular directions.
    """
    if text in ORIENTATIONS:
        return ORIENTATIONS[text]
    if "," not in text:
        names = ", ".join(ORIENTATIONS)
        raise UsageError(f"--orientation is {text!r}, expected {names} or six numbers")
    a, b, c, d, e, f = parse_numbers("orientation", text, 6)
    read, phase = _unit((a, b, c)), _unit((d, e, f))
    cosine = sum(p * q for p, q in zip(read, phase, strict=True))
    if not any(read) or not any(phase) or abs(cosine) > MAX_COSINE:
        raise UsageError(f"--orientation is {text!r}, expected two perpendicular directions")
    return read, phase


def _unit(v: Vector) -> Vector:
    length = sum(a * a for a in v) ** 0.5 or 1.0
    return v[0] / length, v[1] / length, v[2] / length
