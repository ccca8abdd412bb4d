"""`ReconImage` -> `ismrmrd.Image` for Gadgetron, FIRE and DICOM writers downstream.

The HR grid follows the FFT convention (its index N//2 lies on the LR index n//2), so position,
directions and field of view are those of the slice; only the matrix grows. Meta attributes carry
Gadgetron's and FIRE's names, and those of JRSR under ``JRSR_``. Maps of an image form a series of
their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ismrmrd
import numpy as np

from jrsr_core.common.version import software_version
from jrsr_core.data import (
    MAP_ALARM,
    MAP_MEANING,
    UNITLESS_MAPS,
    Counters,
    ReconImage,
    ReconReport,
    Vector,
)

from .header.scan_header import NO_HEADER, ScanHeader, parse_header
from .lines.acquired import NESTING

RESEARCH_USE = "Research use only: image derived by a neural network"
RESEARCH_USE_CONVENTIONAL = "Research use only: conventional reconstruction"

FALLBACK_IMAGE = "FALLBACK IMAGE, not from the model"
"""Begins the comment of a fallback image; its reason follows."""

WHITE = 0.2
"""Part of the image's window at which a map is white: maps of all slices can be compared."""


def is_derived_by_network(report: ReconReport) -> bool:
    """Return whether the weights of a network took part in the image."""
    return bool(report.weights_sha256) and not report.fallback


def research_use(report: ReconReport) -> str:
    """Return the statement of research use, which names a neural network only if one was used."""
    return RESEARCH_USE if is_derived_by_network(report) else RESEARCH_USE_CONVENTIONAL


def is_fallback(meta: Mapping[str, Any]) -> bool:
    """Return whether the meta attributes of an image give the reason of a fallback image."""
    return bool(meta.get("JRSR_fallback"))


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


def with_scan_header(image: ReconImage) -> tuple[ismrmrd.Image, str]:
    """Return an image as `to_mrd_image` makes it, and the XML header of its scan.

    An image whose k-space was not read from a file has an empty header.
    """
    origin = image.origin
    if origin is None:
        return to_mrd_image(image, ScanHeader(NO_HEADER, ())), NO_HEADER
    header = parse_header(origin.header_xml)
    mrd = to_mrd_image(image, header, series_index=origin.series, image_index=origin.number)
    return mrd, origin.header_xml


def to_mrd_map(
    image: ReconImage,
    name: str,
    header: ScanHeader,
    *,
    series_index: int = 1,
    image_index: int = 1,
) -> ismrmrd.Image:
    """Return the map `name` of an image, float32 in its units, with the header of the image.

    Its window ends at the alarm level, or at `WHITE` of that of the image where it is in units of
    the image, so that maps of all slices can be compared.
    """
    is_unitless = name in UNITLESS_MAPS
    top = MAP_ALARM if is_unitless else WHITE * window(image)[1]
    white = (
        f"white is {MAP_ALARM:g} times what is expected"
        if is_unitless
        else f"white is {WHITE:g} of the image's"
    )
    as_image = replace(image, image=image.maps[name], maps={})
    mrd = to_mrd_image(as_image, header, series_index=series_index, image_index=image_index)
    comment = [f"MAP, not an image: {MAP_MEANING[name]}", white]
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


def image_meta(image: ReconImage, header: ScanHeader, image_index: int) -> dict:
    """Return the meta attributes of one image under the names of Gadgetron, FIRE and JRSR."""
    report = image.report
    history = ["GT", "JRSR"]
    if report.fallback or is_derived_by_network(report):
        history.append("FALLBACK" if report.fallback else "AI")
    comment = [research_use(report), f"JRSR {report.model}"]
    if report.denoise:
        comment.append(f"Measured noise removed (denoise {report.denoise:g})")
    if report.fallback:
        comment = [FALLBACK_IMAGE, report.fallback]
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
    meta = gadgetron | fire | _timing(image.counters, header) | _own_meta(image)
    # Empty texts are left out: some readers make the text "None" of them.
    return {name: value for name, value in meta.items() if value not in ("", None, [])}


def white_of(values: np.ndarray) -> float:
    """Return the magnitude at which windows and pictures are white: the 99.5th percentile."""
    return float(np.quantile(values, 0.995))


def window(image: ReconImage) -> tuple[float, float]:
    """Return window centre and width from 0 to `white_of` the magnitude."""
    top = white_of(image.magnitude.detach().cpu().numpy())
    # Rounded to digits, not decimals: the unit of a scanner may be as small as 1e-12.
    width = float(f"{top:.6g}") or 1e-6
    return width / 2, width


def _own_meta(image: ReconImage) -> dict:
    hr = image.image.shape
    # The readout may have been acquired at high resolution: more samples than the LR grid has.
    *lr, n_readout = image.low_resolution.shape
    acquired = [*lr, image.report.n_readout or n_readout]
    own = {
        "research_use": research_use(image.report),
        "software_version": software_version(),
        "acquired_matrix": acquired,
        "encoding_space": image.counters.encoding,
        "first_time_stamp": image.stamp.first_time_stamp or None,
        "n_averages": image.stamp.n_averages or None,
        "n_phase_encodes": image.stamp.n_phase_encodes or None,
        "pixel_bandwidth_hz": image.stamp.pixel_bandwidth_hz or None,
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
    # `ismrmrd.File` reads attributes as strict ASCII; a protocol name may have umlauts.

    def plain(value: object) -> str:
        return str(value).encode("ascii", "backslashreplace").decode()

    return {k: [plain(v) for v in x] if isinstance(x, list) else plain(x) for k, x in meta.items()}
