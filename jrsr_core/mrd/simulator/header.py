"""The XML header of a simulated scan. Source: ISMRMRD, Inati et al., MRM 2017;77:411."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

import torch

from jrsr_core.data import Vector
from jrsr_core.mrd.header.scan_header import LIMITED_COUNTERS
from jrsr_core.simulation.protocols import find_protocol

from .frames import Frame, first_measured
from .request import ScanRequest


@dataclass(frozen=True)
class ScanMetadata:
    """Names, times and position of a scan; the pixels do not depend on them.

    `position_mm` is the centre of the first slice, `slice_gap_mm` the gap between slices.
    Gadgetron finds the noise of a scan by the device, patient, session and measurement in
    `measurement_id`.
    """

    protocol: str = "jrsr_simulation"
    measurement_id: str = "simulator_phantom_1_1"
    te_ms: tuple[float, ...] = (10.0,)
    tr_ms: float = 500.0
    position_mm: Vector = (0.0, 0.0, 0.0)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)
    slice_gap_mm: float = 0.0
    system: str = "JRSR simulation"


def slice_axes(tilt: float, turn: float) -> tuple[Vector, Vector, Vector]:
    """Return read, phase and slice direction (L, P, S) of an oblique slice.

    The slice is tilted by `tilt` degrees about L and then turned by `turn` degrees in its plane.
    """
    cos_tilt, sin_tilt = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    cos_turn, sin_turn = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    read = (cos_turn, sin_turn * cos_tilt, sin_turn * sin_tilt)
    phase = (-sin_turn, cos_turn * cos_tilt, cos_turn * sin_tilt)
    return read, phase, (0.0, -sin_tilt, cos_tilt)


def header_xml(
    metadata: ScanMetadata,
    frames: list[Frame],
    request: ScanRequest,
    fov_mm: Vector,
    recon_fov_mm: Vector,
) -> str:
    """Return the ISMRMRD header, with one encoding for every space that frames refer to.

    `fov_mm` and `recon_fov_mm` are the acquired and the reconstructed field of view
    ``(z, y, x)`` without readout oversampling.
    """
    is_flagged = any(bool(f.flags.any()) for f in frames)
    encodings = []
    for number in range(1 + max(f.space for f in frames)):
        members = [f for f in frames if f.space == number]
        image = next((f for f in members if not f.reference), members[0])
        has_calibration = is_flagged and request.calibration != "none" and not image.reference
        encodings.append(
            _encoding(image, fov_mm, fov_mm if image.reference else recon_fov_mm, request)
            + _tag("encodingLimits", _limits(image, members if number else frames, request))
            + _tag("trajectory", request.trajectory)
            + (_parallel_imaging(image, request) if has_calibration else "")
        )
    if request.spare_encoding:
        encodings.append(encodings[0])
    times = _tag("TR", metadata.tr_ms) + "".join(_tag("TE", te) for te in metadata.te_ms)
    body = (
        _patient_and_system(metadata, frames[0].kspace.shape[0])
        + _tag("experimentalConditions", _tag("H1resonanceFrequency_Hz", 127740000))
        + "".join(_tag("encoding", encoding) for encoding in encodings)
        + _tag("sequenceParameters", times)
    )
    root = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}{body}</ismrmrdHeader>'


def _patient_and_system(metadata: ScanMetadata, n_coils: int) -> str:
    measurement = (
        _tag("measurementID", escape(metadata.measurement_id))
        + _tag("patientPosition", "HFS")
        + _tag("protocolName", escape(metadata.protocol))
    )
    system = (
        _tag("systemVendor", escape(metadata.system))
        + _tag("systemFieldStrength_T", 3)
        + _tag("relativeReceiverNoiseBandwidth", 1)
        + _tag("receiverChannels", n_coils)
        + "".join(map(_coil_label, range(n_coils)))
    )
    return _tag("measurementInformation", measurement) + _tag(
        "acquisitionSystemInformation", system
    )


def _coil_label(number: int) -> str:
    """Return the name of a channel, by which Gadgetron assigns noise to the coils of a scan."""
    return _tag("coilLabel", _tag("coilNumber", number) + _tag("coilName", f"C{number + 1}"))


def _encoding(frame: Frame, fov_mm: Vector, recon_fov_mm: Vector, request: ScanRequest) -> str:
    """Matrices and fields of view, encoded and reconstructed."""
    _, nz, ny, nx = frame.kspace.shape
    factor = 2 if request.oversampling else 1
    share = [b / a for a, b in zip(fov_mm, recon_fov_mm, strict=True)]
    recon_matrix = (max(1, round(nz * share[0])), round(ny * share[1]), nx)
    # A volume that calibrates slices is as thick as all of them.
    thickness = nz if frame.is_slab_of_slices else 1
    fov = (thickness * fov_mm[0], fov_mm[1], factor * fov_mm[2])
    recon_fov = (thickness * recon_fov_mm[0], *recon_fov_mm[1:])
    return _space("encodedSpace", (nz, ny, factor * nx), fov) + _space(
        "reconSpace", recon_matrix, recon_fov
    )


def _space(name: str, matrix: tuple[int, int, int], fov: Vector) -> str:
    sizes = "".join(_tag(axis, n) for axis, n in zip("xyz", reversed(matrix), strict=True))
    lengths = "".join(
        _tag(axis, f"{mm:.9g}") for axis, mm in zip("xyz", reversed(fov), strict=True)
    )
    return _tag(name, _tag("matrixSize", sizes) + _tag("fieldOfView_mm", lengths))


def _limits(image: Frame, frames: list[Frame], request: ScanRequest) -> str:
    if not request.limits:
        return ""
    skip = first_measured(image, request.fourier_fractions)
    limits = {}
    for axis, name in ((1, "kspace_encoding_step_1"), (0, "kspace_encoding_step_2")):
        rows = torch.nonzero(image.mask.amax(1 - axis) > 0).flatten() - skip[axis]
        center = image.mask.shape[axis] // 2 - skip[axis]
        limits[name] = (int(rows.min()), int(rows.max()), center)
    for name in LIMITED_COUNTERS:
        limits[name] = (0, max(getattr(f.counters, name) for f in frames), 0)
    return "".join(
        _tag(name, _tag("minimum", low) + _tag("maximum", high) + _tag("center", center))
        for name, (low, high, center) in limits.items()
    )


def _parallel_imaging(image: Frame, request: ScanRequest) -> str:
    factor = max(1, round(image.mask.numel() / float(image.mask.sum())))
    if request.is_regular:
        factor = int(request.acceleration or find_protocol(request.protocol).acceleration)
    # A 3-D reference of slices is an external one to the standard.
    mode = "external" if request.calibration == "volume" else request.calibration
    steps = _tag("kspace_encoding_step_1", factor) + _tag("kspace_encoding_step_2", 1)
    return _tag(
        "parallelImaging", _tag("accelerationFactor", steps) + _tag("calibrationMode", mode)
    )


def _tag(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"
