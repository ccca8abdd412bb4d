"""Turns MRD images into planes in space, from which DICOM and NIfTI are written.

Where an image lies is taken from its own header alone, as `SliceGeometry` places it. Lengths in
mm, directions are unit vectors in DICOM patient coordinates (L, P, S).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import ismrmrd
import numpy as np

from jrsr_core.data import SliceGeometry
from jrsr_core.mrd.grey_values import meta_of, values_of
from jrsr_core.mrd.images import is_fallback

from .attributes import usable_attributes

MOMENTS = ("repetition", "set", "phase", "average")
"""Counters that order the images of a place and contrast in time, the slowest first."""

COUNTERS = ("slice", "contrast", "phase", "repetition", "set", "average")
PARTS = {
    ismrmrd.IMTYPE_PHASE: "PHASE",
    ismrmrd.IMTYPE_REAL: "REAL",
    ismrmrd.IMTYPE_IMAG: "IMAGINARY",
}
"""Parts of a complex image other than its magnitude, in the terms of DICOM."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice of an image.

    Attributes
    ----------
    pixels
        float32 ``(y, x)`` in the scanner's own scale; the magnitude of a complex image.
    part
        Part of a complex image that the pixels are: MAGNITUDE, or one of `PARTS`.
    first
        Centre of the first voxel, mm.
    row, column
        Unit vectors in the directions of growing x and of growing y.
    spacing, thickness
        Pixel size ``(y, x)`` and slice thickness, mm.
    step
        Distance between the planes of a volume, mm; None for a 2-D image.
    series, number
        Number of the image's series, and number of the plane in it: from 1 if the image has one.
    group
        HDF5 group that the series was read from; empty if there is only one.
    counters
        Counters of the image header, by the names of `COUNTERS`.
    meta
        Meta attributes of the image, see `usable_attributes`.
    acquired, triggered
        Time stamps of the image header: of the line nearest the k-space centre, and since the last
        trigger.
    is_real
        Whether the pixels are the phase of an image that holds magnitudes as complex numbers: 0,
        to keep its place among images that have a phase.
    """

    pixels: np.ndarray
    part: str
    first: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    thickness: float
    step: float | None
    series: int
    number: int
    group: str
    counters: dict[str, int]
    meta: dict
    acquired: int = 0
    triggered: int = 0
    is_real: bool = False

    @property
    def began(self) -> int:
        """Time stamp of the first line of the image; of its header if no other one is known."""
        return self.meta.get("JRSR_first_time_stamp") or self.acquired

    @property
    def normal(self) -> np.ndarray:
        """Right-handed unit normal of the plane."""
        return np.cross(self.row, self.column)

    @property
    def location(self) -> float:
        """Distance of the plane from the origin along its normal, mm."""
        return float(self.first @ self.normal)

    def without_pixels(self) -> "Plane":
        """Return the plane with zeros that take no memory in place of its pixels."""
        return replace(self, pixels=np.broadcast_to(np.float32(0), self.pixels.shape))

    @property
    def moment(self) -> tuple[int, ...]:
        """Counters of `MOMENTS`."""
        return tuple(self.counters[name] for name in MOMENTS)

    @property
    def orientation(self) -> tuple[float, ...]:
        """Row and column, rounded so that parallel planes can be compared."""
        return tuple(np.round((*self.row, *self.column), 4) + 0.0)

    @property
    def place(self) -> tuple[float, ...]:
        """Centre of the first voxel, rounded so that planes of one place can be compared."""
        return tuple(np.round(self.first, 2) + 0.0)

    @property
    def grid(self) -> tuple[object, ...]:
        """Orientation, matrix and size of the voxels, which the slices of one volume share."""
        size = tuple(round(float(mm), 3) for mm in (*self.spacing, self.thickness))
        return (self.orientation, self.pixels.shape, size)

    @property
    def is_fallback(self) -> bool:
        """Whether the image was reconstructed without the model."""
        return is_fallback(self.meta)


def typical(planes: Sequence[Plane]) -> Plane:
    """Return the first plane that is no fallback image, else the first: it names the model."""
    return next((plane for plane in planes if not plane.is_fallback), planes[0])


def planes_of(mrd: ismrmrd.Image, group: str = "", *, with_phase: bool = False) -> Iterator[Plane]:
    """Yield the planes of a 2-D or 3-D image that was read from this group of its file.

    Those of a complex image are its magnitude and, with `with_phase`, its phase in radians.

    Raises
    ------
    ValueError
        The image has several channels, directions that are not perpendicular, an empty field of
        view, or pixels or geometry that are not finite.
    """
    head = mrd.getHead()
    volume = _volume(mrd)
    geometry = _geometry(head)
    dz, dy, dx = geometry.voxel_mm(volume.shape)
    read, phase, through = geometry.axes
    first = geometry.first_voxel(volume.shape)
    nz, is_complex = len(volume), np.iscomplexobj(mrd.data)
    plane = Plane(
        pixels=volume[0],
        part="MAGNITUDE" if is_complex else PARTS.get(head.image_type, "MAGNITUDE"),
        first=first,
        row=read,
        column=phase,
        spacing=(dy, dx),
        thickness=dz,
        step=dz if nz > 1 else None,
        series=int(head.image_series_index),
        number=(int(head.image_index) - 1) * nz + 1,
        group=group,
        counters={name: int(getattr(head, name)) for name in COUNTERS},
        meta=usable_attributes(meta_of(mrd)),
        acquired=int(head.acquisition_time_stamp),
        triggered=int(head.physiology_time_stamp[0]),
    )
    with_phase &= is_complex
    is_real = with_phase and _holds_magnitudes(mrd.data, plane.meta)
    for z in range(nz):
        made = replace(
            plane, pixels=volume[z], first=first + z * dz * through, number=plane.number + z
        )
        yield made
        if with_phase:
            yield _phase(made, mrd.data[0, z], is_real=is_real)


def _holds_magnitudes(values: np.ndarray, meta: dict) -> bool:
    """Return whether complex values are real, and their sign is no phase.

    Magnitudes of JRSR are below 0 where a network or an interpolation undershoots. Real values of
    others may be signed, as those of a phase-sensitive inversion recovery are.
    """
    return not values.imag.any() and ("JRSR_model" in meta or not (values.real < 0).any())


def _phase(magnitude: Plane, values: np.ndarray, *, is_real: bool) -> Plane:
    """Return the phase of complex values in the place of their magnitude, without its window."""
    windows = ("WindowCenter", "WindowWidth")
    meta = {name: value for name, value in magnitude.meta.items() if name not in windows}
    pixels = np.zeros_like(magnitude.pixels) if is_real else np.angle(values).astype(np.float32)
    return replace(magnitude, pixels=pixels, part="PHASE", meta=meta, is_real=is_real)


def _volume(mrd: ismrmrd.Image) -> np.ndarray:
    """Return the values, or the magnitude of complex ones, float32 ``(z, y, x)``."""
    head = mrd.getHead()
    if head.channels != 1:
        name = f"image {head.image_index} of series {head.image_series_index}"
        raise ValueError(f"{name} has {head.channels} channels, DICOM and NIfTI take 1")
    values = np.abs(mrd.data[0]) if np.iscomplexobj(mrd.data) else values_of(mrd)[0]
    volume = values.astype(np.float32)
    if not np.isfinite(volume).all():
        raise ValueError(f"image {head.image_index} has pixels that are not finite")
    return volume


def _geometry(head: ismrmrd.ImageHeader) -> SliceGeometry:
    try:
        return SliceGeometry(
            position_mm=tuple(head.position),
            read_dir=tuple(head.read_dir),
            phase_dir=tuple(head.phase_dir),
            slice_dir=tuple(head.slice_dir),
            fov_mm=tuple(reversed(head.field_of_view)),
        )
    except ValueError as error:
        raise ValueError(f"image {head.image_index}: {error}") from None
