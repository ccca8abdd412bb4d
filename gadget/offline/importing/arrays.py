"""k-space in an array with named axes -> lines.

Readout along x, phase encodes along y and z; k = 0 lies at n // 2 of each of them. Lines of zeros
alone were not measured: undersampling, and the part that partial Fourier leaves out. Neither was an
end of the readout that is zero in all lines: the part that an asymmetric echo leaves out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from gadget.errors import UsageError
from jrsr_core.common.spelling import nearest
from jrsr_core.data import Vector
from jrsr_core.echo import measured_part, note_on_ends
from jrsr_core.image_arrays import kspace_notes, strongest
from jrsr_core.mrd.lines.acquired import (
    FIRST_IN_SLICE,
    FRAME_COUNTERS,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_SLICE,
    LineList,
    flag_bits,
)
from jrsr_core.numeric import PAIRS, numeric_array

from .header import EncodingFacts
from .lazy import LazyLines
from .scan import ORIENTATIONS, Stated

AXES = (*FRAME_COUNTERS, "z", "y", "coil", "x")
"""All axes, in the order in which an array is brought."""

MAX_SIZE = 65535
"""Largest size of an axis: counters and sample numbers of ISMRMRD have 16 bits."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where an array lies: lengths in mm, directions and positions in (L, P, S)."""

    fov_mm: Vector
    oversampling: float
    read_dir: Vector
    phase_dir: Vector
    position_mm: Vector
    spacing_mm: float

    @property
    def slice_dir(self) -> Vector:
        """Direction in which slices and partitions ascend."""
        x, y, z = (float(v) for v in np.cross(self.read_dir, self.phase_dir))
        return x, y, z


def stated_geometry(stated: Stated, n_slices: int) -> tuple[Geometry, list[str]]:
    """Return the geometry and sentences about what the user has not stated.

    `stated.fov` and `stated.oversampling` are needed.
    """
    assert stated.fov is not None and stated.oversampling is not None, "required by the readers"
    notes = []
    if stated.orientation is None:
        notes.append("orientation is not known, axial is written (--orientation)")
    if stated.position is None:
        notes.append("position is not known, the isocentre is written (--position)")
    if stated.spacing is None and n_slices > 1:
        notes.append("distance of slices is not known, no gap is written (--spacing)")
    read, phase = stated.orientation or ORIENTATIONS["axial"]
    x, y, z = stated.fov
    geometry = Geometry(
        (z, y, x),
        stated.oversampling,
        read,
        phase,
        stated.position or (0, 0, 0),
        stated.spacing or z,
    )
    return geometry, notes


def ordered(array: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Return a view with all of `AXES` in their order; axes that are missing have one element.

    Pairs of real and imaginary part, as MATLAB 7.3 writes them, are copied to complex numbers.

    Raises
    ------
    UsageError
        Unknown or repeated axes, another number of axes than the array has, no readout or phase
        encode, values that are not complex, or sizes that ISMRMRD cannot number.
    """
    for name in axes:
        if name not in AXES:
            raise UsageError(f"--axes: no axis {name!r}{nearest(name, AXES)}")
    if len(set(axes)) < len(axes):
        raise UsageError(f"--axes is {','.join(axes)}: an axis is named twice")
    if len(axes) != array.ndim:
        shape = " x ".join(map(str, array.shape))
        raise UsageError(f"--axes names {len(axes)} axes, the array has {array.ndim} ({shape})")
    # Without a readout, two phase encodes are one readout position of a 3-D scan.
    needed = ("y",) if "z" in axes else ("y", "x")
    if missing := [name for name in needed if name not in axes]:
        raise UsageError(f"--axes is {','.join(axes)}: {' and '.join(missing)} missing")
    if set(array.dtype.names or ()) in PAIRS:
        array = numeric_array(array, "the array")
    if array.dtype.kind != "c":
        raise UsageError(f"values are {array.dtype}, expected complex k-space")
    for name, n in zip(axes, array.shape, strict=True):
        if not 0 < n <= MAX_SIZE:
            raise UsageError(f"axis {name} has {n} elements, expected 1 to {MAX_SIZE}")
    present = [name for name in AXES if name in axes]
    view = array.transpose([axes.index(name) for name in present])
    return np.expand_dims(view, [i for i, name in enumerate(AXES) if name not in axes])


class ArrayLines(LazyLines):
    """Samples ``(coil, x)`` of the measured lines, taken out of the array when asked for."""

    def __init__(self, array: np.ndarray, places: np.ndarray) -> None:
        self._array, self._places = array, places

    def __len__(self) -> int:
        return len(self._places)

    def line(self, index: int) -> np.ndarray:
        """Return the samples of one line."""
        with np.errstate(over="ignore"):
            return np.asarray(self._array[tuple(self._places[index])], np.complex64)


def array_lines(array: np.ndarray, geometry: Geometry) -> LineList:
    """Return the measured lines of an array as `ordered` returns it.

    Raises
    ------
    UsageError
        An array of zeros, or one whose lines are mostly zeros: its pattern has two dimensions.
    """
    places, samples = _measured(array)
    if not len(places):
        raise UsageError("the array holds zeros alone")
    _check_pattern(array, places[len(places) // 2])
    heads = np.zeros(len(places), HEAD_DTYPE)
    n_coils, nx = array.shape[-2:]
    heads["version"] = 1
    heads["scan_counter"] = np.arange(1, len(heads) + 1)
    heads["number_of_samples"], heads["center_sample"] = nx, nx // 2
    heads["discard_pre"], heads["discard_post"] = samples.start, nx - samples.stop
    heads["available_channels"] = heads["active_channels"] = n_coils
    for name, column in zip(FRAME_COUNTERS, places.T, strict=False):
        heads["idx"][name] = column
    heads["idx"]["kspace_encode_step_2"] = places[:, len(FRAME_COUNTERS)]
    heads["idx"]["kspace_encode_step_1"] = places[:, len(FRAME_COUNTERS) + 1]
    for name in ("read_dir", "phase_dir", "slice_dir"):
        heads[name] = getattr(geometry, name)
    n_slices = array.shape[FRAME_COUNTERS.index("slice")]
    steps = heads["idx"]["slice"] - (n_slices - 1) / 2
    heads["position"] = np.add(
        geometry.position_mm, steps[:, None] * geometry.spacing_mm * np.array(geometry.slice_dir)
    )
    _flag_ends(heads, places[:, : len(FRAME_COUNTERS)])
    return LineList(heads, ArrayLines(array, places))


def array_notes(array: np.ndarray, lines: LineList) -> list[str]:
    """Return sentences about ends of the readout that were not measured, and about k = 0."""
    head = lines.heads[0]
    before, after = (int(head[name]) for name in ("discard_pre", "discard_post"))
    ends = note_on_ends("x", before, after, int(head["number_of_samples"]))
    return [*ends, *_notes_on_array(array)]


def array_encoding(array: np.ndarray, lines: LineList, geometry: Geometry) -> EncodingFacts:
    """Return the encoding space of an array as `ordered` returns it."""
    nz, ny, _, nx = array.shape[-4:]
    z, y, x = geometry.fov_mm
    n_frames = int(np.prod(array.shape[: len(FRAME_COUNTERS)]))
    factor = max(1, round(nz * ny * n_frames / len(lines.heads)))
    return EncodingFacts(
        matrix=(nz, ny, nx),
        fov_mm=(z, y, x * geometry.oversampling),
        recon_matrix=(nz, ny, max(1, round(nx / geometry.oversampling))),
        recon_fov_mm=(z, y, x),
        center=(ny // 2, nz // 2),
        acceleration=(factor, 1),
    )


def _measured(array: np.ndarray) -> tuple[np.ndarray, slice]:
    """Return the places of lines with a sample that is not zero, and the part of x that has any.

    One frame is read at a time.
    """
    places, columns = [], np.zeros(array.shape[-1], bool)
    for frame in product(*(range(n) for n in array.shape[: len(FRAME_COUNTERS)])):
        is_there = (np.asarray(array[frame]) != 0).any(2)
        columns |= is_there.any((0, 1))
        places += [(*frame, int(z), int(y)) for z, y in np.argwhere(is_there.any(-1))]
    return np.array(places, np.int64).reshape(-1, len(AXES) - 2), measured_part(columns)


def _notes_on_array(array: np.ndarray) -> list[str]:
    """Return `kspace_notes` on the middle frame."""
    frame = array[tuple(n // 2 for n in array.shape[: len(FRAME_COUNTERS)])]
    with np.errstate(over="ignore"):
        energy = np.stack(
            [np.square(np.abs(plane), dtype=np.float64).sum(1) for plane in map(np.asarray, frame)]
        )
    plane = np.asarray(frame[strongest(energy)]).swapaxes(0, 1)
    return list(kspace_notes(energy, plane, ("z", "y", "x")))


def _check_pattern(array: np.ndarray, place: np.ndarray) -> None:
    """Raise where most samples of a line near the centre are zero: x is no readout."""
    line = np.asarray(array[tuple(place)])
    share = float((line != 0).any(0).mean())
    if share < 0.5:
        raise UsageError(
            f"{100 * (1 - share):.0f} % of the samples of a measured line are zero along x: if the "
            "pattern is that of two phase encodes, name them y and z"
        )


def _flag_ends(heads: np.ndarray, frames: np.ndarray) -> None:
    """Flag the first and the last line of every frame, and the last one of the scan."""
    is_first = np.ones(len(heads), bool)
    is_first[1:] = (frames[1:] != frames[:-1]).any(1)
    heads["flags"][is_first] |= np.uint64(flag_bits(FIRST_IN_SLICE))
    heads["flags"][np.roll(is_first, -1)] |= np.uint64(flag_bits(LAST_IN_SLICE))
    heads["flags"][-1] |= np.uint64(flag_bits(LAST_IN_MEASUREMENT))
