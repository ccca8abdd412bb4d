"""`ReconImage` -> `ismrmrd.Image` for Gadgetron, FIRE and DICOM writers downstream.

The HR grid follows the FFT convention (its index N//2 lies on the LR index n//2), so position,
directions and field of view are those of the slice; only the matrix grows. Meta attributes carry
Gadgetron's and FIRE's names, and our own under ``JRSR_``.
"""

import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import ismrmrd
import numpy as np

from jrsr_core.data import Counters, Encoding, ReconImage, SliceGeometry, Vector
from jrsr_core.physics.resolution import crop_or_pad

from .header import ScanHeader
from .plan import NESTING

RESEARCH_USE = "Research use only: image derived by a neural network"


def software_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("gadgetron-jrsr")
    except PackageNotFoundError:
        return "unknown"


def crop_to_fov(image: ReconImage, fov_mm: Vector) -> ReconImage:
    """Crop both images to the field of view ``(z, y, x)``, the centre staying.

    Removes oversampling of the phase encodes; a 2-D image keeps its thickness. An axis that is not
    wider than asked for stays as it is. The new field of view is a whole number of LR pixels.
    """
    n_axes = image.image.ndim
    hr, lr = tuple(image.image.shape), tuple(image.low_resolution.shape)
    old = image.geometry.fov_mm
    ratio = [min(1.0, new / now) for new, now in zip(fov_mm, old, strict=True)][-n_axes:]
    lr_size = tuple(round(n * r) for n, r in zip(lr, ratio, strict=True))
    # Both images keep one field of view: whole LR pixels.
    hr_size = tuple(n * m // k for n, m, k in zip(hr, lr_size, lr, strict=True))
    if hr_size == hr:
        return image
    cropped = [mm * m / n for mm, m, n in zip(old[-n_axes:], hr_size, hr, strict=True)]
    return replace(
        image,
        image=crop_or_pad(image.image, hr_size),
        low_resolution=crop_or_pad(image.low_resolution, lr_size),
        maps={name: crop_or_pad(value, hr_size) for name, value in image.maps.items()},
        geometry=replace(image.geometry, fov_mm=(*old[:-n_axes], *cropped)),
    )


def to_mrd_image(
    image: ReconImage,
    header: ScanHeader,
    *,
    series_index: int = 1,
    image_index: int = 1,
    as_complex: bool = False,
) -> ismrmrd.Image:
    """Return the HR image, float32 magnitude or complex64, with its header and meta attributes.

    A 3-D image becomes one message of matrix (x, y, z).
    """
    pixels = image.image if as_complex else image.magnitude
    array = np.ascontiguousarray(pixels.detach().cpu().resolve_conj().numpy())
    array = array.astype(np.complex64 if as_complex else np.float32, copy=False)
    mrd = ismrmrd.Image.from_array(array.reshape(1, -1, *array.shape[-2:]), transpose=False)
    geometry, stamp = image.geometry, image.stamp
    mrd.image_type = ismrmrd.IMTYPE_COMPLEX if as_complex else ismrmrd.IMTYPE_MAGNITUDE
    mrd.field_of_view = tuple(reversed(geometry.fov_mm))
    mrd.position = geometry.position_mm
    mrd.read_dir, mrd.phase_dir = geometry.read_dir, geometry.phase_dir
    mrd.slice_dir = geometry.slice_dir
    mrd.patient_table_position = geometry.patient_table_position_mm
    for name in (*NESTING, "average"):
        setattr(mrd, name, getattr(image.counters, name))
    mrd.measurement_uid = stamp.measurement_uid
    mrd.acquisition_time_stamp = stamp.acquisition_time_stamp
    mrd.physiology_time_stamp = stamp.physiology_time_stamp
    mrd.user_int, mrd.user_float = stamp.user_int, stamp.user_float
    mrd.image_series_index = series_index
    # The field has 16 bits and ismrmrd would wrap it silently to 0, which no reader expects.
    mrd.image_index = (image_index - 1) % 65535 + 1
    mrd.meta = ismrmrd.Meta(_ascii(image_meta(image, header, image_index)))
    return mrd


def image_meta(image: ReconImage, header: ScanHeader, image_index: int) -> dict:
    """Meta attributes of one image: Gadgetron's names, FIRE's names, ours."""
    report = image.report
    history = ["GT", "JRSR", "FALLBACK" if report.fallback else "AI"]
    comment = [RESEARCH_USE, f"JRSR {report.model}"]
    if report.fallback:
        comment = ["FALLBACK IMAGE, not from the model", report.fallback]
    series = f"JRSR_{report.model}" + ("_FALLBACK" if report.fallback else "")
    center, width = window(image)
    gadgetron = {
        "GADGETRON_DataRole": "Image",
        "GADGETRON_ImageNumber": image_index,
        "GADGETRON_ImageComment": comment,
        "GADGETRON_ImageProcessingHistory": history,
        "GADGETRON_SeqDescription": f"_{series}",
        "GADGETRON_WindowCenter": center,
        "GADGETRON_WindowWidth": width,
    }
    fire = {
        "DataRole": "Image",
        "ImageProcessingHistory": history,
        "ImageComment": comment,
        "ImageComments": "; ".join(comment),
        "SequenceDescriptionAdditional": series,
        "WindowCenter": center,
        "WindowWidth": width,
        "Keep_image_geometry": 1,
        "ImageRowDir": _direction(image.geometry.read_dir),
        "ImageColumnDir": _direction(image.geometry.phase_dir),
    }
    return gadgetron | fire | _timing(image.counters, header) | _own_meta(image)


def window(image: ReconImage) -> tuple[float, float]:
    """Window centre and width from 0 to the 99.5th percentile of the magnitude."""
    top = float(np.quantile(image.magnitude.detach().cpu().numpy(), 0.995))
    # To so many digits, not decimals: the unit of a scanner may be as small as 1e-12.
    width = float(f"{top:.6g}") or 1e-6
    return width / 2, width


def _own_meta(image: ReconImage) -> dict:
    hr = image.image.shape
    # The readout may have been acquired at high resolution: more samples than the LR grid has.
    *lr, n_readout = image.low_resolution.shape
    acquired = [*lr, image.report.n_readout or n_readout]
    own = {
        "research_use": RESEARCH_USE,
        "software_version": software_version(),
        "acquired_matrix": acquired,
        "encoding_space": image.counters.encoding,
        "upsampling_factor": [round(n / m, 4) for n, m in zip(hr, acquired, strict=True)],
    }
    return {f"JRSR_{k}": _value(v) for k, v in (image.report.as_dict() | own).items()}


def _timing(counters: Counters, header: ScanHeader) -> dict:
    if counters.contrast >= len(header.te_ms):
        return {}
    return {"GADGETRON_TE": header.te_ms[counters.contrast]}


def _direction(axis: Vector) -> list[str]:
    return [f"{v:.9f}" for v in axis]


def _value(value: object) -> object:
    # An empty list would write no value at all.
    return list(value) or "" if isinstance(value, list | tuple) else value


def _ascii(meta: dict) -> dict:
    """`ismrmrd.File` reads attributes as strict ASCII; a protocol name may have umlauts."""

    def plain(value: object) -> str:
        return str(value).encode("ascii", "backslashreplace").decode()

    return {k: [plain(v) for v in x] if isinstance(x, list) else plain(x) for k, x in meta.items()}


def geometry_of(mrd: ismrmrd.Image) -> SliceGeometry:
    """Read the geometry back from an image header; the inverse of `to_mrd_image`."""
    head = mrd.getHead()

    def vector(name: str) -> Vector:
        return tuple(float(v) for v in getattr(head, name))

    return SliceGeometry(
        position_mm=vector("position"),
        read_dir=vector("read_dir"),
        phase_dir=vector("phase_dir"),
        slice_dir=vector("slice_dir"),
        fov_mm=tuple(reversed(vector("field_of_view"))),
        patient_table_position_mm=vector("patient_table_position"),
    )


# FOLDED jrsr_core/mrd/numbering.py: Series and numbers of images, from their counters.
class Numbering:
    """Counters -> series and number of an image, the same whatever the order they are made in.

    Every encoding space is a series: its images share their matrix. Within it numbers run from 1,
    slices fastest, then contrast, phase, set, repetition; the encoding limits tell how many there
    are of each, as in Gadgetron. Images beyond them, as without limits, are counted on as they
    come, which in a live scan is the order in which they were measured.
    """

    def __init__(self, encodings: tuple[Encoding, ...]) -> None:
        self._extents = [
            tuple(e.counter_maxima.get(name, 0) + 1 for name in NESTING) for e in encodings
        ]
        self._n_beyond = [0] * len(encodings)

    def series(self, counters: Counters) -> int:
        """Return the series of an image: the place of its encoding space in the header, from 0."""
        return counters.encoding

    def number(self, counters: Counters) -> int:
        """Return the number of an image within its series."""
        extents = self._extents[counters.encoding]
        values = tuple(getattr(counters, name) for name in NESTING)
        if any(v >= n for v, n in zip(values, extents, strict=True)):
            self._n_beyond[counters.encoding] += 1
            return math.prod(extents) + self._n_beyond[counters.encoding]
        number = 0
        for value, n in zip(values, extents, strict=True):
            number = number * n + value
        return number + 1


# FOLDED jrsr_core/mrd/maps.py: Maps of a `ReconImage` as images of a series of their own, with the header of the image.
WHITE = 0.2
"""Part of the image's window at which a map is white: maps of all slices can be compared."""

MEANING = {
    "hallucination": "what contradicts the measurement, or is finer than its detail allows",
    "taken_back": "what the network drew against the measurement",
    "unmeasured": "what the network, not the samples, stands for",
}


def to_mrd_map(image: ReconImage, name: str, header: ScanHeader, **places: int) -> ismrmrd.Image:
    """Return the map `name`, float32 in the units of the image; `places` as `to_mrd_image`."""
    top = WHITE * window(image)[1]
    mrd = to_mrd_image(replace(image, image=image.maps[name], maps={}), header, **places)
    comment = [f"MAP, not an image: {MEANING[name]}", f"white is {WHITE:g} of the image's"]
    series = f"JRSR_{image.report.model}_{name}"
    meta = mrd.meta
    changes = {
        "JRSR_map": name,
        "GADGETRON_DataRole": "Map",
        "DataRole": "Map",
        "GADGETRON_ImageComment": comment,
        "ImageComment": comment,
        "ImageComments": "; ".join(comment),
        "GADGETRON_SeqDescription": f"_{series}",
        "SequenceDescriptionAdditional": series,
    }
    for prefix in ("", "GADGETRON_"):
        changes |= {f"{prefix}WindowCenter": str(top / 2), f"{prefix}WindowWidth": str(top)}
    for key, value in changes.items():
        meta[key] = value
    mrd.meta = meta
    return mrd
