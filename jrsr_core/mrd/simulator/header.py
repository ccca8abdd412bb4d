"""The XML header of a simulated scan."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

import torch

from jrsr_core.data import Vector

from .frames import Frame, ScanStyle


@dataclass(frozen=True)
class ScanLabels:
    """Names and numbers of the header that the image does not depend on, and where it lies."""

    protocol: str = "jrsr_simulation"
    # Device, patient, session, measurement: by them Gadgetron stores the noise of a scan.
    measurement_id: str = "simulator_phantom_1_1"
    te_ms: tuple[float, ...] = (10.0,)
    tr_ms: float = 500.0
    position_mm: Vector = (0.0, 0.0, 0.0)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)
    slice_gap_mm: float = 0.0
    interleaved: bool = False
    system: str = "JRSR simulation"


@dataclass(frozen=True)
class EncodingText:
    """One encoding space: matrices and fields of view ``(z, y, x)``, limits by counter name.

    `limits` are (minimum, maximum, center); none are written where it is empty.
    """

    matrix: tuple[int, int, int]
    fov_mm: Vector
    recon_matrix: tuple[int, int, int]
    recon_fov_mm: Vector
    limits: dict[str, tuple[int, int, int]]
    trajectory: str = "cartesian"
    acceleration: int = 1
    calibration: str = ""

    def xml(self) -> str:
        """Return the element ``encoding``."""
        text = _space("encodedSpace", self.matrix, self.fov_mm)
        text += _space("reconSpace", self.recon_matrix, self.recon_fov_mm)
        limits = "".join(_limit(name, *values) for name, values in self.limits.items())
        text += _tag("encodingLimits", limits) + _tag("trajectory", self.trajectory)
        if self.calibration:
            text += _parallel_imaging(self.acceleration, self.calibration)
        return _tag("encoding", text)


def header_xml(labels: ScanLabels, n_coils: int, encodings: list[EncodingText]) -> str:
    """Return the ISMRMRD header."""
    times = _tag("TR", labels.tr_ms) + "".join(_tag("TE", te) for te in labels.te_ms)
    body = (
        _patient_and_system(labels, n_coils)
        + _tag("experimentalConditions", _tag("H1resonanceFrequency_Hz", 127740000))
        + "".join(encoding.xml() for encoding in encodings)
        + _tag("sequenceParameters", times)
    )
    root = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}{body}</ismrmrdHeader>'


def _patient_and_system(labels: ScanLabels, n_coils: int) -> str:
    measurement = (
        _tag("measurementID", escape(labels.measurement_id))
        + _tag("patientPosition", "HFS")
        + _tag("protocolName", escape(labels.protocol))
    )
    system = (
        _tag("systemVendor", escape(labels.system))
        + _tag("systemFieldStrength_T", 3)
        + _tag("relativeReceiverNoiseBandwidth", 1)
        + _tag("receiverChannels", n_coils)
    )
    return _tag("measurementInformation", measurement) + _tag(
        "acquisitionSystemInformation", system
    )


def _space(name: str, matrix: tuple[int, int, int], fov: Vector) -> str:
    sizes = "".join(_tag(axis, n) for axis, n in zip("xyz", reversed(matrix), strict=True))
    lengths = "".join(
        _tag(axis, f"{mm:.9g}") for axis, mm in zip("xyz", reversed(fov), strict=True)
    )
    return _tag(name, _tag("matrixSize", sizes) + _tag("fieldOfView_mm", lengths))


def _limit(name: str, low: int, high: int, center: int) -> str:
    return _tag(name, _tag("minimum", low) + _tag("maximum", high) + _tag("center", center))


def _parallel_imaging(acceleration: int, calibration: str) -> str:
    step = "kspace_encoding_step"
    factor = _tag(f"{step}_1", acceleration) + _tag(f"{step}_2", 1)
    return _tag(
        "parallelImaging",
        _tag("accelerationFactor", factor) + _tag("calibrationMode", calibration),
    )


def _tag(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"


# FOLDED jrsr_core/mrd/simulated_encodings.py: The encoding spaces of a simulated scan, as its header tells them.
def encoding_texts(
    frames: list[Frame], style: ScanStyle, fov_mm: Vector, recon_fov_mm: Vector
) -> list[EncodingText]:
    """Return one encoding for every space that frames refer to, and a spare one if asked for."""
    is_flagged = any(bool(f.flags.any()) for f in frames)
    is_marked = is_flagged and style.calibration != "none"
    # A 3-D reference of slices is an external one to the standard.
    mode = "external" if style.calibration == "volume" else style.calibration
    texts = []
    for number in range(1 + max(f.space for f in frames)):
        members = [f for f in frames if f.space == number]
        image = next((f for f in members if not f.reference), members[0])
        factor = max(1, round(image.mask.numel() / float(image.mask.sum())))
        factor = 1 if image.reference else style.acceleration or factor
        calibration = mode if is_marked and not image.reference else ""
        wanted = fov_mm if image.reference else recon_fov_mm
        text = _encoding(image, members if number else frames, style, fov_mm, wanted)
        texts.append(EncodingText(acceleration=factor, calibration=calibration, **text))
    return texts + texts[:1] * style.spare_encoding


def _encoding(
    frame: Frame, frames: list[Frame], style: ScanStyle, fov_mm: Vector, recon_fov_mm: Vector
) -> dict:
    _, nz, ny, nx = frame.kspace.shape
    factor = 2 if style.oversampling else 1
    share = [b / a for a, b in zip(fov_mm, recon_fov_mm, strict=True)]
    # A volume that calibrates slices is as thick as all of them.
    thickness = nz if frame.is_slab_of_slices else 1
    return {
        "matrix": (nz, ny, factor * nx),
        "fov_mm": (thickness * fov_mm[0], fov_mm[1], factor * fov_mm[2]),
        "recon_matrix": (max(1, round(nz * share[0])), round(ny * share[1]), nx),
        "recon_fov_mm": (thickness * recon_fov_mm[0], *recon_fov_mm[1:]),
        "limits": _limits(frame, frames, style) if style.limits else {},
        "trajectory": style.trajectory,
    }


def _limits(frame: Frame, frames: list[Frame], style: ScanStyle) -> dict:
    skip = (0, 0) if frame.reference else first_counters(frame, style)
    limits = {}
    for axis, name in ((1, "kspace_encoding_step_1"), (0, "kspace_encoding_step_2")):
        rows = torch.nonzero(frame.mask.amax(1 - axis) > 0).flatten() - skip[axis]
        center = frame.mask.shape[axis] // 2 - skip[axis]
        limits[name] = (int(rows.min()), int(rows.max()), center)
    for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
        limits[name] = (0, max(getattr(f.counters, name) for f in frames), 0)
    return limits


def first_counters(frame: Frame, style: ScanStyle) -> tuple[int, int]:
    """Rows (z, y) that partial Fourier leaves out before counter 0."""
    shape = frame.mask.shape
    return tuple(n - round(f * n) for n, f in zip(shape, style.partial_fourier, strict=True))
